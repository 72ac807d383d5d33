"""JPEG 2000 (ISO 15444-1): the codestream's own header, which its wrapping must agree with."""

from collections.abc import Iterator
from dataclasses import dataclass

from iiif_server.imaging.inspection.boxes import boxes
from iiif_server.imaging.inspection.subject import Subject

_START = b"\xff\x4f\xff\x51"
"""SOC and SIZ."""
_COD, _SOT = 0xFF52, 0xFF90
_MOST_SEGMENTS = 2_000
_MOST_HEADER_BOX = 4 << 20
_MOST_TILES = 8_192
"""Each costs the decoder 13 kB before it has decoded anything."""
_MOST_TILE_PARTS = 65_536
_MOST_COMPONENTS = 4
_MOST_BITS = 16
_MOST_LEVELS = 32
_MOST_PRECINCTS = 250_000
"""Each costs the decoder some hundred bytes, and a walk for each quality layer."""
_MOST_PACKETS = 20_000_000
_WHOLE = 15
"""The exponent of a precinct's side where none is given."""


@dataclass(frozen=True, slots=True)
class _Size:
    """What SIZ says (A.5.1)."""

    width: int
    height: int
    components: int
    tiles: int
    tile_width: int
    tile_height: int


def inspect(subject: Subject) -> None:
    """Refuse a JPEG 2000 that is too much: of pixels, tiles, components or precincts."""
    announced, start = None, 0
    if subject.at(0, 4) != _START:
        for box in boxes(subject, 0, subject.size):
            if box.name == b"jp2h":
                subject.check(box.end - box.offset, _MOST_HEADER_BOX, "bytes in its header")
                announced = announced or _announced(subject, box.offset, box.end)
            if box.name == b"jp2c":
                start = box.offset
                break
        else:
            return  # there is no codestream, as decoders will say
    if announced is not None:
        subject.check_size(*announced)
    size = _size(subject, start)
    if size is None:
        return
    if announced is not None and announced != (size.width, size.height):
        raise subject.damaged("its codestream has other dimensions")
    end = start + 2
    for marker, offset, length in _segments(subject, start + 2):
        if marker == _COD:
            _check_style(subject, size, subject.at(offset, length))
        end = offset + length
    _check_tiles(subject, size, end)


def _announced(subject: Subject, start: int, end: int) -> tuple[int, int] | None:
    """Width and height by the image header box (I.5.3.1)."""
    for box in boxes(subject, start, end):
        if box.name == b"ihdr":
            numbers = subject.numbers(">II", box.offset)
            return None if numbers is None else (numbers[1], numbers[0])
    return None


def _size(subject: Subject, start: int) -> _Size | None:
    numbers = subject.numbers(">IIIIIIIIH", start + len(_START) + 4)
    if numbers is None:
        return None
    right, bottom, left, top, tile_width, tile_height, tile_x, tile_y, count = numbers
    width, height = right - left, bottom - top
    subject.check_size(width, height)
    if not tile_width or not tile_height or tile_x > left or tile_y > top:
        raise subject.damaged("its tiles are none")
    tiles = -(-(right - tile_x) // tile_width) * -(-(bottom - tile_y) // tile_height)
    subject.check(tiles, _MOST_TILES, "tiles")
    if not 1 <= count <= _MOST_COMPONENTS:
        raise subject.unsupported(f"has {count} components")
    samples = subject.at(start + 42, 3 * count)
    for depth, across, down in zip(samples[::3], samples[1::3], samples[2::3], strict=False):
        if (depth & 0x7F) + 1 > _MOST_BITS:
            raise subject.unsupported("has samples of more than 16 bits")
        if not across or not down:
            raise subject.damaged("its sampling factors are none")
    return _Size(width, height, count, tiles, min(tile_width, width), min(tile_height, height))


def _segments(subject: Subject, position: int) -> Iterator[tuple[int, int, int]]:
    """Marker, offset and length of the segments of the main header."""
    for _ in range(_MOST_SEGMENTS):
        numbers = subject.numbers(">HH", position)
        if numbers is None or numbers[0] == _SOT:
            return
        marker, length = numbers
        if length < 2:  # noqa: PLR2004 - the length counts its own two bytes
            raise subject.damaged("one of its segments has no length")
        yield marker, position + 4, length - 2
        position += 2 + length
    subject.check(_MOST_SEGMENTS + 1, _MOST_SEGMENTS, "segments of metadata")


def _check_tiles(subject: Subject, size: _Size, position: int) -> None:
    """Refuse a codestream that lacks tiles: its decoder would leave them black (A.4.2)."""
    seen: set[int] = set()
    for _ in range(_MOST_TILE_PARTS):
        numbers = subject.numbers(">HHHI", position)
        if numbers is None or numbers[0] != _SOT:
            break
        _, _, tile, length = numbers
        if position + length > subject.size:
            break
        seen.add(tile)
        if not length:  # the last one, up to the end
            break
        position += length
    if len(seen) < size.tiles:
        raise subject.damaged("it is truncated, or lacks tiles")


def _check_style(subject: Subject, size: _Size, style: bytes) -> None:
    """Refuse absurd decompositions, layers and precincts (A.6.1)."""
    if len(style) < 10:  # noqa: PLR2004 - up to the precincts
        return
    layers, levels = int.from_bytes(style[2:4], "big"), style[5]
    if levels > _MOST_LEVELS:
        raise subject.damaged("it is decomposed more often than can be")
    given = style[10:] if style[0] & 1 else b""
    precincts = 0
    for resolution in range(levels + 1):
        exponents = given[resolution] if resolution < len(given) else _WHOLE * 17
        down, across = divmod(exponents, 16)
        reduced = levels - resolution
        columns = _halved(_halved(size.tile_width, reduced), across)
        precincts += columns * _halved(_halved(size.tile_height, reduced), down)
    precincts *= size.components
    subject.check(precincts, _MOST_PRECINCTS, "precincts in a tile")
    subject.check(precincts * size.tiles * max(1, layers), _MOST_PACKETS, "packets")


def _halved(side: int, times: int) -> int:
    """A side halved so often, rounded up."""
    return -(-side // (1 << times))
