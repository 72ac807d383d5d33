"""Header facts of an original: format, dimensions, orientation and colour. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.orientation import Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.stored_tiles import StoredTiles


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


class Profile(StrEnum):
    """What kind of ICC profile an original has."""

    NONE = "none"
    """None, or one that cannot be used: the pixels are taken for sRGB."""
    SRGB = "srgb"
    OTHER = "other"


class Colour(StrEnum):
    """What the samples of an original mean."""

    GRAY = "gray"
    RGB = "rgb"
    OTHER = "other"
    """CMYK or Lab: to be converted before anyone can look at it."""


@dataclass(frozen=True, slots=True)
class JpegFacts:
    """What lossless work on a JPEG needs to know."""

    plain: bool
    """Whether its components are gray or YCbCr, which everything that reads JPEG understands."""
    mcu: Dimensions | None
    """The grid on which it can be cut, or None where the sampling is one that cannot be."""
    complete: bool
    """Whether an end-of-image marker stands near the end of the file."""
    coefficient_bytes: int = 6
    """What the coefficients of one pixel take in memory, rounded up: 3 for 4:2:0, 6 for 4:4:4."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format, dimensions and colour of an original."""

    format: OriginalFormat
    stored: Dimensions
    """As the pixels lie in the file."""
    orientation: Orientation
    """What makes them upright."""
    colour: Colour
    transparent: bool
    profile: Profile
    profile_bytes: int
    max_shrink: int
    """By how much the decoder can reduce while it decodes: a power of two."""
    jpeg: JpegFacts | None = None
    tiles: StoredTiles | None = None
    """What a tiled TIFF holds beside, or in place of, one piece."""
    pixel_bytes: int = 4
    """What one pixel takes when it is decoded: 3 for RGB, 6 where its samples have 16 bits."""
    needs: Needs = NO_NEEDS
    """What it demands of its decoder beside the pixels."""
    interleaved: bool = False
    """Whether all has to be read before the first row is whole: progressive JPEG, Adam7 PNG."""

    @property
    def dimensions(self) -> Dimensions:
        """The dimensions of the upright image."""
        return self.orientation.apply(self.stored)
