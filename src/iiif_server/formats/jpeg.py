"""JPEG (ITU-T T.81): segments, the frame header, and how many scans there are."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from iiif_server.formats.bounded_file import MOST_METADATA, BoundedFile
from iiif_server.plan.needs import Needs

_MOST_SEGMENTS = 5_000
_MOST_JUNK = 4_096
"""Bytes between two segments that decoders skip, one by one, and that nobody writes."""
_WINDOW = 1 << 16
_MOST_SEARCHED = 1 << 30
"""Bytes of scans that are searched for their number."""
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_MARKER_IN_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment: TEM, the restarts, SOI."""
_EOI, _SOS = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
_SAMPLE_BITS = 8
_COMPONENTS = frozenset({1, 3, 4})
_MOST_SAMPLING = 4
_BLOCK = 8


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    offset: int
    """Of its content."""
    length: int


@dataclass(frozen=True, slots=True)
class _Frame:
    components: int
    progressive: bool
    least: int
    """Bytes that one scan has at least, if it has all of the image."""
    pixels: int = 0


def inspect(file: BoundedFile) -> Needs:
    """Refuse a JPEG that is too much: of pixels, of metadata, or of scans."""
    frame = None
    metadata = 0
    for segment in _segments(file):
        if segment.marker == _SOS:
            scans = _check_scans(file, frame, segment)
            return Needs(effort=(scans - 1) * frame.pixels if frame is not None else 0)
        if segment.marker in _FRAMES:
            if frame is not None:
                raise file.damaged("it has two frame headers")
            frame = _frame(file, segment)
        metadata += segment.length
        file.check(metadata, MOST_METADATA, "bytes of metadata")
    return Needs()


def first_scan(file: BoundedFile) -> int:
    """Where the data of the first scan begin; the file's end where there is none."""
    for segment in _segments(file):
        if segment.marker == _SOS:
            return segment.offset + segment.length
    return file.size


def _segments(file: BoundedFile) -> Iterator[_Segment]:
    """The segments up to the first scan's header, or as far as there are any."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        between = file.at(position, _MOST_JUNK)
        found = _MARKER.search(between)
        if found is None:
            if len(between) == _MOST_JUNK:
                raise file.damaged("there is none of its structure where it should be")
            return
        marker, position = found[1][0], position + found.end()
        if marker == _EOI:
            return
        if marker in _ALONE:
            continue
        segment = _segment(file, marker, position)
        if segment is None:
            return
        yield segment
        if marker == _SOS:
            return
        position = segment.offset + segment.length
    file.check(_MOST_SEGMENTS + 1, _MOST_SEGMENTS, "segments of metadata")


def _segment(file: BoundedFile, marker: int, position: int) -> _Segment | None:
    """The segment whose length stands at a position; None where the file ends before."""
    numbers = file.numbers(">H", position)
    if numbers is None:
        return None
    if numbers[0] < 2:  # noqa: PLR2004 - the length counts its own two bytes
        raise file.damaged("one of its segments has no length")
    return _Segment(marker, position + 2, numbers[0] - 2)


def _frame(file: BoundedFile, segment: _Segment) -> _Frame | None:
    """What a frame header says (T.81, B.2.2); None where the file ends in it."""
    data = file.at(segment.offset, segment.length)
    if len(data) < 6 or len(data) < 6 + 3 * data[5]:  # noqa: PLR2004 - up to the components
        return None
    bits, height, width, components = struct.unpack_from(">BHHB", data)
    if segment.marker not in _DCT:
        raise file.unsupported("is lossless or hierarchical")
    if bits != _SAMPLE_BITS:
        raise file.unsupported(f"has samples of {bits} bits")
    if components not in _COMPONENTS:
        raise file.unsupported(f"has {components} components")
    file.check_size(width, height)
    sampling = [divmod(data[7 + 3 * index], 16) for index in range(components)]
    if not all(1 <= factor <= _MOST_SAMPLING for pair in sampling for factor in pair):
        raise file.damaged("its sampling factors are none")
    least = 0
    if segment.marker in _HUFFMAN:
        # Each unit begins with a code of at least one bit.
        across = max(horizontal for horizontal, _ in sampling) * _BLOCK
        down = max(vertical for _, vertical in sampling) * _BLOCK
        least = -(-width // across) * -(-height // down) // 8
        file.check_long_enough(least)
    return _Frame(components, segment.marker in _PROGRESSIVE, least, width * height)


def _check_scans(file: BoundedFile, frame: _Frame | None, first: _Segment) -> int:
    """Refuse more scans than are read, and a first one that is too short; how many there are.

    A decoder reads one scan, and keeps none of it, if that holds everything. Otherwise it makes
    room for the whole image before it finds out what there is of it.
    """
    in_first = file.at(first.offset, 1)
    if frame is None or not in_first:
        return 1
    if not frame.progressive and in_first[0] == frame.components:
        return 1
    scans, start = 1, first.offset + first.length
    for index, segment in enumerate(_segments_between_scans(file, start)):
        if index == 0 and segment.offset - start < frame.least:
            raise file.damaged("its first scan is too short for its dimensions")
        if segment.marker == _SOS:
            scans += 1
            file.check(scans, file.bounds.scans, "progressive scans")
    return scans


def _segments_between_scans(file: BoundedFile, start: int) -> Iterator[_Segment]:
    """The segments behind the first scan's header, up to and with the image's end."""
    position, end = start, start + _MOST_SEARCHED
    for _ in range(_MOST_SEGMENTS):
        found = None
        while found is None and position < min(end, file.size):
            window = file.at(position, _WINDOW)
            found = _MARKER_IN_SCAN.search(window)
            if found is None:
                position += max(1, len(window) - 1)  # a marker may lie across two windows
        if found is None:
            return
        marker, position = found[1][0], position + found.end()
        if marker == _EOI:
            yield _Segment(marker, position, 0)
            return
        if marker in _ALONE:
            continue
        segment = _segment(file, marker, position)
        if segment is None:
            return
        yield segment
        position = segment.offset + segment.length
    file.check(_MOST_SEGMENTS + 1, _MOST_SEGMENTS, "segments between its scans")
