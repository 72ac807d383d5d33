"""ISO boxes: the containers of JPEG 2000 and AVIF (ISO 14496-12, 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from iiif_server.formats.bounded_file import BoundedFile

_MAX_BOXES = 4_000
_TO_THE_END, _LONG = 0, 1
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
        numbers = file.numbers(">I4s", position)
        if numbers is None:
            return
        length, name = numbers
        header = _SHORT_HEADER
        if length == _LONG:
            numbers = file.numbers(">Q", position + _SHORT_HEADER)
            if numbers is None:
                return
            length, header = numbers[0], _LONG_HEADER
        elif length == _TO_THE_END:
            length = end - position
        if length < header:
            raise file.damaged("one of its boxes has no length")
        after = position + length
        yield Box(name, position + header, min(after, end), truncated=after > end)
        position = after
    file.check(_MAX_BOXES + 1, _MAX_BOXES, "boxes")
