"""Gain maps of JPEGs (ISO 21496-1, Ultra HDR, Apple): whether a file has one. Pure.

A gain map changes an image on HDR screens. Regions of the image, which have none, would differ.
"""

import re
import struct

from iiif_server.formats.bounded_file import BoundedFile

ISO, MPF = b"urn:iso:std:iso:ts:21496:-1\0", b"MPF\0"
XMP_GAIN_MAP = re.compile(
    r"ns\.adobe\.com/hdr-gain-map/|ns\.apple\.com/HDRGainMap/|ns\.google\.com/photos/1\.0/container",
    re.IGNORECASE,
)
"""Namespaces of XMP properties about gain maps and about the images of a file."""
_GAIN_MAP_SIGN = re.compile(rb"hdr-gain-map/|HDRGainMap|urn:iso:std:iso:ts:21496:-1")
_ENTRIES, _ENTRY, _MAX_IMAGES = 0xB002, 16, 16
_HEADER = 1 << 16
"""Bytes of a further image that are searched for signs of a gain map."""
_START = 1024


def is_gain_map(file: BoundedFile, offset: int, length: int) -> bool:
    """Whether an APP1 or APP2 segment declares a gain map (MPF: CIPA DC-007)."""
    start = file.read_at(offset, min(length, _START))
    if start.startswith(ISO):
        return True
    if not start.startswith(MPF):
        payload = file.read_at(offset, length)
        return payload.startswith(b"http://ns.adobe.com/xap/") and bool(
            _GAIN_MAP_SIGN.search(payload)
        )
    base = offset + len(MPF)
    try:
        offsets = _image_offsets(file.read_at(base, length))
    except struct.error:
        return False
    return any(
        _GAIN_MAP_SIGN.search(file.read_at(base + image_offset, _HEADER))
        for image_offset in offsets
    )


def _image_offsets(index: bytes) -> list[int]:
    """Return the offsets of the further images of an MPF index; raises struct.error."""
    order = "<" if index[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", index, 4)
    (count,) = struct.unpack_from(f"{order}H", index, at)
    for number in range(min(count, _MAX_IMAGES)):
        tag, _, length, offset = struct.unpack_from(f"{order}HHII", index, at + 2 + 12 * number)
        if tag == _ENTRIES:
            offsets = (
                struct.unpack_from(f"{order}I", index, entry + 8)[0]
                for entry in range(offset, offset + min(length, _MAX_IMAGES * _ENTRY), _ENTRY)
            )
            return [entry for entry in offsets if entry]
    return []
