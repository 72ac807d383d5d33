"""Raster engine: decode, then crop, scale, colour, turn and rotate pixels, then encode."""

import logging
import platform
import warnings
from dataclasses import replace
from math import ceil, floor

import PIL
import pyvips

from iiif_server.codecs.colour import apply_quality, flatten
from iiif_server.codecs.decode import decoding, level_box, load_part
from iiif_server.codecs.encode import encode
from iiif_server.codecs.pixel_buffer import CAN_SCALE, FloatBox, PixelBuffer, Pixels
from iiif_server.codecs.resample import apply_orientation, rotate, scale
from iiif_server.codecs.tiles import GRID, Tiles, decode_tiles
from iiif_server.iiif.geometry import Box
from iiif_server.iiif.quality import Quality
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.render_plan import (
    FEW_PIXELS,
    NO_DESCRIPTION,
    Description,
    PixelOperations,
    ProfileAction,
)

_MARGIN = 16
"""Pixels around a region that scaling may read, or add."""


def pixels(descriptor: int, header: ImageHeader, operations: PixelOperations) -> Pixels:
    """Make the pixels of a derivative from the original behind a file descriptor.

    Raises DamagedOriginalError where the data cannot be decoded.
    """
    with decoding(header):
        box = _source_box(operations, level_box(header, operations.shrink))
        image, at = load_part(descriptor, header, operations.shrink, box)
        return _finish(scale(image, operations, at), operations)


def pixels_of_tiles(tiles: Tiles, header: ImageHeader, operations: PixelOperations) -> Pixels:
    """Make the pixels of a derivative from a pyramid level, reduced by `operations.shrink`.

    `tiles` are those that the box of the operations touches. Raises DamagedOriginalError.
    """
    with decoding(header):
        part = _source_box(operations, tiles.at)
        buffer = decode_tiles(tiles, part)
        exact = FloatBox.of(operations.box, operations.shrink).relative_to(part.x, part.y)
        few = max(part.dimensions.area, operations.size.area) <= FEW_PIXELS
        if not (CAN_SCALE and few and buffer.contains(exact)):
            return _finish(scale(buffer.to_vips(), operations, part), operations)
        return _finish_buffer(buffer.scaled(exact, operations.size), operations)


def encoded(
    pixels: Pixels,
    header: ImageHeader,
    operations: PixelOperations,
    encoding: EncodingOptions,
    description: Description = NO_DESCRIPTION,
) -> bytes:
    """Encode the pixels in the format of the operations; raises DamagedOriginalError."""
    with decoding(header):
        chroma = header.full_chroma
        return encode(pixels, operations, encoding, description=description, full_chroma=chroma)


def prepare_process(threads: int) -> None:
    """Configure the libraries for a worker: no untrusted loaders, number of threads, no cache.

    Their warnings are dropped: they hold paths, and come as often as the author of a file likes.
    """
    warnings.simplefilter("ignore")
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)
    pyvips.vips_lib.vips_concurrency_set(threads)


def drop_cache() -> None:
    """Empty libvips' operation cache, which keeps files open, without changing its size."""
    limit = pyvips.vips_lib.vips_cache_get_max()
    pyvips.cache_set_max(0)
    pyvips.cache_set_max(limit)


def library_versions() -> dict[str, str]:
    """Return versions of Python and of the codec libraries, by name."""
    return {
        "Python": platform.python_version(),
        "libvips": ".".join(str(pyvips.version(part)) for part in range(3)),
        "Pillow": PIL.__version__,
    }


def _finish(image: Pixels, operations: PixelOperations) -> Pixels:
    """Colour, turn, rotate and flatten scaled pixels.

    Few pixels are computed here; many are computed on demand while they are encoded.
    """
    image = rotate(
        apply_orientation(apply_quality(image, operations), operations.orientation), operations
    )
    image = flatten(image, operations)
    return image.copy_memory() if image.width * image.height <= FEW_PIXELS else image


def _finish_buffer(buffer: PixelBuffer, operations: PixelOperations) -> Pixels:
    """Finish the scaled pixels of tiles, which can be displayed as they are."""
    recoloured = operations.quality not in {Quality.DEFAULT, Quality.COLOR}
    if operations.degrees or recoloured or operations.profile is ProfileAction.CONVERT:
        return _finish(buffer.to_vips(), operations)
    if operations.profile is ProfileAction.DROP:
        buffer = replace(buffer, profile=None)
    return buffer.oriented(operations.orientation)


def _source_box(operations: PixelOperations, at: Box) -> Box:
    """Return the box of a reduced image that the operations read, with a margin."""
    exact = FloatBox.of(operations.box, operations.shrink)
    left, top = max(at.x, floor(exact.x) - _MARGIN), max(at.y, floor(exact.y) - _MARGIN)
    left -= (left - at.x) % GRID
    right = min(at.x + at.width, ceil(exact.x + exact.width) + _MARGIN)
    bottom = min(at.y + at.height, ceil(exact.y + exact.height) + _MARGIN)
    return Box(left, top, right - left, bottom - top)
