"""What a file demands of its decoder beside its pixels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory and time that depend on the structure of a file, not on the number of its pixels."""

    bytes: int = 0
    """Memory that is allocated whatever part of the image is decoded."""
    effort: int = 0
    """Time beside the pixels', as the number of pixels of a JPEG decoded meanwhile: 4 ns each."""
    levels: int = 0
    """How often the decoder can halve a JPEG 2000."""


NO_NEEDS = Needs()
