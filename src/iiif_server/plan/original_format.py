"""Input formats, their signatures, and limits on originals. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

SIGNATURE_BYTES = 132
"""Bytes at the start of a file that decide its format."""


class OriginalFormat(StrEnum):
    """Input formats. Files in other formats never reach a decoder."""

    JPEG = "JPEG"
    PNG = "PNG"
    TIFF = "TIFF"
    WEBP = "WEBP"
    GIF = "GIF"
    JPEG2000 = "JPEG2000"
    AVIF = "AVIF"
    HEIF = "HEIF"
    """HEIC and other HEIF files with HEVC, as many phones write them."""
    JPEGXL = "JPEGXL"
    BMP = "BMP"
    PSD = "PSD"
    """PSD and PSB, of Adobe Photoshop."""
    PDF = "PDF"
    TGA = "TGA"
    PCX = "PCX"
    RAW = "RAW"
    """Photographs as the sensors of cameras see them."""
    DICOM = "DICOM"
    """Medical images."""


RARE = frozenset({OriginalFormat.TGA, OriginalFormat.PCX, OriginalFormat.RAW, OriginalFormat.DICOM})
"""Formats that need `limits.rare`, or their name in `limits.formats`."""
USUAL = frozenset(OriginalFormat) - RARE

EXTENSIONS: dict[OriginalFormat, tuple[str, ...]] = {
    OriginalFormat.JPEG: (".jpg", ".jpeg", ".jpe", ".jfif"),
    OriginalFormat.PNG: (".png", ".apng"),
    OriginalFormat.TIFF: (".tif", ".tiff", ".ptif", ".ptiff", ".btf", ".svs"),
    OriginalFormat.WEBP: (".webp",),
    OriginalFormat.GIF: (".gif",),
    OriginalFormat.JPEG2000: (".jp2", ".jpx", ".jpf", ".j2k", ".j2c", ".jpc", ".jph", ".jhc"),
    OriginalFormat.AVIF: (".avif",),
    OriginalFormat.HEIF: (".heic", ".heif", ".heics", ".heifs", ".hif"),
    OriginalFormat.PDF: (".pdf",),
    OriginalFormat.JPEGXL: (".jxl",),
    OriginalFormat.BMP: (".bmp", ".dib"),
    OriginalFormat.PSD: (".psd", ".psb"),
    OriginalFormat.TGA: (".tga",),
    OriginalFormat.PCX: (".pcx",),
    OriginalFormat.RAW: (
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".nrw",
        ".arw",
        ".pef",
        ".raf",
        ".rw2",
        ".orf",
    ),
    OriginalFormat.DICOM: (".dcm", ".dicom"),
}
"""File extensions of a format, the usual one first."""

MEDIA_TYPES: dict[OriginalFormat, str] = {
    OriginalFormat.JPEG: "image/jpeg",
    OriginalFormat.PNG: "image/png",
    OriginalFormat.TIFF: "image/tiff",
    OriginalFormat.WEBP: "image/webp",
    OriginalFormat.GIF: "image/gif",
    OriginalFormat.JPEG2000: "image/jp2",
    OriginalFormat.AVIF: "image/avif",
    OriginalFormat.HEIF: "image/heic",
    OriginalFormat.JPEGXL: "image/jxl",
    OriginalFormat.BMP: "image/bmp",
    OriginalFormat.PSD: "image/vnd.adobe.photoshop",
    OriginalFormat.PDF: "application/pdf",
    OriginalFormat.TGA: "image/x-tga",
    OriginalFormat.PCX: "image/vnd.zbrush.pcx",
    OriginalFormat.RAW: "image/x-dcraw",
    OriginalFormat.DICOM: "application/dicom",
}
"""Media type of a format, for downloads of originals."""
WITH_PAGES = frozenset(
    {
        OriginalFormat.TIFF,
        OriginalFormat.PDF,
        OriginalFormat.GIF,
        OriginalFormat.WEBP,
        OriginalFormat.HEIF,
        OriginalFormat.AVIF,
        OriginalFormat.DICOM,
    }
)
"""Formats whose files may have several pages."""


def extensions_of(formats: Collection[OriginalFormat]) -> frozenset[str]:
    """Return the file extensions of formats."""
    return frozenset(extension for format_ in formats for extension in EXTENSIONS[format_])


ALL_EXTENSIONS = extensions_of(frozenset(OriginalFormat))
USUAL_EXTENSIONS = extensions_of(USUAL)
"""Extensions of files that are listed as images without `limits.rare`."""


def recognise(start: bytes) -> OriginalFormat | None:
    """Return the format for the first `SIGNATURE_BYTES` of a file, or None."""
    return next((format_ for signature, format_ in _SIGNATURES if signature.match(start)), None)


_SIGNATURES: tuple[tuple[re.Pattern[bytes], OriginalFormat], ...] = tuple(
    (re.compile(signature, re.DOTALL), format_)
    for signature, format_ in (
        (rb"\xff\xd8\xff", OriginalFormat.JPEG),
        (rb"\x89PNG\r\n\x1a\n", OriginalFormat.PNG),
        (rb"II[*+]\0|MM\0[*+]", OriginalFormat.TIFF),
        (rb"RIFF....WEBP", OriginalFormat.WEBP),
        (rb"GIF8[79]a", OriginalFormat.GIF),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", OriginalFormat.JPEG2000),
        (rb"....ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,3}avif)", OriginalFormat.AVIF),
        (rb"....ftyp(?:hei[cmsx]|hev[cmsx]|m[is]f1)", OriginalFormat.HEIF),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", OriginalFormat.JPEGXL),
        (rb"BM", OriginalFormat.BMP),
        (rb"8BPS\0[\1\2]", OriginalFormat.PSD),
        (rb"%PDF-", OriginalFormat.PDF),
        # Raw formats that are TIFFs are detected by their directories.
        (rb"....ftypcrx |FUJIFILMCCD-RAW|IIU\0|IIR[OS]\x08\0|MMOR\0\0", OriginalFormat.RAW),
        (rb".{128}DICM", OriginalFormat.DICOM),
        (rb"\n[\0\x02-\x05]\x01[\x01\x08]", OriginalFormat.PCX),
        # TGA has no signature: the numbers in its header have to be valid.
        (
            (
                rb".(?:\x01[\x01\x09]|[\0\x01][\x02\x03\x0a\x0b]).{4}[\0\x0f\x10\x18\x20].{4}"
                rb"(?!\0\0)..(?!\0\0)..[\x08\x0f\x10\x18\x20][\0-\x3f]"
            ),
            OriginalFormat.TGA,
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on originals, checked before decoding."""

    formats: frozenset[OriginalFormat] = USUAL
    rare: bool = False
    """Whether rare kinds of the formats are read, too: LERC, JPEG XL and LogLuv in TIFF."""
    file_bytes: int = 8_000_000_000
    side: int = 500_000
    """Maximum width and height in pixels."""
    frames: int = 10_000
    """Maximum number of frames of an animation, or pages of a file."""
    scans: int = 100
    """Maximum number of scans of a progressive JPEG; each costs as much as decoding it once."""
    pdf_dpi: int = 150
    """Pixels per inch of a PDF page."""
    show_truncated: bool = False
    """Whether truncated originals are shown partially instead of refused."""


DEFAULT_BOUNDS = Bounds()
