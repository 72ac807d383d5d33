"""PSD and PSB: rows of the merged image, unpacked by imagecodecs. Only those of a box are read."""

import os

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.decoder_errors import check_dimensions
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.formats.bounded_file import BoundedFile, truncated_error
from iiif_server.formats.psd import Composite, Mode, composite, profile_of
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import ImageHeader, Profile

_Array = NDArray[np.uint8 | np.uint16]
_unpack = imagecodecs.packbits_decode  # loaded here: a sandboxed worker can load no more
_PHOTOMETRIC = {
    Mode.BITMAP: Photometric.MIN_IS_WHITE,
    Mode.GRAY: Photometric.MIN_IS_BLACK,
    Mode.INDEXED: Photometric.PALETTE,
    Mode.RGB: Photometric.RGB,
    Mode.CMYK: Photometric.INKS,
    Mode.DUOTONE: Photometric.MIN_IS_BLACK,
    Mode.LAB: Photometric.CIE_LAB,
}
_ROWS_PER_STEP = 64
"""Rows per step of removing the white background."""


def read_psd(descriptor: int, header: ImageHeader, _: int, box: Box) -> Pixels:
    """Decode the pixels in a box, with the ICC profile. Raises DamagedOriginalError."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        bounded = BoundedFile(file, header.format)
        found = composite(bounded)
        check_dimensions(found.dimensions.width, found.dimensions.height, header.stored)
        values = _read_samples(bounded, found, box, partial=header.partial)
        profile = profile_of(bounded) if header.profile is not Profile.NONE else None
    max_value = values.dtype.type((1 << found.bits) - 1)
    if found.alpha:
        _remove_white(values, found.mode, int(max_value))
    colours = values[:, :, : found.channels - found.alpha]
    if found.mode is Mode.CMYK:
        np.subtract(max_value, colours, out=colours)  # stored as what the inks leave of white
    if found.mode is Mode.LAB:
        colours[:, :, 1:] ^= (int(max_value) + 1) // 2  # a* and b* begin in the middle
    samples = Samples(values, _PHOTOMETRIC[found.mode], found.bits, found.alpha)
    if found.mode is Mode.INDEXED:
        samples = Samples(values, Photometric.PALETTE, 8, palette=_palette(found))
    return to_pixels(samples, profile)


def _palette(found: Composite) -> _Array:
    return np.frombuffer(found.palette, np.uint8).reshape(3, 256).astype(np.uint16)


def _read_samples(file: BoundedFile, found: Composite, box: Box, *, partial: bool) -> _Array:
    """Read the samples in a box, as an array of rows, columns, channels."""
    type_ = np.uint16 if found.bits > 8 else np.uint8  # noqa: PLR2004 - bits of a byte
    values: _Array = np.empty((box.height, box.width, found.channels), type_)
    ends = None if found.lengths is None else np.cumsum(found.lengths, dtype=np.int64)
    for channel in range(found.channels):
        for row in range(box.height):
            number = channel * found.dimensions.height + box.y + row
            if ends is None or found.lengths is None:
                length, offset = found.row_bytes, number * found.row_bytes
            else:
                length = found.lengths[number]
                offset = int(ends[number]) - length
            data = file.read_at(found.start + offset, length)
            if len(data) < length and not partial:
                raise truncated_error(file.format)
            if ends is not None:
                data = bytes(_unpack(data)) if len(data) == length else b""
            row_data = data[: found.row_bytes].ljust(found.row_bytes, b"\0")
            values[row, :, channel] = _row(row_data, found, box)
    return values


def _row(data: bytes, found: Composite, box: Box) -> _Array:
    if found.bits == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        return bits[box.x : box.x + box.width]
    row = np.frombuffer(data, ">u2" if found.bits > 8 else np.uint8)  # noqa: PLR2004
    return row[box.x : box.x + box.width]


def _remove_white(values: _Array, mode: Mode, max_value: int) -> None:
    """Undo the blending of the merged image with white."""
    white = np.array(
        (max_value, *[(max_value + 1) // 2] * 2) if mode is Mode.LAB else max_value, np.float64
    )
    for top in range(0, len(values), _ROWS_PER_STEP):
        part = values[top : top + _ROWS_PER_STEP]
        opacity = np.maximum(part[:, :, -1:], 1) / max_value
        unblended = white + (part[:, :, :-1] - white) / opacity
        part[:, :, :-1] = np.clip(np.rint(unblended), 0, max_value)
