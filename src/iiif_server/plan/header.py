"""Image header of an original: format, dimensions, orientation and colour. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.orientation import Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.stored_tiles import StoredTiles


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory and time that depend on the structure of a file, not on its pixels."""

    bytes: int = 0
    """Bytes of memory, for whatever part of the image is decoded."""
    effort: int = 0
    """Additional time, in units of decoding one JPEG pixel: 4 ns."""
    part_bytes: int = 0
    """Bytes of memory per pixel of the part that is decoded."""
    part_effort: int = 0
    """Additional time per pixel of this part, in the same units."""


NO_NEEDS = Needs()


class Profile(StrEnum):
    """Kind of the ICC profile of an original."""

    NONE = "none"
    """No usable profile: the pixels count as sRGB."""
    SRGB = "srgb"
    OTHER = "other"


class Colour(StrEnum):
    """Colour space of the samples of an original."""

    GRAY = "gray"
    RGB = "rgb"
    OTHER = "other"
    """CMYK or Lab, which are converted to sRGB."""


class Reader(StrEnum):
    """Library that decodes an original. Most formats have only one."""

    LIBVIPS = "libvips"
    ARRAYS = "arrays"
    """tifffile and imagecodecs: TIFF samples that libvips does not decode correctly."""
    JPEG_SAMPLES = "jpeg samples"
    """libjpeg-turbo in imagecodecs: JPEGs of other than 8 bits, and lossless ones."""
    OPENJPEG = "openjpeg"
    """OpenJPEG in Pillow."""
    PILLOW = "pillow"
    """Pillow: GIF frames that are drawn over others, or over transparency."""
    LIBJXL = "libjxl"
    """libjxl in imagecodecs."""
    LIBHEIF = "libheif"
    """libheif in pi-heif."""
    LIBRAW = "libraw"
    """In rawpy."""
    DICOM = "dicom"
    """This package itself; imagecodecs decodes frames."""
    BMP = "bmp"
    """This package itself."""
    PSD = "psd"
    """This package itself; imagecodecs unpacks run lengths."""
    PDFIUM = "pdfium"


@dataclass(frozen=True, slots=True)
class Treatment:
    """Treatment of all images of a type: settings of `[types.NAME]`."""

    to_srgb: bool = False
    """Whether colours with a profile are converted to sRGB."""
    strip_location: bool = False
    """Whether location data is removed from the bytes of originals."""
    sample_range: tuple[float, float] | None = None
    """Sample values for black and white, for originals of more than 8 bits."""
    measured: bool = False
    """Whether the sample values are the least and greatest of each image."""


PLAIN = Treatment()


Credits: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Creator, copyright and credit line: names of XMP properties, such as `dc:rights`, with values."""


@dataclass(frozen=True, slots=True)
class JpegFacts:
    """Facts of a JPEG that decide about lossless transforms."""

    plain: bool
    """Whether the components are gray or YCbCr, which every decoder supports."""
    mcu: Dimensions | None
    """MCU in pixels: the grid of lossless crops. None: the sampling does not permit them."""
    complete: bool
    """Whether EOI is near the end of the file."""
    coefficient_bytes: int = 6
    """Bytes of coefficients per pixel, rounded up: 3 for 4:2:0, 6 for 4:4:4."""
    full_chroma: bool = False
    """Whether chroma is not subsampled (4:4:4); derivatives then keep 4:4:4."""
    gain_map: bool = False
    """Whether the file has a gain map for HDR screens (ISO 21496-1)."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Image header: format, dimensions and colour of an original."""

    format: OriginalFormat
    stored: Dimensions
    """Dimensions of the pixels as stored, before the orientation is applied."""
    orientation: Orientation
    """Orientation that makes the stored pixels upright."""
    colour: Colour
    transparent: bool
    profile: Profile
    profile_bytes: int
    max_shrink: int
    """Maximum reduction while decoding, a power of two."""
    jpeg: JpegFacts | None = None
    tiles: StoredTiles | None = None
    """Levels of a tiled TIFF; None for other originals."""
    pixel_bytes: int = 4
    """Bytes per decoded pixel: 3 for RGB, 6 with 16-bit samples."""
    needs: Needs = NO_NEEDS
    """Memory and time of the decoder in addition to that for pixels."""
    interleaved: bool = False
    """Whether the first row is complete only after all data: progressive JPEG, Adam7 PNG."""
    directory: int = 0
    """Offset of the page's directory in a TIFF."""
    page: int = 0
    """Decoder's index of the page, from 0, in other files of several pages."""
    pages: int = 1
    """Number of pages in the file."""
    bands: tuple[int, ...] = ()
    """Number of TIFF samples that are shown: colour, then alpha."""
    reader: Reader = Reader.LIBVIPS
    generated_profile: bytes = b""
    """ICC profile made from colour tags, which replaces any in the file."""
    treatment: Treatment = PLAIN
    partial: bool = False
    """Whether the file is truncated and shown partially."""
    bits: int = 8
    """Bits per sample, the maximum of all samples."""
    resolution: tuple[float, float] | None = None
    """Dots per inch of the stored pixels, horizontal and vertical, as in the file."""
    credits: Credits = ()
    sample_range: tuple[float, float] | None = None
    """Sample values for black and white; None: the full range of the type."""

    @property
    def dimensions(self) -> Dimensions:
        """Dimensions of the upright image."""
        return self.orientation.apply(self.stored)

    @property
    def needs_rewriting(self) -> bool:
        """Whether the metadata of the original must be rewritten before its bytes are sent."""
        jpeg = self.jpeg
        return jpeg is not None and (
            jpeg.gain_map or bool(self.generated_profile) or self.treatment.strip_location
        )

    @property
    def full_chroma(self) -> bool:
        """Whether derivatives must not subsample chroma."""
        return self.jpeg is not None and self.jpeg.full_chroma


NO_SIZE = Dimensions(0, 0)
"""Dimensions of an unreadable page."""


@dataclass(frozen=True, slots=True)
class PageList:
    """Page list of an original, in order."""

    dimensions: tuple[Dimensions, ...]
    """Dimensions of the upright pages."""
    names: tuple[str, ...] = ()
    """Names of the pages in the file, empty for pages without one; or no names."""
