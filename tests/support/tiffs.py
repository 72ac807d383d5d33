"""Tiled TIFFs as libvips writes them, and a reader by the specification."""

import struct
from dataclasses import dataclass
from itertools import islice
from typing import Any

from support import pictures
from support.pictures import Pixels

TILE_WIDTH, TILE_LENGTH, OFFSETS, COUNTS, SUBDIRECTORIES, TABLES = 322, 323, 324, 325, 330, 347
_FORMS = {1: "B", 2: "c", 3: "H", 4: "I", 7: "c", 13: "I", 16: "Q", 18: "Q"}


def tiled(pixels: Pixels, side: int | tuple[int, int] = 128, **options: Any) -> bytes:
    """Return a tiled TIFF; by default a pyramid of JPEG tiles."""
    width, height = (side, side) if isinstance(side, int) else side
    interpretation = {1: "b-w", 3: "srgb"}[pixels.shape[2]]
    image = pictures.vips(pixels, interpretation)
    chosen = {"compression": "jpeg", "Q": 80, "pyramid": True, **options}
    return pictures.tiff(image, tile=True, tile_width=width, tile_height=height, **chosen)


@dataclass(frozen=True)
class Level:
    """Directory of a TIFF: the values of its tags."""

    data: bytes
    tags: dict[int, tuple[Any, ...]]

    def tile(self, number: int) -> bytes:
        """Return the bytes of a tile as stored."""
        offset, length = self.tags[OFFSETS][number], self.tags[COUNTS][number]
        return self.data[offset : offset + length]

    @property
    def tables(self) -> bytes:
        """Return JPEGTables as stored."""
        return b"".join(self.tags[TABLES])


def levels(data: bytes) -> list[Level]:
    """Return the directories of a little-endian TIFF or BigTIFF, with the SubIFDs of the first."""
    big = data[2] == 43
    (at,) = struct.unpack_from("<Q" if big else "<I", data, 8 if big else 4)
    found: list[Level] = []
    while at:
        level, at = _directory(data, at, big=big)
        found.append(level)
    below = found[0].tags.get(SUBDIRECTORIES, ())
    return found + [_directory(data, offset, big=big)[0] for offset in below]


def _directory(data: bytes, at: int, *, big: bool) -> tuple[Level, int]:
    (count,) = struct.unpack_from("<Q" if big else "<H", data, at)
    at += 8 if big else 2
    size, inline = (20, 8) if big else (12, 4)
    tags: dict[int, tuple[Any, ...]] = {}
    for entry in range(at, at + count * size, size):
        tag, kind, values = struct.unpack_from("<HHQ" if big else "<HHI", data, entry)
        if kind in _FORMS:
            form = f"<{values}{_FORMS[kind]}"
            place = entry + size - inline
            if struct.calcsize(form) > inline:
                (place,) = struct.unpack_from("<Q" if big else "<I", data, place)
            tags[tag] = struct.unpack_from(form, data, place)
    (following,) = struct.unpack_from("<Q" if big else "<I", data, at + count * size)
    return Level(data, tags), following


def quantisation_tables(jpeg: bytes) -> list[bytes]:
    """Return the payloads of all DQT segments before the first scan."""
    return [payload for marker, payload in _segments(jpeg) if marker == 0xDB]


def markers(jpeg: bytes) -> list[int]:
    """Return the second bytes of the markers before the first scan."""
    return [marker for marker, _ in islice(_segments(jpeg), 100)]


def _segments(jpeg: bytes) -> Any:
    at = 2
    while jpeg[at] == 0xFF and jpeg[at + 1] not in {0xD9, 0xDA}:
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        yield jpeg[at + 1], jpeg[at + 4 : at + 2 + length]
        at += 2 + length


SHORT, LONG, IFD, LONG8, IFD8 = 3, 4, 13, 16, 18
_CODES = {SHORT: "H", LONG: "I", IFD: "I", LONG8: "Q", IFD8: "Q"}


def built(
    order: str, *, big: bool, sub: int = IFD, places: int = LONG, levels: int = 3, chained: int = 0
) -> bytes:
    """A gray JPEG-tiled pyramid of 256 x 192 in tiles of 64, in `II` or `MM` byte order.

    The reduced levels are SubIFDs, whose offsets are of the type `sub`; the last `chained` of them
    are in the main chain instead. Offsets and lengths of tiles are of the type `places`. Tile
    number n of a level holds n + 1 bytes of the number of the level.
    """
    mark = "<" if order == "II" else ">"
    head = struct.pack(f"{mark}H", 43) + struct.pack(f"{mark}HH", 8, 0) if big else b""
    data = bytearray(order.encode() + (head or struct.pack(f"{mark}H", 42)))
    first = len(data)
    data += bytes(8 if big else 4)
    found = [_level(data, number, places) for number in range(levels)]
    below = found[1 : levels - chained]
    if below:
        found[0][SUBDIRECTORIES] = (
            sub,
            [_write_directory(data, tags, 0, mark, big=big) for tags in below],
        )
    following = 0
    for tags in reversed([found[0], *found[levels - chained :][:chained]]):
        following = _write_directory(data, tags, following, mark, big=big)
    data[first : first + (8 if big else 4)] = struct.pack(mark + ("Q" if big else "I"), following)
    return bytes(data)


def _level(data: bytearray, number: int, places: int) -> dict[int, tuple[int, list[int]]]:
    width, height = 256 >> number, 192 >> number
    offsets, lengths = [], []
    for tile in range(-(-width // 64) * -(-height // 64)):
        offsets.append(len(data))
        lengths.append(tile + 1)
        data += bytes([number]) * (tile + 1)
    return {
        254: (LONG, [1 if number else 0]),
        256: (SHORT, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8]),
        259: (SHORT, [7]),
        262: (SHORT, [1]),
        277: (SHORT, [1]),
        TILE_WIDTH: (SHORT, [64]),
        TILE_LENGTH: (SHORT, [64]),
        OFFSETS: (places, offsets),
        COUNTS: (places, lengths),
    }


def _write_directory(
    data: bytearray,
    tags: dict[int, tuple[int, list[int]]],
    following: int,
    mark: str,
    *,
    big: bool,
) -> int:
    """Append a directory after its long values; return its offset."""
    count, wide, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"{mark}{len(values)}{_CODES[kind]}", *values)
        if len(value) > inline:
            data += value
            value = struct.pack(mark + wide, len(data) - len(value))
        entries += struct.pack(f"{mark}HH{wide}", tag, kind, len(values)) + value.ljust(
            inline, b"\0"
        )
    offset = len(data)
    data += struct.pack(mark + count, len(tags)) + entries + struct.pack(mark + wide, following)
    return offset
