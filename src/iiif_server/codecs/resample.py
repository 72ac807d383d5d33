"""Pixel geometry by libvips: crop, scale, quarter turns, and rotation by any angle."""

from math import ceil, floor

import pyvips

from iiif_server.codecs.alignment import aligned_span
from iiif_server.codecs.colour import white
from iiif_server.codecs.pixel_buffer import FloatBox, Pixels
from iiif_server.iiif.formats import FORMAT_FACTS
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.plan.orientation import UPRIGHT, Orientation
from iiif_server.plan.render_plan import PixelOperations

_MAX_DISPLACEMENT = 0.02
"""Displacement of an edge, in pixels, above which it is corrected."""
_ALIGNMENT_TOLERANCE = 0.05
"""Displacement that is accepted instead of an interpolation, which blurs and takes longer."""
_BOX_FILTER_REDUCTION = 4
"""Reduction from which libvips first averages boxes, starting at the edge instead of the centre."""


def scale(image: Pixels, operations: PixelOperations, at: Box) -> Pixels:
    """Scale the box of the operations to exactly their size.

    `image` is the part `at` of the original reduced by `operations.shrink`.
    """
    deep = operations.depth > 8 and image.format == "ushort"  # noqa: PLR2004 - bits of a byte
    if not deep or operations.size == operations.box.dimensions:
        return _scale(image, operations, at)
    # The kernels of libvips for integers are good for 10 bits.
    return _scale(image.cast("float"), operations, at).rint().cast("ushort")


def _scale(image: Pixels, operations: PixelOperations, at: Box) -> Pixels:
    exact = FloatBox.of(operations.box, operations.shrink)
    reduced = _reduce_in_one_pass(image, exact, operations, at)
    if reduced is not None:
        return reduced
    x, y = floor(exact.x), floor(exact.y)
    right, bottom = ceil(exact.x + exact.width), ceil(exact.y + exact.height)
    image = _crop(image, Box(x - at.x, y - at.y, right - x, bottom - y))
    size = operations.size
    if (right - x, bottom - y) == (size.width, size.height):
        return image  # off by less than a pixel of the reduced image: scaling would only blur
    across, down = size.width / exact.width, size.height / exact.height
    offset = (exact.x - x) * across, (exact.y - y) * down
    return _resample(image, across, down, offset, operations)


def shrink_by_two(pixels: Pixels) -> Pixels:
    """Halve the image in memory, with sides rounded up."""
    return pixels.resize(0.5, kernel="lanczos3").copy_memory()


def apply_orientation(image: Pixels, orientation: Orientation) -> Pixels:
    """Mirror the image and turn it by quarters."""
    if orientation == UPRIGHT:
        return image
    image = image.copy_memory()  # turning reads in another order than decoding gives
    if orientation.mirror:
        image = image.fliphor()
    return image.rot(f"d{90 * orientation.quarters}")


def rotate(image: Pixels, operations: PixelOperations) -> Pixels:
    """Rotate the image by any angle into its bounding box (Image API 3.0, 4.3).

    The corners are transparent in formats with transparency, and white in others.
    """
    if not operations.degrees:
        return image
    bitonal = operations.quality is Quality.BITONAL
    if FORMAT_FACTS[operations.format].transparent and not bitonal and not image.hasalpha():
        image = image.addalpha()
    alpha, band_format = bool(image.hasalpha()), image.format
    background = [0] * image.bands if alpha else white(image)
    image = image.copy_memory()
    if alpha:
        image = image.premultiply()
    image = image.similarity(
        angle=operations.degrees,
        interpolate=pyvips.Interpolate.new("nearest" if bitonal else "bicubic"),
        background=background,
    )
    if alpha:
        image = image.unpremultiply().rint()  # `cast` cuts off
    return image.cast(band_format)


