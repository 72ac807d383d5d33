"""PNG (ISO 15948): the chunks before the pixels; nothing is decoded."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from iiif_server.formats.bounded_file import (
    MAX_BLOCK_BYTES,
    MAX_METADATA_BYTES,
    BoundedFile,
    Inspection,
)
from iiif_server.formats.colour_tags import UNSPECIFIED, ColourTags
from iiif_server.plan.header import Needs

_FIRST = 8
MAX_CHUNKS = 2_000
_MAX_WALKED = 200_000
"""Maximum number of chunks that are read to find the last one."""
_MAX_UNPACKED = 1 << 20
"""Maximum decompressed bytes of a chunk; Pillow has the same limit."""
_MAX_COUNTED = 1 << 30
_WINDOW = 1 << 16
_MAX_RATIO = 1032
"""Maximum compression ratio of deflate."""
_TOLD = frozenset({b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"})
_FILLED = 20
"""Bytes a pixel of copies while missing pixels are filled."""
_TAIL = 1 << 17
"""Bytes at the end of a file that are searched for IEND, and EXIF after the pixels."""
_MAX_NAMES = 1_000
"""Maximum matches of a chunk name that are checked: pixel data may contain it."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {
    0: frozenset({1, 2, 4, 8, 16}),
    2: frozenset({8, 16}),
    3: frozenset({1, 2, 4, 8}),
    4: frozenset({8, 16}),
    6: frozenset({8, 16}),
}


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the next chunk, after the checksum."""
        return self.offset + self.length + 4


@dataclass(frozen=True, slots=True)
class _Head:
    interlaced: bool = False
    unpacked: int = 0
    """Decompressed bytes of all rows; an interlaced image has a few less."""
    pixel_bits: int = 0
    area: int = 0


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a PNG with too many pixels, or too much metadata, compressed or not."""
    metadata, head = 0, _Head()
    told: dict[bytes, bytes] = {}
    for index, chunk in enumerate(_chunks(file)):
        if chunk.name == b"IDAT":
            break
        if (chunk.name == b"IHDR") is not (index == 0):
            raise file.damaged("its chunks are out of order")
        if chunk.name == b"IHDR":
            head = _check_header(file, chunk)
        file.check_block(chunk.length, f"its {_named(chunk)} chunk")
        metadata += chunk.length
        file.check(metadata, MAX_METADATA_BYTES, "bytes of metadata")
        _check_unpacked(file, chunk)
        if chunk.name in _TOLD:
            told.setdefault(chunk.name, file.at(chunk.offset, min(chunk.length, MAX_BLOCK_BYTES)))
    tail = file.at(max(0, file.size - _TAIL), _TAIL)
    partial = b"IEND" not in tail and _is_partial(file, head)
    return Inspection(
        Needs(bytes=metadata + (_FILLED * head.area if partial and head.interlaced else 0)),
        interleaved=head.interlaced,
        partial=partial,
        colours=_colours(told),
        exif=told.get(b"eXIf") or next(_chunks_in(tail, b"eXIf"), b""),
        xmp=next(filter(None, map(_xmp_of, _chunks_in(tail, b"iTXt"))), b""),
    )


def _colours(told: Mapping[bytes, bytes]) -> ColourTags | None:
    """Colour tags by precedence: cICP, iCCP, sRGB, then gAMA with cHRM (W3C PNG, 4.3)."""
    points = told.get(b"cICP", b"")
    if len(points) == 4 and points[2] == 0 and UNSPECIFIED not in points[:2]:  # noqa: PLR2004 - RGB
        return ColourTags(points[0], points[1])
    if b"iCCP" in told or b"sRGB" in told or len(told.get(b"gAMA", b"")) != 4:  # noqa: PLR2004
        return None
    (gamma,) = struct.unpack(">I", told[b"gAMA"])
    chromaticities: tuple[float, ...] = ()
    if len(told.get(b"cHRM", b"")) == 32:  # noqa: PLR2004 - eight numbers
        chromaticities = tuple(value / 100_000 for value in struct.unpack(">8I", told[b"cHRM"]))
    if not gamma or not all(chromaticities[1::2] or (1,)):
        return None
    return ColourTags(gamma=gamma / 100_000, chromaticities=chromaticities)


def _is_partial(file: BoundedFile, head: _Head) -> bool:
    """Whether a file without IEND is shown partially.

    It is whole if IEND comes earlier: then something is appended. A file that ends between two
    chunks is whole if it has all of its pixels. Raises DamagedOriginalError.
    """
    end, pixels = 0, []
    for chunk in islice(_chunks(file, _MAX_WALKED), _MAX_WALKED):
        if chunk.name == b"IEND":
            return False
        if chunk.name == b"IDAT":
            pixels.append(chunk)
        end = chunk.end
    counted = min(head.unpacked, _MAX_COUNTED)
    if end > file.size or _unpacked(file, pixels, counted) < counted:
        return file.truncated()
    return False


