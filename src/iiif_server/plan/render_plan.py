"""All that a worker is told. Pure: a plan is computed from the header and the rendition alone."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from iiif_server.iiif.formats import FACTS, Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.grid import Grid, Tile
from iiif_server.plan.header import Colour, ImageHeader, Profile
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.orientation import UPRIGHT, Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.stored_tiles import StoredTiles

MOST_PROFILE_BYTES = 32_768
"""A larger ICC profile is applied and not repeated in every tile."""
FEW_PIXELS = 4_000_000
"""Pixels up to which an image is worked on in memory; a larger one streams through libvips."""
MOST_PIXELS_CUT = 32_000_000
"""An original above this is not read as a whole for one region that its pyramid can answer."""
_LOSSLESS_FORMATS = frozenset({Format.PNG, Format.TIF})
_LOSSY_ORIGINALS = frozenset({OriginalFormat.WEBP, OriginalFormat.AVIF})
"""Besides JPEG; the header of a JPEG 2000 or a TIFF does not tell for sure."""
LEAST_TILE, MOST_TILE = 64, 4096
"""The sides that a tile of an original may have to be announced: smaller ones are too many to ask
for one by one, and larger ones too much at once."""
NEAR = 4
"""By how much a level is reduced from another at most, when a request is made of it."""
MOST_OPTIMISED = 16_000_000
"""Pixels up to which a JPEG is held in memory as a whole to be coded a few percent smaller."""
_PROFILED_FORMATS = frozenset({Format.JPG, Format.PNG, Format.WEBP, Format.TIF, Format.AVIF})


class Engine(StrEnum):
    """What makes the derivative."""

    ORIGINAL = "original"
    """Nothing: the original's own bytes are what is asked for."""
    JPEGTRAN = "jpegtran"
    """The original's own coefficients, cut and turned."""
    RASTER = "raster"
    """Decoding, working on pixels, and encoding."""
    LEVEL = "level"
    """The same, from the nearest larger level of the original's pyramid."""
    TILE = "tile"
    """Nothing: a tile of the original's pyramid, or of the original, is what is asked for."""


class ProfileAction(StrEnum):
    """What happens to the original's ICC profile."""

    DROP = "drop"
    """The pixels are sRGB, and say nothing."""
    KEEP = "keep"
    """The pixels stay as they are, and the profile goes with them."""
    CONVERT = "convert"
    """The pixels are converted to sRGB."""


@dataclass(frozen=True, slots=True)
class PixelOperations:
    """Operations on the stored pixels that make a rendition: crop, scale, turn, rotate, colour."""

    box: Box
    """What is cut from the stored pixels."""
    size: Dimensions
    """To what it is scaled, before any turn."""
    turn: Orientation
    """The quarter turns and mirroring that follow: the original's orientation and the request's."""
    degrees: float
    """The clockwise rotation that follows them, 0 <= degrees < 360, 0 where turns were enough."""
    quality: Quality
    format: Format
    profile: ProfileAction
    shrink: int
    """By how much to reduce while decoding."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a pyramid that is ready."""

    path: Path
    """The file of the part that holds it."""
    grid: Grid
    operations: PixelOperations
    """What has to be done to its pixels; `shrink` is its scale factor."""


@dataclass(frozen=True, slots=True)
class TileToCut:
    """A tile at full resolution, as a JPEG of the original's own coefficients."""

    data: bytes
    operations: PixelOperations
    """What jpegtran has to do with it; its box is in pixels of the tile."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """One job for a worker."""

    original: LocalFile
    header: ImageHeader
    engine: Engine
    operations: PixelOperations
    encoding: EncodingOptions
    target: Path | None
    """An empty file that takes the result; None: there is nowhere to write."""
    level: Level | None = None
    """Where to take the pixels from, if a pyramid is the cheapest."""
    tile: TileToCut | None = None
    """What holds all that is asked for, and is much less to read than the original."""


def plan_operations(header: ImageHeader, rendition: Rendition) -> PixelOperations:
    """Operations on the stored pixels for a rendition."""
    quarters = rendition.rotation.quarter_turns
    requested = Orientation(rendition.rotation.mirror, quarters or 0)
    orientation = header.orientation
    box = orientation.inverse.carry(rendition.region, header.dimensions)
    size = orientation.inverse.apply(rendition.size)
    return PixelOperations(
        box=box,
        size=size,
        turn=orientation.then(requested),
        degrees=float(rendition.rotation.degrees) if quarters is None else 0.0,
        quality=rendition.quality,
        format=rendition.format,
        profile=_profile_action(header, rendition),
        shrink=_shrink(header, box, size),
    )


def operations_on_level(
    header: ImageHeader, rendition: Rendition, scale_factor: int
) -> PixelOperations:
    """Operations on the pixels of a pyramid's level, which are upright, for a rendition."""
    upright = replace(header, stored=header.dimensions, orientation=UPRIGHT)
    if tile_profile(header) is not ProfileAction.KEEP:
        upright = replace(upright, profile=Profile.NONE)  # its tiles are sRGB by now
    return replace(plan_operations(upright, rendition), shrink=scale_factor)


