"""Readers of 16-bit images: PNG by the specification, TIFF by tifffile."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Array = NDArray[Any]
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def samples_of(data: bytes) -> Array:
    """Return the samples of a PNG or TIFF (rows, columns, channels), in 8 or 16 bits."""
    if data.startswith(b"\x89PNG"):
        return _read_png(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        values = file.pages[0].asarray()
    return values if values.ndim > 2 else values[:, :, None]


def _read_png(data: bytes) -> Array:
    """Undo the filters (ISO 15948, 9)."""
    packed, at = b"", 8
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        packed += data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    width, height, depth, type_, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    assert depth in {8, 16}
    assert not interlaced
    step = _CHANNELS[type_] * depth // 8
    raw, above = zlib.decompress(packed), [0] * (width * step)
    rows = []
    for row in range(height):
        start = row * (1 + width * step)
        line = list(raw[start + 1 : start + 1 + width * step])
        for at, value in enumerate(line):
            left = line[at - step] if at >= step else 0
            corner = above[at - step] if at >= step else 0
            line[at] = (value + _predict(raw[start], left, above[at], corner)) & 0xFF
        rows.append(bytes(line))
        above = line
    values = np.frombuffer(b"".join(rows), f">u{depth // 8}")
    return values.reshape(height, width, -1).astype(f"u{depth // 8}")


def _predict(kind: int, left: int, above: int, corner: int) -> int:
    if kind < 4:
        return (0, left, above, (left + above) // 2)[kind]
    distances = [abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)]
    return (left, above, corner)[distances.index(min(distances))]
