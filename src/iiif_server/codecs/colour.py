"""Colour of pixels: profiles, quality and transparency; by libvips."""

from collections.abc import Iterable

import pyvips

from iiif_server.codecs.pixel_buffer import ICC, Pixels
from iiif_server.iiif.formats import FORMAT_FACTS
from iiif_server.iiif.quality import Quality
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.render_plan import PixelOperations, ProfileAction
from iiif_server.plan.sample_ranges import range_in_16_bits

_ORIENTATION = "orientation"
_MID_GRAY = 128
_WORD = 65_535
_WIDE_BITS = 16
ON_WHITE = [255]
"""Background of flattened images of 8 bits."""
_WIDE = frozenset({"rgb16", "grey16"})
"""Names that libvips has for colour spaces of 16-bit samples."""


def white(image: Pixels) -> list[int]:
    """Return a white pixel for 8 or 16 bits."""
    return (ON_WHITE if image.format == "uchar" else [65_535]) * int(image.bands)


def apply_quality(image: Pixels, operations: PixelOperations) -> Pixels:
    """Convert to gray or RGB, with or without alpha, in the requested quality and depth."""
    image = to_displayable(image, operations.profile, operations.depth)
    if operations.quality in {Quality.DEFAULT, Quality.COLOR}:
        return image
    image = image.colourspace("grey16" if image.format == "ushort" else "b-w")
    if operations.quality is Quality.BITONAL:
        if image.hasalpha():
            image = image.flatten(background=ON_WHITE)
        image = (image >= _MID_GRAY).copy(interpretation="b-w")
    return image


def to_displayable(image: Pixels, action: ProfileAction, depth: int = 8) -> Pixels:
    """Convert to samples that are sRGB or gray, or described by the image's profile.

    The result has 16 bits if `depth` and the image have; else 8.
    """
    wide = depth == _WIDE_BITS and image.format == "ushort"
    if image.interpretation == "cmyk" or action is ProfileAction.CONVERT:
        converted = _convert_to_srgb(image, _WIDE_BITS if wide else 8)
        if converted is not None:
            return converted
    if image.interpretation not in (_WIDE if wide else {"srgb", "b-w"}):
        gray = image.interpretation == "grey16" or image.bands <= 2  # noqa: PLR2004 - gray, alpha
        spaces = ("rgb16", "grey16") if wide else ("srgb", "b-w")
        image = image.colourspace(spaces[gray])
    if image.format != ("ushort" if wide else "uchar"):
        image = image.cast("ushort" if wide else "uchar")
    # The orientation is applied later, and a TIFF would repeat the tag.
    removed_fields = [_ORIENTATION] if action is ProfileAction.KEEP else [_ORIENTATION, ICC]
    return _remove_fields(image, removed_fields)


def stretch_range(image: Pixels, header: ImageHeader) -> Pixels:
    """Stretch a span of levels of a 16-bit image to the full range, except alpha."""
    sample_range = range_in_16_bits(header)
    if sample_range is None or image.format != "ushort":
        return image
    low, high = sample_range
    colours = image.bands - bool(image.hasalpha())
    scale = _WORD / (high - low)
    stretched = image.extract_band(0, n=colours).linear(scale, -low * scale).rint().cast("ushort")
    if image.hasalpha():
        stretched = stretched.bandjoin(image.extract_band(colours))
    return stretched.copy(interpretation=image.interpretation)


def flatten(image: Pixels, operations: PixelOperations) -> Pixels:
    """Flatten the image on white if the format has no transparency."""
    if image.hasalpha() and not FORMAT_FACTS[operations.format].transparent:
        return image.flatten(background=ON_WHITE)
    return image


def _remove_fields(image: Pixels, fields: Iterable[str]) -> Pixels:
    """Remove metadata fields from the image."""
    present = set(fields).intersection(image.get_fields())
    if present:
        image = image.copy()
        for field in present:
            image.remove(field)
    return image


def _convert_to_srgb(image: Pixels, depth: int) -> Pixels | None:
    """Convert to sRGB with the embedded profile, or the default CMYK profile; None on failure."""
    options = {"embedded": True, "input_profile": "cmyk", "black_point_compensation": True}
    try:
        if depth == _WIDE_BITS:
            # In one step, lcms interpolates between 33 colours along each axis.
            converted = image.icc_import(**options).icc_export(
                output_profile="srgb", black_point_compensation=True, depth=depth
            )
        else:
            converted = image.icc_transform("srgb", depth=depth, **options)
    except pyvips.Error:
        return None
    return _remove_fields(converted, [_ORIENTATION, ICC])
