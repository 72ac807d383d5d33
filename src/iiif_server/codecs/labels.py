"""Descriptions in encoded images: the credits, and the resolution of the pixels as they are now.

libvips writes the fields that `set_description` sets. It also writes a default resolution;
TurboJPEG writes neither; and a lossless crop has the resolution of the original.
`embed_description` corrects this in the encoded bytes.
"""

import struct
import zlib
from collections.abc import Sequence

import pyvips

from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.formats.credits import credits_packet
from iiif_server.formats.jp2_metadata import XMP_UUID
from iiif_server.formats.jpeg_segments import jfif_segment, segment_bytes
from iiif_server.formats.xmp import XMP
from iiif_server.iiif.formats import Format
from iiif_server.plan.render_plan import NO_DESCRIPTION, Description

_JFIF = slice(2, 4), b"\xff\xe0", slice(6, 11), b"JFIF\0"
_DENSITY, _PER_INCH = slice(11, 16), 1
"""Position of the density in a JFIF segment; the unit dots per inch."""
_APP1, _APP14 = 0xE1, b"\xff\xee"
_NO_DENSITY = b"\0\0\1\0\1"
"""JFIF density without a unit: square pixels (JFIF 1.02)."""
_RESOLUTION_UNIT, _NO_UNIT = 296, 1
_AFTER_SIGNATURE, _AFTER_IHDR = 8, 33
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
"""Start of an iTXt chunk: keyword, no compression, no language, no translation."""
_MILLIMETRES = 25.4
"""Millimetres per inch."""
_LIBVIPS_FORMATS = frozenset({Format.TIF, Format.WEBP, Format.AVIF})
"""Formats into which libvips writes credits and resolution."""
_XMP = "xmp-data"
"""Metadata field of a `pyvips.Image`."""

Pieces = Sequence[bytes | memoryview]


def set_description(image: Pixels, format_: Format, description: Description) -> Pixels:
    """Set the fields of a `pyvips.Image` that libvips writes into files."""
    if description.resolution is not None:
        across, down = (dots / _MILLIMETRES for dots in description.resolution)
        image = image.copy(xres=across, yres=down)
    if description.credits and format_ in _LIBVIPS_FORMATS:
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, _XMP, credits_packet(description.credits))
    return image


def keep_option(profile: str, format_: Format, description: Description) -> str:
    """Return the `keep` option of a libvips save operation: the profile, and credits."""
    return f"{profile}|xmp" if description.credits and format_ in _LIBVIPS_FORMATS else profile


def embed_description(data: bytes, format_: Format, description: Description) -> Pieces:
    """Embed a description in an encoded image; return the pieces of the file in order."""
    if format_ is Format.JPG:
        return _jpeg(data, description)
    if format_ is Format.JP2 and description.credits:
        content = XMP_UUID + credits_packet(description.credits)
        return data, struct.pack(">I4s", 8 + len(content), b"uuid") + content
    if format_ is Format.PNG:
        return tuple(_png(data, description))
    if format_ is Format.TIF and description.resolution is None:
        return _tiff(data)
    return (data,)


def _jpeg(data: bytes, description: Description) -> Pieces:
    marker, app0, name, jfif = _JFIF
    start, end = 2, 2
    if data[marker] == app0 and data[name] == jfif:
        end = 4 + int.from_bytes(data[4:6])
    elif description == NO_DESCRIPTION or data[marker] == _APP14:
        return (data,)  # libvips writes no JFIF header if it may leave out metadata
    header = bytearray(data[start:end] or jfif_segment())
    density = _NO_DENSITY
    if description.resolution is not None:
        density = struct.pack(">BHH", _PER_INCH, *description.resolution)
    header[_DENSITY] = density
    if header == data[start:end] and not description.credits:
        return (data,)
    added = b""
    if description.credits:
        content = XMP + credits_packet(description.credits)
        added = segment_bytes(_APP1, content)
    whole = memoryview(data)
    return whole[:start], bytes(header), added, whole[end:]


def _png(data: bytes, description: Description) -> Pieces:
    pieces: list[bytes | memoryview] = [data]
    if description.credits:
        # libvips would write another type of text chunk than readers expect (ISO 16684-3).
        content = b"iTXt" + _PNG_XMP + credits_packet(description.credits)
        text = struct.pack(">I", len(content) - 4) + content
        text += struct.pack(">I", zlib.crc32(content))
        pieces = [data[:_AFTER_IHDR], text, memoryview(data)[_AFTER_IHDR:]]
    resolution_chunk = None if description.resolution else _resolution_chunk(data)
    if resolution_chunk is not None:
        last = memoryview(pieces.pop())
        offset = len(data) - len(last)
        pieces += [last[: resolution_chunk.start - offset], last[resolution_chunk.stop - offset :]]
    return pieces


def _resolution_chunk(data: bytes) -> slice | None:
    at = _AFTER_SIGNATURE
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + length + 12
        if kind == b"pHYs":
            return slice(at, end)
        if kind == b"IDAT":
            break
        at = end
    return None


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


def _replaced(data: bytes, at: int, new: bytes) -> tuple[memoryview, bytes, memoryview]:
    whole = memoryview(data)
    return whole[:at], new, whole[at + len(new) :]