def _reduce_in_one_pass(
    image: Pixels, exact: FloatBox, operations: PixelOperations, at: Box
) -> Pixels | None:
    """Scale in one pass, if the reduction is small and an aligned crop exists; else None."""
    size = operations.size
    steps = exact.width / size.width, exact.height / size.height
    if min(steps) < 1 or max(steps) == 1 or max(steps) >= _BOX_FILTER_REDUCTION or image.hasalpha():
        return None
    across = aligned_span(exact.x - at.x, exact.width, size.width, _ALIGNMENT_TOLERANCE)
    down = aligned_span(exact.y - at.y, exact.height, size.height, _ALIGNMENT_TOLERANCE)
    if across is None or down is None:
        return None
    width, height = across.end - across.start, down.end - down.start
    image = _crop(image, Box(across.start, down.start, width, height))
    image = image.resize(1 / steps[0], vscale=1 / steps[1], kernel="lanczos3")
    if (image.width, image.height) != (across.total, down.total):
        return None  # rounded the other way
    return _crop(image, Box(across.before, down.before, size.width, size.height))


def _crop(image: Pixels, box: Box) -> Pixels:
    """Crop a box; beyond the image, its edges are repeated."""
    left, top = max(0, -box.x), max(0, -box.y)
    right = max(0, box.x + box.width - image.width)
    bottom = max(0, box.y + box.height - image.height)
    if left or top or right or bottom:
        width, height = left + image.width + right, top + image.height + bottom
        image = image.embed(left, top, width, height, extend="copy")
    if box.dimensions == Dimensions(image.width, image.height):
        return image
    return image.crop(box.x + left, box.y + top, box.width, box.height)


def _resample(
    image: Pixels,
    across: float,
    down: float,
    offset: tuple[float, float],
    operations: PixelOperations,
) -> Pixels:
    """Scale the image by two factors, from an offset in pixels of the result, to `ops.size`."""
    alpha, band_format = bool(image.hasalpha()), image.format
    if alpha:
        image = image.premultiply()
    size = operations.size
    reduction_across, reduction_down = min(1.0, across), min(1.0, down)
    width, height = image.width * reduction_across, image.height * reduction_down
    if min(reduction_across, reduction_down) < 1:
        image = image.resize(reduction_across, vscale=reduction_down, kernel="lanczos3")
    # libvips rounds the sides, and puts half of what that adds or takes at each end.
    x, y = (image.width - width) / 2, (image.height - height) / 2
    if max(across, down) > 1:
        enlargement = across / reduction_across, down / reduction_down
        image = _enlarge(
            image,
            enlargement,
            (offset[0] + x * enlargement[0], offset[1] + y * enlargement[1]),
            size,
        )
    else:
        x, y = offset[0] + x, offset[1] + y
        if (image.width, image.height) != (size.width, size.height) or max(
            abs(x), abs(y)
        ) > _MAX_DISPLACEMENT:
            image = shift(image, -x, -y, size)
    if alpha:
        image = image.unpremultiply().rint()  # `cast` cuts off
    return image.cast(band_format)


def _enlarge(
    image: Pixels, factors: tuple[float, float], offset: tuple[float, float], size: Dimensions
) -> Pixels:
    """Enlarge the image, from an offset in pixels of the result.

    Pixels are squares: their edges stay where they are. (`resize` of libvips keeps the middle of
    the first pixel in its place, which moves everything by half a pixel of the result.)
    """
    return image.affine(
        [factors[0], 0, 0, factors[1]],
        idx=0.5,
        idy=0.5,
        odx=-0.5 - offset[0],
        ody=-0.5 - offset[1],
        oarea=[0, 0, size.width, size.height],
        interpolate=pyvips.Interpolate.new("bicubic"),
        extend="copy",
    )


def shift(image: Pixels, x: float, y: float, size: Dimensions) -> Pixels:
    """Move the image by fractions of pixels within this size, repeating its edges."""
    return image.affine(
        [1, 0, 0, 1],
        odx=x,
        ody=y,
        oarea=[0, 0, size.width, size.height],
        interpolate=pyvips.Interpolate.new("bicubic"),
        extend="copy",
    )
