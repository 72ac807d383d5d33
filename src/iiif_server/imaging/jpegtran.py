"""Lossless work on JPEGs in the DCT domain, through the C API that jpegtran-cffi exposes.

Its Python wrappers copy the whole file for each operation and free results late, so they are not
used: `lib` and `ffi` are called on the caller's own buffer.
"""

import mmap
from typing import TypeAlias

from iiif_server.image_api.geometry import Box
from iiif_server.imaging.header import icc_segments
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


def transform(jpeg: Buffer, box: Box, turn: Turn, *, gray: bool, keep_profile: bool) -> bytes:
    """A JPEG of the coefficients inside the box, turned, and without chroma if gray.

    `jpeg` is any buffer. The box begins on the MCU grid, and its sides that the turn reverses are
    whole MCUs. Raises LosslessFailedError.
    """
    # The crop of tjTransform is in coordinates after the turn, on the grid after the turn: cutting
    # first keeps both simple, and makes the turn work on what is cut only.
    cut = _run(jpeg, UPRIGHT, box, gray=gray)
    result = cut if turn == UPRIGHT else _run(cut, turn, None, gray=False)
    return _with_profile(result, bytes(jpeg[:_MARKERS_FIRST])) if keep_profile else result


def _run(jpeg: Buffer, turn: Turn, box: Box | None, *, gray: bool) -> bytes:
    source = ffi.from_buffer("unsigned char[]", jpeg)
    result, size = ffi.new("unsigned char **"), ffi.new("unsigned long *")
    options = ffi.new("tjtransform *")
    options.op = getattr(lib, _OPERATIONS[turn])
    options.options = lib.TJXOPT_PERFECT | _COPY_NONE | (lib.TJXOPT_GRAY if gray else 0)
    if box is not None:
        options.options |= lib.TJXOPT_CROP
        options.r = (box.x, box.y, box.width, box.height)
    handle = lib.tjInitTransform()
    try:
        failed = lib.tjTransform(
            handle, source, len(source), 1, result, size, options, _LIMIT_SCANS
        )
        if failed:
            raise LosslessFailedError(ffi.string(lib.tjGetErrorStr()).decode("utf-8", "replace"))
        return bytes(ffi.buffer(result[0], size[0]))
    finally:
        lib.tjFree(result[0])
        lib.tjDestroy(handle)
        ffi.release(source)


def _with_profile(jpeg: bytes, original_start: bytes) -> bytes:
    """The JPEG with the original's ICC segments after its JFIF header."""
    after_jfif = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    segments = b"".join(icc_segments(original_start))
    return jpeg[:after_jfif] + segments + jpeg[after_jfif:]
