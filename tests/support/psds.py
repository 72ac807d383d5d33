"""PSDs and PSBs written by hand (Adobe Photoshop File Formats Specification)."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITMAP, GRAY, INDEXED, RGB, CMYK, MULTICHANNEL, DUOTONE, LAB = 0, 1, 2, 3, 4, 7, 8, 9


def psd(
    values: NDArray[Any],
    mode: int,
    *,
    bits: int = 8,
    big: bool = False,
    packed: bool = False,
    colours: bytes = b"",
    resources: Mapping[int, bytes] | None = None,
    layers: bytes = b"",
    method: int | None = None,
) -> bytes:
    """Return a file of the samples (rows, columns, channels), as they are stored."""
    height, width, channels = values.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1 + big, channels, height, width, bits, mode)
    blocks = b"".join(_resource(number, data) for number, data in (resources or {}).items())
    sections = struct.pack(">I", len(colours)) + colours + struct.pack(">I", len(blocks)) + blocks
    sections += struct.pack(">Q" if big else ">I", len(layers)) + layers
    rows = [
        _row(values[row, :, channel], bits) for channel in range(channels) for row in range(height)
    ]
    table = b""
    if packed:
        rows = [_packbits(row) for row in rows]
        table = struct.pack(f">{len(rows)}{'I' if big else 'H'}", *map(len, rows))
    method = int(packed) if method is None else method
    return head + sections + struct.pack(">H", method) + table + b"".join(rows)


def layers(count: int, *, bits: int = 8, big: bool = False) -> bytes:
    """Return layer information with this number of layers, negative: the merged image has alpha."""
    length = ">Q" if big else ">I"
    if bits == 8:
        return struct.pack(length, 4) + struct.pack(">hH", count, 0) + bytes(4)
    block = struct.pack(">hH", count, 0)
    other = b"8BIM" + b"cinf" + struct.pack(">I", 3) + b"abc\0"
    here = struct.pack(length, 0) + struct.pack(">I", 6) + bytes(6) + other
    return here + b"8BIMLr16" + struct.pack(length, len(block)) + block


def _resource(number: int, data: bytes) -> bytes:
    name = b"\3abc" if number % 2 else b"\0\0"
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + name
        + struct.pack(">I", len(data))
        + data
        + (bytes(len(data) % 2))
    )


def _row(samples: NDArray[Any], bits: int) -> bytes:
    if bits == 1:
        return np.packbits(samples.astype(np.uint8)).tobytes()
    return samples.astype({8: ">u1", 16: ">u2", 32: ">f4"}[bits]).tobytes()


def _packbits(row: bytes) -> bytes:
    """Compress a row by runs and literals, so that both are tested."""
    out, at = b"", 0
    while at < len(row):
        run = 1
        while at + run < len(row) and run < 128 and row[at + run] == row[at]:
            run += 1
        if run > 1:
            out += bytes([257 - run, row[at]])
        else:
            out += bytes([0, row[at]])
        at += run
    return out


def palette(*some: Sequence[int]) -> bytes:
    """Return 256 colours that begin with these."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(some)] = some
    return colours.T.tobytes()
