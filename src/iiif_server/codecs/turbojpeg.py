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
    """Whether this process has libturbojpeg 3; else Pillow and libvips do the same."""
    found = library()
    return found is not None and found.partial_decoding


class NotDoneError(Exception):
    """TurboJPEG cannot decode this JPEG; Pillow may, or names the error."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Pixels, gray or RGB, that parts of images are decoded into."""

    pixels: bytearray
    width: int
    bands: int

    @classmethod
    def blank(cls, width: int, height: int, bands: int) -> "Canvas":
        """An empty canvas."""
        return cls(bytearray(width * height * bands), width, bands)


class _Codec:
    """An instance of the library."""

    def __init__(self, kind: int) -> None:
        found = library()
        if found is None or not found.partial_decoding:
            raise NotDoneError("there is no TurboJPEG 3")
        self.functions = found.functions
        self.handle = self.functions.tj3Init(kind)
        if not self.handle:
            raise MemoryError

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of the library; raises NotDoneError."""
        if getattr(self.functions, function)(self.handle, *arguments):  # for a warning, too
            reason = ffi.string(self.functions.tj3GetErrorStr(self.handle))
            raise NotDoneError(reason.decode("utf-8", "replace"))

    def get(self, parameter: int) -> int:
        """The value of a parameter of the JPEG."""
        return int(self.functions.tj3Get(self.handle, parameter))

    @property
    def bands(self) -> int:
        """1 for gray and 3 for YCbCr; raises NotDoneError for all else."""
        colour = self.get(_COLOUR)
        if colour not in {_YCBCR, _GRAY}:
            raise NotDoneError
        return 1 if colour == _GRAY else 3


@contextmanager
def _codec(kind: int) -> Iterator[_Codec]:
    codec = _Codec(kind)
    try:
        yield codec
    finally:
        codec.functions.tj3Destroy(codec.handle)


def bands_of(jpeg: bytes) -> int:
    """1 for gray and 3 for YCbCr; raises NotDoneError for all else."""
    with _codec(_DECOMPRESS) as codec:
        codec.call("tj3DecompressHeader", jpeg, len(jpeg))
        return codec.bands


def decode(jpeg: bytes, part: Box, canvas: Canvas, x: int, y: int) -> None:
    """Decode a part of a JPEG into a canvas, its upper left corner at `x`, `y`.

    The part begins at a multiple of the width of its MCUs. Pixels at its edges may lack the chroma
    of their neighbours beyond. Raises NotDoneError, whatever is on the canvas then.
    """
    bands, pitch = canvas.bands, canvas.width * canvas.bands
    start = y * pitch + x * bands
    end = (y + part.height - 1) * pitch + (x + part.width) * bands
    if x + part.width > canvas.width or end > len(canvas.pixels):
        raise NotDoneError
    with _codec(_DECOMPRESS) as codec, ffi.from_buffer("unsigned char[]", canvas.pixels) as pixels:
        codec.call("tj3Set", _SCAN_LIMIT, _MOST_SCANS)
        codec.call("tj3DecompressHeader", jpeg, len(jpeg))
        right, bottom = part.x + part.width, part.y + part.height
        if right > codec.get(_WIDTH) or bottom > codec.get(_HEIGHT) or codec.bands != bands:
            raise NotDoneError
        codec.call("tj3SetCroppingRegion", (part.x, part.y, part.width, part.height))
        target = pixels + start
        codec.call("tj3Decompress8", jpeg, len(jpeg), target, pitch, _PIXELS[bands])


def encode(pixels: memoryview, width: int, bands: int, quality: int, *, full_chroma: bool) -> bytes:
    """Encode gray or RGB pixels as a baseline JPEG; chroma is 4:2:0 unless `full_chroma`."""
    row, colour = width * bands, _SAMPLED_444 if full_chroma else _SAMPLED_420
    jpeg, size = ffi.new("unsigned char **"), ffi.new("size_t *")
    with _codec(_COMPRESS) as codec, ffi.from_buffer("unsigned char[]", pixels) as source:
        codec.call("tj3Set", _QUALITY, quality)
        codec.call("tj3Set", _SUBSAMPLING, _SAMPLED_GRAY if bands == 1 else colour)
        height = len(source) // row
        try:
            codec.call("tj3Compress8", source, width, row, height, _PIXELS[bands], jpeg, size)
            return bytes(ffi.buffer(jpeg[0], size[0]))
        finally:
            codec.functions.tj3Free(jpeg[0])
