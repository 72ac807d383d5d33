"""TIFF and BigTIFF: the chain of directories, and what the first of them says (TIFF 6.0)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from iiif_server.formats.bounded_file import MOST_BLOCK, BoundedFile
from iiif_server.plan.needs import Needs

_BIG = 43
_MOST_TAGS = 4_096
_MOST_PIECES = 1 << 20
"""Strips or tiles."""
_PIECE_BYTES = 32
"""What a decoder holds of each."""
_MOST_READ = 64
"""Directories that are read: of the main chain, and below the first (imaging/tiff.py)."""
_MOST_PIECE_BYTES = 256 << 20
"""Bytes of one tile, unpacked: decoders hold it whole."""
_MOST_TAG_BYTES = 512 << 20
"""Bytes of all values of a directory; programs keep whole documents in tags of their own."""
_MOST_SAMPLES = 8
_MOST_BITS = 64
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 7, 8, 32_773, 32_946, 50_001})
"""None, CCITT (2, 3, 4), LZW, JPEG, deflate (two numbers), PackBits, WebP: what the decoders have
that nobody has to fear."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANES = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_SUB_DIRECTORIES = 330
_TABLES = (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES)
_BLOCKS = {700: "its XMP block", 33_723: "its IPTC block", 34_675: "its ICC profile"}
_SEPARATE = 2

