"""Lossless JPEG transforms by TurboJPEG: crop, turn and grayscale on DCT coefficients.

The C functions work on the caller's own buffer, which may be a memory map.
"""

import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from iiif_server.codecs.libturbojpeg import ffi, library
from iiif_server.formats.jpeg import icc_segments
from iiif_server.formats.jpeg_segments import icc_segments_of, with_segments
from iiif_server.iiif.geometry import Box
from iiif_server.plan.orientation import UPRIGHT, Orientation

Buffer: TypeAlias = bytes | mmap.mmap

_PERFECT, _CROP, _GRAY, _COPY_NONE = 1, 4, 8, 64
"""Options of turbojpeg.h. TJXOPT_COPYNONE removes EXIF, comments and thumbnails from what may be
thousands of tiles."""
_OPERATIONS = {
    UPRIGHT: 0,  # TJXOP_NONE
    Orientation(True, 0): 1,  # TJXOP_HFLIP
    Orientation(True, 2): 2,  # TJXOP_VFLIP
    Orientation(True, 3): 3,  # TJXOP_TRANSPOSE
    Orientation(True, 1): 4,  # TJXOP_TRANSVERSE
    Orientation(False, 1): 5,  # TJXOP_ROT90
    Orientation(False, 2): 6,  # TJXOP_ROT180
    Orientation(False, 3): 7,  # TJXOP_ROT270
}
_SCAN = re.compile(rb"\xff\xda")
_MAX_SCANS = 500
"""Each scan visits every coefficient of the image. Counted here, as versions of the library limit
them differently."""
_PROFILE_SEARCHED_BYTES = 1 << 20
"""Bytes of a file that are searched for its ICC profile."""


class LosslessFailedError(Exception):
    """Error for a JPEG that cannot be transformed losslessly; it may still be decoded."""


def available() -> bool:
    """Whether this process has a library for lossless transforms; see `workers.turbojpeg`."""
    return library() is not None


@dataclass(frozen=True, slots=True)
class _Transform:
    """Transform by tjTransform: crop, then turn."""

    orientation: Orientation = UPRIGHT
    box: Box | None = None
    gray: bool = False


def transform(
    jpeg: Buffer,
    box: Box,
    orientation: Orientation,
    *,
    gray: bool,
    keep_profile: bool,
    generated_profile: bytes = b"",
) -> bytes:
    """Return a JPEG of the coefficients inside the box, turned, and without chroma if gray.

    A `generated_profile` replaces the profile of the file. The box must begin on the MCU grid; the
    sides that the orientation reverses must be whole MCUs. Raises LosslessFailedError.
    """
    # tjTransform crops in coordinates after the turn, on the grid after the turn. Cropping first
    # keeps both simple, and only the crop is turned.
    result = _transform_one(jpeg, _Transform(box=box, gray=gray))
    if orientation != UPRIGHT:
        result = _transform_one(result, _Transform(orientation=orientation))
    return with_segments(result, _profile(jpeg, generated_profile)) if keep_profile else result


def split(
    jpeg: Buffer, boxes: Sequence[Box], *, keep_profile: bool, generated_profile: bytes = b""
) -> Iterator[bytes]:
    """Yield a JPEG of the coefficients inside each box; the original is read once.

    Needs 3 bytes of memory for each pixel of the original (at 4:2:0) and for each pixel inside the
    boxes. The boxes must begin on the MCU grid. Raises LosslessFailedError before the first JPEG.
    """
    profile = _profile(jpeg, generated_profile) if keep_profile else b""
    with _transform_all(jpeg, [_Transform(box=box) for box in boxes]) as results:
        for result in results:
            yield with_segments(bytes(result), profile)


def _transform_one(jpeg: Buffer, operation: _Transform) -> bytes:
    """Return the result of one transform."""
    with _transform_all(jpeg, [operation]) as (result,):
        return bytes(result)


@contextmanager
def _transform_all(jpeg: Buffer, transforms: Sequence[_Transform]) -> Iterator[list[Any]]:
    """Run transforms in one pass over the JPEG; yield the library's buffers with the results.

    They are freed when the context ends. Raises LosslessFailedError.
    """
    turbojpeg = library()
    if turbojpeg is None:
        raise LosslessFailedError("the TurboJPEG library is missing")
    if next(islice(_SCAN.finditer(jpeg), _MAX_SCANS, None), None) is not None:
        raise LosslessFailedError(f"more than {_MAX_SCANS} scans")
    count = len(transforms)
    # cffi fills new memory with zeros: a destination that is NULL is allocated by the library.
    results, sizes = ffi.new("unsigned char *[]", count), ffi.new("unsigned long[]", count)
    options = ffi.new("tjtransform[]", count)
    for option, operation in zip(options, transforms, strict=True):
        _fill_option(option, operation)
    try:
        _run(turbojpeg.functions, jpeg, results, sizes, options)
        yield [ffi.buffer(result, size) for result, size in zip(results, sizes, strict=True)]
    finally:
        for result in results:
            turbojpeg.functions.tjFree(result)


def _run(functions: Any, jpeg: Buffer, results: Any, sizes: Any, options: Any) -> None:
    """Call tjTransform, and free its coefficients before the results are used."""
    handle = functions.tjInitTransform()
    if not handle:
        raise MemoryError
    try:
        with ffi.from_buffer("unsigned char[]", jpeg) as source:
            failed = functions.tjTransform(
                handle, source, len(source), len(results), results, sizes, options, 0
            )
        if failed:  # for a warning, too
            reason = ffi.string(functions.tjGetErrorStr2(handle))
            raise LosslessFailedError(reason.decode("utf-8", "replace"))
    finally:
        functions.tjDestroy(handle)


def _fill_option(option: Any, operation: _Transform) -> None:
    """Fill in one `tjtransform`."""
    option.op = _OPERATIONS[operation.orientation]
    option.options = _PERFECT | _COPY_NONE
    if operation.gray:
        option.options |= _GRAY
    if operation.box is not None:
        option.options |= _CROP
        option.r = (operation.box.x, operation.box.y, operation.box.width, operation.box.height)


def _profile(jpeg: Buffer, made: bytes) -> bytes:
    """Return the segments with the ICC profile of a JPEG, or with that of its colour tags."""
    if made:
        return b"".join(icc_segments_of(made))
    return b"".join(icc_segments(bytes(jpeg[:_PROFILE_SEARCHED_BYTES])))
