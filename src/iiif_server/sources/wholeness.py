"""Detection of truncated downloads by the last bytes of a file. Pure."""

from iiif_server.plan.original_format import OriginalFormat

END_BYTES = 64
"""Number of bytes at the end of a file that are checked."""
_PADDING = b"\0\r\n "
_SMALLEST_BITMAP = 26
_ENDS = {
    OriginalFormat.JPEG: b"\xff\xd9",  # end of image
    OriginalFormat.JPEG2000: b"\xff\xd9",  # end of codestream
    OriginalFormat.PNG: b"IEND\xaeB`\x82",
    OriginalFormat.GIF: b";",
    OriginalFormat.PDF: b"%%EOF",
}


def is_surely_whole(format_: OriginalFormat, start: bytes, end: bytes, size: int) -> bool:
    """Whether the first and last bytes and the size of a file show that it is complete.

    False for formats in which they cannot show it, as TIFF, whose pixels may be anywhere.
    """
    if format_ in _ENDS:
        return end.rstrip(_PADDING).endswith(_ENDS[format_])
    if format_ is OriginalFormat.WEBP:
        return int.from_bytes(start[4:8], "little") + 8 <= size
    if format_ is OriginalFormat.BMP:
        return _SMALLEST_BITMAP <= int.from_bytes(start[2:6], "little") <= size
    return False
