"""Table of formats: supported kinds, libraries and limits.

`docs/formats.md` is generated from it. Tests compare it with what is read and written: each kind
has originals that are read, and each exception one that is refused.
"""

from dataclasses import dataclass

from iiif_server.formats import avif, bmp, gif, jpeg2000, jpegxl, png, psd, tiff_inspection
from iiif_server.formats.bounded_file import MAX_BYTES_IN_MEMORY
from iiif_server.formats.dicom_elements import MAX_ELEMENTS, MAX_FRAGMENTS
from iiif_server.iiif.formats import Format
from iiif_server.plan.header import Reader
from iiif_server.plan.original_format import OriginalFormat


@dataclass(frozen=True, slots=True)
class InputRow:
    """Originals of one format that one library decodes."""

    format: OriginalFormat
    reader: Reader
    library: str
    kinds: tuple[str, ...]
    unsupported: tuple[str, ...] = ()
    """Kinds of the format that the server does not read."""
    limits: str = ""
    """Limits in addition to those for all originals (`[limits]`)."""


@dataclass(frozen=True, slots=True)
class OutputRow:
    """Derivatives of one format."""

    format: Format
    library: str
    coding: str


INPUT_ROWS: tuple[InputRow, ...] = (
    InputRow(
        OriginalFormat.JPEG,
        Reader.LIBVIPS,
        "TurboJPEG, libvips",
        (
            "gray, YCbCr and RGB",
            "CMYK and YCCK",
            "chroma in any sampling",
            "baseline, extended and progressive",
            "arithmetic coding",
            "without its last marker",
        ),
        ("hierarchical", "JPEG-LS", "lossless in arithmetic coding"),
        "`limits.max_source_scans` of a progressive one",
    ),
    InputRow(
        OriginalFormat.JPEG,
        Reader.JPEG_SAMPLES,
        "imagecodecs (libjpeg-turbo)",
        ("12 bits, also progressive and arithmetic", "lossless, 2 to 16 bits"),
        limits=f"{MAX_BYTES_IN_MEMORY >> 20} MiB in a file",
    ),
    InputRow(
        OriginalFormat.PNG,
        Reader.LIBVIPS,
        "libvips",
        (
            "gray, RGB and palette, with and without alpha",
            "1 to 16 bits",
            "interlaced",
            "iCCP, cICP, sRGB, gAMA with cHRM",
            "EXIF, also behind the pixels",
            "the default image of an animation",
        ),
        limits=f"{png.MAX_CHUNKS:,} chunks before the pixels",
    ),
    InputRow(
        OriginalFormat.TIFF,
        Reader.LIBVIPS,
        "libvips",
        (
            "gray, RGB, palette and CMYK of up to 16 bits",
            "BigTIFF, either byte order",
            "strips and tiles",
            "PackBits, CCITT, LZW, deflate, JPEG, WebP",
            "alpha of either kind",
            "reduced pages, SubIFDs and thumbnails in front",
        ),
        (
            "CFA (raw)",
            "LERC 1, or LERC with another compression",
            "parts of a JPEG by the old method",
        ),
        f"{tiff_inspection.MAX_SAMPLES} samples of a pixel; "
        f"{tiff_inspection.MAX_SEGMENT_BYTES >> 20} MiB in a strip or tile",
    ),
    InputRow(
        OriginalFormat.TIFF,
        Reader.ARRAYS,
        "tifffile, imagecodecs",
        (
            "planar",
            "signed, and other depths up to 32 bits",
            "floating point of 16 to 64 bits",
            "CIELab, ICCLab and ITULab",
            "YCbCr of every subsampling",
            "JPEG of 12 and 16 bits, and whole ones by the old method",
            "JPEG 2000, LZMA, Zstandard",
            "strips and tiles that are left out",
            "odd tiles",
            "LERC, JPEG XL, LogLuv and LogL, with `limits.rare`",
        ),
        limits="as above",
    ),
    InputRow(
        OriginalFormat.WEBP,
        Reader.LIBVIPS,
        "libvips",
        ("lossy", "lossless", "alpha", "ICC profile", "EXIF orientation", "frames"),
    ),
    InputRow(
        OriginalFormat.GIF,
        Reader.LIBVIPS,
        "libvips; Pillow (frames behind the first, and a first that does not fill the screen)",
        ("87a and 89a", "interlaced", "local colour tables", "frames"),
        limits=f"{gif.MAX_PIXELS:,} pixels in a frame",
    ),
    InputRow(
        OriginalFormat.JPEG2000,
        Reader.OPENJPEG,
        "OpenJPEG, in Pillow and imagecodecs",
        (
            "JP2, JPX and bare codestreams",
            "HTJ2K",
            "1 to 16 bits",
            "sRGB, gray, sYCC, e-sYCC, CMYK, CMY and CIELab",
            "subsampled chroma",
            "ICC profiles",
            "palettes",
            "channel definitions",
        ),
        ("CIELab under another illuminant than D50 and D65",),
        f"{jpeg2000.MAX_COMPONENTS} components of {jpeg2000.MAX_BITS} bits; "
        f"{jpeg2000.MAX_TILES:,} tiles",
    ),
    InputRow(
        OriginalFormat.AVIF,
        Reader.LIBVIPS,
        "libvips",
        ("8 to 12 bits", "nclx and ICC profile", "turned, mirrored and cropped", "alpha"),
        limits=f"{avif.MAX_ITEMS:,} items",
    ),
    InputRow(
        OriginalFormat.HEIF,
        Reader.LIBHEIF,
        "pi-heif (libde265)",
        ("8 to 12 bits", "nclx and ICC profile", "turned, mirrored and cropped", "alpha", "grids"),
        limits=f"{avif.MAX_ITEMS:,} items",
    ),
    InputRow(
        OriginalFormat.JPEGXL,
        Reader.LIBJXL,
        "imagecodecs (libjxl)",
        (
            "codestreams and boxes",
            "lossy and lossless",
            "1 to 16 bits and floating point",
            "gray and alpha",
            "ICC profiles",
            "its own orientation",
            "the first frame",
        ),
        ("CMYK",),
        f"{jpegxl.MAX_EXTRA_CHANNELS} extra channels",
    ),
    InputRow(
        OriginalFormat.BMP,
        Reader.BMP,
        "this server",
        (
            "every header of Windows and OS/2",
            "1 to 32 bits",
            "bit fields",
            "run lengths of 4 and 8 bits",
            "rows from the top",
        ),
        ("embedded JPEG", "embedded PNG", "Huffman and 24-bit run lengths of OS/2"),
        f"{bmp.MAX_RUN_LENGTH_PIXELS:,} pixels in run lengths",
    ),
    InputRow(
        OriginalFormat.PSD,
        Reader.PSD,
        "this server, imagecodecs (run lengths)",
        (
            "the merged image of PSD and PSB",
            "RGB, gray, CMYK and Lab of 8 and 16 bits",
            "bitmaps and palettes",
            "duotones as gray",
            "run lengths",
            "ICC profiles",
        ),
        (
            "without a merged image (Photoshop: maximise compatibility)",
            "multichannel",
            "32 bits",
            "ZIP",
        ),
        f"{psd.MAX_CHANNELS} channels",
    ),
    InputRow(
        OriginalFormat.PDF,
        Reader.PDFIUM,
        "PDFium",
        ("every page at `pdf.dpi`", "CropBox, /Rotate and UserUnit"),
        ("documents with a password",),
        "10 s of processor time, 3 s more for each MB of the file; 2 GiB and more for large pages",
    ),
    InputRow(
        OriginalFormat.TGA,
        Reader.PILLOW,
        "Pillow, with `limits.rare`",
        ("16, 24 and 32 bits", "palettes and gray", "run lengths", "rows from any corner"),
        ("15 bits",),
        f"{MAX_BYTES_IN_MEMORY >> 20} MiB in a file",
    ),
    InputRow(
        OriginalFormat.PCX,
        Reader.PILLOW,
        "Pillow, with `limits.rare`",
        ("RGB", "palettes of 2 to 256 colours"),
        ("RGB of 4 bits",),
        f"{MAX_BYTES_IN_MEMORY >> 20} MiB in a file",
    ),
    InputRow(
        OriginalFormat.RAW,
        Reader.LIBRAW,
        "LibRaw, with `limits.rare` and the extra `raw`",
        (
            "DNG: mosaics of colours, gray sensors, linear",
            "orientation",
        ),
        ("pixels that are not square",),
        f"{MAX_BYTES_IN_MEMORY >> 20} MiB in a file",
    ),
    InputRow(
        OriginalFormat.DICOM,
        Reader.DICOM,
        "this server, imagecodecs, with `limits.rare`",
        (
            "implicit and explicit elements, either byte order",
            "gray of 8, 16 and 32 bits, signed, with windows and look-up tables",
            "RGB, YBR_FULL, YBR_FULL_422 and palettes",
            "uncompressed, run lengths, JPEG, JPEG-LS, JPEG 2000",
            "frames",
            "slides of all their tiles (TILED_FULL)",
        ),
        ("deflated, and video", "other slides", "1 bit, colours of 32 bits, and floating point"),
        f"{MAX_ELEMENTS:,} elements, {MAX_FRAGMENTS:,} fragments",
    ),
)
"""Input formats, one entry for each pair of format and reader."""

OUTPUT_ROWS: tuple[OutputRow, ...] = (
    OutputRow(Format.JPG, "TurboJPEG, libvips", "lossy"),
    OutputRow(Format.TIF, "libvips", "lossless (`encoding.tiff_compression`)"),
    OutputRow(Format.PNG, "libvips", "lossless"),
    OutputRow(Format.GIF, "libvips", "256 colours"),
    OutputRow(Format.JP2, "OpenJPEG, in Pillow", "lossy or lossless (`encoding.jp2_ratio`)"),
    OutputRow(Format.PDF, "Pillow", "one page, JPEG inside"),
    OutputRow(Format.WEBP, "libvips", "lossy"),
    OutputRow(Format.AVIF, "libvips", "lossy"),
)