def received_rows(file: BoundedFile, passes: Iterable[tuple[int, int]]) -> list[int]:
    """Return how many rows of each pass of an interlaced PNG the file has, by their dimensions."""
    chunks = list(islice(_chunks(file, _MAX_WALKED), _MAX_WALKED))
    head = _check_header(file, chunks[0])
    left = _unpacked(file, (chunk for chunk in chunks if chunk.name == b"IDAT"), head.unpacked)
    found = []
    for width, height in passes:
        row = 1 + -(-width * head.pixel_bits // 8)
        wanted = height if width else 0
        found.append(min(wanted, left // row))
        left = max(0, left - wanted * row)
    return found


def _unpacked(file: BoundedFile, pixels: Iterable[_Chunk], most: int) -> int:
    """Return the decompressed bytes of chunks, up to `most`; all of it where the stream ends."""
    unpacking, found = zlib.decompressobj(), 0
    try:
        for chunk in pixels:
            for at in range(chunk.offset, chunk.offset + chunk.length, _WINDOW):
                data = file.at(at, min(_WINDOW, chunk.offset + chunk.length - at))
                while data and found < most:
                    found += len(unpacking.decompress(data, _MAX_UNPACKED))
                    data = unpacking.unconsumed_tail
            if unpacking.eof or found >= most:
                return most
    except zlib.error:
        return most  # damaged otherwise: the decoder tells it
    return found


def _chunks_in(tail: bytes, name: bytes) -> Iterator[bytes]:
    """Yield the contents of named chunks after the pixels, near the end of the file.

    They are known by their checksums: the chunks of the pixels, which may be a million, are not
    walked.
    """
    at = tail.find(name)
    for _ in range(_MAX_NAMES):
        if at < 4:  # noqa: PLR2004 - its length stands before its name
            return
        length = int.from_bytes(tail[at - 4 : at], "big")
        end = at + 4 + length
        if (
            end + 4 <= len(tail)
            and zlib.crc32(tail[at:end]).to_bytes(4, "big") == tail[end : end + 4]
        ):
            yield tail[at + 4 : end]
        at = tail.find(name, at + 1)


def _xmp_of(text: bytes) -> bytes:
    """Return the XMP packet of an iTXt chunk; empty if it has none, or is compressed."""
    keyword, _, rest = text.partition(b"\0")
    if keyword != b"XML:com.adobe.xmp" or rest[:1] != b"\0":
        return b""
    return rest[2:].split(b"\0", 2)[-1]


def _chunks(file: BoundedFile, most: int = MAX_CHUNKS) -> Iterator[_Chunk]:
    position = _FIRST
    for _ in range(most):
        numbers = file.numbers(">I4s", position)
        if numbers is None:
            return
        length, name = numbers
        chunk = _Chunk(name, position + 8, length)
        yield chunk
        position = chunk.end
    file.check(most + 1, most, "chunks of metadata")


def _check_header(file: BoundedFile, chunk: _Chunk) -> _Head:
    """Refuse an invalid IHDR (11.2.1)."""
    numbers = file.numbers(">IIBBBBB", chunk.offset)
    if numbers is None:
        return _Head()
    width, height, bits, colour, _, _, interlaced = numbers
    file.check_size(width, height)
    if bits not in _DEPTHS.get(colour, ()) or interlaced > 1:
        raise file.damaged("its colour type and bit depth are invalid")
    row = -(-width * bits * _CHANNELS[colour] // 8)
    file.check_long_enough(height * row // _MAX_RATIO)
    # Each row begins with the byte of its filter.
    unpacked = height * (row + (not interlaced))
    return _Head(bool(interlaced), unpacked, bits * _CHANNELS[colour], width * height)


def _check_unpacked(file: BoundedFile, chunk: _Chunk) -> None:
    """Refuse a chunk that decompresses to more than 1 MiB."""
    if chunk.name not in {b"zTXt", b"iTXt", b"iCCP"}:
        return
    data = file.at(chunk.offset, chunk.length)
    start = _compressed_from(chunk.name, data)
    if start is None:
        return
    unpacking = zlib.decompressobj()
    try:
        unpacked = len(unpacking.decompress(data[start:], _MAX_UNPACKED + 1))
    except zlib.error:
        return  # nobody else can read it either
    file.check(unpacked, _MAX_UNPACKED, f"bytes or more packed in its {_named(chunk)} chunk")


def _compressed_from(name: bytes, data: bytes) -> int | None:
    """Offset of the compressed data of a chunk (11.3.3, 11.3.4); None if it has none."""
    keyword = data.find(b"\0")
    if keyword < 0:
        return None
    if name != b"iTXt":
        return keyword + 2
    if data[keyword + 1 : keyword + 2] != b"\1":
        return None
    language = data.find(b"\0", keyword + 3)
    translated = data.find(b"\0", language + 1)
    return translated + 1 if language >= 0 and translated >= 0 else None


def _named(chunk: _Chunk) -> str:
    """Name of the chunk, if it is valid."""
    return chunk.name.decode("ascii") if chunk.name.isalpha() else "unnamed"
