"""Detection of truncated downloads by the last bytes of a file. Pure."""

from iiif_server.plan.original_format import OriginalFormat

END_BYTES = 64
"""Bytes of a file's end that are checked."""
_PADDING = b"\0\r\n "
_SMALLEST_BITMAP = 26


def is_surely_whole(format_: OriginalFormat, start: bytes, end: bytes, size: int) -> bool:
    """Whether the first and last bytes and the size of a file show that it is complete.

    False where the format does not allow that, as in TIFF, whose pixels may be anywhere.
    """
    match format_:
        case OriginalFormat.JPEG | OriginalFormat.JPEG2000:  # end of image, end of codestream
            return end.rstrip(_PADDING).endswith(b"\xff\xd9")
        case OriginalFormat.PNG:
            return end.rstrip(_PADDING).endswith(b"IEND\xaeB`\x82")
        case OriginalFormat.GIF:
            return end.rstrip(_PADDING).endswith(b";")
        case OriginalFormat.WEBP:
            return int.from_bytes(start[4:8], "little") + 8 <= size
        case OriginalFormat.BMP:
            return _SMALLEST_BITMAP <= int.from_bytes(start[2:6], "little") <= size
        case _:
            return False