def levels_for(grid: Grid, rendition: Rendition, *, spare: int = 1) -> tuple[int, ...]:
    """The scale factors of the levels that have enough pixels for a rendition, the least first.

    Enough is `spare` times as many in each direction.
    """
    wanted = (
        factor
        for factor in reversed(grid.scale_factors)
        if _has_enough(factor * spare, rendition.region, rendition.size)
    )
    return tuple(wanted)


def spare_pixels(header: ImageHeader, rendition: Rendition) -> int:
    """How many times the pixels a level must have, in each direction, to stand for the original.

    Where both the original and the answer are without loss, what compressing the level has done to
    it must be averaged out.
    """
    lossy = header.jpeg is not None or header.format in _LOSSY_ORIGINALS
    return 1 if lossy or rendition.format not in _LOSSLESS_FORMATS else 2


def level_answers(header: ImageHeader, rendition: Rendition, engine: Engine) -> bool:
    """Whether the levels of a pyramid, if it is ready, are the cheapest way to a rendition.

    Their tiles have no transparency; and cutting a JPEG without loss costs a reading of it, which
    is worth it up to a size.
    """
    if engine is Engine.JPEGTRAN:
        return header.stored.area > MOST_PIXELS_CUT
    if engine is not Engine.RASTER:
        return False
    return not (header.transparent and FACTS[rendition.format].transparent)


def own_grid(header: ImageHeader) -> Grid | None:
    """The grid of the tiles that a tiled TIFF holds, where viewers are to ask for just those.

    That is where they lie in the order in which the image is seen, and where either no level is
    far from one that is there, or full resolution can be passed on and the rest made (in tiles
    that `dzsave` can cut).
    """
    tiles = header.tiles
    if tiles is None or header.orientation != UPRIGHT:
        return None
    full = tiles.tile
    if min(full.width, full.height) < LEAST_TILE or max(full.width, full.height) > MOST_TILE:
        return None
    grid = Grid(header.dimensions, full)
    to_be_made = passes_tiles(header) and full.width == full.height
    return grid if to_be_made or lacks_no_level(tiles, grid) else None


