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
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment: TEM, the restarts, SOI."""
_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
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
_NOT_READ = {_LOSSLESS_ARITHMETIC: "is lossless in arithmetic coding", _JPEG_LS: "is JPEG-LS"}
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
_ADOBE, _ADOBE_TRANSFORM = b"Adobe", 11
"""Identifier of Adobe's segment, and the offset of its colour transform (Technical Note 5116)."""
_EXIF = b"Exif\0\0"
_ICC = b"ICC_PROFILE\0"
MAX_ICC_BYTES = 65_535 - 2 - len(_ICC) - 2
"""Bytes of an ICC profile that fit into one segment."""


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
    least: int
    """Least bytes of a scan that holds the whole image."""

    @property
    def progressive(self) -> bool:
        """Whether the frame is progressive."""
        return self.marker in _PROGRESSIVE

    @property
    def has_samples(self) -> bool:
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
            payload = file.at(segment.offset, segment.length)
            adobe = payload if payload.startswith(_ADOBE) else adobe
        metadata += segment.length
        file.check(metadata, MAX_METADATA_BYTES, "bytes of metadata")
    if frame is None:
        raise file.damaged("it has no frame header")
    needs = Needs(effort=(scans - 1) * frame.dimensions.area)
    facts = replace(_facts(file, frame, adobe, data), gain_map=gain_map)
    # Without the marker of its end, a JPEG may still have all of its pixels.
    partial = not facts.complete and file.bounds.show_truncated
    if not frame.has_samples:
        return Inspection(needs, jpeg=facts, interleaved=frame.progressive, partial=partial)
    if not facts.complete:
        file.truncated()  # its decoder would not notice
    header = _header_of_samples(file, frame, needs)
    start = file.at(0, data)
    blocks = [payload for marker, payload in _payloads(start) if marker == _APP1]
    return Inspection(
        header.needs,
        header=header,
        profile=icc_profile(start) or b"",
        exif=next((block for block in blocks if block.startswith(_EXIF)), b""),
        xmp=next((block for block in blocks if block.startswith(XMP)), XMP)[len(XMP) :],
        partial=partial,
    )


def _header_of_samples(file: BoundedFile, frame: _Frame, needs: Needs) -> ImageHeader:
    """Return the header, without profile and orientation, of a 12-bit or lossless JPEG."""
    file.check_read_whole()
    area, components = frame.dimensions.area, len(frame.sampling)
    pixel_bytes = components * (1 if frame.bits <= _SAMPLE_BITS else 2)
    # All of its scans are held as numbers before the first row comes of them.
    held = file.size + area * _COPIES * pixel_bytes + area * components * _NUMBER_BYTES
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
        needs=Needs(needs.bytes + held, needs.effort + _SAMPLE_EFFORT * components * area),
        reader=Reader.JPEG_SAMPLES,
        bits=frame.bits,
    )


