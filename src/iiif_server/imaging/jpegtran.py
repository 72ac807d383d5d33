"""Lossless work on JPEGs in the DCT domain, through the C API that jpegtran-cffi exposes.

Its Python wrappers copy the whole file for each operation and free results late, so they are not
used: `lib` and `ffi` are called on the caller's own buffer.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from iiif_server.image_api.geometry import Box
from iiif_server.imaging.markers import icc_segments, with_segments
from iiif_server.imaging.turns import UPRIGHT, Turn

try:
    from jpegtran.lib import ffi, lib
except ImportError:  # no wheel for this platform or Python
    ffi = lib = None

Buffer: TypeAlias = bytes | mmap.mmap

AVAILABLE = lib is not None
"""Whether the lossless engine is there; the server runs without it, and says so."""

_COPY_NONE = 64
"""TJXOPT_COPYNONE: leave EXIF, comments and thumbnails out of what may be thousands of tiles."""
_LIMIT_SCANS = 32_768
"""TJFLAG_LIMITSCANS: refuse progressive files with an absurd number of scans."""
_MARKERS_FIRST = 1 << 20
"""How much of a file is searched for its ICC profile."""

_OPERATIONS: dict[Turn, str] = {
    UPRIGHT: "TJXOP_NONE",
    Turn(True, 0): "TJXOP_HFLIP",
    Turn(True, 2): "TJXOP_VFLIP",
    Turn(True, 3): "TJXOP_TRANSPOSE",
    Turn(True, 1): "TJXOP_TRANSVERSE",
    Turn(False, 1): "TJXOP_ROT90",
    Turn(False, 2): "TJXOP_ROT180",
    Turn(False, 3): "TJXOP_ROT270",
}


class LosslessFailedError(Exception):
    """This JPEG cannot be worked on without loss; it may still be one that can be decoded."""


@dataclass(frozen=True, slots=True)
class _Transform:
    """What tjTransform is to make of a JPEG: cut, then turn; for one result."""

    turn: Turn = UPRIGHT
    box: Box | None = None
    gray: bool = False


def transform(jpeg: Buffer, box: Box, turn: Turn, *, gray: bool, keep_profile: bool) -> bytes:
    """A JPEG of the coefficients inside the box, turned, and without chroma if gray.

    The box begins on the MCU grid, and its sides that the turn reverses are whole MCUs. Raises
    LosslessFailedError.
    """
    # The crop of tjTransform is in coordinates after the turn, on the grid after the turn: cutting
    # first keeps both simple, and makes the turn work on what is cut only.
    (result,) = _run(jpeg, [_Transform(box=box, gray=gray)])
    if turn != UPRIGHT:
        (result,) = _run(result, [_Transform(turn=turn)])
    return with_segments(result, _profile(jpeg)) if keep_profile else result


def split(jpeg: Buffer, boxes: Sequence[Box], *, keep_profile: bool) -> Iterator[bytes]:
    """JPEGs of the coefficients inside each of the boxes, by reading the original once.

    Takes 3 bytes of memory for each pixel of the original (at 4:2:0) and for each pixel inside the
    boxes. The boxes begin on the MCU grid. Raises LosslessFailedError, before the first.
    """
    profile = _profile(jpeg) if keep_profile else b""
    for result in _run(jpeg, [_Transform(box=box) for box in boxes]):
        yield with_segments(result, profile)


def _run(jpeg: Buffer, transforms: Sequence[_Transform]) -> Iterator[bytes]:
    """The result of each transform, in one reading of the JPEG."""
    source, count = ffi.from_buffer("unsigned char[]", jpeg), len(transforms)
    results, sizes = ffi.new("unsigned char *[]", count), ffi.new("unsigned long[]", count)
    options = ffi.new("tjtransform[]", count)
    for option, wanted in zip(options, transforms, strict=True):
        _describe(option, wanted)
    handle = lib.tjInitTransform()
    try:
        failed = lib.tjTransform(
            handle, source, len(source), count, results, sizes, options, _LIMIT_SCANS
        )
        reason = ffi.string(lib.tjGetErrorStr()).decode("utf-8", "replace")
        # The coefficients go before the results are used, which may take a while.
        lib.tjDestroy(handle)
        if failed:
            raise LosslessFailedError(reason)
        for result, size in zip(results, sizes, strict=True):
            yield bytes(ffi.buffer(result, size))
    finally:
        for result in results:
            lib.tjFree(result)
        ffi.release(source)


def _describe(option: Any, wanted: _Transform) -> None:
    """Fill in one `tjtransform`."""
    option.op = getattr(lib, _OPERATIONS[wanted.turn])
    option.options = lib.TJXOPT_PERFECT | _COPY_NONE
    if wanted.gray:
        option.options |= lib.TJXOPT_GRAY
    if wanted.box is not None:
        option.options |= lib.TJXOPT_CROP
        option.r = (wanted.box.x, wanted.box.y, wanted.box.width, wanted.box.height)


def _profile(jpeg: Buffer) -> bytes:
    """The segments of a JPEG that hold its ICC profile."""
    return b"".join(icc_segments(bytes(jpeg[:_MARKERS_FIRST])))
