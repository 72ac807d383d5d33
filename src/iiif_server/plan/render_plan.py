"""Plan of one rendition: the pixel operations and all else that a worker is told. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.grid import Grid
from iiif_server.plan.header import Colour, Credits, ImageHeader, Profile
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.orientation import UPRIGHT, Orientation
from iiif_server.plan.stored_tiles import StoredLevel

MOST_PROFILE_BYTES = 32_768
"""A larger ICC profile is applied and not repeated in every tile."""
FEW_PIXELS = 4_000_000
"""Pixels up to which an image is worked on in memory; a larger one streams through libvips."""
MOST_OPTIMISED = 16_000_000
"""Pixels up to which a JPEG is held in memory as a whole to be coded a few percent smaller."""
_DEEP_FORMATS = frozenset({Format.PNG, Format.TIF})
PROFILED_FORMATS = frozenset({Format.JPG, Format.PNG, Format.WEBP, Format.TIF, Format.AVIF})


class Engine(StrEnum):
    """Engine: what makes a derivative."""

    ORIGINAL = "original"
    """Nothing: the original's own bytes are sent."""
    REWRITTEN = "rewritten"
    """The original's own bytes with other metadata: no location, no gain map, or a profile."""
    JPEGTRAN = "jpegtran"
    """Lossless transform: the original's own DCT coefficients, cropped and turned."""
    RASTER = "raster"
    """Decoding, working on pixels, and encoding."""
    LEVEL = "level"
    """As `RASTER`, from the nearest larger level of the original's pyramid."""
    TILE = "tile"
    """Nothing: a tile of the original's pyramid, or of the original, is sent."""


class ProfileAction(StrEnum):
    """Use of the original's ICC profile."""

    DROP = "drop"
    """The pixels are sRGB and get no profile."""
    KEEP = "keep"
    """The pixels keep their colours, and the derivative keeps the profile."""
    CONVERT = "convert"
    """The pixels are converted to sRGB."""


@dataclass(frozen=True, slots=True)
class PixelOperations:
    """Operations on the stored pixels that make a rendition: crop, scale, turn, rotate, colour."""

    box: Box
    """The region of the stored pixels."""
    size: Dimensions
    """Size after scaling, before any turn."""
    turn: Orientation
    """The quarter turns and mirroring that follow: the original's orientation and the request's."""
    degrees: float
    """Clockwise rotation after the turn, 0 <= degrees < 360; 0 where quarter turns are enough."""
    quality: Quality
    format: Format
    profile: ProfileAction
    shrink: int
    """Factor by which the decoder reduces, or scale factor of the level."""
    depth: int = 8
    """Bits of a sample, 8 or 16: the most that are kept."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the file of a derivative says besides its pixels."""

    resolution: tuple[int, int] | None = None
    """Dots per inch, across and down."""
    credits: Credits = ()


NO_DESCRIPTION = Description()


@dataclass(frozen=True, slots=True)
class Level:
    """Level of a pyramid that is ready, as the source of pixels."""

    path: Path
    """The file of the part that holds it."""
    grid: Grid
    operations: PixelOperations
    """Operations on its pixels; `shrink` is its scale factor."""


@dataclass(frozen=True, slots=True)
class TileToCut:
    """Full-resolution tile, a JPEG of the original's own coefficients, as the source of a crop."""

    data: bytes
    operations: PixelOperations
    """The lossless transform; its box is in pixels of the tile."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """Plan of one rendition: a job for a worker."""

    original: LocalFile
    header: ImageHeader
    engine: Engine
    operations: PixelOperations
    encoding: EncodingOptions
    target: Path | None
    """Empty file that the worker writes to; None: it returns the bytes."""
    level: Level | None = None
    """Source of the pixels, if a level of the pyramid is the cheapest."""
    tile: TileToCut | None = None
    """Source of a lossless crop, much smaller than the original."""
    description: Description = NO_DESCRIPTION


def plan_operations(header: ImageHeader, rendition: Rendition, depth: int = 8) -> PixelOperations:
    """Operations on the stored pixels for a rendition, with at most `depth` bits of a sample."""
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
        depth=depth if _is_deep(header, rendition) else 8,
    )


def operations_on_level(
    header: ImageHeader, rendition: Rendition, scale_factor: int
) -> PixelOperations:
    """Operations on the pixels of a pyramid's level, which are upright, for a rendition."""
    upright = replace(header, stored=header.dimensions, orientation=UPRIGHT)
    if tile_profile(header) is not ProfileAction.KEEP:
        upright = replace(upright, profile=Profile.NONE)  # its tiles are sRGB by now
    return replace(plan_operations(upright, rendition), shrink=scale_factor)


def _shrink(header: ImageHeader, box: Box, size: Dimensions) -> int:
    """Factor by which to reduce while decoding: what the decoder can, or a stored level."""
    if header.tiles is None:
        return choose_shrink(box, size, header.max_shrink)
    return max(
        level.scale_factor
        for level in header.tiles.levels
        if level.scale_factor == 1 or _suffices(level, header.stored, box, size)
    )


def _suffices(level: StoredLevel, stored: Dimensions, box: Box, size: Dimensions) -> bool:
    """Whether a stored level has enough pixels of a box for a size."""
    factor, held = level.scale_factor, level.dimensions
    sides = (
        (box.x, box.width, size.width, stored.width, held.width),
        (box.y, box.height, size.height, stored.height, held.height),
    )
    for start, length, target, end, held_length in sides:
        if start // factor >= held_length:
            return False  # where a level's sides were rounded down
        # The last tiles of a level come from where their neighbours do: they are rounded up.
        last = start % factor == 0 and start + length == end
        if target > (-(-length // factor) if last else length // factor):
            return False
    return True


def choose_shrink(box: Box, size: Dimensions, max_shrink: int) -> int:
    """Factor by which to reduce while decoding.

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


def tile_profile(header: ImageHeader) -> ProfileAction:
    """Use of an original's ICC profile in tiles: JPEGs in its own colours."""
    if header.profile is not Profile.OTHER:
        return ProfileAction.DROP
    small = header.profile_bytes <= MOST_PROFILE_BYTES
    kept = small and header.colour is not Colour.OTHER and not header.treatment.to_srgb
    return ProfileAction.KEEP if kept else ProfileAction.CONVERT


def _is_deep(header: ImageHeader, rendition: Rendition) -> bool:
    """Whether a rendition can have more than 8 bits of a sample."""
    return (
        header.bits > 8  # noqa: PLR2004 - bits of a byte
        and rendition.format in _DEEP_FORMATS
        and rendition.quality is not Quality.BITONAL
    )


def _profile_action(header: ImageHeader, rendition: Rendition) -> ProfileAction:
    action = tile_profile(header)
    has_place = rendition.quality == Quality.DEFAULT and rendition.format in PROFILED_FORMATS
    return ProfileAction.CONVERT if action is ProfileAction.KEEP and not has_place else action
