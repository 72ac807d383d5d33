"""`iiif-server prepare`: pyramids ahead of time, made by the services of the server."""

import asyncio
import re
import sys
from collections import Counter
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path
from typing import TextIO

import click

from iiif_server.cache.window import completed
from iiif_server.commands.common import (
    choose,
    config_option,
    fail,
    find_identifiers,
    identifier_options,
    read_settings,
    show_progress,
)
from iiif_server.commands.prepare.resuming import Prepared, in_shard
from iiif_server.composition.services import open_services
from iiif_server.composition.sizing import without_queue_timeout
from iiif_server.errors import IiifServerError, NotAnImageError
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.services import Services
from iiif_server.settings import Settings
from iiif_server.sources.listings import is_listed


class Outcome(StrEnum):
    """What was done for one original."""

    MADE = "made"
    PRESENT = "present"
    """Nothing: it had a pyramid."""
    SMALL = "small"
    """Nothing: it needs no pyramid."""
    SKIPPED = "skipped"
    """Nothing: it is no image that is read."""
    FAILED = "failed"


def _shard(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise click.BadParameter("it is written as 2/4: the second of four parts")
    return int(found[1]), int(found[2])


@click.command()
@config_option
@identifier_options("Prepare")
@click.option(
    "--shard",
    metavar="I/N",
    default="1/1",
    callback=_shard,
    help="Prepare one of N parts, as 2/4; each machine takes another.",
)
def prepare(
    config: Path | None,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
    shard: tuple[int, int],
) -> None:
    """Make pyramids ahead of time, as the first viewer of each image would.

    Existing pyramids are left alone, and originals that need none are remembered, so that an
    interrupted run is resumed when it is repeated. Files that are no images are skipped.
    """
    written = choose(type_, listed, identifiers)
    try:
        counts = asyncio.run(_prepare_all(read_settings(config).settings, type_, written, shard))
    except IiifServerError as error:
        fail(str(error))
    skipped = f", {counts[Outcome.SKIPPED]} no images" if counts[Outcome.SKIPPED] else ""
    click.echo(
        f"{counts[Outcome.MADE]} made, {counts[Outcome.PRESENT]} there already, "
        f"{counts[Outcome.SMALL]} too small to need one, {counts[Outcome.FAILED]} failed{skipped}."
    )
    if counts[Outcome.FAILED]:
        sys.exit(1)


async def _prepare_all(
    settings: Settings, type_: str | None, written: list[str], shard: tuple[int, int]
) -> Counter[Outcome]:
    """How often there was each outcome. One original that fails does not stop the others."""
    counts: Counter[Outcome] = Counter()
    failures = []
    async with open_services(without_queue_timeout(settings), lambda _: None) as services:
        if type_ is not None:
            click.echo(f"Listing the originals of {type_}", err=True)
        found = find_identifiers(settings, services.originals, type_, written)
        chosen = [identifier for identifier in found if in_shard(identifier, *shard)]
        prepared = Prepared(
            settings.cache_path / "prepared.sqlite", settings.pyramids.model_dump_json()
        )
        jobs = (_prepare_one(services, prepared, identifier) for identifier in chosen)
        with show_progress("Preparing originals", len(chosen)) as advance:
            async with aclosing(completed(jobs, settings.image_pool_size)) as results:
                async for outcome, failure in results:
                    counts[outcome] += 1
                    failures += [failure] if failure else []
                    advance()
        prepared.close()
    for failure in failures:
        click.echo(f"failed  {failure}", err=True)
    return counts


async def _prepare_one(
    services: Services, prepared: Prepared, identifier: Identifier
) -> tuple[Outcome, str]:
    """The outcome for one original, and why it failed if it did."""
    try:
        async with services.originals.hold(identifier) as original:
            fingerprint = original.fingerprint
        if fingerprint in prepared:
            return Outcome.SMALL, ""
        async with services.images.hold(identifier) as image:
            if image.pyramid is None:
                prepared.add(image.original.fingerprint)
                return Outcome.SMALL, ""
            made = await services.pyramids.make(image.pyramid)
    except NotAnImageError as error:
        last = identifier.name.rpartition("/")[2]
        if "." not in last or not is_listed(last):
            return Outcome.SKIPPED, ""
        return Outcome.FAILED, f"{identifier}: {error}"  # it is called an image
    except IiifServerError as error:
        return Outcome.FAILED, f"{identifier}: {error}"
    return Outcome.MADE if made else Outcome.PRESENT, ""
