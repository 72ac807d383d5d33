"""JPEG marker segments as bytes: ICC profile, JFIF and Adobe, and their insertion. Pure."""

import struct
from collections.abc import Iterator

_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
ADOBE = b"Adobe"
"""Identifier of Adobe's segment (Technical Note 5116)."""
ICC = b"ICC_PROFILE\0"
"""Identifier of a segment with a part of an ICC profile (ICC.1:2022, B.4)."""
MAX_PAYLOAD_BYTES = 65_533
"""Maximum bytes of a segment's payload: its length counts its own two bytes."""
MAX_ICC_BYTES = MAX_PAYLOAD_BYTES - len(ICC) - 2
"""Bytes of an ICC profile that fit into one segment."""


def segment_bytes(marker: int, payload: bytes) -> bytes:
    """Return a segment: marker, length and payload, which has at most `MAX_PAYLOAD_BYTES`."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def icc_segments_of(profile: bytes) -> Iterator[bytes]:
    """Yield the segments of an ICC profile (ICC.1:2022, B.4)."""
    parts = [profile[at : at + MAX_ICC_BYTES] for at in range(0, len(profile), MAX_ICC_BYTES)]
    for number, part in enumerate(parts, 1):
        yield segment_bytes(_APP2, ICC + bytes((number, len(parts))) + part)


def jfif_segment() -> bytes:
    """Return a JFIF segment: components are gray or YCbCr (JFIF 1.02)."""
    return segment_bytes(_APP0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0")


def adobe_segment() -> bytes:
    """Return an Adobe segment: three components are RGB (Technical Note 5116)."""
    return segment_bytes(_APP14, ADOBE + b"\0\x64\0\0\0\0\0")


def with_segments(jpeg: bytes, added: bytes) -> bytes:
    """Insert segments into a JPEG after its JFIF header."""
    after_jfif = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:after_jfif] + added + jpeg[after_jfif:]