def _facts(file: BoundedFile, frame: _Frame, adobe: bytes, data: int) -> JpegFacts:
    transform = adobe[_ADOBE_TRANSFORM : _ADOBE_TRANSFORM + 1]
    stored_as_rgb = transform == b"\0" or frame.identifiers == b"RGB"
    components = len(frame.sampling)
    # The end markers of thumbnails stand before the first scan.
    end = file.at(max(data, file.size - _END_SEARCHED), _END_SEARCHED)
    whole = max(across for across, _ in frame.sampling) * max(down for _, down in frame.sampling)
    samples = sum(across * down for across, down in frame.sampling)
    return JpegFacts(
        plain=components == 1 or (components == 3 and not stored_as_rgb),  # noqa: PLR2004 - YCbCr
        mcu=_mcu(frame.sampling),
        complete=END_OF_IMAGE in end,
        coefficient_bytes=-(-2 * samples // whole),
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
    data = file.at(segment.offset, segment.length)
    if len(data) < _FRAME_HEADER or len(data) < _FRAME_HEADER + 3 * data[5]:
        return None
    bits, height, width, components = struct.unpack_from(">BHHB", data)
    if segment.marker not in _BITS:
        raise file.unsupported(_NOT_READ.get(segment.marker, "is hierarchical"))
    if bits not in _BITS[segment.marker]:
        raise file.unsupported(f"has samples of {bits} bits")
    if components not in _COMPONENTS:
        raise file.unsupported(f"has {components} components")
    file.check_size(width, height)
    described = data[_FRAME_HEADER : _FRAME_HEADER + 3 * components]
    sampling = [divmod(factors, 16) for factors in described[1::3]]
    if not all(1 <= factor <= _MAX_SAMPLING for pair in sampling for factor in pair):
        raise file.damaged("its sampling factors are invalid")
    least = 0
    if segment.marker in _HUFFMAN:
        # Each unit begins with a code of at least one bit.
        unit = 1 if segment.marker == _LOSSLESS else _BLOCK
        across = max(horizontal for horizontal, _ in sampling) * unit
        down = max(vertical for _, vertical in sampling) * unit
        least = -(-width // across) * -(-height // down) // 8
        file.check_long_enough(least)
    dimensions = Dimensions(width, height)
    return _Frame(segment.marker, bits, dimensions, described[::3], sampling, least)


def _check_scans(
    file: BoundedFile, frame: _Frame | None, first: Segment, following: Iterator[Segment]
) -> int:
    """Refuse too many scans, or a first scan that is too short; return the number of scans.

    A decoder reads one scan, and keeps none of it, if that holds everything. Otherwise it allocates
    memory for the whole image before it knows how much of it the file has.
    """
    in_first = file.at(first.offset, 1)
    if frame is None or not in_first:
        return 1
    if not frame.progressive and in_first[0] == len(frame.sampling):
        return 1
    scans = 1
    for index, segment in enumerate(following):
        if index == 0 and segment.offset - first.end < frame.least:
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
    position, end, count, what = 2, 0, 0, "segments of metadata"
    while True:
        count += 1
        file.check(count, _MAX_SEGMENTS, what)
        found = _marker_in_scan(file, position, end) if end else _marker(file, position)
        if found is None:
            return
        marker, position = found
        if marker == _SOI and not end:
            raise file.damaged("it starts twice")
        if marker in _ALONE:
            continue
        segment = _segment_at(file, marker, position)
        if segment is None:
            return
        yield segment
        if marker == _EOI:
            return
        position = segment.end
        if marker == _SOS and not end:
            end, count, what = position + MAX_SEARCHED_BYTES, 0, "segments between its scans"


def _marker(file: BoundedFile, position: int) -> tuple[int, int] | None:
    """Return the next marker and the offset after it, skipping junk; None at the file's end."""
    between = file.at(position, 2)
    if _MARKER.fullmatch(between) is None:
        between = file.at(position, _MAX_JUNK_BYTES)
    found = _MARKER.search(between)
    if found is not None:
        return found[1][0], position + found.end()
    if len(between) == _MAX_JUNK_BYTES:
        raise file.damaged("it has no marker where one should be")
    return None


def _marker_in_scan(file: BoundedFile, position: int, end: int) -> tuple[int, int] | None:
    """The next marker in entropy-coded data and the offset after it; None if there is none."""
    while position < min(end, file.size):
        window = file.at(position, _WINDOW)
        found = _MARKER_IN_SCAN.search(window)
        if found is not None:
            return found[1][0], position + found.end()
        position += max(1, len(window) - 1)  # a marker may lie across two windows
    return None


def _segment_at(file: BoundedFile, marker: int, position: int) -> Segment | None:
    """Return the segment whose length is at an offset; None if the file ends before it."""
    if marker == _EOI:
        return Segment(marker, position, 0)
    numbers = file.numbers(">H", position)
    if numbers is None:
        return None
    if numbers[0] < 2:  # noqa: PLR2004 - the length counts its own two bytes
        raise file.damaged("one of its segments has no length")
    return Segment(marker, position + 2, numbers[0] - 2)


# --- segments as bytes ----------------------------------------------------------------------


def _payloads(start: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and payload of the segments before the first scan, up to a damaged one."""
    file = BoundedFile(BytesIO(start), OriginalFormat.JPEG)
    with suppress(OriginalRefusedError):
        for segment in takewhile(lambda segment: segment.marker != _SOS, segments(file)):
            yield segment.marker, file.at(segment.offset, segment.length)


def frame(start: bytes) -> tuple[Dimensions, int] | None:
    """The dimensions and the number of components of an 8-bit JPEG; None for anything else."""
    for marker, payload in _payloads(start):
        if marker in _FRAMES and len(payload) >= _FRAME_HEADER:
            bits, height, width, components = struct.unpack_from(">BHHB", payload)
            if bits != _SAMPLE_BITS or not (width and height):
                return None
            return Dimensions(width, height), components
    return None


def samples_of(start: bytes) -> tuple[int, bool]:
    """Return bits per sample, and whether inks are inverted, as Adobe's programs do."""
    bits, adobe = _SAMPLE_BITS, False
    for marker, payload in _payloads(start):
        if marker in _FRAMES and payload:
            bits = payload[0]
        # A shorter one is none to libjpeg.
        adobe = adobe or (marker == _APP14 and payload.startswith(_ADOBE) and len(payload) > 11)  # noqa: PLR2004
    return bits, adobe


def frames_of(start: bytes) -> list[tuple[Dimensions, int, bool]]:
    """Dimensions, number of components, and whether it is lossless, of each frame header."""
    return [
        (Dimensions(width, height), components, marker == _LOSSLESS)
        for marker, payload in _payloads(start)
        if marker in _FRAMES and len(payload) >= _FRAME_HEADER
        for height, width, components in [struct.unpack_from(">HHB", payload, 1)]
    ]


def icc_profile(start: bytes) -> bytes | None:
    """The ICC profile, joined from its segments (ICC.1:2022, B.4); None if there is none."""
    if _ICC not in start:
        return None
    chunks = {
        payload[len(_ICC)]: payload[len(_ICC) + 2 :]
        for marker, payload in _payloads(start)
        if marker == _APP2 and payload.startswith(_ICC) and len(payload) > len(_ICC) + 2
    }
    return b"".join(chunks[number] for number in sorted(chunks)) or None


def icc_segments(start: bytes) -> Iterator[bytes]:
    """The segments, markers included, that hold the ICC profile of a JPEG."""
    for marker, payload in _payloads(start):
        if marker == _APP2 and payload.startswith(_ICC):
            yield _written(marker, payload)


def icc_segments_of(profile: bytes) -> Iterator[bytes]:
    """The segments that hold a profile (ICC.1:2022, B.4)."""
    parts = [profile[at : at + MAX_ICC_BYTES] for at in range(0, len(profile), MAX_ICC_BYTES)]
    for number, part in enumerate(parts, 1):
        yield _written(_APP2, _ICC + bytes((number, len(parts))) + part)


def with_segments(jpeg: bytes, added: bytes) -> bytes:
    """The JPEG with segments inserted after its JFIF header."""
    after_jfif = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:after_jfif] + added + jpeg[after_jfif:]


def jfif_segment() -> bytes:
    """The JFIF segment: components are gray or YCbCr (JFIF 1.02)."""
    return _written(_APP0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0")


def adobe_segment() -> bytes:
    """The Adobe segment: three components are RGB (Adobe Technical Note 5116)."""
    return _written(_APP14, _ADOBE + b"\0\x64\0\0\0\0\0")


def _written(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload
