"""The marker segments of JPEG files (ITU-T T.81, B), as bytes. Pure."""

import struct
from collections.abc import Iterator

from iiif_server.iiif.geometry import Dimensions

SOI, EOI, SOS = 0xFFD8, 0xFFD9, 0xFFDA
_APP2 = 0xFFE2
_FIRST_MARKER = 0xFF00
_FRAMES = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
"""The markers that begin a frame, SOF0 to SOF15."""
_ICC = b"ICC_PROFILE\0"
_PRECISION = 8
MOST_ICC_BYTES = 65_535 - 2 - len(_ICC) - 2
"""How much of an ICC profile one segment takes."""


def segments(start: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker and the payload of each segment before the first scan.

    `start` is the file, or as much of it as comes before the first scan.
    """
    position = 2
    while position + 4 <= len(start):
        marker, length = struct.unpack_from(">HH", start, position)
        if marker in {SOS, EOI} or marker < _FIRST_MARKER or length < 2:  # noqa: PLR2004
            return
        yield marker, bytes(start[position + 4 : position + 2 + length])
        position += 2 + length


def icc_segments(start: bytes) -> Iterator[bytes]:
    """The segments, markers included, that hold the ICC profile of a JPEG (ICC.1:2022, B.4)."""
    for marker, payload in segments(start):
        if marker == _APP2 and payload.startswith(_ICC):
            yield _segment(marker, payload)


def icc_profile(start: bytes) -> bytes | None:
    """The ICC profile of a JPEG, joined of its segments; None if it has none."""
    if _ICC not in start:
        return None
    chunks = {
        payload[len(_ICC)]: payload[len(_ICC) + 2 :]
        for marker, payload in segments(start)
        if marker == _APP2 and payload.startswith(_ICC) and len(payload) > len(_ICC) + 2
    }
    return b"".join(chunks[number] for number in sorted(chunks)) or None


def icc_segments_of(profile: bytes) -> Iterator[bytes]:
    """The segments that hold a profile (ICC.1:2022, B.4)."""
    parts = [profile[at : at + MOST_ICC_BYTES] for at in range(0, len(profile), MOST_ICC_BYTES)]
    for number, part in enumerate(parts, 1):
        yield _segment(_APP2, _ICC + bytes((number, len(parts))) + part)


def with_segments(jpeg: bytes, added: bytes) -> bytes:
    """The JPEG with segments after its JFIF header."""
    after_jfif = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:after_jfif] + added + jpeg[after_jfif:]


def jfif_segment() -> bytes:
    """The segment that says: gray, or YCbCr (JFIF 1.02)."""
    return _segment(0xFFE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0")


def adobe_segment() -> bytes:
    """The segment that says: three components are RGB (Adobe Technical Note 5116)."""
    return _segment(0xFFEE, b"Adobe\0\x64\0\0\0\0\0")


def frame(start: bytes) -> tuple[Dimensions, int] | None:
    """The dimensions and the number of components of an 8-bit JPEG; None if it is none."""
    for marker, payload in segments(start):
        if marker in _FRAMES and len(payload) >= 6:  # noqa: PLR2004 - up to the number
            precision, height, width, components = struct.unpack_from(">BHHB", payload)
            if precision != _PRECISION or not (width and height):
                return None
            return Dimensions(width, height), components
    return None


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">HH", marker, 2 + len(payload)) + payload
