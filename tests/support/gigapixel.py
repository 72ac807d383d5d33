"""Pyramidal TIFF of a gigapixel, laid out as libtiff does: tiles, then directory, then values."""

import struct
from collections.abc import Iterator
from pathlib import Path

from support import pictures

SIDE = 31_488
"""991 megapixels: the default limit is 1000."""
TILE = 256
_SHORT, _LONG, _LONG8 = 3, 4, 16
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


def gigapixel(path: Path, *, big: bool, side: int = SIDE) -> bytes:
    """Write the file; return the JPEG that each of its tiles contains."""
    tile = pictures.jpeg(pictures.smooth(TILE, TILE), quality=30)
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)
    pointer = 8 if big else 4
    with path.open("w+b") as file:
        file.write(head)
        for factor, width in _sides(side):
            number = (-(-width // TILE)) ** 2
            start = file.tell()
            file.write(tile * number)
            place = file.tell() + file.tell() % 2
            tags = _tags(width, factor, [start + len(tile) * n for n in range(number)], len(tile))
            content, last = _directory(tags, place, big=big)
            file.seek(place)
            file.write(content)
            file.seek(pointer)
            file.write(struct.pack("<Q" if big else "<I", place))
            file.seek(0, 2)
            pointer = last
    return tile


def _sides(side: int) -> Iterator[tuple[int, int]]:
    factor = 1
    while True:
        yield factor, side // factor
        if side // factor <= TILE:
            return
        factor *= 2


def _tags(
    width: int, factor: int, offsets: list[int], length: int
) -> dict[int, tuple[int, list[int]]]:
    places = _LONG8 if max(offsets) >> 32 else _LONG
    return {
        254: (_LONG, [0 if factor == 1 else 1]),
        256: (_LONG, [width]),
        257: (_LONG, [width]),
        258: (_SHORT, [8, 8, 8]),
        259: (_SHORT, [7]),
        262: (_SHORT, [6]),
        277: (_SHORT, [3]),
        284: (_SHORT, [1]),
        322: (_SHORT, [TILE]),
        323: (_SHORT, [TILE]),
        324: (places, offsets),
        325: (_LONG, [length] * len(offsets)),
        530: (_SHORT, [2, 2]),
    }


def _directory(
    tags: dict[int, tuple[int, list[int]]], place: int, *, big: bool
) -> tuple[bytes, int]:
    """Return a directory with its values behind it, and the place of the next one's offset."""
    count, wide, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    size = struct.calcsize(f"<{count}") + len(tags) * (20 if big else 12)
    at = place + size + inline
    entries, values = b"", b""
    for tag, (kind, numbers) in tags.items():
        value = struct.pack(f"<{len(numbers)}{_CODES[kind]}", *numbers)
        if len(value) > inline:
            values += value
            value = struct.pack(f"<{wide}", at + len(values) - len(value))
        entries += struct.pack(f"<HH{wide}", tag, kind, len(numbers)) + value.ljust(inline, b"\0")
    head = struct.pack(f"<{count}", len(tags)) + entries
    return head + bytes(inline) + values, place + len(head)
