"""TIFF 6.0 and BigTIFF: directories, the levels of tiled images, and their tile tables.

Nothing is decoded. Tiles: TIFF 6.0, section 15; JPEG in TIFF: Technical Note 2.
"""

import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

from iiif_server.formats.bounded_file import MAX_BLOCK_BYTES, BoundedFile
from iiif_server.formats.jpeg_segments import adobe_segment, jfif_segment
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.extents import Extent
from iiif_server.plan.stored_tiles import TILE_ENTRY, StoredLevel, StoredTiles, TileTable

_BIG = 43
_MAX_TAGS = 4_096
MAX_SEGMENTS = 1 << 20
"""Maximum number of strips or tiles."""
MAX_REDUCED_DIRECTORIES = 64
"""Maximum number of further directories of a page: reduced versions and SubIFDs."""
_MAX_BYTES_PER_TILE = 64_000_000
_MAX_TILE_SIDES = 8
_JPEG, _EIGHT_BITS = 7, 8
_BLACK_IS_ZERO, _RGB, _YCBCR = 1, 2, 6
REDUCED, MASK = 1, 4
"""NewSubfileType, bits 0 and 2: a reduced-resolution version of another image in this file, and a
transparency mask of one."""
_EARLY_ENTRIES = 64
"""Entries that are read for kind and dimensions of a directory, which come first."""
_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_WHOLE_NUMBERS: dict[int, Literal["B", "H", "I", "Q"]] = {
    1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q",
}  # fmt: skip
"""BYTE, SHORT, LONG, IFD, and of BigTIFF LONG8 and IFD8."""
_FRACTIONS = {5: "II", 11: "f", 12: "d"}
"""RATIONAL, FLOAT, DOUBLE."""


class Tag(IntEnum):
    """TIFF tags that the server reads."""

    SUBFILE_TYPE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIPS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS = 278
    STRIP_BYTES = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANES = 284
    PAGE_NAME = 285
    RESOLUTION_UNIT = 296
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILES = 324
    TILE_BYTES = 325
    INK_SET = 332
    SUB_DIRECTORIES = 330
    JPEG_TABLES = 347
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    XMP = 700
    IPTC = 33_723
    ICC_PROFILE = 34_675


TABLES = (Tag.STRIPS, Tag.STRIP_BYTES, Tag.TILES, Tag.TILE_BYTES)
_COMMON_TAGS = (Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, Tag.SAMPLES, Tag.PLANES,
          Tag.TILE_WIDTH, Tag.TILE_HEIGHT)  # fmt: skip
"""Tags with equal values in all levels of one image."""


# --- walker ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a TIFF: byte order and number sizes, as `struct` formats."""

    order: str
    count: str
    entry: str
    offset: str

    @classmethod
    def of(cls, file: BoundedFile) -> "Layout":
        """Read the layout from the header of the file."""
        order = "<" if file.read_at(0, 2) == b"II" else ">"
        if file.unpack_at(f"{order}H", 2) == (_BIG,):
            return cls(order, f"{order}Q", f"{order}HHQ8s", f"{order}Q")
        return cls(order, f"{order}H", f"{order}HHI4s", f"{order}I")

    @property
    def first(self) -> int:
        """Position of the offset of the first directory."""
        return struct.calcsize(self.offset)  # 4 and 8, in the two headers


@dataclass(frozen=True, slots=True)
class _Entry:
    type: int
    count: int
    value: bytes
    """Value if it fits, else its offset."""

    @property
    def length(self) -> int:
        """Bytes of the value; 0 for an unknown type, which is not read."""
        return self.count * _TYPE_BYTES.get(self.type, 0)


