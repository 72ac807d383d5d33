"""The formats that are read, by the first bytes of a file. Pure."""

from enum import StrEnum

SIGNATURE_BYTES = 32
"""How much of a file's start decides its format."""


class OriginalFormat(StrEnum):
    """The formats that are read. What is not here is never handed to a decoder."""

    JPEG = "JPEG"
    PNG = "PNG"
    TIFF = "TIFF"
    WEBP = "WEBP"
    GIF = "GIF"
    JPEG2000 = "JPEG2000"
    AVIF = "AVIF"
    BMP = "BMP"


def recognise(start: bytes) -> OriginalFormat | None:
    """The format that the first `SIGNATURE_BYTES` of a file announce, or None."""
    for offset, magic, format_ in _SIGNATURES:
        if start[offset : offset + len(magic)] == magic:
            return format_
    return None


_SIGNATURES: tuple[tuple[int, bytes, OriginalFormat], ...] = (
    (0, b"\xff\xd8\xff", OriginalFormat.JPEG),
    (0, b"\x89PNG\r\n\x1a\n", OriginalFormat.PNG),
    (0, b"II*\0", OriginalFormat.TIFF),
    (0, b"MM\0*", OriginalFormat.TIFF),
    (0, b"II+\0", OriginalFormat.TIFF),
    (0, b"MM\0+", OriginalFormat.TIFF),
    (8, b"WEBP", OriginalFormat.WEBP),
    (0, b"GIF87a", OriginalFormat.GIF),
    (0, b"GIF89a", OriginalFormat.GIF),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", OriginalFormat.JPEG2000),
    (0, b"\xff\x4f\xff\x51", OriginalFormat.JPEG2000),
    (4, b"ftypavif", OriginalFormat.AVIF),
    (4, b"ftypavis", OriginalFormat.AVIF),
    (0, b"BM", OriginalFormat.BMP),
)
