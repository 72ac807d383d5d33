"""Resolution (dots per inch) in encoded images: none, in any format.

Encoders write the resolution of the original, which is wrong once the image is scaled, or one that
nobody stated. What is known of the physical size is in the metadata of the original.
"""

import struct
from collections.abc import Sequence

from iiif_server.iiif.formats import Format

_JFIF = slice(2, 4), b"\xff\xe0", slice(6, 11), b"JFIF\0"
_JFIF_DENSITY = slice(13, 18)
_NO_DENSITY = b"\0\0\1\0\1"
"""Of no unit, and pixels are square (JFIF 1.02)."""
_RESOLUTION_UNIT, _NO_UNIT = 296, 1
_AFTER_SIGNATURE = 8

Pieces = Sequence[bytes | memoryview]


def without_resolution(data: bytes, format_: Format) -> Pieces:
    """The pieces of an image file that one of our encoders made, in order, with no resolution."""
    if format_ is Format.JPG:
        return _jpeg(data)
    if format_ is Format.PNG:
        return _png(data)
    return _tiff(data) if format_ is Format.TIF else (data,)


def _jpeg(data: bytes) -> Pieces:
    marker, app0, name, jfif = _JFIF
    if data[marker] != app0 or data[name] != jfif or data[_JFIF_DENSITY] == _NO_DENSITY:
        return (data,)
    return _replaced(data, _JFIF_DENSITY.start, _NO_DENSITY)


def _png(data: bytes) -> Pieces:
    at = _AFTER_SIGNATURE
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + length + 12
        if kind == b"pHYs":
            whole = memoryview(data)
            return whole[:at], whole[end:]
        if kind == b"IDAT":
            break
        at = end
    return (data,)


def _tiff(data: bytes) -> Pieces:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    header, count, entry = (8, "Q", 20) if big else (4, "I", 12)
    (at,) = struct.unpack_from(f"{order}{count}", data, header)
    (tags,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
    first = at + (8 if big else 2)
    for place in range(first, first + tags * entry, entry):
        if struct.unpack_from(f"{order}H", data, place) == (_RESOLUTION_UNIT,):
            value = place + entry - (8 if big else 4)
            return _replaced(data, value, struct.pack(f"{order}H", _NO_UNIT))
    return (data,)


def _replaced(data: bytes, at: int, new: bytes) -> Pieces:
    whole = memoryview(data)
    return whole[:at], new, whole[at + len(new) :]
