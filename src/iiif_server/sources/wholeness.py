"""Whether a file is whole, where nobody said how long it would be. Pure."""

from iiif_server.plan.original_format import OriginalFormat

END_BYTES = 64
"""How much of a file's end is looked at."""
_PADDING = b"\0\r\n "
_SMALLEST_BITMAP = 26


def is_surely_whole(format_: OriginalFormat, start: bytes, end: bytes, size: int) -> bool:
    """Whether a file's first and last bytes and its size show that nothing is missing.

    False where a format does not tell, as in TIFF, whose pixels may be anywhere.
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
