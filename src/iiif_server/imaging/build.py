"""Making pyramids, in worker processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyvips

from iiif_server.errors import RenderFailedError
from iiif_server.image_api.geometry import Box, Dimensions
from iiif_server.imaging import jpegtran, raster
from iiif_server.imaging.header import ImageHeader
from iiif_server.imaging.originals import OpenOriginal
from iiif_server.imaging.plan import Identity, ProfileAction
from iiif_server.imaging.pyramid import Grid, Part, Tile, write_part
from iiif_server.imaging.turns import UPRIGHT

_REDUCE_WHILE_DECODING = 2
"""The reduced part starts from a decode reduced by this where the decoder can, and never closer to
its first level than twice: the rest is Lanczos' work."""
_COEFFICIENT_BYTES = 6
"""Bytes a pixel that cutting a JPEG without loss takes in all: 3 for the coefficients of a 4:2:0
image as they are read, and 3 for those that are cut in one pass."""
_MOST_COEFFICIENTS = 1_500_000_000
"""Bytes of coefficients above which the tiles are cut in several passes."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """One part of one pyramid to be made."""

    original: Identity
    header: ImageHeader
    part: Part
    grid: Grid
    profile: ProfileAction
    lossless: bool
    """Whether jpegtran is there."""
    reduced_quality: int
    """JPEG quality of the reduced levels."""
    full_quality: int
    """JPEG quality of full-resolution tiles that cannot be the original's own coefficients."""
    target: Path


def first_reduced(header: ImageHeader) -> int:
    """The scale factor at which the reduced part begins; the detail part is what is above."""
    thinnest = min(header.stored.width, header.stored.height)  # no decoder reduces it to nothing
    return 2 * min(_REDUCE_WHILE_DECODING, header.max_shrink, thinnest)


def part_of(header: ImageHeader, scale_factor: int) -> Part:
    """The part that holds the level of a scale factor."""
    return Part.REDUCED if scale_factor >= first_reduced(header) else Part.DETAIL


def cuts_losslessly(header: ImageHeader, grid: Grid, profile: ProfileAction) -> bool:
    """Whether full-resolution tiles can be the original's own coefficients."""
    return (
        header.jpeg is not None
        and header.jpeg.plain
        and header.jpeg.complete
        and header.jpeg.mcu is not None
        and grid.tile_size % header.jpeg.mcu.width == 0
        and grid.tile_size % header.jpeg.mcu.height == 0
        and header.orientation == UPRIGHT
        and profile is not ProfileAction.CONVERT
    )


def passes(grid: Grid) -> int:
    """How often the coefficients of a JPEG are read to cut all its full-resolution tiles."""
    return -(-grid.dimensions.area * _COEFFICIENT_BYTES // _MOST_COEFFICIENTS)


def build(plan: BuildPlan, original: OpenOriginal) -> int:
    """Write a part to the plan's target; the number of its bytes.

    Raises DamagedOriginalError, or RenderFailedError if the disk refuses.
    """
    levels = _reduced_levels if plan.part is Part.REDUCED else _detail_levels
    try:
        write_part(plan.target, raster.decoded(plan.header, levels(plan, original)), plan.grid)
        return plan.target.stat().st_size
    except OSError as error:
        raise RenderFailedError("The pyramid of this image could not be kept.") from error


def _reduced_levels(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """The tiles from `first_reduced` down to one tile, each level made of the one above it."""
    first = first_reduced(plan.header)
    pixels = _upright(plan, original, first // 2)
    for scale_factor in plan.grid.scale_factors:
        if scale_factor >= first:
            pixels = _halved(pixels)
            yield from _tiles(plan, scale_factor, pixels, plan.reduced_quality)


def _detail_levels(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """The tiles at full resolution, and those at half resolution if the reduced part lacks them."""
    lossless = plan.lossless and cuts_losslessly(plan.header, plan.grid, plan.profile)
    if lossless:
        try:
            yield from _own_tiles(plan, original)
        except jpegtran.LosslessFailedError:
            lossless = False
    if not lossless:
        yield from _tiles(plan, 1, _upright(plan, original, 1), plan.full_quality)
    for scale_factor in plan.grid.scale_factors[1:]:
        if scale_factor < first_reduced(plan.header):
            halved = _halved(_upright(plan, original, 1))
            yield from _tiles(plan, scale_factor, halved, plan.reduced_quality)


def _upright(plan: BuildPlan, original: OpenOriginal, shrink: int) -> raster.Pixels:
    """The whole image, reduced by `shrink` with its sides rounded up.

    Decoders of JPEG leave out a last row or column that is not whole, at the end of the stored
    pixels; the one before stands for it.
    """
    header = plan.header
    pixels = raster.upright(original.descriptor, header, plan.profile, shrink)
    stored = header.orientation.inverse.apply(Dimensions(pixels.width, pixels.height))
    decoded = Box(0, 0, stored.width * shrink, stored.height * shrink)
    at = header.orientation.carry(decoded, header.stored)
    return _placed(pixels, at.x / shrink, at.y / shrink, header.dimensions.reduced(shrink))


def _halved(pixels: raster.Pixels) -> raster.Pixels:
    """The pixels at half their size, each the middle of four: an odd last one counts twice.

    libvips alone would round an odd side and put half of what that adds at either end, which moves
    the picture by a quarter of a pixel a level.
    """
    even = Dimensions(pixels.width + pixels.width % 2, pixels.height + pixels.height % 2)
    return raster.halved(_placed(pixels, 0, 0, even))


def _placed(pixels: raster.Pixels, x: float, y: float, size: Dimensions) -> raster.Pixels:
    """The pixels at a place in an image of this size, their edges repeated around them."""
    if (x, y) == (0, 0):
        if (pixels.width, pixels.height) == (size.width, size.height):
            return pixels
        return pixels.embed(0, 0, size.width, size.height, extend="copy")
    # Between two pixels: what was left out came to lie at the beginning by a turn.
    framed = pixels.embed(1, 1, pixels.width + 2, pixels.height + 2, extend="copy")
    return framed.affine(
        [1, 0, 0, 1],
        odx=x - 1,
        ody=y - 1,
        oarea=[0, 0, size.width, size.height],
        interpolate=pyvips.Interpolate.new("bicubic"),
        extend="copy",
    )


def _own_tiles(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """The full-resolution tiles as the original's coefficients."""
    tiles = list(plan.grid.tiles(1))
    batch = -(-len(tiles) // passes(plan.grid))
    keep_profile = plan.profile is ProfileAction.KEEP
    for start in range(0, len(tiles), batch):
        chosen = tiles[start : start + batch]
        boxes = [box for _, box in chosen]
        pieces = jpegtran.split(original.bytes, boxes, keep_profile=keep_profile)
        for (tile, _), data in zip(chosen, pieces, strict=True):
            yield tile, data


def _tiles(
    plan: BuildPlan, scale_factor: int, level: raster.Pixels, quality: int
) -> Iterator[tuple[Tile, bytes]]:
    """The tiles of one level, encoded."""
    with raster.cut(level, plan.grid.tile_size, quality) as cut:
        for tile, _ in plan.grid.tiles(scale_factor):
            yield tile, cut.read(f"tiles_files/0/{tile.column}_{tile.row}.jpg")
