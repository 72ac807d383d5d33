"""Lossless rewriting of JPEG metadata: segments change, coefficients do not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.gain_maps import ISO, MPF, XMP_GAIN_MAP
from iiif_server.formats.jpeg import MAX_SEARCHED_BYTES, segments
from iiif_server.formats.jpeg_segments import (
    ICC,
    MAX_PAYLOAD_BYTES,
    icc_segments_of,
    segment_bytes,
)
from iiif_server.formats.location import (
    XMP_LOCATION,
    exif_without_location,
    resources_without_location,
)
from iiif_server.formats.xmp import XMP, without_properties

_APP0, _APP1, _APP2, _APP13, _APP14, _APP15, _EOI = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xD9
_EXIF, _PHOTOSHOP = b"Exif\0\0", b"Photoshop 3.0\0"


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Changes to the metadata of a JPEG."""

    location: bool = False
    """Whether location data is removed."""
    gain_map: bool = False
    """Whether the gain map is removed."""
    profile: bytes = b""
    """ICC profile to add; empty: the file keeps its own."""


def rewrite(
    file: BoundedFile, data: memoryview, rewriting: Rewriting
) -> Sequence[bytes | memoryview]:
    """Return the pieces of a rewritten JPEG, through EOI, from its bytes `data`.

    Data after EOI is left out: appended images and videos have metadata of their own. Raises
    OriginalRefusedError if the segments are damaged.
    """
    pieces: list[bytes | memoryview] = []
    copied, last_end, end = 0, 0, None
    for segment in segments(file):
        last_end = segment.end
        if segment.marker == _EOI:
            end = segment.end
        elif _APP0 <= segment.marker <= _APP15:
            payload = file.read_at(segment.offset, segment.length)
            new_payload = _rewrite_payload(segment.marker, payload, rewriting)
            if new_payload != payload:
                start = segment.offset - 4
                pieces.append(data[copied:start])
                if new_payload and len(new_payload) <= MAX_PAYLOAD_BYTES:
                    pieces.append(segment_bytes(segment.marker, new_payload))
                copied = segment.end
    if end is None and file.size - last_end > MAX_SEARCHED_BYTES:
        raise file.damaged("it has no end")
    pieces.append(data[copied:end])
    added = b"".join(icc_segments_of(rewriting.profile))
    return _insert(pieces, _insertion_offset(file), added) if added else pieces


def _rewrite_payload(marker: int, payload: bytes, rewriting: Rewriting) -> bytes:
    """Return the changed payload of an APPn segment; empty: the segment is removed."""
    if marker == _APP2 and payload.startswith(ICC):
        return b"" if rewriting.profile else payload
    if marker == _APP2 and payload.startswith((MPF, ISO)):
        return b"" if rewriting.gain_map or rewriting.location else payload
    if marker == _APP1 and payload.startswith(XMP):
        return _rewrite_xmp(payload, rewriting)
    return _without_location(marker, payload) if rewriting.location else payload


def _without_location(marker: int, payload: bytes) -> bytes:
    if marker in {_APP0, _APP14}:
        return payload
    if marker == _APP1 and payload.startswith(_EXIF):
        exif = exif_without_location(payload[len(_EXIF) :])
        return _EXIF + exif if exif else b""
    if marker == _APP13 and payload.startswith(_PHOTOSHOP):
        resources = resources_without_location(payload[len(_PHOTOSHOP) :])
        return _PHOTOSHOP + resources if resources else b""
    return b""  # vendor segments and extended XMP may contain any data


def _rewrite_xmp(payload: bytes, rewriting: Rewriting) -> bytes:
    patterns = [XMP_LOCATION] * rewriting.location + [XMP_GAIN_MAP] * rewriting.gain_map
    if not patterns:
        return payload
    unwanted = re.compile("|".join(pattern.pattern for pattern in patterns), re.IGNORECASE)
    packet = without_properties(payload[len(XMP) :], unwanted)
    return XMP + packet if packet else b""


def _insertion_offset(file: BoundedFile) -> int:
    """Return the offset for new segments: after the JFIF header, which comes first."""
    numbers = file.unpack_at(">HHH", 0)
    return 4 + numbers[2] if numbers and numbers[1] == 0xFF00 | _APP0 else 2


def _insert(
    pieces: Sequence[bytes | memoryview], place: int, added: bytes
) -> Sequence[bytes | memoryview]:
    """Insert bytes into the first piece, which reaches to the offset at least."""
    first, *rest = pieces
    return [first[:place], added, first[place:], *rest]
