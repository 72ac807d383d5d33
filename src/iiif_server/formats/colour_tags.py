"""Colour tags: colour space of a PNG or AVIF without an ICC profile. Pure."""

from dataclasses import dataclass

UNSPECIFIED = 2
"""Code point for an unspecified value (ITU-T H.273)."""


@dataclass(frozen=True, slots=True)
class ColourTags:
    """Primaries and transfer function of RGB or gray samples, as code points or numbers."""

    primaries: int = 1
    """ColourPrimaries (ITU-T H.273, 8.1)."""
    transfer: int = 13
    """TransferCharacteristics (8.2)."""
    chromaticities: tuple[float, ...] = ()
    """x and y of white, red, green, blue, instead of `primaries`; empty: none."""
    gamma: float = 0.0
    """Encoding exponent, such as 0.45455, instead of `transfer`; 0: none."""


ADOBE_RGB = ColourTags(
    transfer=4, chromaticities=(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
)
"""Adobe RGB (1998), whose gamma is 2.2 to within a thousandth."""
