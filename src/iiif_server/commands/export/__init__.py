"""`iiif-server export`: images as files that any web server can send (level 0)."""

import asyncio
import json
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import click

from iiif_server.cache.window import completed
from iiif_server.commands.common import (
    Advance,
    ShowProgress,
    choose,
    config_option,
    fail,
    find_identifiers,
    identifier_options,
    read_settings,
    show_progress,
    version_option,
)
from iiif_server.commands.export.files import (
    begin,
    check_space,
    density,
    estimate,
    locked,
    missing,
    write,
    write_body,
)
from iiif_server.composition.services import open_services
from iiif_server.composition.sizing import without_queue_timeout
from iiif_server.errors import ConfigurationError, IiifServerError, NotBundledError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.manifest import ImageService, Picture, label_of, manifest, rights_uri
from iiif_server.iiif.request import parse_image_request
from iiif_server.iiif.static import LEVEL_0, StaticFile, StaticImage, folder_of
from iiif_server.iiif.versions import V3, ImageApiVersion
from iiif_server.images.keys import digest, encoding_text
from iiif_server.images.originals import Original
from iiif_server.pages.files import BUNDLE, bundled
from iiif_server.pages.rendering import exported_page
from iiif_server.server.services import Services
from iiif_server.settings import Settings
from iiif_server.telemetry.stages import Stages

SCRIPT = "openseadragon.min.js"
"""The script's name in its package and in the folder of the export."""


@dataclass(frozen=True, slots=True)
class Target:
    """The folder to write to, and its public URL."""

    folder: Path
    base_url: str
    """The public URL of the folder, without a slash at its end."""
    version: ImageApiVersion = V3


