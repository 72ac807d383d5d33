"""`iiif-server warm`: renders or requests ahead of time what viewers request of images."""

import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TextIO

import click

from iiif_server.commands.bulk.running import (
    Distribution,
    Executor,
    Results,
    distribution_options,
    find_selected,
    run_bulk,
    run_tasks,
)
from iiif_server.commands.bulk.tasks import Outcome, Result, Subject, Work
from iiif_server.commands.common import (
    ReadSettings,
    check_url,
    identifier_options,
    read_selection,
    settings_options,
)
from iiif_server.commands.warm.local import warm_one
from iiif_server.commands.warm.manifests import image_services, read_manifest, relative_to_bases
from iiif_server.commands.warm.over_http import Pace, open_http, warm_url
from iiif_server.errors import ConfigurationError, IiifServerError, shown
from iiif_server.iiif.geometry import Dimensions
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.server.signing import split
from iiif_server.settings import Settings
from iiif_server.sources.access import without_secrets

_SCREEN = "1920x1080"


def _screen(_: click.Context, __: click.Parameter, text: str) -> Dimensions:
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if found is None:
        raise click.BadParameter("it is written as 1920x1080: width and height in pixels")
    return Dimensions(int(found[1]), int(found[2]))


@click.command()
@settings_options
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="URL|FILE",
    help="Warm the images of a manifest (Presentation API 2 or 3); may be repeated.",
)
@click.option(
    "--screen",
    default=_SCREEN,
    show_default=True,
    metavar="WxH",
    callback=_screen,
    help="The largest screen on which an image is opened, in device pixels.",
)
@click.option("--all", "everything", is_flag=True, help="All tiles, not only those of first views.")
@click.option(
    "--against",
    "url",
    metavar="URL",
    help="Request the images from this server, CDN or proxy, instead of rendering them here.",
)
@click.option(
    "--parallel",
    default=8,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="With --against: requests at the same time, at most.",
)
@click.option(
    "--rate",
    default=math.inf,
    type=click.FloatRange(0, min_open=True),
    help="With --against: requests per second, at most.",
)
@identifier_options("Warm")
@distribution_options("Warm")
def warm(
    *,
    read: ReadSettings,
    manifests: tuple[str, ...],
    screen: Dimensions,
    everything: bool,
    url: str | None,
    parallel: int,
    rate: float,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
    distribution: Distribution,
) -> None:
    """Make what viewers request of images ahead of time.

    That is what OpenSeadragon, Mirador and Universal Viewer request when they open an image, and
    thumbnails. The command renders it with the code of the server, for its cache. With --against
    URL it sends requests over HTTP instead, which also fill the caches of proxies and CDNs.
    """
    written = read_selection(type_, listed, identifiers, manifests)
    if url is not None:
        check_url(url)
        if distribution.scheduler is not None or distribution.pages:
            raise click.UsageError("--against cannot be combined with --scheduler or --pages.")
    settings = read().settings
    visible = None if everything else screen
    images = _Images(settings, type_, written, manifests, url)

    async def run(results: Results) -> None:
        in_manifests = await images.in_manifests()
        executor_context, work = _executor_for(settings, url, Pace(parallel, rate), distribution)
        async with executor_context as executor:
            found = images.subjects(executor, in_manifests, results)
            tasks = distribution.tasks(found, work, visible)
            await run_tasks(executor, tasks, distribution, "Warming images", results)

    results = run_bulk(run)
    click.echo(_report(results, over_http=url is not None))
    sys.exit(bool(results.failed))


def _executor_for(
    settings: Settings, url: str | None, pace: Pace, distribution: Distribution
) -> tuple[AbstractAsyncContextManager[Executor], Work]:
    if url is None:
        return distribution.open_executor(settings), warm_one
    return open_http(settings, url, pace), warm_url


def _report(results: Results, *, over_http: bool) -> str:
    counts, outcomes = results.counts, results.outcomes
    done = outcomes[Outcome.MADE] + outcomes[Outcome.PRESENT]
    end = f"{results.failed:,} failed{results.skipped}."
    if over_http:
        return f"{done:,} image services warmed: {counts['images']:,} requests; {end}"
    return (
        f"{done:,} images warmed: {counts['images']:,} tiles and thumbnails, for which "
        f"{counts['pyramids']:,} pyramids and {counts['made']:,} others were made; {end}"
    )


@dataclass(frozen=True, slots=True)
class _Images:
    """Images that the command line chooses."""

    settings: Settings
    type_: str | None
    written: list[str]
    manifests: tuple[str, ...]
    url: str | None
    """URL of `--against`."""

    async def in_manifests(self) -> list[str]:
        """Return the image services of this server in the manifests, as paths below its URL."""
        if not self.manifests:
            return []
        urls = (self.settings.base_url, self.url)
        bases = list(dict.fromkeys(url for url in urls if url is not None))
        if not bases:
            raise ConfigurationError(
                "Which images of a manifest are this server's? Set base_url (IIIF_BASE_URL): the "
                "URL with which the URIs of their services begin."
            )
        allowed = self.settings.fetch.allow_networks
        documents = [await read_manifest(place, allowed) for place in self.manifests]
        uris = [uri for document in documents for uri in image_services(document)]
        found, others = relative_to_bases(uris, bases)
        if others:
            own = " or ".join(map(without_secrets, bases))
            text = f"{others:,} image services are of another server than {own}."
            click.echo(text, err=True)
        if not found:
            raise ConfigurationError("The manifest has no images of this server.")
        return found

    def subjects(
        self, executor: Executor, in_manifests: list[str], results: Results
    ) -> Iterable[Subject]:
        """Yield the subjects of the tasks; malformed identifiers in manifests are failures."""
        if self.url is not None:
            yield from in_manifests or self._paths(executor, self.url.rstrip("/"))
        elif in_manifests:
            base = self.settings.base_url or ""
            for path in in_manifests:
                try:
                    yield self.settings.identifiers.read(_identifier_in(path, base))
                except IiifServerError as error:
                    results.add(Result(Outcome.FAILED, f"{shown(path)}: {error}"))
        else:
            yield from find_selected(self.settings, executor, self.type_, self.written)

    def _paths(self, executor: Executor, url: str) -> Iterator[str]:
        """Yield the paths of base URIs: in both versions, or in the version of the URL."""
        names = [name for line in self.written if (name := line.strip())]
        if self.type_ is not None:
            names = [one.encoded for one in find_selected(self.settings, executor, self.type_, ())]
        if not names:
            raise ConfigurationError("No identifiers were given.")
        for name in names:
            yield name
            if not url.endswith((V3.path, V2.path)):
                yield f"{_version_path(url, V2)}{name}"


def _version_path(url: str, version: ImageApiVersion) -> str:
    """Return the path of a version below the URL of a server, which may end with `/iiif`."""
    common = url.rstrip("/").endswith("/iiif")
    return f"{version.path.removeprefix('/iiif') if common else version.path}/"[1:]


def _identifier_in(path: str, base: str) -> str:
    """Return the identifier in the path of a base URI, without version and signature."""
    for version in (V2, V3):
        path = path.removeprefix(_version_path(base, version))
    return split(path)[1]