def lacks_no_level(tiles: StoredTiles, grid: Grid) -> bool:
    """Whether every level of a grid is there, or is reduced by at most 4 from one that is."""
    return all(
        any(factor // NEAR <= held <= factor for held in tiles.factors)
        for factor in grid.scale_factors
    )


def passes_tiles(header: ImageHeader) -> bool:
    """Whether the tiles that a TIFF holds are JPEGs that can be sent as they are."""
    return (
        header.tiles is not None
        and header.tiles.components > 0
        and header.orientation == UPRIGHT
        and tile_profile(header) is not ProfileAction.CONVERT
    )


@dataclass(frozen=True, slots=True)
class StoredTile:
    """A tile of the original that is what is asked for, or holds it in its upper left."""

    scale_factor: int
    number: int
    """Its place in the level, in rows from the top left."""
    whole: bool
    """Whether it is sent as it is; else it is one at the edge, which the file fills up."""


def stored_tile(header: ImageHeader, tile: Tile) -> StoredTile | None:
    """The tile that an original holds for a tile of its `own_grid`; None where it holds none.

    A level whose sides were rounded down ends before the last tiles do: those are none either.
    """
    tiles = header.tiles
    if tiles is None or not passes_tiles(header) or tile.scale_factor not in tiles.factors:
        return None
    level, full = tiles.level(tile.scale_factor).dimensions, tiles.tile
    asked = header.dimensions.reduced(tile.scale_factor)
    x, y = tile.column * full.width, tile.row * full.height
    if (asked.width - x < full.width and asked.width != level.width) or (
        asked.height - y < full.height and asked.height != level.height
    ):
        return None
    if level.width <= x or level.height <= y:
        return None
    whole = level.width - x >= full.width and level.height - y >= full.height
    across = -(-level.width // full.width)
    return StoredTile(tile.scale_factor, tile.row * across + tile.column, whole)


def is_plain_jpeg(rendition: Rendition) -> bool:
    """Whether a rendition is one that a tile of a pyramid may be: an upright JPEG."""
    return (
        rendition.format == Format.JPG
        and rendition.quality == Quality.DEFAULT
        and rendition.rotation.degrees == 0
        and not rendition.rotation.mirror
    )


def choose_engine(
    header: ImageHeader,
    operations: PixelOperations,
    *,
    lossless: bool,
    tile: bool = False,
    cut: bool = False,
) -> Engine:
    """The engine that does least to the original's data.

    `lossless` says that jpegtran is there, `tile` that a tile which is ready is what is asked for,
    `cut` that it is the upper left of one.
    """
    if tile:
        return Engine.TILE
    if cut and lossless:
        return Engine.JPEGTRAN
    if not _needs_no_pixels(header, operations):
        return Engine.RASTER
    # Where the file asks to be turned, whoever opens it will: then it is not what was asked for.
    as_it_is = header.orientation == UPRIGHT and operations.turn == UPRIGHT
    if as_it_is and operations.box.covers(header.stored) and operations.quality == Quality.DEFAULT:
        return Engine.ORIGINAL
    if lossless and _on_mcu_grid(header, operations):
        return Engine.JPEGTRAN
    return Engine.RASTER


def _has_enough(factor: int, box: Box, size: Dimensions) -> bool:
    """Whether the level of a scale factor has enough pixels for a box at a size."""
    return factor == 1 or (box.width >= size.width * factor and box.height >= size.height * factor)


def _shrink(header: ImageHeader, box: Box, size: Dimensions) -> int:
    """By how much to reduce while decoding: by what a decoder can, or to a level that is there."""
    if header.tiles is None:
        return choose_shrink(box, size, header.max_shrink)
    reduced = {factor: box.dimensions.reduced(factor) for factor in header.tiles.factors}
    # Rounded up, so that the last tiles of a level come from where their neighbours do.
    return max(
        factor
        for factor, found in reduced.items()
        if factor == 1 or (found.width >= size.width and found.height >= size.height)
    )


def choose_shrink(box: Box, size: Dimensions, max_shrink: int) -> int:
    """By how much to reduce while decoding.

    The largest power of two that leaves at least twice the target (the rest is scaled with a better
    kernel), and that cuts the region's edges no further off than an eighth of a target pixel.
    """
    shrink = 1
    while shrink * 2 <= max_shrink:
        next_ = shrink * 2
        if min(box.width / size.width, box.height / size.height) < 2 * next_:
            break
        on_grid = box.x % next_ == 0 and box.y % next_ == 0
        if not on_grid and min(box.width / size.width, box.height / size.height) < 8 * next_:
            break
        shrink = next_
    return shrink


def _needs_no_pixels(header: ImageHeader, operations: PixelOperations) -> bool:
    """Whether the coefficients of a JPEG original are what is asked for, cut and turned at most."""
    return (
        header.jpeg is not None
        and header.jpeg.complete
        and header.jpeg.plain
        and operations.format == Format.JPG
        and operations.size == operations.box.dimensions
        and operations.degrees == 0
        and operations.profile is not ProfileAction.CONVERT
        and operations.quality in {Quality.DEFAULT, Quality.GRAY}
    )


def _on_mcu_grid(header: ImageHeader, operations: PixelOperations) -> bool:
    """Whether jpegtran can cut and turn without touching a coefficient.

    A partial last MCU of a side can only stay last: a side that is reversed consists of whole ones.
    """
    if header.jpeg is None or header.jpeg.mcu is None:
        return False
    mcu, box = header.jpeg.mcu, operations.box
    return (
        box.x % mcu.width == 0
        and box.y % mcu.height == 0
        and not (operations.turn.reverses_x and box.width % mcu.width)
        and not (operations.turn.reverses_y and box.height % mcu.height)
    )


def tile_profile(header: ImageHeader) -> ProfileAction:
    """What happens to the ICC profile of an original in its own colours, as a JPEG."""
    if header.profile is not Profile.OTHER:
        return ProfileAction.DROP
    small = header.profile_bytes <= MOST_PROFILE_BYTES
    return (
        ProfileAction.KEEP if small and header.colour is not Colour.OTHER else ProfileAction.CONVERT
    )


def _profile_action(header: ImageHeader, rendition: Rendition) -> ProfileAction:
    action = tile_profile(header)
    has_place = rendition.quality == Quality.DEFAULT and rendition.format in _PROFILED_FORMATS
    return ProfileAction.CONVERT if action is ProfileAction.KEEP and not has_place else action
