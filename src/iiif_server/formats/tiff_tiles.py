"""Tiled TIFFs: which levels of an image they hold, and where the tiles of each lie.

TIFF 6.0, section 15 (tiles); TIFF Technical Note 2 (JPEG); BigTIFF. What is read here is the
directories; no pixel is decoded.
"""

import errno
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from iiif_server.formats.jpeg_segments import adobe_segment, icc_segments_of, jfif_segment
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.stored_tiles import TILE_PLACE, StoredLevel, StoredTiles, TileTable

Directory: TypeAlias = ImageFileDirectory_v2

_MOST_DIRECTORIES = 64
"""How many are looked at: a pyramid of a gigapixel has a dozen, and a chain may have no end."""
_MOST_TILES = 4_000_000
_MOST_BYTES_A_TILE = 64_000_000
_MOST_TILE_SIDES = 8

_SUBFILE_TYPE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _TILE_WIDTH, _TILE_LENGTH, _OFFSETS, _COUNTS = 277, 284, 322, 323, 324, 325
_SUBDIRECTORIES, _JPEG_TABLES, _ICC_PROFILE = 330, 347, 34675
_ALIKE = (_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _TILE_WIDTH, _TILE_LENGTH)
"""What the levels of one image have in common."""
_REDUCED = 1
"""NewSubfileType, bit 0: a reduced-resolution version of another image in this file."""
_JPEG = 7
_IFD8, _BIG_ENTRY, _MOST_TAGS = 18, 20, 1000
_BLACK_IS_ZERO, _RGB, _YCBCR = 1, 2, 6
_EIGHT_BITS = 8


def stored_tiles(file: BinaryIO) -> StoredTiles | None:
    """What a TIFF holds in tiles; None if its full resolution is not tiled.

    A directory counts as a level if it says that it is reduced (or stands below the first as a
    SubIFD), stores its samples alike, and has 1/2, 1/4, ... of the sides, however rounded.
    """
    found = _sound_levels(file)
    if not found:
        return None
    base = found[0][1]
    return StoredTiles(_tile(base), tuple(level for level, _ in found), _jpeg_components(base))


def read_tile_tables(
    original: LocalFile, descriptor: int | None = None, *, keep_profile: bool
) -> Mapping[int, TileTable]:
    """The tables of the levels of a tiled TIFF, by scale factor; only those that are sound.

    The file is read by a descriptor if one is given.

    Raises OriginalChangedError where another version of the file, or none, is there.
    """
    with os.fdopen(original.open(descriptor), "rb") as file:
        size = file.seek(0, 2)
        found = _sound_levels(file)
        profile = bytes(found[0][1].get(_ICC_PROFILE, b"")) if found and keep_profile else b""
        tables = {level.scale_factor: _table(level, ifd, size, profile) for level, ifd in found}
    return {factor: table for factor, table in tables.items() if table is not None}


def _sound_levels(file: BinaryIO) -> list[tuple[StoredLevel, Directory]]:
    """The levels; none where the directories are damaged or hostile.

    Raises OSError where the disk fails, and MemoryError: these say nothing of the file.
    """
    try:
        return list(_levels(file))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises whatever Python has; decoders report the damage
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise
        return []


def _levels(file: BinaryIO) -> Iterator[tuple[StoredLevel, Directory]]:
    """The levels of a tiled TIFF with their directories, each factor once, ascending."""
    directories = _directories(file)
    base = next(directories, None)
    if base is None or _TILE_WIDTH not in base[2] or _TILE_LENGTH not in base[2]:
        return
    whole, tile = _dimensions(base[2]), _tile(base[2])
    found = {1: (StoredLevel(1, whole, 0, None), base[2])}
    for page, subdirectory, ifd in directories:
        alike = all(ifd.get(tag) == base[2].get(tag) for tag in _ALIKE)
        reduced = subdirectory is not None or int(ifd.get(_SUBFILE_TYPE, 0)) & _REDUCED
        if not (alike and reduced):
            continue
        size = _dimensions(ifd)
        factor = _factor(whole, size)
        if factor is not None and factor not in found and not _is_overgrown(tile, size):
            found[factor] = (StoredLevel(factor, size, page, subdirectory), ifd)
    for factor in sorted(found):
        yield found[factor]


def _is_overgrown(tile: Dimensions, size: Dimensions) -> bool:
    """Whether a level is so much smaller than its tiles that libvips takes it for an attack."""
    return (
        tile.width > _MOST_TILE_SIDES * size.width or tile.height > _MOST_TILE_SIDES * size.height
    )


