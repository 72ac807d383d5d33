"""Bounds on originals, beside their number of pixels."""

from dataclasses import dataclass

from iiif_server.plan.original_format import OriginalFormat


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on originals; an original beyond them is refused before it is decoded."""

    formats: frozenset[OriginalFormat] = frozenset(OriginalFormat)
    file_bytes: int = 8_000_000_000
    side: int = 500_000
    """Pixels in a row or a column."""
    frames: int = 10_000
    """Frames of an animation, or pages of a TIFF."""
    scans: int = 100
    """Passes over a progressive JPEG; each costs as much as decoding it once."""


DEFAULT_BOUNDS = Bounds()
