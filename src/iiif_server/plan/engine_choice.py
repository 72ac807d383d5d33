"""Choice of the engine for a rendition, and of the usable pyramid levels. Pure."""

from iiif_server.iiif.formats import FORMAT_FACTS, Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.plan.grid import Grid
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import Engine, PixelOperations, ProfileAction

MAX_PIXELS_TO_CROP = 32_000_000
"""Pixels above which an original is not read for a region that a pyramid level can answer."""
_LOSSLESS_FORMATS = frozenset({Format.PNG, Format.TIF})
_LOSSY_ORIGINALS = frozenset({OriginalFormat.WEBP, OriginalFormat.AVIF, OriginalFormat.HEIF})
"""Lossy formats besides JPEG. JPEG 2000 and TIFF may be lossless."""


def levels_for(grid: Grid, rendition: Rendition, *, oversampling: int = 1) -> tuple[int, ...]:
    """Return the scale factors of levels with enough pixels for a rendition, smallest level first.

    Enough is `oversampling` times as many in each direction.
    """
    usable = (
        factor
        for factor in reversed(grid.scale_factors)
        if _has_enough(factor * oversampling, rendition.region, rendition.size)
    )
    return tuple(usable)


def required_oversampling(header: ImageHeader, rendition: Rendition) -> int:
    """Return the factor of pixels per side that a level needs to replace the original.

    Where both the original and the derivative are lossless, the compression of the level must be
    averaged out.
    """
    lossy = header.jpeg is not None or header.format in _LOSSY_ORIGINALS
    return 1 if lossy or rendition.format not in _LOSSLESS_FORMATS else 2


def prefers_level(
    header: ImageHeader, rendition: Rendition, engine: Engine, depth: int = 8
) -> bool:
    """Whether the levels of a pyramid, if it is ready, are the cheapest source of a rendition.

    Tiles of levels have no transparency and 8 bits per sample. A lossless crop reads the whole
    JPEG, which is cheap only up to a size.
    """
    if engine is Engine.JPEGTRAN:
        return header.stored.area > MAX_PIXELS_TO_CROP
    if engine is not Engine.RASTER or depth > 8:  # noqa: PLR2004 - bits of a byte
        return False
    return not (header.transparent and FORMAT_FACTS[rendition.format].transparent)


def is_plain_jpeg(rendition: Rendition) -> bool:
    """Whether a rendition can be a tile of a pyramid: an upright JPEG in default quality."""
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
    crop: bool = False,
) -> Engine:
    """Return the engine that changes the original's data least.

    `lossless`: a TurboJPEG library is available; `tile`: a ready tile is the rendition; `crop`: the
    rendition is the upper left part of a ready tile.
    """
    if tile:
        return Engine.TILE
    if crop and lossless:
        return Engine.JPEGTRAN
    if not _needs_no_pixels(header, operations):
        return Engine.RASTER
    # Programs apply an EXIF orientation when they open the file: it would not be the rendition.
    upright = header.orientation == UPRIGHT and operations.orientation == UPRIGHT
    if upright and operations.box.covers(header.stored) and operations.quality == Quality.DEFAULT:
        return Engine.REWRITTEN if header.needs_rewriting else Engine.ORIGINAL
    if lossless and _on_mcu_grid(header, operations):
        return Engine.JPEGTRAN
    return Engine.RASTER


def _has_enough(factor: int, box: Box, size: Dimensions) -> bool:
    """Whether the level of a scale factor has enough pixels for a box at a size."""
    return factor == 1 or (box.width >= size.width * factor and box.height >= size.height * factor)


def _needs_no_pixels(header: ImageHeader, operations: PixelOperations) -> bool:
    """Whether the rendition has the coefficients of a JPEG original, cropped and turned at most."""
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
        and not (operations.orientation.reverses_x and box.width % mcu.width)
        and not (operations.orientation.reverses_y and box.height % mcu.height)
    )
