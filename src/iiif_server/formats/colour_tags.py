"""Colour tags: what a PNG or AVIF says of its colours without an ICC profile. Pure."""

from dataclasses import dataclass

UNSPECIFIED = 2
"""Of code points (ITU-T H.273): nothing is said."""


@dataclass(frozen=True, slots=True)
class ColourTags:
    """Primaries and transfer of RGB or gray samples: as code points, or as numbers."""

    primaries: int = 1
    """ColourPrimaries (ITU-T H.273, 8.1)."""
    transfer: int = 13
    """TransferCharacteristics (8.2)."""
    chromaticities: tuple[float, ...] = ()
    """x and y of white, red, green, blue, instead of `primaries`; empty: there are none."""
    gamma: float = 0.0
    """The exponent of encoding, such as 0.45455, instead of `transfer`; 0: there is none."""
