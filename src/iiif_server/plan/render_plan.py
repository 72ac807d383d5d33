"""Render plan: pixel operations and parameters of a worker's job. Pure."""

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

MAX_PROFILE_BYTES = 32_768
"""Maximum bytes of an ICC profile in a derivative; larger profiles are applied."""
FEW_PIXELS = 4_000_000
"""Maximum pixels of an image that is processed in memory; libvips streams larger ones."""
MAX_OPTIMISED_PIXELS = 16_000_000
"""Maximum pixels of a JPEG with optimised coding, which holds the coefficients in memory."""
_DEEP_FORMATS = frozenset({Format.PNG, Format.TIF})
PROFILED_FORMATS = frozenset({Format.JPG, Format.PNG, Format.WEBP, Format.TIF, Format.AVIF})


class Engine(StrEnum):
    """Engine that makes a derivative."""

    ORIGINAL = "original"
    """The original's bytes are sent unchanged."""
    REWRITTEN = "rewritten"
    """The original's bytes with other metadata: no location, no gain map, or a profile."""
    JPEGTRAN = "jpegtran"
    """Lossless transform: the original's DCT coefficients, cropped and turned."""
    RASTER = "raster"
    """Decoding, pixel operations, and encoding."""
    LEVEL = "level"
    """Like `RASTER`, from the nearest larger level of the pyramid."""
    TILE = "tile"
    """A tile of the pyramid, or a stored tile of the original, is sent unchanged."""


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
    """Region of the stored pixels; that of a tile may end beyond them (`Grid.aligned`)."""
    size: Dimensions
    """Size after scaling, before any turn."""
    orientation: Orientation
    """Quarter turns and mirroring after scaling: orientation of the original and request."""
    degrees: float
    """Clockwise rotation after the turn, 0 <= degrees < 360; 0 for quarter turns."""
    quality: Quality
    format: Format
    profile: ProfileAction
    shrink: int
    """Reduction while decoding, or scale factor of the level."""
    depth: int = 8
    """Maximum bits per sample, 8 or 16."""


@dataclass(frozen=True, slots=True)
class Description:
    """Description in the file of a derivative: resolution and credits."""

    resolution: tuple[int, int] | None = None
    """Dots per inch, horizontal and vertical."""
    credits: Credits = ()


NO_DESCRIPTION = Description()


@dataclass(frozen=True, slots=True)
class Level:
    """Ready pyramid level, as the source of pixels."""

    path: Path
    """File of the part that contains the level."""
    grid: Grid
    operations: PixelOperations
    """Operations on the pixels of the level; `shrink` is its scale factor."""


@dataclass(frozen=True, slots=True)
class TileToCrop:
    """Full-resolution tile with the original's coefficients, as the source of a lossless crop."""

    data: bytes
    operations: PixelOperations
    """Lossless transform; its box is in pixels of the tile."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """Render plan: a job for a worker that makes one derivative."""

    original: LocalFile
    header: ImageHeader
    engine: Engine
    operations: PixelOperations
    encoding: EncodingOptions
    target: Path | None
    """Empty file that the worker writes to; None: it returns the bytes."""
    level: Level | None = None
    """Pyramid level, if it is the cheapest source of pixels."""
    tile: TileToCrop | None = None
    """Source of a lossless crop, instead of the much larger original."""
    description: Description = NO_DESCRIPTION


def plan_operations(header: ImageHeader, rendition: Rendition, depth: int = 8) -> PixelOperations:
    """Return the operations on the stored pixels for a rendition, with at most `depth` bits."""
    quarters = rendition.rotation.quarter_turns
    requested = Orientation(rendition.rotation.mirror, quarters or 0)
    orientation = header.orientation
    box = orientation.inverse.apply_to_box(rendition.region, header.dimensions)
    size = orientation.inverse.apply(rendition.size)
    return PixelOperations(
        box=box,
        size=size,
        orientation=orientation.then(requested),
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
    """Return the operations on the upright pixels of a pyramid level for a rendition."""
    upright = replace(header, stored=header.dimensions, orientation=UPRIGHT)
    if tile_profile(header) is not ProfileAction.KEEP:
        upright = replace(upright, profile=Profile.NONE)  # the tiles of the level are sRGB
    return replace(plan_operations(upright, rendition), shrink=scale_factor)


def _shrink(header: ImageHeader, box: Box, size: Dimensions) -> int:
    """Return the reduction while decoding: of the decoder, or by a stored level."""
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
            return False  # the sides of the level were rounded down
        # The last tiles of a level have the same scale as the others: their size is rounded up.
        last = start % factor == 0 and start + length == end
        if target > (-(-length // factor) if last else length // factor):
            return False
    return True


def choose_shrink(box: Box, size: Dimensions, max_shrink: int) -> int:
    """Return the factor by which to reduce while decoding.

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
    """Return the use of an original's ICC profile in tiles, which are JPEGs in its colours."""
    if header.profile is not Profile.OTHER:
        return ProfileAction.DROP
    small = header.profile_bytes <= MAX_PROFILE_BYTES
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