@dataclass(slots=True)
class Summary:
    """Counts of a run, and the images that failed."""

    images: int = 0
    written: int = 0
    present: int = 0
    size: int = 0
    """Bytes of what was written."""
    failed: list[str] = field(default_factory=list)
    """Identifiers with the reasons."""
    without_page: str = ""
    """Why there is no viewer page; empty: there is one."""

    def __str__(self) -> str:
        return (
            f"{self.images} image{'' if self.images == 1 else 's'}: {self.written} files written "
            f"({self.size:,} bytes), {self.present} there already; {len(self.failed)} failed."
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """One image, and the number of its missing files."""

    identifier: Identifier
    image: StaticImage
    folder: Path
    state: str
    """A digest of the original and the settings that its files depend on."""
    missing: int
    """Files to write."""
    needed: int
    """Estimated bytes on disk."""


@click.command()
@config_option
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--base-url", help="URL under which that folder will be found; default: base_url.")
@version_option
@click.option("--include-signed", is_flag=True, help="Also of signed types, open to everyone.")
@identifier_options("Export")
def export(
    *,
    config: Path | None,
    folder: Path,
    base_url: str | None,
    version: ImageApiVersion,
    include_signed: bool,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
) -> None:
    """Write images as files for any web server: tiles, sizes, info.json, a manifest, a viewer.

    Complete files are left alone, so that an interrupted run can be repeated.
    """
    written = choose(type_, listed, identifiers)
    settings = read_settings(config).settings
    base = base_url or settings.base_url
    if base is None or not base.startswith(("http://", "https://")):
        fail("Give the public URL of the folder: --base-url https://images.example.org/static")
    target = Target(folder, base.rstrip("/"), version)
    try:
        summary = asyncio.run(
            export_images(settings, type_, written, target, show_progress, signed=include_signed)
        )
    except IiifServerError as error:
        fail(str(error))
    for failure in summary.failed:
        click.echo(f"failed  {failure}", err=True)
    if summary.without_page:
        click.echo(f"No viewer beside the images: {summary.without_page}", err=True)
    click.echo(str(summary))
    if summary.failed:
        sys.exit(1)


async def export_images(
    settings: Settings,
    type_: str | None,
    written: Iterable[str],
    target: Target,
    progress: ShowProgress,
    *,
    signed: bool = False,
    bundle: Path = BUNDLE,
) -> Summary:
    """Write images as files with the same bytes as the answers of the server.

    Complete files are left alone. `signed` permits to write images of signed types, which are then
    open to everyone. Raises ConfigurationError where the disk has too little space or
    the folder cannot be written, and what `IdentifierReader.read_all` raises.
    """
    summary = Summary()
    async with open_services(without_queue_timeout(settings), lambda _: None) as services:
        exporter = _Exporter(settings, services, target, summary)
        found = find_identifiers(settings, services.originals, type_, written)
        chosen = list(dict.fromkeys(found))
        for identifier in chosen:
            services.originals.source(identifier.type)
        with progress("Looking at originals", len(chosen)) as advance:
            jobs = await exporter.jobs(chosen, advance, signed=signed)
        files, needed = sum(job.missing for job in jobs), sum(job.needed for job in jobs)
        check_space(target.folder, files, needed)
        with locked(target.folder):
            try:
                script = _bring_script(target.folder, bundle)
            except NotBundledError as error:
                script, summary.without_page = None, str(error)
            with progress("Writing files", files) as advance:
                at_once = settings.image_pool_size
                await _all((exporter.write(job, script, advance) for job in jobs), at_once)
    return summary


class _Exporter:
    """Writes the files of images into one folder."""

    def __init__(
        self, settings: Settings, services: Services, target: Target, summary: Summary
    ) -> None:
        self._settings = settings
        self._services = services
        self._target = target
        self._summary = summary
        self._looking = 2 * settings.size_pool_size
        self._files = asyncio.Semaphore(settings.image_pool_size)

    async def jobs(
        self, chosen: Iterable[Identifier], advance: Advance, *, signed: bool
    ) -> list[_Job]:
        """The jobs for all images that can be opened; the others are reported as failed."""

        async def look(identifier: Identifier) -> _Job | None:
            try:
                return await self._job(identifier, signed=signed)
            except IiifServerError as error:
                self._summary.failed.append(f"{identifier}: {error}")
                return None
            finally:
                advance()

        looking = completed((look(identifier) for identifier in chosen), self._looking)
        async with aclosing(looking) as found:
            return [job async for job in found if job is not None]

    async def _job(self, identifier: Identifier, *, signed: bool) -> _Job:
        if self._services.types[identifier.type].access != "public" and not signed:
            raise ConfigurationError(
                "its type is signed, and exported images are open to everyone: say "
                "--include-signed if that is meant"
            )
        found = await self._services.images.get(identifier)
        original, header = found.original, found.header
        offered = self._services.service_description(found)
        image = StaticImage(self._target.version, header.dimensions, offered)
        folder = self._target.folder / folder_of(identifier)
        state = self._state(original, image)
        files = await asyncio.to_thread(missing, folder, state, image)
        needed = estimate(files, density(header, original.file.size))
        return _Job(identifier, image, folder, state, len(files), needed)

    def _state(self, original: Original, image: StaticImage) -> str:
        encoding = encoding_text(self._settings.encoding)
        pyramids = self._settings.pyramids.model_dump_json()
        dimensions = f"{image.dimensions} {image.service.tile} {image.largest}"
        return digest(
            original.fingerprint, encoding, pyramids, dimensions, self._target.version.number
        )

    async def write(self, job: _Job, script: str | None, advance: Advance) -> None:
        """Write the missing files of an image; info.json last, when all others exist."""
        try:
            await asyncio.to_thread(begin, job.folder, job.state)
            files = await asyncio.to_thread(missing, job.folder, job.state, job.image)
            if files:
                await self._prepare(job.identifier)
            writing = (self._one(job, file, advance) for file in files)
            await _all(writing, self._settings.image_pool_size)
            await asyncio.to_thread(self._documents, job, script)
        except IiifServerError as error:
            self._summary.failed.append(f"{job.identifier}: {error}")
        except OSError as error:
            raise ConfigurationError(f"{job.folder} cannot be written: {error.strerror}") from error
        else:
            self._summary.images += 1
            self._summary.present += sum(1 for _ in job.image.files()) - len(files)

    async def _prepare(self, identifier: Identifier) -> None:
        """Build the pyramid first: sizes are rendered from it."""
        async with self._services.images.hold(identifier) as image:
            if image.pyramid is not None:
                await self._services.pyramids.make(image.pyramid)

    async def _one(self, job: _Job, file: StaticFile, advance: Advance) -> None:
        request = parse_image_request(file.request, job.image.version)
        if request is None:  # pragma: no cover - `StaticImage` makes valid requests
            raise ValueError(file.request)
        derivatives = self._services.derivatives
        async with self._files, self._services.images.hold(job.identifier) as image:
            body = await derivatives.body(derivatives.resolve(image, request, Stages()))
            await asyncio.to_thread(write_body, job.folder / file.path, body)
        self._summary.written += 1
        self._summary.size += body.length
        advance()

    def _documents(self, job: _Job, script: str | None) -> None:
        image, version = job.image, job.image.version
        id_ = f"{self._target.base_url}/{folder_of(job.identifier)}"
        information = image.information(id_)
        label = label_of(job.identifier.name)
        service = ImageService(id_, f"ImageService{version.number[0]}", LEVEL_0[version])
        picture = Picture(
            base_uri=id_,
            services=(service,),
            label=label,
            dimensions=image.dimensions,
            limits=image.limits,
            min_sizes_size=image.service.min_sizes_size,
            rights=image.service.rights,
            extra=image.service.extra,
            only_offered=True,
        )
        document = manifest(f"{id_}/manifest.json", label, [picture])
        if script is not None:
            rights = rights_uri(image.service.rights)
            page = exported_page(label, information, script, rights)
            write(job.folder / "index.html", page.encode())
        write(job.folder / "manifest.json", _json(document))
        write(job.folder / "info.json", _json(information))


async def _all(jobs: Iterator[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Run all, a bounded number at a time; the first error cancels the rest and is raised."""
    async with aclosing(completed(jobs, at_once)) as done:
        async for _ in done:
            pass


def _bring_script(folder: Path, bundle: Path) -> str:
    """Copy OpenSeadragon into the folder; its relative URL from the page of an image."""
    source = bundled(f"openseadragon/{SCRIPT}", bundle)
    write(folder / SCRIPT, source.read_bytes())
    return f"../../{SCRIPT}"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode()
