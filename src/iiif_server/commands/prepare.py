"""`iiif-server prepare`: pyramids ahead of time, made by the services of the server."""

import asyncio
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
from iiif_server.composition.services import open_services
from iiif_server.composition.sizing import without_queue_timeout
from iiif_server.errors import IiifServerError
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.services import Services
from iiif_server.settings import Settings


class Outcome(StrEnum):
    """What was done for one original."""

    MADE = "made"
    PRESENT = "present"
    """Nothing: it had a pyramid."""
    SMALL = "small"
    """Nothing: it needs no pyramid."""
    FAILED = "failed"


@click.command()
@config_option
@identifier_options("Prepare")
def prepare(
    config: Path | None, type_: str | None, listed: TextIO | None, identifiers: tuple[str, ...]
) -> None:
    """Make pyramids ahead of time, as the first viewer of each image would.

    Existing pyramids are left alone, so that an interrupted run can be repeated.
    """
    written = choose(type_, listed, identifiers)
    try:
        counts = asyncio.run(_prepare_all(read_settings(config).settings, type_, written))
    except IiifServerError as error:
        fail(str(error))
    click.echo(
        f"{counts[Outcome.MADE]} made, {counts[Outcome.PRESENT]} there already, "
        f"{counts[Outcome.SMALL]} too small to need one, {counts[Outcome.FAILED]} failed."
    )
    if counts[Outcome.FAILED]:
        sys.exit(1)


async def _prepare_all(
    settings: Settings, type_: str | None, written: list[str]
) -> Counter[Outcome]:
    """How often there was each outcome. One original that fails does not stop the others."""
    counts: Counter[Outcome] = Counter()
    failures = []
    async with open_services(without_queue_timeout(settings), lambda _: None) as services:
        chosen = find_identifiers(settings, services.originals, type_, written)
        jobs = (_prepare_one(services, identifier) for identifier in chosen)
        with show_progress("Preparing originals", len(chosen)) as advance:
            async with aclosing(completed(jobs, settings.image_pool_size)) as results:
                async for outcome, failure in results:
                    counts[outcome] += 1
                    failures += [failure] if failure else []
                    advance()
    for failure in failures:
        click.echo(f"failed  {failure}", err=True)
    return counts


async def _prepare_one(services: Services, identifier: Identifier) -> tuple[Outcome, str]:
    """The outcome for one original, and why it failed if it did."""
    try:
        async with services.images.hold(identifier) as image:
            if image.pyramid is None:
                return Outcome.SMALL, ""
            made = await services.pyramids.make(image.pyramid)
    except IiifServerError as error:
        return Outcome.FAILED, f"{identifier}: {error}"
    return Outcome.MADE if made else Outcome.PRESENT, ""
