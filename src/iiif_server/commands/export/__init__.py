"""`iiif-server export`: writes images as static files for any web server (level 0)."""

import sys
from dataclasses import replace
from pathlib import Path
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
from iiif_server.commands.bulk.tasks import Outcome, Task
from iiif_server.commands.common import (
    ReadSettings,
    fail,
    identifier_options,
    read_selection,
    settings_options,
    version_option,
)
from iiif_server.commands.export.files import cannot_write, check_space, locked, write
from iiif_server.commands.export.tasks import Target, check_one, write_one
from iiif_server.errors import NotBundledError
from iiif_server.iiif.versions import ImageApiVersion
from iiif_server.pages.files import BUNDLE, bundled

SCRIPT = "openseadragon.min.js"
"""File name of the script, in its package and in the folder of the export."""


@click.command()
@settings_options
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--base-url", help="URL under which that folder will be found; default: base_url.")
@version_option
@click.option(
    "--include-signed",
    is_flag=True,
    help="Export images of signed types as well; everyone can then see them.",
)
@identifier_options("Export")
@distribution_options("Export")
def export(
    *,
    read: ReadSettings,
    folder: Path,
    base_url: str | None,
    version: ImageApiVersion,
    include_signed: bool,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
    distribution: Distribution,
) -> None:
    """Write images as files for any web server: tiles, sizes, info.json, a manifest, a viewer.

    Complete files are not written again, so that a repeated run resumes an interrupted one. With
    --shard or --scheduler, all machines have to share the folder.
    """
    written = read_selection(type_, listed, identifiers)
    settings = read().settings
    base = base_url or settings.base_url
    if base is None or not base.startswith(("http://", "https://")):
        fail("Give the public URL of the folder: --base-url https://images.example.org/static")
    target = Target(folder.absolute(), base.rstrip("/"), version.number, include_signed)

    async def run(results: Results) -> None:
        async with distribution.open_executor(settings) as executor:
            found = find_selected(settings, executor, type_, written)
            for name in {identifier.type for identifier in found}:
                executor.originals.source(name)
            tasks = distribution.tasks(found, check_one, target)
            await _export(executor, tasks, target, distribution, results)

    results = run_bulk(run)
    click.echo(_summary(results))
    sys.exit(bool(results.failed))


async def _export(
    executor: Executor,
    tasks: list[Task],
    target: Target,
    distribution: Distribution,
    results: Results,
) -> None:
    """Check all originals, and write the files of those that are readable.

    Raises ConfigurationError if the disk has too little space or another run writes to the folder.
    """
    tasks = await run_tasks(executor, tasks, distribution, "Looking at originals", results)
    counts = results.counts
    check_space(target.folder, counts["missing"], counts["needed"])
    with locked(target.folder, distribution.shard):
        try:
            target = replace(target, script=_copy_script(target.folder, distribution.shard))
        except NotBundledError as error:
            click.echo(f"No viewer beside the images: {error}", err=True)
        except OSError as error:
            raise cannot_write(error) from error
        writing = [replace(task, work=write_one, options=target) for task in tasks]
        description = f"Writing {counts['missing']:,} files of images"
        await run_tasks(executor, writing, distribution, description, results)


def _summary(results: Results) -> str:
    counts = results.counts
    images = results.outcomes[Outcome.MADE] + results.outcomes[Outcome.PRESENT]
    return (
        f"{images} image{'' if images == 1 else 's'}: {counts['written']} files written "
        f"({counts['bytes']:,} bytes), {counts['present']} there already; {results.failed} failed"
        f"{results.skipped}."
    )


def _copy_script(folder: Path, shard: tuple[int, int]) -> str:
    """Copy OpenSeadragon into the folder; return its relative URL from the page of an image."""
    source = bundled(f"openseadragon/{SCRIPT}", BUNDLE)
    write(folder / SCRIPT, source.read_bytes(), mark=f"{shard[0]}-{shard[1]}")
    return f"../../{SCRIPT}"
