"""ISO boxes: the containers of JPEG 2000 and AVIF (ISO 14496-12, 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from iiif_server.formats.bounded_file import BoundedFile

_MAX_BOXES = 4_000
_TO_END_OF_FILE, _LARGE_SIZE = 0, 1
_SHORT_HEADER, _LONG_HEADER = 8, 16


@dataclass(frozen=True, slots=True)
class Box:
    """A box."""

    name: bytes
    offset: int
    """Offset of the content."""
    end: int
    truncated: bool = False
    """Whether the box is longer than its container."""


def boxes(file: BoundedFile, start: int, end: int) -> Iterator[Box]:
    """Yield the complete boxes between two offsets."""
    position = start
    for _ in range(_MAX_BOXES):
        if position >= end:
            return
        fields = file.unpack_at(">I4s", position)
        if fields is None:
            return
        length, name = fields
        header_bytes = _SHORT_HEADER
        if length == _LARGE_SIZE:
            fields = file.unpack_at(">Q", position + _SHORT_HEADER)
            if fields is None:
                return
            length, header_bytes = fields[0], _LONG_HEADER
        elif length == _TO_END_OF_FILE:
            length = end - position
        if length < header_bytes:
            raise file.damaged("one of its boxes has an invalid length")
        next_box = position + length
        yield Box(name, position + header_bytes, min(next_box, end), truncated=next_box > end)
        position = next_box
    file.check(_MAX_BOXES + 1, _MAX_BOXES, "boxes")