def _factor(whole: Dimensions, size: Dimensions) -> int | None:
    """The power of two by which the size is smaller, its sides rounded in any way; or None."""
    factor = 2
    while factor <= 2 * max(whole.width, whole.height):
        if (
            abs(size.width * factor - whole.width) < factor
            and abs(size.height * factor - whole.height) < factor
        ):
            return factor
        factor *= 2
    return None


def _directories(file: BinaryIO) -> Iterator[tuple[int, int | None, Directory]]:
    """The directories of the main chain and the SubIFDs of the first, with page and SubIFD."""
    file.seek(0)
    head = file.read(8)
    if head[2:3] == b"+":
        head += file.read(8)
    next_ = ImageFileDirectory_v2(head).next
    seen: set[int] = set()
    for page in range(_MOST_DIRECTORIES):
        if not next_ or next_ in seen:
            return
        seen.add(next_)
        ifd = _directory(file, head, next_)
        yield page, None, ifd
        if page == 0:
            below = _numbers(ifd, _SUBDIRECTORIES) or _long_offsets(file, next_)
            for number, offset in enumerate(below[:_MOST_DIRECTORIES]):
                if offset not in seen:
                    seen.add(offset)
                    yield page, number, _directory(file, head, offset)
        next_ = ifd.next


def _long_offsets(file: BinaryIO, at: int) -> tuple[int, ...]:
    """The SubIFDs of a directory of a little-endian BigTIFF, in a type that Pillow leaves out."""
    file.seek(0)
    if file.read(4) != b"II+\0":
        return ()
    file.seek(at)
    (count,) = struct.unpack("<Q", file.read(8))
    for _ in range(min(count, _MOST_TAGS)):
        tag, type_, number, value = struct.unpack("<HHQQ", file.read(_BIG_ENTRY))
        if (tag, type_) == (_SUBDIRECTORIES, _IFD8) and number <= _MOST_DIRECTORIES:
            if number == 1:
                return (value,)
            file.seek(value)
            return struct.unpack(f"<{number}Q", file.read(8 * number))
    return ()


def _directory(file: BinaryIO, head: bytes, offset: int) -> Directory:
    ifd = ImageFileDirectory_v2(head)
    file.seek(offset)
    file.read(2)  # Pillow would ignore that the disk fails
    file.seek(offset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be read is left out, and then missing
        ifd.next = 0
        ifd.load(file)
    return ifd


def _dimensions(ifd: Directory) -> Dimensions:
    return Dimensions(_positive(ifd[_WIDTH]), _positive(ifd[_LENGTH]))


def _tile(ifd: Directory) -> Dimensions:
    return Dimensions(_positive(ifd[_TILE_WIDTH]), _positive(ifd[_TILE_LENGTH]))


def _positive(value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"{value} is no extent")
    return value


def _jpeg_components(ifd: Directory) -> int:
    """The number of components of tiles that are baseline JPEGs anyone can show; else 0."""
    samples = int(ifd.get(_SAMPLES, 1))
    bits = set(_numbers(ifd, _BITS))
    if ifd.get(_COMPRESSION) != _JPEG or bits != {_EIGHT_BITS} or int(ifd.get(_PLANAR, 1)) != 1:
        return 0
    shown = {(_BLACK_IS_ZERO, 1), (_RGB, 3), (_YCBCR, 3)}
    return samples if (ifd.get(_PHOTOMETRIC), samples) in shown else 0


def _table(level: StoredLevel, ifd: Directory, size: int, profile: bytes) -> TileTable | None:
    tile, whole = _tile(ifd), level.dimensions
    expected = -(-whole.width // tile.width) * -(-whole.height // tile.height)
    offsets, lengths = _numbers(ifd, _OFFSETS), _numbers(ifd, _COUNTS)
    sound = (
        expected <= _MOST_TILES
        and len(offsets) == len(lengths) == expected
        and all(
            length <= _MOST_BYTES_A_TILE and offset + length <= size
            for offset, length in zip(offsets, lengths, strict=True)
        )
    )
    if not sound:
        return None
    # Without these, who shows a JPEG has to guess what its components mean.
    meaning = adobe_segment() if ifd.get(_PHOTOMETRIC) == _RGB else jfif_segment()
    tables = bytes(ifd.get(_JPEG_TABLES, b""))[2:-2]  # between its own first and last marker
    before = b"\xff\xd8" + meaning + b"".join(icc_segments_of(profile)) + tables
    places = b"".join(map(TILE_PLACE.pack, offsets, lengths))
    return TileTable(places, before)


def _numbers(ifd: Directory, tag: int) -> tuple[int, ...]:
    """The whole numbers of a tag, of which there may be one, many or none."""
    value: Any = ifd.get(tag, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(item for item in values if isinstance(item, int))
