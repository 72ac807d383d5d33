"""Detection of formats by the first bytes of a file."""

import pytest

from iiif_server.plan.original_format import SIGNATURE_BYTES, OriginalFormat, recognise


@pytest.mark.parametrize(
    ("start", "format_"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", OriginalFormat.JPEG),
        (b"\xff\xd8\xff\xe1\x12\x34Exif", OriginalFormat.JPEG),
        (b"\xff\xd8\xff\xdb", OriginalFormat.JPEG),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", OriginalFormat.PNG),
        (b"II*\0\x08\0\0\0", OriginalFormat.TIFF),
        (b"MM\0*\0\0\0\x08", OriginalFormat.TIFF),
        (b"II+\0\x08\0\0\0", OriginalFormat.TIFF),
        (b"MM\0+\0\x08\0\0", OriginalFormat.TIFF),
        (b"RIFF\x24\0\0\0WEBPVP8 ", OriginalFormat.WEBP),
        (b"RIFF\x24\0\0\0WEBPVP8L", OriginalFormat.WEBP),
        (b"GIF87a\x01\0\x01\0", OriginalFormat.GIF),
        (b"GIF89a\x01\0\x01\0", OriginalFormat.GIF),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", OriginalFormat.JPEG2000),
        (b"\xff\x4f\xff\x51\0\x2f", OriginalFormat.JPEG2000),
        (b"\0\0\0\x20ftypavif\0\0\0\0", OriginalFormat.AVIF),
        (b"\0\0\0\x20ftypavis\0\0\0\0", OriginalFormat.AVIF),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", OriginalFormat.AVIF),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1heic", OriginalFormat.HEIF),
        (b"\0\0\0\x20ftypheic\0\0\0\0", OriginalFormat.HEIF),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", OriginalFormat.RAW),
        (b"FUJIFILMCCD-RAW 0201FF383501", OriginalFormat.RAW),
        (b"IIU\0\x18\0\0\0", OriginalFormat.RAW),
        (b"IIRS\x08\0\0\0", OriginalFormat.RAW),
        (bytes(128) + b"DICM", OriginalFormat.DICOM),
        (b"%PDF-1.7\n", OriginalFormat.PDF),
        (b"BM\x46\0\0\0\0\0\0\0", OriginalFormat.BMP),
    ],
)
def test_a_format_is_recognised_by_its_signature(start: bytes, format_: OriginalFormat) -> None:
    assert recognise(start[:SIGNATURE_BYTES]) is format_


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\0",
        b"\xff\xd8",
        b"\x89PNG",
        b"\x89PNG\n\x1a\n",
        b"II*",
        b"MM*\0",
        b"II\0*",
        b"GIF88a",
        b"gif89a",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"RIFX\x24\0\0\0WEBPVP8 ",
        b"\0\0\0\x20ftypisom",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"<svg xmlns=",
        b"<?xml version=",
        b"\0\0\x01\0",
        b"8BPS\0\x03",
        b"push graphic-context",
        b"P6 1 1 255",
        b" \xff\xd8\xff",
    ],
)
def test_what_is_not_read_is_not_recognised(start: bytes) -> None:
    assert recognise(start) is None


def test_every_format_is_recognised_within_the_bytes_that_are_looked_at() -> None:
    assert SIGNATURE_BYTES >= 12
