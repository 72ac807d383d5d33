"""Limits of TIFF segments: checks before a decoder allocates memory for a strip or tile.

tifffile passes each segment to a decoder that trusts the headers in the data.
"""

import struct
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.inspection import inspect
from iiif_server.formats.jpeg import frame_headers
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.original_format import OriginalFormat

Array = NDArray[Any]

_OLD_JPEG = 6
JPEGS = frozenset({_OLD_JPEG, 7})
_START_OF_IMAGE = b"\xff\xd8"
_JPEG2000 = frozenset({33_003, 33_005, 34_712})
_WEBP = 50_001
JPEG_XL = frozenset({50_002, 52_546})
_LERC, _LERC_START = 34_887, b"Lerc2 "
_LERC_PADDING = 16
_LERC_HEADER = "<6xi8i"
"""LERC 2: version, checksum, rows, columns, bands, valid pixels, block side, length, type."""
_LERC_BYTES = (1, 1, 2, 2, 4, 4, 4, 8)
"""Bytes per LERC sample, by type."""
_PADDING = 64
"""Pixels by which an image may exceed a side of its segment: encoders pad to blocks."""
_MAX_NEEDS = 64 << 20
"""Additional bytes that the decoder of a JPEG 2000 segment may allocate."""
_HEADER_ALLOWANCE = 1 << 16
"""Bytes of a segment for tables and profile."""
_TOTAL_ALLOWANCE = 16 << 20
_GROWTH = 2
"""Maximum ratio of compressed to decompressed bytes: LZW reaches 1.5."""
_WIDENED = 4
"""Bytes of a sample of 3 bytes in memory."""


def check_page(page: tifffile.TiffPage, header: ImageHeader) -> None:
    """Raise DamagedOriginalError if tifffile reports larger pixels than the header."""
    size = page.samplesperpixel * (page.dtype.itemsize if page.dtype else 0)
    if not 0 < size <= -(-header.pixel_bytes // 3) * _WIDENED:
        raise DamagedOriginalError("The original is damaged: its samples do not match its header.")
    if (page.imagedepth, page.tiledepth) != (1, 1):
        raise DamagedOriginalError("The original is damaged: its strips or tiles have depth.")


def check_lengths(page: tifffile.TiffPage, indices: Iterable[int], unpacked: int) -> None:
    """Raise DamagedOriginalError if segments are much longer than their pixels."""
    max_bytes = _GROWTH * unpacked + _HEADER_ALLOWANCE
    if sum(page.databytecounts[index] - max_bytes for index in indices) > _TOTAL_ALLOWANCE:
        raise DamagedOriginalError(
            "The original is damaged: its strips or tiles are longer than their pixels."
        )


def check_segment(data: bytes, page: tifffile.TiffPage, wide: int, tall: int, samples: int) -> None:
    """Raise DamagedOriginalError for the data of an image larger than its segment.

    Or, of LERC, of other samples, or other than so many of a pixel. UnsupportedOriginalError for
    scans of JPEG whose tables are elsewhere in the file.
    """
    compression = int(page.compression)
    if compression == _OLD_JPEG and not data.startswith(_START_OF_IMAGE):
        raise UnsupportedOriginalError(
            "The strips or tiles of this TIFF image are parts of a JPEG (compression 6); this "
            "server reads only whole JPEGs."
        )
    max_pixels = (wide + _PADDING) * (tall + _PADDING)
    if compression in JPEGS:
        frames = frame_headers(data)
        valid = bool(frames) and all(size.area <= max_pixels for size, _, _ in frames)
    elif compression in _JPEG2000:
        valid = _fits(data, OriginalFormat.JPEG2000, max_pixels)
    elif compression in JPEG_XL:
        valid = _fits(data, OriginalFormat.JPEGXL, max_pixels)
    elif compression == _LERC:
        valid = _lerc_fits(data, max_pixels, samples, np.dtype(page.dtype).itemsize)
    elif compression == _WEBP:
        valid = data.startswith(b"RIFF") and _fits(data, OriginalFormat.WEBP, max_pixels)
    else:
        valid = True
    if not valid:
        raise DamagedOriginalError(
            "The original is damaged: one of its strips or tiles has a wrong size."
        )


def check_samples(values: Array, page: tifffile.TiffPage) -> None:
    """Raise DamagedOriginalError for samples of another kind than those of the page.

    Some codecs store the sample type in the data, which may contradict the directory.
    """
    found, expected = values.dtype, np.dtype(page.dtype)
    self_describing = page.compression in _JPEG2000 | JPEG_XL | {_LERC}
    same_type = found.itemsize == expected.itemsize and (found.kind == "f") is (
        expected.kind == "f"
    )
    if self_describing and not same_type:
        raise DamagedOriginalError(
            "The original is damaged: one of its strips or tiles has samples of another kind."
        )


def jpegxl_segment(data: bytes, page: tifffile.TiffPage, wide: int, samples: int) -> Array:
    """Decode a JPEG XL segment to rows, columns, samples. Raises DamagedOriginalError."""
    values: Array = imagecodecs.jpegxl_decode(data)
    values = values if values.ndim > 2 else values[:, :, np.newaxis]  # noqa: PLR2004 - of gray
    tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    rows = {tall, tall if page.is_tiled else page.imagelength % tall}
    if values.shape[1:] != (wide, samples) or values.shape[0] not in rows:
        raise DamagedOriginalError(
            "The original is damaged: one of its strips or tiles has a wrong size."
        )
    check_samples(values, page)
    return values


def _lerc_fits(data: bytes, max_pixels: int, samples: int, sample_bytes: int) -> bool:
    """Whether the data is one LERC 2 blob within the size of the segment, with these samples.

    Raises UnsupportedOriginalError for blobs that are compressed once more.
    """
    if not data.startswith(_LERC_START):
        raise UnsupportedOriginalError(
            "The strips or tiles of this TIFF image are compressed by LERC 1, or by LERC and "
            "another method, which this server does not read."
        )
    if len(data) < struct.calcsize(_LERC_HEADER):
        return False
    version, *numbers = struct.unpack_from(_LERC_HEADER, data)
    numbers = numbers[version > 2 :]  # noqa: PLR2004 - a checksum since then
    rows, columns, bands = numbers[0], numbers[1], numbers[2] if version > 3 else 1  # noqa: PLR2004
    length, kind = numbers[4 + (version > 3) :][:2]  # noqa: PLR2004
    fits = 0 < rows * columns <= max_pixels and bands == samples
    same_type = 0 <= kind < len(_LERC_BYTES) and _LERC_BYTES[kind] == sample_bytes
    is_complete = len(data) - _LERC_PADDING <= length <= len(data)
    return min(rows, columns) > 0 and fits and same_type and is_complete


def _fits(data: bytes, format_: OriginalFormat, max_pixels: int) -> bool:
    try:
        inspected = inspect(BoundedFile(BytesIO(data), format_, max_pixels))
    except OriginalTooLargeError:
        return False
    return inspected.needs.bytes <= max(_MAX_NEEDS, len(data))