class Directory:
    """Image file directory (IFD). Of repeated tags the first counts, as in libtiff."""

    def __init__(
        self, file: BoundedFile, layout: Layout, offset: int, limit: int = sys.maxsize
    ) -> None:
        """Create it for an offset; it reads at most `limit` entries."""
        self.offset = offset
        self._file = file
        self._layout = layout
        self._start = offset + struct.calcsize(layout.count)
        self._length: int = (file.unpack_at(layout.count, offset) or (0,))[0]
        self._limit = limit

    @property
    def end(self) -> int:
        """Position of the offset of the next directory."""
        return self._start + self._length * struct.calcsize(self._layout.entry)

    @property
    def next(self) -> int:
        """Offset of the next directory of the chain; 0 after the last."""
        return int((self._file.unpack_at(self._layout.offset, self.end) or (0,))[0])

    def first_entries(self) -> "Directory":
        """Return a directory of the first entries, which contain kind and dimensions.

        A chain may have thousands of directories, each with thousands of tags.
        """
        return Directory(self._file, self._layout, self.offset, _EARLY_ENTRIES)

    @cached_property
    def tags(self) -> Mapping[int, _Entry]:
        """Entries by tag number."""
        length = min(self._length, self._limit)
        self._file.check(length, _MAX_TAGS, "tags in a directory")
        size = struct.calcsize(self._layout.entry)
        table = self._file.read_at(self._start, length * size)
        found: dict[int, _Entry] = {}
        for at in range(0, len(table) - size + 1, size):
            number, *rest = struct.unpack_from(self._layout.entry, table, at)
            found.setdefault(number, _Entry(*rest))
        return found

    def data(self, number: int, limit: int = MAX_BLOCK_BYTES) -> bytes:
        """Return the first `limit` bytes of a value; empty without the tag."""
        entry = self.tags.get(number)
        if entry is None:
            return b""
        if entry.length <= len(entry.value):
            return entry.value[: entry.length]
        (offset,) = struct.unpack(self._layout.offset, entry.value)
        return self._file.read_at(offset, min(entry.length, limit))

    def extent(self, number: int, limit: int = MAX_BLOCK_BYTES) -> Extent | None:
        """Return the extent that `data` reads; None for a value inside the directory."""
        entry = self.tags.get(number)
        if entry is None or entry.length <= len(entry.value):
            return None
        (offset,) = struct.unpack(self._layout.offset, entry.value)
        stop = min(offset + min(entry.length, limit), self._file.size)
        return (offset, stop) if offset < stop else None

    def values(self, number: int, limit: int = 64) -> tuple[int, ...]:
        """Return the first integers of a tag; none if it has another type or is truncated."""
        entry = self.tags.get(number)
        if entry is None or entry.type not in _WHOLE_NUMBERS:
            return ()
        layout = f"{self._layout.order}{min(entry.count, limit)}{_WHOLE_NUMBERS[entry.type]}"
        size = struct.calcsize(layout)
        data = self.data(number, size)
        return struct.unpack_from(layout, data) if len(data) >= size else ()

    def value(self, number: int, default: int = 0) -> int:
        """Return the first integer of a tag."""
        return next(iter(self.values(number, 1)), default)

    def fraction(self, number: int) -> float:
        """Return the first number of a tag, of any numeric type; 0 without one."""
        entry = self.tags.get(number)
        if entry is None or entry.type not in _FRACTIONS:
            return float(self.value(number))
        layout = self._layout.order + _FRACTIONS[entry.type]
        data = self.data(number, struct.calcsize(layout))
        if len(data) < struct.calcsize(layout):
            return 0.0
        numerator, denominator = (*struct.unpack(layout, data), 1)[:2]
        return float(numerator / denominator) if denominator else 0.0

    def has_zero(self, number: int) -> bool:
        """Whether one of the integers of a tag is 0."""
        return 0 in self.table(number)

    def table(self, number: int) -> "array[int]":
        """Return all integers of a tag, up to a million, as an array."""
        entry = self.tags.get(number)
        if entry is None or entry.type not in _WHOLE_NUMBERS:
            return array("B")
        data, found = self.data(number), array(_WHOLE_NUMBERS[entry.type])
        found.frombytes(data[: len(data) - len(data) % found.itemsize])
        if (self._layout.order == "<") is not (sys.byteorder == "little"):
            found.byteswap()
        return found

    def count(self, number: int) -> int:
        """Return the number of values of a tag."""
        entry = self.tags.get(number)
        return 0 if entry is None else entry.count

    @property
    def dimensions(self) -> Dimensions:
        """Width and height; 0 without the tag."""
        return Dimensions(self.value(Tag.WIDTH), self.value(Tag.HEIGHT))

    @property
    def tile(self) -> Dimensions:
        """Width and height of a tile; 0 without the tag."""
        return Dimensions(self.value(Tag.TILE_WIDTH), self.value(Tag.TILE_HEIGHT))


@dataclass(frozen=True, slots=True)
class Directories:
    """Directories of one page of a file."""

    main: Directory
    """Directory of the image itself."""
    reduced: Sequence[Directory]
    """Directories before the next page in the main chain: reduced versions and masks."""
    sub_directories: Sequence[Directory]
    """SubIFDs of the image."""
    pages: int
    """Number of pages of the file."""

    @property
    def all(self) -> list[Directory]:
        """Directories that decoders may read for this page, each once."""
        known = (self.main, *self.reduced, *self.sub_directories[:MAX_REDUCED_DIRECTORIES])
        return list({ifd.offset: ifd for ifd in known}.values())


# --- levels and their tile tables -----------------------------------------------------------


