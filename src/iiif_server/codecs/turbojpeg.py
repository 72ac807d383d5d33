"""Partial decoding of small JPEGs, and encoding, by TurboJPEG's API of version 3.

Pillow decodes all of a tile of which a corner is needed, and libvips takes twice as long for images
of this size as the codec does. Without the library, they do the same work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from iiif_server.codecs.libturbojpeg import ffi, library
from iiif_server.codecs.pixel_buffer import PixelBuffer
from iiif_server.formats.jpeg_segments import icc_segments_of, with_segments
from iiif_server.iiif.geometry import Box

_COMPRESS, _DECOMPRESS = 0, 1
_QUALITY, _SUBSAMPLING, _WIDTH, _HEIGHT, _COLOUR, _SCAN_LIMIT = 3, 4, 5, 6, 8, 13
_YCBCR, _GRAY = 1, 2
_SAMPLED_444, _SAMPLED_420, _SAMPLED_GRAY = 0, 2, 3
_PIXELS = {1: 6, 3: 0}
"""The pixel format of gray and of RGB, by the number of bands."""
_MAX_SCANS = 500
_FULL_CHROMA = 90
"""JPEG quality from which chroma is not subsampled."""


def available() -> bool:
    """Whether this process has libturbojpeg 3; without it, Pillow and libvips are used."""
    found = library()
    return found is not None and found.partial_decoding


class TurboJpegError(Exception):
    """Error if TurboJPEG cannot decode a JPEG; Pillow may, or reports the reason."""


class _Codec:
    """Instance of the library."""

    def __init__(self, kind: int) -> None:
        found = library()
        if found is None or not found.partial_decoding:
            raise TurboJpegError("there is no TurboJPEG 3")
        self.functions = found.functions
        self.handle = self.functions.tj3Init(kind)
        if not self.handle:
            raise MemoryError

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of the library; raises TurboJpegError."""
        if getattr(self.functions, function)(self.handle, *arguments):  # for a warning, too
            reason = ffi.string(self.functions.tj3GetErrorStr(self.handle))
            raise TurboJpegError(reason.decode("utf-8", "replace"))

    def get(self, parameter: int) -> int:
        """Return a parameter of the JPEG."""
        return int(self.functions.tj3Get(self.handle, parameter))

    @property
    def bands(self) -> int:
        """1 for gray, 3 for YCbCr. Raises TurboJpegError for other colours."""
        colour = self.get(_COLOUR)
        if colour not in {_YCBCR, _GRAY}:
            raise TurboJpegError
        return 1 if colour == _GRAY else 3


@contextmanager
def _codec(kind: int) -> Iterator[_Codec]:
    codec = _Codec(kind)
    try:
        yield codec
    finally:
        codec.functions.tj3Destroy(codec.handle)


def bands_of(jpeg: bytes) -> int:
    """Return 1 for gray, 3 for YCbCr. Raises TurboJpegError for other colours."""
    with _codec(_DECOMPRESS) as codec:
        codec.call("tj3DecompressHeader", jpeg, len(jpeg))
        return codec.bands


def decode(jpeg: bytes, part: Box, target: PixelBuffer, x: int, y: int) -> None:
    """Decode a part of a JPEG into a buffer, its upper left corner at `x`, `y`.

    The part begins at a multiple of the width of its MCUs. Pixels at its edges may lack the chroma
    of their neighbours beyond. Raises TurboJpegError; the buffer may be partly written then.
    """
    bands, pitch = target.bands, target.width * target.bands
    rows = len(target.pixels) // pitch
    if x + part.width > target.width or y + part.height > rows:
        raise TurboJpegError
    with (
        _codec(_DECOMPRESS) as codec,
        ffi.from_buffer("unsigned char[]", target.pixels, require_writable=True) as pixels,
    ):
        codec.call("tj3Set", _SCAN_LIMIT, _MAX_SCANS)
        codec.call("tj3DecompressHeader", jpeg, len(jpeg))
        right, bottom = part.x + part.width, part.y + part.height
        if right > codec.get(_WIDTH) or bottom > codec.get(_HEIGHT) or codec.bands != bands:
            raise TurboJpegError
        codec.call("tj3SetCroppingRegion", (part.x, part.y, part.width, part.height))
        start = pixels + y * pitch + x * bands
        codec.call("tj3Decompress8", jpeg, len(jpeg), start, pitch, _PIXELS[bands])


def encode(buffer: PixelBuffer, quality: int, *, full_chroma: bool = False) -> bytes:
    """Encode gray or RGB pixels, with their profile, as a baseline JPEG. Raises TurboJpegError.

    Chroma is 4:2:0 below quality 90, unless `full_chroma` makes it 4:4:4.
    """
    bands, width = buffer.bands, buffer.width
    colour = _SAMPLED_444 if full_chroma or quality >= _FULL_CHROMA else _SAMPLED_420
    jpeg, size = ffi.new("unsigned char **"), ffi.new("size_t *")
    with _codec(_COMPRESS) as codec, ffi.from_buffer("unsigned char[]", buffer.pixels) as source:
        codec.call("tj3Set", _QUALITY, quality)
        codec.call("tj3Set", _SUBSAMPLING, _SAMPLED_GRAY if bands == 1 else colour)
        format_, pitch = _PIXELS[bands], width * bands
        height = len(source) // pitch
        try:
            codec.call("tj3Compress8", source, width, pitch, height, format_, jpeg, size)
            data = bytes(ffi.buffer(jpeg[0], size[0]))
        finally:
            codec.functions.tj3Free(jpeg[0])
    return with_segments(data, b"".join(icc_segments_of(buffer.profile or b"")))
