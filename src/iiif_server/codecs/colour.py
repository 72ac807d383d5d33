"""Colour of pixels: profiles, quality and transparency; by libvips."""

from collections.abc import Iterable

import pyvips

from iiif_server.codecs.pixel_buffer import ICC, Pixels
from iiif_server.iiif.formats import FACTS
from iiif_server.iiif.quality import Quality
from iiif_server.plan.render_plan import PixelOperations, ProfileAction

_ORIENTATION = "orientation"
_MID_GRAY = 128
ON_WHITE = [255]
"""Background of flattened images."""


def white(bands: int) -> list[int]:
    """A white pixel."""
    return ON_WHITE * bands


def in_quality(image: Pixels, operations: PixelOperations) -> Pixels:
    """The image as 8-bit gray or RGB, with or without alpha, in the requested quality."""
    image = displayable(image, operations.profile)
    if operations.quality in {Quality.DEFAULT, Quality.COLOR}:
        return image
    image = image.colourspace("b-w")
    if operations.quality is Quality.BITONAL:
        if image.hasalpha():
            image = image.flatten(background=ON_WHITE)
        image = (image >= _MID_GRAY).copy(interpretation="b-w")
    return image


def displayable(image: Pixels, action: ProfileAction) -> Pixels:
    """The image as 8-bit samples that are sRGB or gray, or described by the profile they keep."""
    if image.interpretation == "cmyk" or action is ProfileAction.CONVERT:
        converted = _converted(image)
        if converted is not None:
            return converted
    if image.interpretation not in {"srgb", "b-w"}:
        gray = image.interpretation == "grey16" or image.bands <= 2  # noqa: PLR2004 - gray, alpha
        image = image.colourspace("b-w" if gray else "srgb")
    if image.format != "uchar":
        image = image.cast("uchar")
    # The orientation is applied later, and a TIFF would repeat the tag.
    spent = [_ORIENTATION] if action is ProfileAction.KEEP else [_ORIENTATION, ICC]
    return _without(image, spent)


def flatten(image: Pixels, operations: PixelOperations) -> Pixels:
    """The image on white where the format has no transparency."""
    if image.hasalpha() and not FACTS[operations.format].transparent:
        return image.flatten(background=ON_WHITE)
    return image


def _without(image: Pixels, fields: Iterable[str]) -> Pixels:
    """The image without some of its metadata."""
    present = set(fields).intersection(image.get_fields())
    if present:
        image = image.copy()
        for field in present:
            image.remove(field)
    return image


def _converted(image: Pixels) -> Pixels | None:
    """The image in sRGB by its own profile, or by a usual one for CMYK; None if that fails."""
    try:
        converted = image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", black_point_compensation=True, depth=8
        )
    except pyvips.Error:
        return None
    return _without(converted, [_ORIENTATION, ICC])
