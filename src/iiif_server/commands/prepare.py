"""`iiif-server prepare`: pyramids ahead of time, made by the services of the server."""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

import click

from iiif_server.commands.bulk.running import Distribution, distribution_options, run_all
from iiif_server.commands.bulk.tasks import Bench, Outcome, Result
from iiif_server.commands.common import (
    choose,
    config_option,
    fail,
    identifier_options,
    read_settings,
)
from iiif_server.errors import IiifServerError
from iiif_server.iiif.identifier import Identifier


@click.command()
@config_option
@identifier_options("Prepare")
@distribution_options("Prepare")
def prepare(
    *,
    config: Path | None,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
    shard: tuple[int, int],
    scheduler: str | None,
    retries: int,
) -> None:
    """Make pyramids ahead of time, as the first viewer of each image would.

    Existing pyramids are left alone, and originals that need none are remembered, so that an
    interrupted run is resumed when it is repeated. Files that are no images are skipped.
    """
    written = choose(type_, listed, identifiers)
    distribution = Distribution(shard, scheduler, retries)
    settings = read_settings(config).settings
    try:
        results = asyncio.run(
            run_all(
                settings,
                prepare_one,
                None,
                chosen=(type_, written),
                distribution=distribution,
                description="Preparing originals",
            )
        )
    except IiifServerError as error:
        fail(str(error))
    results.show_failures()
    counts = results.outcomes
    skipped = f", {counts[Outcome.SKIPPED]} no images" if counts[Outcome.SKIPPED] else ""
    click.echo(
        f"{counts[Outcome.MADE]} made, {counts[Outcome.PRESENT]} there already, "
        f"{counts[Outcome.SMALL]} too small to need one, {results.failed} failed{skipped}."
    )
    sys.exit(bool(results.failed))


async def prepare_one(bench: Bench, identifier: Identifier, _: None) -> Result:
    """Make the pyramid of an original, if it needs one."""
    services, prepared = bench.services, bench.prepared
    async with services.originals.hold(identifier) as original:
        fingerprint = original.fingerprint
    if fingerprint in prepared:
        return Result(Outcome.SMALL)
    async with services.images.hold(identifier) as image:
        if image.pyramid is None:
            prepared.add(image.original.fingerprint)
            return Result(Outcome.SMALL)
        made = await services.pyramids.make(image.pyramid)
    return Result(Outcome.MADE if made else Outcome.PRESENT)
