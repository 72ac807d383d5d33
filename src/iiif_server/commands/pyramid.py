"""`iiif-server pyramid`: pyramidal TIFFs of images, for use elsewhere."""

import os
import secrets
import sys
from pathlib import Path

import click

from iiif_server.codecs.probe import probe
from iiif_server.codecs.pyramid_tiff import PyramidTiffOptions, write_pyramid_tiff
from iiif_server.commands.common import (
    Advance,
    config_option,
    fail,
    read_settings,
    show_progress,
)
from iiif_server.errors import ConfigurationError, IiifServerError


@click.command()
@click.argument(
    "sources",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@config_option
@click.option(
    "--tile-size",
    type=click.IntRange(64, 4096),
    default=512,
    show_default=True,
    help="Side of the tiles, a multiple of 16.",
)
@click.option(
    "--quality", type=click.IntRange(1, 100), default=85, show_default=True, help="JPEG quality."
)
@click.option("--lossless", is_flag=True, help="Deflate the tiles, and keep transparency.")
@click.option("--force", is_flag=True, help="Replace existing files.")
def pyramid(
    sources: tuple[Path, ...],
    target: Path,
    config: Path | None,
    tile_size: int,
    quality: int,
    *,
    lossless: bool,
    force: bool,
) -> None:
    """Write pyramidal tiled TIFFs of images, for use elsewhere; this server needs none.

    OUTPUT is a file for one image. For several images it is an existing folder; each file in it has
    the name of its image, with the suffix .tif. Only the limits in the settings are used. If an
    image fails, the command reports it, writes the others, and exits with 1.
    """
    if tile_size % 16:
        raise click.BadParameter("must be a multiple of 16", param_hint="--tile-size")
    form = PyramidTiffOptions(tile_size, quality, lossless)
    limit = read_settings(config).settings.limits.max_source_pixels
    failed = False
    for source, output in _outputs(sources, target).items():
        problem = _problem_with(source, output, force=force)
        try:
            if not problem:
                with show_progress("Writing the pyramid, percent", 100) as advance:
                    click.echo(_write_pyramid(source, output, form, limit, advance))
        except IiifServerError as error:
            problem = f"{source}: {error}"
        if problem:
            failed = True
            click.echo(problem, err=True)
    if failed:
        sys.exit(1)


def _problem_with(source: Path, output: Path, *, force: bool) -> str:
    """Return the reason why a file must not be written; empty if it may be."""
    if not output.exists() or (force and not output.samefile(source)):
        return ""
    if output.samefile(source):
        return f"{output} is the image itself: choose another folder or name."
    return f"{output} exists already: remove it, or use --force."


def _outputs(sources: tuple[Path, ...], target: Path) -> dict[Path, Path]:
    """Return the output file of each image; exit with an error if two have the same file."""
    if not target.is_dir():
        if len(sources) > 1:
            fail(f"{target} must be an existing folder, because there are several images.")
        return {sources[0]: target}
    outputs = {source: target / f"{source.stem}.tif" for source in sources}
    if len(set(outputs.values())) < len(outputs):
        fail("Two images have the same name without its suffix: write them one at a time.")
    return outputs


class _Percents:
    """Converts percentages of libvips into steps of a progress bar."""

    def __init__(self, step: Advance) -> None:
        self._step = step
        self._reached = 0

    def reach(self, percent: int) -> None:
        """Advance to a percentage; libvips may report the same percentage twice."""
        for _ in range(self._reached, percent):
            self._step()
        self._reached = max(self._reached, percent)


def _write_pyramid(
    source: Path, target: Path, form: PyramidTiffOptions, max_pixels: int, progress: Advance
) -> str:
    """Write a pyramidal tiled TIFF of an image; return a line with its dimensions and size.

    The file appears under its name when it is complete. Raises the errors of `probe`,
    DamagedOriginalError, or ConfigurationError if a file cannot be read or written.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        header = probe(source, max_pixels)
        with source.open("rb") as file:
            write_pyramid_tiff(file.fileno(), header, part, form, _Percents(progress).reach)
        part.replace(target)
    except OSError as error:
        which = source if error.filename == os.fspath(source) else target
        raise ConfigurationError(f"{which}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    size = header.dimensions
    return f"{target}: {size.width}x{size.height} pixels, {target.stat().st_size:,} bytes"
