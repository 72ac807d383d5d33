"""`iiif-server compare`: compares status, size and pixels of images of two IIIF servers."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import aclosing, nullcontext
from dataclasses import asdict
from typing import TextIO

import click
import httpx

from iiif_server.background import completed
from iiif_server.commands.common import check_url, read_lines, show_progress
from iiif_server.commands.compare.images import Comparison, Outcome, Server, compare_image

_CANNOT = 2
"""Exit status if images could not be compared."""


@click.command()
@click.argument("old", metavar="OLD_URL")
@click.argument("new", metavar="NEW_URL")
@click.option(
    "--identifiers",
    "listed",
    required=True,
    type=click.File(),
    help="File of identifiers, one a line, written as in URLs; - is standard input.",
)
@click.option(
    "--tolerance",
    default=8.0,
    show_default=True,
    type=click.FloatRange(0, 255),
    help="Mean difference of pixels, of 255, that still counts as equal.",
)
@click.option(
    "--parallel",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Images that are compared at the same time.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per image.")
def compare(
    old: str, new: str, listed: TextIO, tolerance: float, parallel: int, *, as_json: bool
) -> None:
    """Compare the images of two IIIF servers, given as https://example.org/iiif/2.

    For each identifier it compares info.json (status, width, height), the whole image in at most
    400 pixels, and up to three tiles. Sizes may differ by one pixel, because servers round
    differently. Exits with 0 if all are equal, 1 if some differ, and 2 if some could not be
    compared.
    """
    identifiers = [line.strip() for line in read_lines(listed) if line.strip()]
    for url in (old, new):
        check_url(url)
    if not identifiers:
        raise click.UsageError("The file has no identifiers.")
    counts = asyncio.run(_compare_all(old, new, identifiers, tolerance, parallel, as_json=as_json))
    click.echo(
        f"{counts[Outcome.EQUAL]} equal, {counts[Outcome.DIFFERENT]} different, "
        f"{counts[Outcome.FAILED]} could not be compared.",
        err=as_json,
    )
    sys.exit(_CANNOT if counts[Outcome.FAILED] else 1 if counts[Outcome.DIFFERENT] else 0)


async def _compare_all(
    old: str,
    new: str,
    identifiers: list[str],
    tolerance: float,
    parallel: int,
    *,
    as_json: bool,
) -> Counter[Outcome]:
    counts: Counter[Outcome] = Counter()
    progress = show_progress("Comparing", len(identifiers))
    async with httpx.AsyncClient(timeout=60, follow_redirects=True) as client:
        servers = Server(client, old.rstrip("/")), Server(client, new.rstrip("/"))
        jobs = (compare_image(*servers, identifier, tolerance) for identifier in identifiers)
        with progress if len(identifiers) > 1 else nullcontext(lambda: None) as advance:
            async with aclosing(completed(jobs, parallel)) as results:
                async for result in results:
                    counts[result.outcome] += 1
                    _show(result, as_json=as_json)
                    advance()
    return counts


def _show(result: Comparison, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result)))
    elif result.outcome is not Outcome.EQUAL:
        click.echo(f"{result.identifier}: {'; '.join(result.differences)}")
