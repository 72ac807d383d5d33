"""`iiif-server prepare`: builds pyramids ahead of time, with the services of the server."""

import sys
from typing import TextIO

import click

from iiif_server.commands.bulk.running import (
    Distribution,
    Results,
    distribution_options,
    find_selected,
    run_bulk,
    run_tasks,
)
from iiif_server.commands.bulk.tasks import Outcome, Result, TaskContext, offer_parts, pages_of
from iiif_server.commands.common import (
    ReadSettings,
    identifier_options,
    read_selection,
    settings_options,
)
from iiif_server.iiif.identifier import Identifier


@click.command()
@settings_options
@identifier_options("Prepare")
@distribution_options("Prepare")
def prepare(
    *,
    read: ReadSettings,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
    distribution: Distribution,
) -> None:
    """Make pyramids ahead of time, instead of at the first request of each image.

    Existing pyramids are not built again, and originals that need none are remembered, so that a
    repeated run resumes an interrupted one. Files that are not images are skipped.
    """
    written = read_selection(type_, listed, identifiers)
    settings = read().settings

    async def run(results: Results) -> None:
        async with distribution.open_executor(settings) as executor:
            found = find_selected(settings, executor, type_, written)
            tasks = distribution.tasks(found, prepare_one)
            await run_tasks(executor, tasks, distribution, "Preparing originals", results)

    results = run_bulk(run)
    counts = results.outcomes
    click.echo(
        f"{counts[Outcome.MADE]} made, {counts[Outcome.PRESENT]} there already, "
        f"{counts[Outcome.SMALL]} too small to need one, {results.failed} failed{results.skipped}."
    )
    sys.exit(bool(results.failed))


async def prepare_one(context: TaskContext, identifier: Identifier, _: None) -> Result:
    """Build the pyramid of an original, if it needs one."""
    services, prepared = context.services, context.prepared
    async with services.originals.hold(identifier) as original:
        fingerprint = original.fingerprint
    if fingerprint in prepared:
        return Result(Outcome.SMALL)
    async with services.images.hold(identifier) as image:
        pages = pages_of(image)
        if image.pyramid is None:
            if pages == 1:
                prepared.add(image.original.fingerprint)
            return Result(Outcome.SMALL, pages=pages)
        made = await services.pyramids.build(image.pyramid)
        if not made:
            await offer_parts(context, image.pyramid)
    return Result(Outcome.MADE if made else Outcome.PRESENT, pages=pages)
