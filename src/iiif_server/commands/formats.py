"""`iiif-server formats`: tables of the supported formats, from `formats.table`."""

from collections.abc import Iterator

import click

from iiif_server.formats.table import INPUT_ROWS, OUTPUT_ROWS
from iiif_server.iiif.formats import FORMAT_FACTS
from iiif_server.plan.render_plan import PROFILED_FORMATS


@click.command()
def formats() -> None:
    """Print the formats that are read and written, in Markdown."""
    click.echo(formats_tables(), nl=False)


def formats_tables() -> str:
    """Return the tables of `docs/formats.md`, in Markdown."""
    return "\n".join([*_read(), "", *_written()]) + "\n"


def _read() -> Iterator[str]:
    yield "| original | read by | what is read | not read | limits |"
    yield "|---|---|---|---|---|"
    for row in INPUT_ROWS:
        cells = (
            row.format,
            row.library,
            "; ".join(row.kinds),
            "; ".join(row.unsupported),
            row.limits,
        )
        yield f"| {' | '.join(cells)} |"


def _written() -> Iterator[str]:
    yield "| derivative | written by | coding | longest side | alpha | ICC profile |"
    yield "|---|---|---|---|---|---|"
    for row in OUTPUT_ROWS:
        facts = FORMAT_FACTS[row.format]
        marks = (facts.transparent, row.format in PROFILED_FORMATS)
        cells = (row.format, row.library, row.coding, f"{facts.max_side:,}", *map(_mark, marks))
        yield f"| {' | '.join(cells)} |"


def _mark(has: bool) -> str:  # noqa: FBT001 - a cell
    return "yes" if has else "no"
