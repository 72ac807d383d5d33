"""ICC profiles, identified by their effect on colours, never by name."""

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

from iiif_server.plan.header import Colour, Profile

_TOLERANCE = 2
"""Tolerance of a colour against sRGB, in 8-bit levels."""
_STEPS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
_MODES = {b"RGB ": "RGB", b"GRAY": "L"}
_SPACES = {Colour.RGB: {b"RGB "}, Colour.GRAY: {b"GRAY"}, Colour.OTHER: {b"CMYK", b"Lab "}}
_MIN_PROFILE_BYTES = 132
"""Bytes of a profile header and the tag count (ICC.1, 7.2)."""


def classify_profile(icc: bytes, colour: Colour) -> Profile:
    """Return the kind of an ICC profile for samples of a colour space.

    A profile that is damaged, or for another colour space, is none.
    """
    if len(icc) < _MIN_PROFILE_BYTES or icc[16:20] not in _SPACES[colour]:
        return Profile.NONE
    return _classify(icc)


@lru_cache(maxsize=16)  # most originals of a collection have the same one
def _classify(icc: bytes) -> Profile:
    mode = _MODES.get(icc[16:20])
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if mode is None:
            return Profile.OTHER
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
        )
        pixels = _test_pixels(mode)
        converted = transform.apply(pixels)
    except Exception:  # noqa: BLE001 - lcms on hostile data; an unusable profile is no profile
        return Profile.NONE
    pairs = zip(pixels.convert("RGB").tobytes(), converted.tobytes(), strict=True)
    return (
        Profile.SRGB
        if all(abs(expected - actual) <= _TOLERANCE for expected, actual in pairs)
        else Profile.OTHER
    )


def _test_pixels(mode: str) -> Image.Image:
    """Return test pixels distributed over the colour space."""
    if mode == "L":
        return Image.frombytes("L", (len(_STEPS), 1), bytes(_STEPS))
    pixels = bytes(value for r in _STEPS for g in _STEPS for b in _STEPS for value in (r, g, b))
    return Image.frombytes("RGB", (len(pixels) // 3, 1), pixels)