def number_of_tiles(whole: Dimensions, tile: Dimensions) -> int:
    """Return the number of tiles of an image."""
    return -(-whole.width // tile.width) * -(-whole.height // tile.height)


def stored_tiles(levels: Sequence[tuple[StoredLevel, Directory]]) -> StoredTiles | None:
    """Return the levels of a tiled TIFF for its image header; None for other TIFFs."""
    if not levels:
        return None
    base = levels[0][1]
    return StoredTiles(base.tile, tuple(level for level, _ in levels), _jpeg_components(base))


def levels_of(page: Directories) -> list[tuple[StoredLevel, Directory]]:
    """Return levels and directories of a tiled TIFF, by ascending, distinct scale factors.

    A directory counts as a level if it is marked as reduced (or is a SubIFD), stores its samples
    alike, and has 1/2, 1/4, ... of the sides, rounded either way.
    """
    base = page.main
    whole, tile = base.dimensions, base.tile
    if min(tile.width, tile.height, whole.width, whole.height) < 1:
        return []
    found = {1: (StoredLevel(1, whole, base.offset), base)}
    for ifd in _candidates(page):
        size = ifd.dimensions
        if min(size.width, size.height) < 1 or not _has_same_layout(base, ifd):
            continue
        factor = _factor(whole, size)
        if factor is not None and factor not in found and not tiles_exceed_image(tile, size):
            found[factor] = (StoredLevel(factor, size, ifd.offset), ifd)
    return [found[factor] for factor in sorted(found)]


def _candidates(page: Directories) -> Iterator[Directory]:
    """Yield the directories that may be reduced levels."""
    yield from page.sub_directories[:MAX_REDUCED_DIRECTORIES]
    yield from filter(_is_reduced, page.reduced)


def _is_reduced(ifd: Directory) -> bool:
    return bool(ifd.value(Tag.SUBFILE_TYPE) & REDUCED)


def _has_same_layout(base: Directory, other: Directory) -> bool:
    return all(
        (tag in other.tags) == (tag in base.tags) and other.values(tag) == base.values(tag)
        for tag in _COMMON_TAGS
    )


def tiles_exceed_image(tile: Dimensions, size: Dimensions) -> bool:
    """Whether libvips refuses an image because it is much smaller than its tiles."""
    return tile.width > _MAX_TILE_SIDES * size.width or tile.height > _MAX_TILE_SIDES * size.height


def _factor(whole: Dimensions, size: Dimensions) -> int | None:
    """Return the scale factor, a power of two, for sides rounded up or down; or None."""
    factor = 2
    while factor <= 2 * max(whole.width, whole.height):
        if (
            abs(size.width * factor - whole.width) < factor
            and abs(size.height * factor - whole.height) < factor
        ):
            return factor
        factor *= 2
    return None


def _jpeg_components(ifd: Directory) -> int:
    """Return the number of components of tiles that are baseline JPEGs; else 0."""
    samples, bits = ifd.value(Tag.SAMPLES, 1), set(ifd.values(Tag.BITS))
    interleaved = ifd.value(Tag.PLANES, 1) == 1
    if ifd.value(Tag.COMPRESSION) != _JPEG or bits != {_EIGHT_BITS} or not interleaved:
        return 0
    supported = {(_BLACK_IS_ZERO, 1), (_RGB, 3), (_YCBCR, 3)}
    return samples if (ifd.value(Tag.PHOTOMETRIC), samples) in supported else 0


def tile_table(
    file: BoundedFile, level: StoredLevel, ifd: Directory, icc: bytes
) -> TileTable | None:
    """Return the tile table of a level; None if it is damaged."""
    expected = number_of_tiles(level.dimensions, ifd.tile)
    if not ifd.count(Tag.TILES) == ifd.count(Tag.TILE_BYTES) == expected <= MAX_SEGMENTS:
        return None
    offsets, lengths = ifd.values(Tag.TILES, expected), ifd.values(Tag.TILE_BYTES, expected)
    if not len(offsets) == len(lengths) == expected or not all(
        length <= _MAX_BYTES_PER_TILE and offset + length <= file.size
        for offset, length in zip(offsets, lengths, strict=True)
    ):
        return None
    # Without this segment, decoders have to guess the colour space of a JPEG.
    colour_segment = adobe_segment() if ifd.value(Tag.PHOTOMETRIC) == _RGB else jfif_segment()
    tables = ifd.data(Tag.JPEG_TABLES)[2:-2]  # between its own first and last marker
    entries = b"".join(map(TILE_ENTRY.pack, offsets, lengths))
    return TileTable(entries, b"\xff\xd8" + colour_segment + icc + tables)
