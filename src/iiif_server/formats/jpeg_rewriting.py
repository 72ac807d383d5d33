"""Lossless rewriting of JPEG metadata: segments change, coefficients do not."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.gain_maps import ISO, MPF, XMP_GAIN_MAP
from iiif_server.formats.jpeg import MAX_SEARCHED_BYTES, icc_segments_of, segments
from iiif_server.formats.location import (
    XMP_LOCATION,
    exif_without_location,
    resources_without_location,
)
from iiif_server.formats.xmp import XMP, without_properties

_APP0, _APP1, _APP2, _APP13, _APP14, _APP15, _EOI = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xD9
_EXIF, _ICC, _PHOTOSHOP = b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_MAX_PAYLOAD_BYTES = 65_533
"""Maximum bytes of a segment's payload."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Changes to the metadata of a JPEG."""

    location: bool = False
    """Whether location data is removed."""
    gain_map: bool = False
    """Whether the gain map is removed."""
    profile: bytes = b""
    """ICC profile to add; empty: the file keeps its own."""


def rewritten(
    file: BoundedFile, data: memoryview, wanted: Rewriting
) -> Sequence[bytes | memoryview]:
    """Return the pieces of a rewritten JPEG, through EOI, from its bytes `data`.

    What follows that is left out: further images and videos have metadata of their own. Raises
    OriginalRefusedError where the segments are damaged.
    """
    pieces: list[bytes | memoryview] = []
    at, last, end = 0, 0, None
    for segment in segments(file):
        last = segment.end
        if segment.marker == _EOI:
            end = segment.end
        elif _APP0 <= segment.marker <= _APP15:
            payload = file.at(segment.offset, segment.length)
            changed = _changed(segment.marker, payload, wanted)
            if changed != payload:
                start = segment.offset - 4
                pieces += [data[at:start], _written(segment.marker, changed)]
                at = segment.end
    if end is None and file.size - last > MAX_SEARCHED_BYTES:
        raise file.damaged("it has no end")
    pieces.append(data[at:end])
    added = b"".join(icc_segments_of(wanted.profile))
    return _inserted(pieces, _place(file), added) if added else pieces


def _changed(marker: int, payload: bytes, wanted: Rewriting) -> bytes:
    """Return the changed payload of an APPn segment; empty: the segment is removed."""
    if marker == _APP2 and payload.startswith(_ICC):
        return b"" if wanted.profile else payload
    if marker == _APP2 and payload.startswith((MPF, ISO)):
        return b"" if wanted.gain_map or wanted.location else payload
    if marker == _APP1 and payload.startswith(XMP):
        return _changed_xmp(payload, wanted)
    return _without_location(marker, payload) if wanted.location else payload


def _without_location(marker: int, payload: bytes) -> bytes:
    if marker in {_APP0, _APP14}:
        return payload
    if marker == _APP1 and payload.startswith(_EXIF):
        exif = exif_without_location(payload[len(_EXIF) :])
        return _EXIF + exif if exif else b""
    if marker == _APP13 and payload.startswith(_PHOTOSHOP):
        resources = resources_without_location(payload[len(_PHOTOSHOP) :])
        return _PHOTOSHOP + resources if resources else b""
    return b""  # the segments of makers, and XMP that is continued, hold anything


def _changed_xmp(payload: bytes, wanted: Rewriting) -> bytes:
    patterns = [XMP_LOCATION] * wanted.location + [XMP_GAIN_MAP] * wanted.gain_map
    if not patterns:
        return payload
    unwanted = re.compile("|".join(pattern.pattern for pattern in patterns), re.IGNORECASE)
    packet = without_properties(payload[len(XMP) :], unwanted)
    return XMP + packet if packet else b""


def _written(marker: int, payload: bytes) -> bytes:
    if not payload or len(payload) > _MAX_PAYLOAD_BYTES:
        return b""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def _place(file: BoundedFile) -> int:
    """Return the offset for new segments: after the JFIF header, which comes first."""
    numbers = file.numbers(">HHH", 0)
    return 4 + numbers[2] if numbers and numbers[1] == 0xFF00 | _APP0 else 2


def _inserted(
    pieces: Sequence[bytes | memoryview], place: int, added: bytes
) -> Sequence[bytes | memoryview]:
    """Insert bytes into the first piece, which reaches to the offset at least."""
    first, *rest = pieces
    return [first[:place], added, first[place:], *rest]