_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers are written in a file."""

    order: str
    big: bool

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def tag(self) -> str:
        return self.order + ("HHQ8s" if self.big else "HHI4s")


@dataclass(frozen=True, slots=True)
class _Tag:
    type: int
    count: int
    value: bytes
    """The value itself where it fits, else where it is."""

    @property
    def length(self) -> int:
        """Bytes of the value, 0 where the type is unknown and nobody reads it."""
        return self.count * _TYPE_BYTES.get(self.type, 0)


class _Directory:
    """One directory: the first tag of each number counts, as with all decoders."""

    def __init__(self, file: BoundedFile, layout: _Layout, offset: int) -> None:
        self._subject = file
        self._layout = layout
        self.tags: dict[int, _Tag] = {}
        numbers = file.numbers(layout.count, offset)
        count = 0 if numbers is None else numbers[0]
        file.check(count, _MOST_TAGS, "tags in a directory")
        size = struct.calcsize(layout.tag)
        table = file.at(offset + struct.calcsize(layout.count), count * size)
        for at in range(0, len(table) - size + 1, size):
            number, *rest = struct.unpack_from(layout.tag, table, at)
            self.tags.setdefault(number, _Tag(*rest))

    def values(self, number: int, most: int = 64) -> tuple[int, ...]:
        """The whole numbers of a tag, so many of them at most; none where there are none."""
        tag = self.tags.get(number)
        if tag is None or tag.type not in _WHOLE_NUMBERS:
            return ()
        count = min(tag.count, most)
        layout = f"{self._layout.order}{count}{_WHOLE_NUMBERS[tag.type]}"
        data = tag.value
        if tag.length > len(data):
            (offset,) = struct.unpack(self._layout.offset, data)
            data = self._subject.at(offset, struct.calcsize(layout))
        return struct.unpack_from(layout, data) if len(data) >= struct.calcsize(layout) else ()

    def value(self, number: int, default: int) -> int:
        """The first whole number of a tag."""
        return next(iter(self.values(number, 1)), default)

    def count(self, number: int) -> int:
        """How many values a tag has."""
        tag = self.tags.get(number)
        return 0 if tag is None else tag.count


def inspect(file: BoundedFile) -> Needs:
    """Refuse a TIFF that is too much: of pixels, pages, pieces, samples, tags or metadata."""
    order = "<" if file.at(0, 2) == b"II" else ">"
    version = file.numbers(order + "H", 2)
    if version is None:
        return Needs()
    layout = _Layout(order, version[0] == _BIG)
    numbers = file.numbers(layout.offset, 8 if layout.big else 4)
    if numbers is None:
        return Needs()
    first = _Directory(file, layout, numbers[0])
    if not first.tags:
        raise file.damaged("its first directory is empty or not in the file")
    others = _check_chain(file, layout, numbers[0], first)
    _check_samples(file, first)
    pieces = _check_pieces(file, first)
    directories = [first, *(_Directory(file, layout, offset) for offset in others)]
    _check_tags(file, directories)
    return Needs(bytes=_PIECE_BYTES * pieces)


def _check_chain(file: BoundedFile, layout: _Layout, offset: int, first: _Directory) -> list[int]:
    """Refuse directories without an end: of the main chain, and of those below the first.

    The offsets of those that are read after the first: they may be levels of its image.
    """
    seen: dict[int, None] = {}
    size, counted = struct.calcsize(layout.tag), struct.calcsize(layout.count)
    while offset:
        if offset in seen:
            raise file.damaged("its directories go round in circles")
        seen[offset] = None
        file.check_frames(len(seen), "pages")
        count = file.numbers(layout.count, offset)
        if count is None:
            break
        following = file.numbers(layout.offset, offset + counted + count[0] * size)
        if following is None:
            break
        offset = following[0]
    below = first.count(_SUB_DIRECTORIES)
    file.check_frames(below, "pages below the first")
    offsets = first.values(_SUB_DIRECTORIES, below)
    if len(set(offsets)) < len(offsets) or not seen.keys().isdisjoint(offsets):
        raise file.damaged("its directories go round in circles")
    return [*list(seen)[1:_MOST_READ], *offsets[:_MOST_READ]]


def _check_tags(file: BoundedFile, directories: Sequence[_Directory]) -> None:
    """Refuse directories that together have more values than a header is read with."""
    total = pieces = 0
    for directory in directories:
        for number, tag in directory.tags.items():
            if tag.length > file.size:
                continue  # decoders know that this cannot be
            total += tag.length
            if number in _BLOCKS:
                file.check(tag.length, MOST_BLOCK, f"bytes in {_BLOCKS[number]}")
        pieces += max(directory.count(table) for table in _TABLES)
    file.check(total, _MOST_TAG_BYTES, "bytes of metadata")
    file.check(pieces, 2 * _MOST_PIECES, "strips or tiles in all directories")


def _check_samples(file: BoundedFile, directory: _Directory) -> None:
    file.check_size(directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0))
    compression = directory.value(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise file.unsupported(f"is compressed by method {compression}")
    samples = directory.value(_SAMPLES, 1)
    file.check(samples, _MOST_SAMPLES, "samples a pixel")
    if samples < 1 or not 1 <= directory.value(_BITS, 1) <= _MOST_BITS:
        raise file.damaged("its samples are none")


def _check_pieces(file: BoundedFile, directory: _Directory) -> int:
    """Refuse strips and tiles that are too many or too large, or for which there is no table.

    How many there are, by the longest table.
    """
    width, height = directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0)
    samples, bits = directory.value(_SAMPLES, 1), directory.value(_BITS, 1)
    separate = directory.value(_PLANES, 1) == _SEPARATE
    tiled = _TILE_WIDTH in directory.tags or _TILES in directory.tags
    if tiled:
        piece = directory.value(_TILE_WIDTH, 0), directory.value(_TILE_HEIGHT, 0)
    else:
        piece = width, min(directory.value(_ROWS, height), height)
    if min(piece) < 1:
        raise file.damaged("its strips or tiles have no pixels")
    pieces = -(-width // piece[0]) * -(-height // piece[1]) * (samples if separate else 1)
    most = max(pieces, *(directory.count(table) for table in _TABLES))
    file.check(most, _MOST_PIECES, "strips or tiles")
    if tiled:
        unpacked = prod(piece) * bits * (1 if separate else samples) // 8
        file.check(unpacked, _MOST_PIECE_BYTES, "bytes in one tile")
    if directory.count(_TILES if tiled else _STRIPS) < pieces:
        raise file.damaged("its table of strips or tiles is too short")
    return most
