"""JPEG (ITU-T T.81): marker segments, frame header, scans and ICC profile; nothing is decoded."""

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import takewhile

from iiif_server.errors import OriginalRefusedError
from iiif_server.formats.bounded_file import MAX_METADATA_BYTES, BoundedFile, Inspection
from iiif_server.formats.gain_maps import is_gain_map
from iiif_server.formats.jpeg_segments import ADOBE, ICC, segment_bytes
from iiif_server.formats.xmp import XMP
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, JpegFacts, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat

_MAX_SEGMENTS = 5_000
_MAX_JUNK_BYTES = 4_096
"""Bytes of junk between two segments. Decoders skip any number; no encoder writes them."""
_WINDOW = 1 << 16
MAX_SEARCHED_BYTES = 1 << 30
"""Bytes in which scans are counted."""
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_MARKER_IN_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment: TEM, the restarts, SOI."""
_SOI, _EOI, _SOS, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xEE
_METADATA = frozenset({_APP1, _APP2})
END_OF_IMAGE = b"\xff\xd9"
_LOSSLESS, _LOSSLESS_ARITHMETIC, _JPEG_LS = 0xC3, 0xCB, 0xF7
_FRAMES = frozenset({*range(0xC0, 0xD0), _JPEG_LS}) - {0xC4, 0xC8, 0xCC}
_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
_SAMPLE_BITS = 8
_BITS = {**dict.fromkeys(_DCT, frozenset({8, 12})), _LOSSLESS: frozenset(range(2, 17))}
"""Possible bits per sample, by frame marker."""
_UNSUPPORTED = {_LOSSLESS_ARITHMETIC: "is lossless in arithmetic coding", _JPEG_LS: "is JPEG-LS"}
_COMPONENTS = {1: Colour.GRAY, 3: Colour.RGB, 4: Colour.OTHER}
_MAX_SAMPLING = 4
_COPIES = 2
"""Copies in memory of the samples of a 12-bit or lossless JPEG."""
_NUMBER_BYTES = 2
_SAMPLE_EFFORT = 6
_BLOCK = 8
_FRAME_HEADER = 6
"""Bytes of a frame header before its components (B.2.2)."""
_TRANSFORMABLE = frozenset({(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (1, 4)})
"""Luma sampling factors that TurboJPEG can transform."""
_END_SEARCHED = 65_536
"""Bytes at the end of the file that are searched for EOI: cameras append data."""
_ADOBE_TRANSFORM = 11
"""Offset of the colour transform in Adobe's segment (Technical Note 5116)."""
_EXIF = b"Exif\0\0"


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker segment."""

    marker: int
    """Second byte of the marker."""
    offset: int
    """Offset of the payload."""
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the segment."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class _Frame:
    marker: int
    bits: int
    dimensions: Dimensions
    identifiers: bytes
    """Component identifiers, a byte each."""
    sampling: Sequence[tuple[int, int]]
    min_bytes: int
    """Least bytes of a scan that holds the whole image."""

    @property
    def progressive(self) -> bool:
        """Whether the frame is progressive."""
        return self.marker in _PROGRESSIVE

    @property
    def needs_sample_decoder(self) -> bool:
        """Whether the frame needs a decoder for other than 8-bit DCT: 12 bits or lossless."""
        return self.bits != _SAMPLE_BITS or self.marker == _LOSSLESS


# --- inspection -----------------------------------------------------------------------------


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a JPEG with too many pixels, scans or bytes of metadata; return its facts."""
    frame, adobe, scans, data = None, b"", 1, file.size
    metadata, gain_map, walk = 0, False, segments(file)
    for segment in walk:
        if segment.marker == _SOS:
            scans, data = _check_scans(file, frame, segment, walk), segment.end
            break
        if segment.marker in _FRAMES:
            if frame is not None:
                raise file.damaged("it has two frame headers")
            frame = _frame(file, segment)
        elif segment.marker in _METADATA and not gain_map:
            gain_map = is_gain_map(file, segment.offset, segment.length)
        elif segment.marker == _APP14:
            payload = file.read_at(segment.offset, segment.length)
            adobe = payload if payload.startswith(ADOBE) else adobe
        metadata += segment.length
        file.check(metadata, MAX_METADATA_BYTES, "bytes of metadata")
    if frame is None:
        raise file.damaged("it has no frame header")
    needs = Needs(effort=(scans - 1) * frame.dimensions.area)
    facts = replace(_facts(file, frame, adobe, data), gain_map=gain_map)
    # Without the marker of its end, a JPEG may still have all of its pixels.
    partial = not facts.complete and file.bounds.show_truncated
    if not frame.needs_sample_decoder:
        return Inspection(needs, jpeg=facts, interleaved=frame.progressive, partial=partial)
    if not facts.complete:
        file.accept_truncated()  # its decoder would not notice
    header = _sample_header(file, frame, needs)
    start = file.read_at(0, data)
    blocks = [payload for marker, payload in _payloads(start) if marker == _APP1]
    return Inspection(
        header.needs,
        header=header,
        profile=icc_profile(start) or b"",
        exif=next((block for block in blocks if block.startswith(_EXIF)), b""),
        xmp=next((block for block in blocks if block.startswith(XMP)), XMP)[len(XMP) :],
        partial=partial,
    )


