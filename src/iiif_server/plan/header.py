"""Header facts of an original: format, dimensions, orientation and colour. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

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


NO_NEEDS = Needs()


class Profile(StrEnum):
    """Kind of the ICC profile of an original."""

    NONE = "none"
    """No usable profile: the pixels are taken for sRGB."""
    SRGB = "srgb"
    OTHER = "other"


class Colour(StrEnum):
    """Colour space of the samples of an original."""

    GRAY = "gray"
    RGB = "rgb"
    OTHER = "other"
    """CMYK or Lab: to be converted to sRGB."""


class Reader(StrEnum):
    """The library that decodes an original; of most formats, there is one only."""

    LIBVIPS = "libvips"
    ARRAYS = "arrays"
    """tifffile and imagecodecs: TIFF samples that libvips does not read, or not right."""
    JPEG_SAMPLES = "jpeg samples"
    """libjpeg-turbo in imagecodecs: JPEGs of other than 8 bits, and lossless ones."""
    OPENJPEG = "openjpeg"
    """In Pillow."""
    PILLOW = "pillow"
    """Of a GIF, frames that are drawn upon others, or upon transparency."""
    LIBJXL = "libjxl"
    """In imagecodecs."""
    LIBHEIF = "libheif"
    """In pi-heif."""
    LIBRAW = "libraw"
    """In rawpy."""
    BMP = "bmp"
    """This package itself."""
    PSD = "psd"
    """This package itself; imagecodecs unpacks run lengths."""
    PDFIUM = "pdfium"


@dataclass(frozen=True, slots=True)
class Treatment:
    """How the images of a type are made, whatever a request says: settings of `[types.NAME]`."""

    to_srgb: bool = False
    """Whether colours with a profile are converted to sRGB, instead of keeping it."""
    strip_location: bool = False
    """Whether no bytes of originals are sent that say where a photograph was taken."""
    span: tuple[float, float] | None = None
    """Sample values that are shown as black and white, where originals have more than 8 bits."""
    measured: bool = False
    """Whether these are the least and the greatest value of each image."""


PLAIN = Treatment()


Credits: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Creator, copyright and credit line: names of XMP properties, such as `dc:rights`, with values."""


@dataclass(frozen=True, slots=True)
class JpegFacts:
    """Facts of a JPEG that lossless transforms depend on."""

    plain: bool
    """Whether its components are gray or YCbCr, which every decoder reads."""
    mcu: Dimensions | None
    """Minimum coded unit, in pixels: the grid of lossless crops. None: the sampling allows none."""
    complete: bool
    """Whether an end-of-image marker stands near the end of the file."""
    coefficient_bytes: int = 6
    """Bytes in memory of the coefficients of a pixel, rounded up: 3 for 4:2:0, 6 for 4:4:4."""
    full_chroma: bool = False
    """Whether chroma has a sample for each pixel (4:4:4): then that of derivatives has, too."""
    gain_map: bool = False
    """Whether the file also says how to show it on bright screens (ISO 21496-1)."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format, dimensions and colour of an original."""

    format: OriginalFormat
    stored: Dimensions
    """Dimensions of the pixels as stored, before the orientation is applied."""
    orientation: Orientation
    """The orientation that makes them upright."""
    colour: Colour
    transparent: bool
    profile: Profile
    profile_bytes: int
    max_shrink: int
    """Largest factor by which the decoder can reduce while decoding: a power of two."""
    jpeg: JpegFacts | None = None
    tiles: StoredTiles | None = None
    """Levels of a tiled TIFF; None for everything else."""
    pixel_bytes: int = 4
    """Bytes of a decoded pixel: 3 for RGB, 6 with 16-bit samples."""
    needs: Needs = NO_NEEDS
    """Memory and time of its decoder beside the pixels."""
    interleaved: bool = False
    """Whether all has to be read before the first row is whole: progressive JPEG, Adam7 PNG."""
    directory: int = 0
    """Of a TIFF, the offset of the directory of the page in the file."""
    page: int = 0
    """Of another file of several pages, what its decoder calls the page: an index from 0."""
    pages: int = 1
    """How many pages the file has."""
    bands: tuple[int, ...] = ()
    """Of a TIFF, the samples that are shown: those of the colour, then alpha."""
    reader: Reader = Reader.LIBVIPS
    made_profile: bytes = b""
    """ICC profile that was made of colour tags; it takes the place of any in the file."""
    treatment: Treatment = PLAIN
    partial: bool = False
    """Whether the file is truncated, and shown as far as it goes."""
    bits: int = 8
    """Of a sample, the most of any."""
    resolution: tuple[float, float] | None = None
    """Dots per inch across and down the stored pixels, as the file states them."""
    credits: Credits = ()
    span: tuple[float, float] | None = None
    """Sample values that are shown as black and white; None: the ends of the type's range."""

    @property
    def dimensions(self) -> Dimensions:
        """The dimensions of the upright image."""
        return self.orientation.apply(self.stored)

    @property
    def rewritten(self) -> bool:
        """Whether its bytes are not sent as they are, though they could be."""
        jpeg = self.jpeg
        return jpeg is not None and (
            jpeg.gain_map or bool(self.made_profile) or self.treatment.strip_location
        )

    @property
    def full_chroma(self) -> bool:
        """Whether it is a JPEG of which no derivative is to have less chroma than luma."""
        return self.jpeg is not None and self.jpeg.full_chroma
