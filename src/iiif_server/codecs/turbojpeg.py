"""Partial decoding of small JPEGs, and encoding, by TurboJPEG's API of version 3.

Pillow decodes all of a tile of which a corner is needed, and libvips takes twice as long for images
of this size as the codec does. Without the library, they do the same work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from iiif_server.codecs.libturbojpeg import ffi, library
from iiif_server.iiif.geometry import Box

_COMPRESS, _DECOMPRESS = 0, 1
_QUALITY, _SUBSAMPLING, _WIDTH, _HEIGHT, _COLOUR, _SCAN_LIMIT = 3, 4, 5, 6, 8, 13
_YCBCR, _GRAY = 1, 2
_SAMPLED_444, _SAMPLED_420, _SAMPLED_GRAY = 0, 2, 3
_PIXELS = {1: 6, 3: 0}
"""The pixel format of gray and of RGB, by the number of bands."""
_MOST_SCANS = 500


def available() -> bool:
    """Whether this process has a library for this; Pillow and libvips do the same work without."""
    found = library()
    return found is not None and found.partial_decoding


class NotDoneError(Exception):
    """This JPEG is for a decoder that says what is wrong with it, or knows more kinds."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Pixels in rows, gray or RGB, that parts of images are decoded into."""

    pixels: bytearray
    width: int
    bands: int

    @classmethod
    def blank(cls, width: int, height: int, bands: int) -> "Canvas":
        """A canvas without anything on it."""
        return cls(bytearray(width * height * bands), width, bands)


def bands_of(jpeg: bytes) -> int:
    """1 for gray and 3 for YCbCr; raises NotDoneError for all else."""
    with _instance(_DECOMPRESS) as (tj, handle):
        _check(tj, handle, tj.tj3DecompressHeader(handle, jpeg, len(jpeg)))
        return _bands(tj, handle)


def decode(jpeg: bytes, part: Box, canvas: Canvas, x: int, y: int) -> None:
    """Decode a part of a JPEG into a canvas, its upper left corner at `x`, `y`.

    The part begins at a multiple of the width of its MCUs. Pixels at its edges may lack the chroma
    of their neighbours beyond. Raises NotDoneError, whatever is on the canvas then.
    """
    with _instance(_DECOMPRESS) as (tj, handle):
        tj.tj3Set(handle, _SCAN_LIMIT, _MOST_SCANS)
        _check(tj, handle, tj.tj3DecompressHeader(handle, jpeg, len(jpeg)))
        inside = part.x + part.width <= tj.tj3Get(
            handle, _WIDTH
        ) and part.y + part.height <= tj.tj3Get(handle, _HEIGHT)
        if not inside or _bands(tj, handle) != canvas.bands:
            raise NotDoneError
        _check(
            tj,
            handle,
            tj.tj3SetCroppingRegion(handle, (part.x, part.y, part.width, part.height)),
        )
        pitch = canvas.width * canvas.bands
        start, end = y * pitch + x * canvas.bands, (y + part.height - 1) * pitch
        end += (x + part.width) * canvas.bands
        if x + part.width > canvas.width or end > len(canvas.pixels):
            raise NotDoneError
        with ffi.from_buffer("unsigned char[]", canvas.pixels) as pixels:
            _check(
                tj,
                handle,
                tj.tj3Decompress8(
                    handle, jpeg, len(jpeg), pixels + start, pitch, _PIXELS[canvas.bands]
                ),
            )


def encode(pixels: memoryview, width: int, bands: int, quality: int, *, full_chroma: bool) -> bytes:
    """Gray or RGB pixels as a baseline JPEG; with half the chroma each way unless it is in full."""
    row = width * bands
    colour = _SAMPLED_444 if full_chroma else _SAMPLED_420
    with (
        _instance(_COMPRESS) as (tj, handle),
        _result(tj) as (jpeg, size),
        ffi.from_buffer("unsigned char[]", pixels) as source,
    ):
        tj.tj3Set(handle, _QUALITY, quality)
        tj.tj3Set(handle, _SUBSAMPLING, _SAMPLED_GRAY if bands == 1 else colour)
        _check(
            tj,
            handle,
            tj.tj3Compress8(
                handle, source, width, row, len(source) // row, _PIXELS[bands], jpeg, size
            ),
        )
        return bytes(ffi.buffer(jpeg[0], size[0]))


def _bands(tj: Any, handle: Any) -> int:
    colour = tj.tj3Get(handle, _COLOUR)
    if colour not in {_YCBCR, _GRAY}:
        raise NotDoneError
    return 1 if colour == _GRAY else 3


@contextmanager
def _instance(kind: int) -> Iterator[tuple[Any, Any]]:
    """The library's functions, and a handle for some of them."""
    found = library()
    if found is None or not found.partial_decoding:
        raise NotDoneError("there is no TurboJPEG 3")
    tj = found.functions
    handle = tj.tj3Init(kind)
    if not handle:
        raise MemoryError
    try:
        yield tj, handle
    finally:
        tj.tj3Destroy(handle)


@contextmanager
def _result(tj: Any) -> Iterator[tuple[Any, Any]]:
    """Where the library puts what it has made, and how much that is."""
    jpeg, size = ffi.new("unsigned char **"), ffi.new("size_t *")
    try:
        yield jpeg, size
    finally:
        tj.tj3Free(jpeg[0])


def _check(tj: Any, handle: Any, failed: int) -> None:
    if failed:  # for a warning, too
        raise NotDoneError(ffi.string(tj.tj3GetErrorStr(handle)).decode("utf-8", "replace"))