def _sample_header(file: BoundedFile, frame: _Frame, needs: Needs) -> ImageHeader:
    """Return the header, without profile and orientation, of a 12-bit or lossless JPEG."""
    file.check_fits_in_memory()
    area, components = frame.dimensions.area, len(frame.sampling)
    pixel_bytes = components * (1 if frame.bits <= _SAMPLE_BITS else 2)
    # All of its scans are held as numbers before the first row comes of them.
    memory = file.size + area * _COPIES * pixel_bytes + area * components * _NUMBER_BYTES
    return ImageHeader(
        format=file.format,
        stored=frame.dimensions,
        orientation=UPRIGHT,
        colour=_COMPONENTS[components],
        transparent=False,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1,
        pixel_bytes=pixel_bytes,
        needs=Needs(needs.bytes + memory, needs.effort + _SAMPLE_EFFORT * components * area),
        reader=Reader.JPEG_SAMPLES,
        bits=frame.bits,
    )


def _facts(file: BoundedFile, frame: _Frame, adobe: bytes, data: int) -> JpegFacts:
    transform = adobe[_ADOBE_TRANSFORM : _ADOBE_TRANSFORM + 1]
    stored_as_rgb = transform == b"\0" or frame.identifiers == b"RGB"
    components = len(frame.sampling)
    # The end markers of thumbnails stand before the first scan.
    end = file.read_at(max(data, file.size - _END_SEARCHED), _END_SEARCHED)
    mcu_area = max(across for across, _ in frame.sampling) * max(down for _, down in frame.sampling)
    samples = sum(across * down for across, down in frame.sampling)
    return JpegFacts(
        plain=components == 1 or (components == 3 and not stored_as_rgb),  # noqa: PLR2004 - YCbCr
        mcu=_mcu(frame.sampling),
        complete=END_OF_IMAGE in end,
        coefficient_bytes=-(-2 * samples // mcu_area),
        full_chroma=components == 3 and len(set(frame.sampling)) == 1,  # noqa: PLR2004 - YCbCr
    )


def _mcu(sampling: Sequence[tuple[int, int]]) -> Dimensions | None:
    """Return the MCU in pixels; None for samplings that TurboJPEG cannot transform."""
    if len(sampling) == 1:
        return Dimensions(_BLOCK, _BLOCK)
    if sampling[1:] == [(1, 1), (1, 1)] and sampling[0] in _TRANSFORMABLE:
        return Dimensions(_BLOCK * sampling[0][0], _BLOCK * sampling[0][1])
    return None


def _frame(file: BoundedFile, segment: Segment) -> _Frame | None:
    """Read the frame header (B.2.2); None if the file ends in it."""
    data = file.read_at(segment.offset, segment.length)
    if len(data) < _FRAME_HEADER or len(data) < _FRAME_HEADER + 3 * data[5]:
        return None
    bits, height, width, components = struct.unpack_from(">BHHB", data)
    if segment.marker not in _BITS:
        raise file.unsupported(_UNSUPPORTED.get(segment.marker, "is hierarchical"))
    if bits not in _BITS[segment.marker]:
        raise file.unsupported(f"has samples of {bits} bits")
    if components not in _COMPONENTS:
        raise file.unsupported(f"has {components} components")
    file.check_size(width, height)
    described = data[_FRAME_HEADER : _FRAME_HEADER + 3 * components]
    sampling = [divmod(factors, 16) for factors in described[1::3]]
    if not all(1 <= factor <= _MAX_SAMPLING for pair in sampling for factor in pair):
        raise file.damaged("its sampling factors are invalid")
    min_bytes = 0
    if segment.marker in _HUFFMAN:
        # Each unit begins with a code of at least one bit.
        unit = 1 if segment.marker == _LOSSLESS else _BLOCK
        across = max(horizontal for horizontal, _ in sampling) * unit
        down = max(vertical for _, vertical in sampling) * unit
        min_bytes = -(-width // across) * -(-height // down) // 8
        file.check_min_size(min_bytes)
    dimensions = Dimensions(width, height)
    return _Frame(segment.marker, bits, dimensions, described[::3], sampling, min_bytes)


def _check_scans(
    file: BoundedFile, frame: _Frame | None, first: Segment, rest: Iterator[Segment]
) -> int:
    """Refuse too many scans, or a first scan that is too short; return the number of scans.

    A decoder reads one scan, and keeps none of it, if that holds everything. Otherwise it allocates
    memory for the whole image before it knows how much of it the file has.
    """
    components_in_first = file.read_at(first.offset, 1)
    if frame is None or not components_in_first:
        return 1
    if not frame.progressive and components_in_first[0] == len(frame.sampling):
        return 1
    scans = 1
    for index, segment in enumerate(rest):
        if index == 0 and segment.offset - first.end < frame.min_bytes:
            raise file.damaged("its first scan is too short for its dimensions")
        if segment.marker == _SOS:
            scans += 1
            file.check(scans, file.bounds.scans, "progressive scans")
    return scans


# --- walker ---------------------------------------------------------------------------------


def segments(file: BoundedFile) -> Iterator[Segment]:
    """Yield the segments through EOI, or to the end of the file.

    After the header of the first scan, entropy-coded data are searched for the next marker.
    """
    position, end, count, described_as = 2, 0, 0, "segments of metadata"
    while True:
        count += 1
        file.check(count, _MAX_SEGMENTS, described_as)
        found = _marker_in_scan(file, position, end) if end else _marker(file, position)
        if found is None:
            return
        marker, position = found
        if marker == _SOI and not end:
            raise file.damaged("it has two start markers (SOI)")
        if marker in _STANDALONE:
            continue
        segment = _segment_at(file, marker, position)
        if segment is None:
            return
        yield segment
        if marker == _EOI:
            return
        position = segment.end
        if marker == _SOS and not end:
            end, count, described_as = (
                position + MAX_SEARCHED_BYTES,
                0,
                "segments between its scans",
            )


def _marker(file: BoundedFile, position: int) -> tuple[int, int] | None:
    """Return the next marker and the offset after it, skipping junk; None at the file's end."""
    data = file.read_at(position, 2)
    if _MARKER.fullmatch(data) is None:
        data = file.read_at(position, _MAX_JUNK_BYTES)
    found = _MARKER.search(data)
    if found is not None:
        return found[1][0], position + found.end()
    if len(data) == _MAX_JUNK_BYTES:
        raise file.damaged("it has no marker where one should be")
    return None


def _marker_in_scan(file: BoundedFile, position: int, end: int) -> tuple[int, int] | None:
    """Return the next marker in entropy-coded data and the offset after it; None if none."""
    while position < min(end, file.size):
        window = file.read_at(position, _WINDOW)
        found = _MARKER_IN_SCAN.search(window)
        if found is not None:
            return found[1][0], position + found.end()
        position += max(1, len(window) - 1)  # a marker may lie across two windows
    return None


def _segment_at(file: BoundedFile, marker: int, position: int) -> Segment | None:
    """Return the segment whose length is at an offset; None if the file ends before it."""
    if marker == _EOI:
        return Segment(marker, position, 0)
    numbers = file.unpack_at(">H", position)
    if numbers is None:
        return None
    if numbers[0] < 2:  # noqa: PLR2004 - the length counts its own two bytes
        raise file.damaged("one of its segments has an invalid length")
    return Segment(marker, position + 2, numbers[0] - 2)


# --- start of a file ----------------------------------------------------------------------


def _payloads(start: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and payload of the segments before the first scan, up to a damaged one."""
    file = BoundedFile(BytesIO(start), OriginalFormat.JPEG)
    with suppress(OriginalRefusedError):
        for segment in takewhile(lambda segment: segment.marker != _SOS, segments(file)):
            yield segment.marker, file.read_at(segment.offset, segment.length)


def frame(start: bytes) -> tuple[Dimensions, int] | None:
    """Return dimensions and number of components of an 8-bit JPEG; None for other data."""
    for marker, payload in _payloads(start):
        if marker in _FRAMES and len(payload) >= _FRAME_HEADER:
            bits, height, width, components = struct.unpack_from(">BHHB", payload)
            if bits != _SAMPLE_BITS or not (width and height):
                return None
            return Dimensions(width, height), components
    return None


def sample_format(start: bytes) -> tuple[int, bool]:
    """Return bits per sample, and whether inks are inverted, as Adobe's programs do."""
    bits, adobe = _SAMPLE_BITS, False
    for marker, payload in _payloads(start):
        if marker in _FRAMES and payload:
            bits = payload[0]
        # A shorter one is none to libjpeg.
        adobe = adobe or (marker == _APP14 and payload.startswith(ADOBE) and len(payload) > 11)  # noqa: PLR2004
    return bits, adobe


def frame_headers(start: bytes) -> list[tuple[Dimensions, int, bool]]:
    """Return dimensions, number of components, and whether it is lossless, per frame header."""
    return [
        (Dimensions(width, height), components, marker == _LOSSLESS)
        for marker, payload in _payloads(start)
        if marker in _FRAMES and len(payload) >= _FRAME_HEADER
        for height, width, components in [struct.unpack_from(">HHB", payload, 1)]
    ]


def icc_profile(start: bytes) -> bytes | None:
    """Return the ICC profile, joined from its segments (ICC.1:2022, B.4); None if none."""
    if ICC not in start:
        return None
    chunks = {
        payload[len(ICC)]: payload[len(ICC) + 2 :]
        for marker, payload in _payloads(start)
        if marker == _APP2 and payload.startswith(ICC) and len(payload) > len(ICC) + 2
    }
    return b"".join(chunks[number] for number in sorted(chunks)) or None


def icc_segments(start: bytes) -> Iterator[bytes]:
    """Yield the segments of a JPEG's ICC profile, markers included."""
    for marker, payload in _payloads(start):
        if marker == _APP2 and payload.startswith(ICC):
            yield segment_bytes(marker, payload)
