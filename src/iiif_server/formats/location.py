"""Removal of location data from EXIF, IPTC and Photoshop resources. Pure.

Whatever is not understood is left out. EXIF is CIPA DC-008, IPTC is IIM 4.2.
"""

import re
import struct
from collections.abc import Iterator

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes per value, by TIFF type."""
_INLINE_BYTES = 4
_DIRECTORIES = frozenset({34_665, 40_965})
"""Tags of the Exif and Interoperability directories."""
_REMOVED_TAGS = frozenset({330, 700, 33_723, 34_377, 34_853, 37_500, 50_740, 59_932})
"""Removed tags: SubIFDs, XMP, IPTC, Photoshop, GPS, MakerNote (any content), padding."""
_MAX_DEPTH = 2

_IPTC_LOCATION = frozenset({26, 27, 90, 92, 95, 100, 101})
_RECORD, _EXTENDED = 2, 0x8000
_IPTC_RESOURCE, _REMOVED_RESOURCES = 1028, frozenset({1058, 1059, 1060, 1061})
"""Photoshop resources: IPTC; and those that repeat it: EXIF (two), XMP, IPTC digest."""
_SIGNATURES = frozenset({b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"})
XMP_LOCATION = re.compile(
    r"gps|location|l(?:at|ong)itude|altitude|coverage|geotag|wgs84|HasExtendedXMP|"
    r"\}(?:City|State|Country|CountryCode|CountryName|ProvinceState|WorldRegion)$",
    re.IGNORECASE,
)
"""Pattern of location properties, with their namespaces."""


def exif_without_location(tiff: bytes) -> bytes:
    """Rewrite EXIF without GPS, MakerNote and thumbnail; empty if damaged."""
    order = _ORDERS.get(tiff[:4])
    try:
        if order is None:
            return b""
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        return tiff[:4] + struct.pack(f"{order}I", 8) + _directory(tiff, order, first, 8, 0)
    except (struct.error, ValueError):
        return b""


def _directory(tiff: bytes, order: str, source: int, target: int, depth: int) -> bytes:
    """Serialise a directory and its values at an offset, without the next directory."""
    kept = list(_entries(tiff, order, source))
    if sum(len(value) for *_, value in kept) > len(tiff):
        raise ValueError("values that overlap")
    body_at, entries, body = target + 2 + 12 * len(kept) + 4, b"", b""
    for tag, type_, count, value in kept:
        content = value
        if tag in _DIRECTORIES:
            if depth >= _MAX_DEPTH:
                raise ValueError("directories in each other")
            (offset,) = struct.unpack_from(f"{order}I", value)
            content = _directory(tiff, order, offset, body_at + len(body), depth + 1)
        entries += struct.pack(f"{order}HHI", tag, type_, count)
        if len(content) <= _INLINE_BYTES:
            entries += content.ljust(_INLINE_BYTES, b"\0")
        else:
            entries += struct.pack(f"{order}I", body_at + len(body))
            body += content + bytes(len(content) % 2)
    return struct.pack(f"{order}H", len(kept)) + entries + bytes(4) + body


def _entries(tiff: bytes, order: str, at: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, type, count and value of the entries that are kept."""
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for position in range(at + 2, at + 2 + 12 * count, 12):
        tag, type_, count_ = struct.unpack_from(f"{order}HHI", tiff, position)
        length = count_ * _TYPE_BYTES.get(type_, 0)
        if tag in _REMOVED_TAGS or not length:
            continue
        offset = position + 8
        if length > _INLINE_BYTES:
            (offset,) = struct.unpack_from(f"{order}I", tiff, offset)
        value = tiff[offset : offset + length]
        if len(value) == length:
            yield tag, type_, count_, value


def iptc_without_location(data: bytes) -> bytes:
    """Return IPTC datasets without location, up to the first damaged one."""
    kept, at = b"", 0
    while at + 5 <= len(data) and data[at] == 0x1C:  # noqa: PLR2004 - tag marker
        length = int.from_bytes(data[at + 3 : at + 5])
        end = at + 5 + length
        if length & _EXTENDED or end > len(data):
            break
        if data[at + 1] != _RECORD or data[at + 2] not in _IPTC_LOCATION:
            kept += data[at:end]
        at = end
    return kept


def resources_without_location(data: bytes) -> bytes:
    """Return Photoshop resources without location; empty if damaged."""
    kept, at = b"", 0
    while at < len(data):
        head = data[at : at + 7]
        name_end = at + 7 + (head[6] | 1) if len(head) == 7 else len(data)  # noqa: PLR2004
        size = data[name_end : name_end + 4]
        if head[:4] not in _SIGNATURES or len(size) < 4:  # noqa: PLR2004 - bytes of a length
            return b""
        start, length = name_end + 4, int.from_bytes(size)
        value = data[start : start + length]
        if len(value) < length:
            return b""
        number = int.from_bytes(head[4:6])
        if number == _IPTC_RESOURCE:
            value = iptc_without_location(value)
        if number not in _REMOVED_RESOURCES:
            kept += data[at:name_end] + struct.pack(">I", len(value)) + value
            kept += bytes(len(value) % 2)
        at = start + length + length % 2
    return kept
