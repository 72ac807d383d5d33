"""Truncated interlaced PNGs: pixels that were received stand for those of later passes."""

import os

import numpy as np

from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.png import received_rows
from iiif_server.plan.original_format import OriginalFormat

_PASSES = (
    (0, 0, 8, 8, 8, 8),
    (4, 0, 8, 8, 4, 8),
    (0, 4, 4, 8, 4, 4),
    (2, 0, 4, 4, 2, 4),
    (0, 2, 2, 4, 2, 2),
    (1, 0, 2, 2, 1, 2),
    (0, 1, 1, 2, 1, 1),
)
"""Passes of Adam7 (W3C PNG, 8.1): first pixel, steps, and the pixels that one stands for."""


def fill_missing(descriptor: int, data: bytes, shape: tuple[int, int, int]) -> bytes:
    """Return the samples of a truncated interlaced PNG with those that are missing filled.

    What no pass has begun with is 0. `shape` is rows, columns, and samples a pixel.
    """
    height, width, _ = shape
    pixels = np.frombuffer(data, np.uint8).reshape(shape)
    sizes = [
        (len(range(x, width, across)), len(range(y, height, down)))
        for x, y, across, down, _, _ in _PASSES
    ]
    with os.fdopen(os.dup(descriptor), "rb") as file:
        received = received_rows(BoundedFile(file, OriginalFormat.PNG), sizes)
    filled = np.zeros_like(pixels)
    for (x, y, across, down, wide, high), rows in zip(_PASSES, received, strict=True):
        part = pixels[y::down, x::across][:rows]
        for row in range(y, y + high):
            for column in range(x, x + wide):
                target = filled[row::down, column::across][:rows]
                target[:] = part[: target.shape[0], : target.shape[1]]
    return filled.tobytes()
