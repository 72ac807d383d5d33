"""BMP: rows of any depth, bit fields and run lengths, as pixels."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.decoder_errors import check_dimensions
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.formats.bmp import Bitmap, bitmap, profile_of
from iiif_server.formats.bounded_file import BoundedFile, truncated_error
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import ImageHeader, Profile

_Array = NDArray[Any]
_END_OF_LINE, _END, _DELTA = 0, b"\0\1", 2
_ROWS_PER_STEP = 64
"""Rows per conversion step."""


def read_bmp(descriptor: int, header: ImageHeader, _: int, box: Box) -> Pixels:
    """Decode the pixels in a box, with the ICC profile. Raises DamagedOriginalError."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        bounded = BoundedFile(file, header.format)
        found = bitmap(bounded)
        check_dimensions(found.dimensions.width, found.dimensions.height, header.stored)
        profile = profile_of(bounded) if header.profile is not Profile.NONE else None
        indices = (
            _decode_rle(bounded, found, partial=header.partial)
            if found.run_length_encoded
            else None
        )
        values = np.empty((box.height, box.width, 4 if found.masks[3] else 3), np.uint8)
        for top in range(0, box.height, _ROWS_PER_STEP):
            for row in range(top, min(top + _ROWS_PER_STEP, box.height)):
                y = box.y + row
                y = y if found.from_top else found.dimensions.height - 1 - y
                if indices is not None:
                    numbers = indices[y]
                else:
                    numbers = _row_values(bounded, found, y, partial=header.partial)
                values[row] = _colours(numbers[box.x : box.x + box.width], found)
    samples = Samples(values, Photometric.RGB, 8, alpha=bool(found.masks[3]))
    return to_pixels(samples, profile)


def _row_values(file: BoundedFile, found: Bitmap, row: int, *, partial: bool) -> _Array:
    """Unpack the pixels of a row to integers, or to three bytes each for 24 bits."""
    width = found.dimensions.width
    data = file.read_at(found.start + row * found.row_bytes, found.row_bytes)
    if len(data) < -(-width * found.bits // 8) and not partial:
        raise truncated_error(file.format)
    row_ = np.frombuffer(data.ljust(found.row_bytes, b"\0"), np.uint8)
    if found.bits < 8:  # noqa: PLR2004 - several pixels in a byte
        each = 8 // found.bits
        shifts = np.arange(each - 1, -1, -1, dtype=np.uint8) * found.bits
        return (row_[:, np.newaxis] >> shifts & ((1 << found.bits) - 1)).ravel()[:width]
    if found.bits == 24:  # noqa: PLR2004 - blue, green, red
        return row_[: 3 * width].reshape(-1, 3)
    type_ = {8: "u1", 16: "<u2", 32: "<u4"}[found.bits]
    return row_.view(type_)[:width].astype(np.uint32)


def _colours(numbers: _Array, found: Bitmap) -> _Array:
    """Extract red, green, blue, and alpha if it has a mask."""
    if found.bits == 24:  # noqa: PLR2004 - blue, green, red
        reversed_: _Array = numbers[:, ::-1]
        return reversed_
    if found.bits <= 8:  # noqa: PLR2004 - a palette
        count = len(found.palette) // found.colour_bytes
        colours = np.zeros((256, 3), np.uint8)
        entries = np.frombuffer(found.palette, np.uint8)[: count * found.colour_bytes]
        colours[:count] = entries.reshape(count, -1)[:, 2::-1]
        chosen: _Array = colours[numbers]
        return chosen
    masks = found.masks if found.masks[3] else found.masks[:3]
    return np.stack([_field(numbers, mask) for mask in masks], axis=-1)


def _field(numbers: _Array, mask: int) -> _Array:
    """Scale the bits of a mask to 0-255."""
    if not mask:
        return np.zeros(numbers.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    max_value = mask >> shift
    field: _Array = (numbers & np.uint32(mask)) >> np.uint32(shift)
    scaled: _Array = np.rint(field * (255 / max_value)).astype(np.uint8)
    return scaled


def _decode_rle(file: BoundedFile, found: Bitmap, *, partial: bool) -> _Array:
    """Decode run lengths to rows of palette indices; skipped pixels are 0."""
    width, height = found.dimensions.width, found.dimensions.height
    indices = np.zeros((height, width), np.uint8)
    data = file.read_at(found.start, file.size)
    at = x = y = 0
    while y < height:
        pair = data[at : at + 2]
        if len(pair) < 2 or pair == _END:  # noqa: PLR2004 - a count and a value
            if partial or (pair == _END and y == height - 1):
                break
            raise truncated_error(file.format)
        at += 2
        count, value = pair
        if count:
            indices[y, x : x + count] = _run(count, value, found.bits)[: max(0, width - x)]
            x += count
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
        elif value == _DELTA:
            move = data[at : at + 2].ljust(2, b"\0")
            x, y, at = x + move[0], y + move[1], at + 2
        else:
            size = -(-value * found.bits // 8)
            literal = np.frombuffer(data[at : at + size].ljust(size, b"\0"), np.uint8)
            if found.bits == 4:  # noqa: PLR2004 - two pixels in a byte
                literal = np.stack((literal >> 4, literal & 15), axis=-1).ravel()[:value]
            indices[y, x : x + value] = literal[: max(0, width - x)]
            x, at = x + value, at + size + size % 2
    return indices


def _run(count: int, value: int, bits: int) -> _Array:
    if bits == 4:  # noqa: PLR2004 - two alternate
        return np.resize(np.array((value >> 4, value & 15), np.uint8), count)
    return np.full(count, value, np.uint8)
