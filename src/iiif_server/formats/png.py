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

_SIGNATURE_BYTES = 8
MAX_CHUNKS = 2_000
_MAX_WALKED_CHUNKS = 200_000
"""Maximum number of chunks that are read to find the last one."""
_MAX_DECOMPRESSED = 1 << 20
"""Maximum decompressed bytes of a text; a profile may be as large as in other formats."""
_MAX_COUNTED_BYTES = 1 << 30
_WINDOW = 1 << 16
_MAX_RATIO = 1032
"""Maximum compression ratio of deflate."""
_READ_CHUNKS = frozenset({b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"})
_FILL_BYTES = 20
"""Bytes a pixel of copies while missing pixels are filled."""
_RAW_EXIF = b"Raw profile type exif\0"
"""Keyword of the zTXt or tEXt chunk in which ImageMagick wrote EXIF before there was eXIf."""
_TAIL = 1 << 17
"""Bytes at the end of a file that are searched for IEND, and EXIF after the pixels."""
_MAX_NAME_MATCHES = 1_000
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
class _Header:
    interlaced: bool = False
    decompressed: int = 0
    """Decompressed bytes of all rows; an interlaced image has a few less."""
    pixel_bits: int = 0
    area: int = 0


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a PNG with too many pixels, or too much metadata, compressed or not."""
    metadata, header = 0, _Header()
    contents: dict[bytes, bytes] = {}
    raw_exif = b""
    for index, chunk in enumerate(_chunks(file)):
        if chunk.name == b"IDAT":
            break
        if (chunk.name == b"IHDR") is not (index == 0):
            raise file.damaged("its chunks are out of order")
        if chunk.name == b"IHDR":
            header = _check_header(file, chunk)
        file.check_block(chunk.length, f"its {_display_name(chunk)} chunk")
        metadata += chunk.length
        file.check(metadata, MAX_METADATA_BYTES, "bytes of metadata")
        decompressed = _check_decompressed(file, chunk)
        is_text = chunk.name in {b"tEXt", b"zTXt"}
        if is_text and file.read_at(chunk.offset, len(_RAW_EXIF)) == _RAW_EXIF:
            raw_exif = _exif_of_hex(decompressed or file.read_at(chunk.offset, chunk.length))
        if chunk.name in _READ_CHUNKS:
            contents.setdefault(
                chunk.name, file.read_at(chunk.offset, min(chunk.length, MAX_BLOCK_BYTES))
            )
    tail = file.read_at(max(0, file.size - _TAIL), _TAIL)
    partial = b"IEND" not in tail and _is_partial(file, header)
    return Inspection(
        Needs(bytes=metadata + (_FILL_BYTES * header.area if partial and header.interlaced else 0)),
        interleaved=header.interlaced,
        partial=partial,
        colour_tags=_colours(contents),
        exif=contents.get(b"eXIf") or next(_chunks_in(tail, b"eXIf"), b"") or raw_exif,
        xmp=next(filter(None, map(_xmp_of, _chunks_in(tail, b"iTXt"))), b""),
    )


def _colours(contents: Mapping[bytes, bytes]) -> ColourTags | None:
    """Return colour tags by precedence: cICP, iCCP, sRGB, gAMA with cHRM (W3C PNG, 4.3)."""
    points = contents.get(b"cICP", b"")
    if len(points) == 4 and points[2] == 0 and UNSPECIFIED not in points[:2]:  # noqa: PLR2004 - RGB
        return ColourTags(points[0], points[1])
    if b"iCCP" in contents or b"sRGB" in contents or len(contents.get(b"gAMA", b"")) != 4:  # noqa: PLR2004
        return None
    (gamma,) = struct.unpack(">I", contents[b"gAMA"])
    chromaticities: tuple[float, ...] = ()
    if len(contents.get(b"cHRM", b"")) == 32:  # noqa: PLR2004 - eight numbers
        chromaticities = tuple(value / 100_000 for value in struct.unpack(">8I", contents[b"cHRM"]))
    if not gamma or not all(chromaticities[1::2] or (1,)):
        return None
    return ColourTags(gamma=gamma / 100_000, chromaticities=chromaticities)


def _is_partial(file: BoundedFile, header: _Header) -> bool:
    """Whether a file without IEND is shown partially.

    An earlier IEND means that data was appended: the image is complete. A file that ends between
    two chunks is complete if it has all pixels. Raises DamagedOriginalError.
    """
    end, pixels = 0, []
    for chunk in islice(_chunks(file, _MAX_WALKED_CHUNKS), _MAX_WALKED_CHUNKS):
        if chunk.name == b"IEND":
            return False
        if chunk.name == b"IDAT":
            pixels.append(chunk)
        end = chunk.end
    counted = min(header.decompressed, _MAX_COUNTED_BYTES)
    if end > file.size or _decompressed_size(file, pixels, counted) < counted:
        return file.accept_truncated()
    return False


def received_rows(file: BoundedFile, passes: Iterable[tuple[int, int]]) -> list[int]:
    """Return how many rows of each pass of an interlaced PNG the file has, by their dimensions."""
    chunks = list(islice(_chunks(file, _MAX_WALKED_CHUNKS), _MAX_WALKED_CHUNKS))
    header = _check_header(file, chunks[0])
    remaining = _decompressed_size(
        file, (chunk for chunk in chunks if chunk.name == b"IDAT"), header.decompressed
    )
    received = []
    for width, height in passes:
        row_bytes = 1 + -(-width * header.pixel_bits // 8)
        rows = height if width else 0
        received.append(min(rows, remaining // row_bytes))
        remaining = max(0, remaining - rows * row_bytes)
    return received


def _decompressed_size(file: BoundedFile, pixels: Iterable[_Chunk], limit: int) -> int:
    """Return the decompressed bytes of chunks, up to `limit`; all of it where the stream ends."""
    decompressor, size = zlib.decompressobj(), 0
    try:
        for chunk in pixels:
            for offset in range(chunk.offset, chunk.offset + chunk.length, _WINDOW):
                data = file.read_at(offset, min(_WINDOW, chunk.offset + chunk.length - offset))
                while data and size < limit:
                    size += len(decompressor.decompress(data, _MAX_DECOMPRESSED))
                    data = decompressor.unconsumed_tail
            if decompressor.eof or size >= limit:
                return limit
    except zlib.error:
        return limit  # otherwise damaged: the decoder reports it
    return size


def _chunks_in(tail: bytes, name: bytes) -> Iterator[bytes]:
    """Yield the contents of named chunks after the pixels, near the end of the file.

    Chunks are recognised by their checksums, without walking the pixel chunks, of which there may
    be a million.
    """
    at = tail.find(name)
    for _ in range(_MAX_NAME_MATCHES):
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


def _chunks(file: BoundedFile, limit: int = MAX_CHUNKS) -> Iterator[_Chunk]:
    position = _SIGNATURE_BYTES
    for _ in range(limit):
        numbers = file.unpack_at(">I4s", position)
        if numbers is None:
            return
        length, name = numbers
        chunk = _Chunk(name, position + 8, length)
        yield chunk
        position = chunk.end
    file.check(limit + 1, limit, "chunks of metadata")


def _check_header(file: BoundedFile, chunk: _Chunk) -> _Header:
    """Refuse an invalid IHDR (11.2.1)."""
    fields = file.unpack_at(">IIBBBBB", chunk.offset)
    if fields is None:
        return _Header()
    width, height, bits, colour, _, _, interlaced = fields
    file.check_size(width, height)
    if bits not in _DEPTHS.get(colour, ()) or interlaced > 1:
        raise file.damaged("its colour type and bit depth are invalid")
    row_bytes = -(-width * bits * _CHANNELS[colour] // 8)
    file.check_min_size(height * row_bytes // _MAX_RATIO)
    # Each row begins with the byte of its filter.
    decompressed = height * (row_bytes + (not interlaced))
    return _Header(bool(interlaced), decompressed, bits * _CHANNELS[colour], width * height)


def _check_decompressed(file: BoundedFile, chunk: _Chunk) -> bytes:
    """Decompress a chunk; empty if it is not compressed. Refuse large ones."""
    if chunk.name not in {b"zTXt", b"iTXt", b"iCCP"}:
        return b""
    data = file.read_at(chunk.offset, chunk.length)
    start = _compressed_offset(chunk.name, data)
    if start is None:
        return b""
    decompressor = zlib.decompressobj()
    limit = MAX_BLOCK_BYTES if chunk.name == b"iCCP" else _MAX_DECOMPRESSED
    try:
        decompressed = decompressor.decompress(data[start:], limit + 1)
    except zlib.error:
        return b""  # no other library can decompress it either
    file.check(
        len(decompressed),
        limit,
        f"bytes or more, decompressed, in its {_display_name(chunk)} chunk",
    )
    return decompressed


def _exif_of_hex(text: bytes) -> bytes:
    """Return the EXIF that ImageMagick wrote as text: name, length, hexadecimal digits."""
    digits = b"".join(text.removeprefix(_RAW_EXIF).split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii")).removeprefix(b"Exif\0\0")
    except ValueError:
        return b""


def _compressed_offset(name: bytes, data: bytes) -> int | None:
    """Return the offset of a chunk's compressed data (11.3.3, 11.3.4); None without any."""
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


def _display_name(chunk: _Chunk) -> str:
    """Return the name of the chunk for messages; `unnamed` if it is invalid."""
    return chunk.name.decode("ascii") if chunk.name.isalpha() else "unnamed"
