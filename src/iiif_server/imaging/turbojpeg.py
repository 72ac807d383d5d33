"""Small JPEGs to pixels, of a part only where no more is wanted, and back.

That is TurboJPEG's own API, whose library comes with jpegtran-cffi. Pillow decodes all of a tile of
which a corner is needed, and libvips takes twice as long for images of this size as the codec does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from typing import Any

from iiif_server.image_api.geometry import Box

_DECLARATIONS = """
typedef void *tjhandle;
typedef struct { int x, y, w, h; } tjregion;
tjhandle tj3Init(int initType);
void tj3Destroy(tjhandle handle);
int tj3Set(tjhandle handle, int param, int value);
int tj3Get(tjhandle handle, int param);
char *tj3GetErrorStr(tjhandle handle);
int tj3DecompressHeader(tjhandle handle, const unsigned char *jpeg, size_t size);
int tj3SetCroppingRegion(tjhandle handle, tjregion region);
int tj3Decompress8(tjhandle handle, const unsigned char *jpeg, size_t size,
                   unsigned char *pixels, int pitch, int pixelFormat);
int tj3Compress8(tjhandle handle, const unsigned char *pixels, int width, int pitch, int height,
                 int pixelFormat, unsigned char **jpeg, size_t *size);
void tj3Free(void *buffer);
"""
_COMPRESS, _DECOMPRESS = 0, 1
_QUALITY, _SUBSAMPLING, _WIDTH, _HEIGHT, _COLOUR, _SCAN_LIMIT = 3, 4, 5, 6, 8, 13
_YCBCR, _GRAY = 1, 2
_SAMPLED_444, _SAMPLED_420, _SAMPLED_GRAY = 0, 2, 3
_PIXELS = {1: 6, 3: 0}
"""The pixel format of gray and of RGB, by the number of bands."""
_MOST_SCANS = 500


def _load() -> tuple[Any, Any]:
    """The library and what speaks to it; None for both where there is none, or an older one."""
    try:
        from cffi import FFI  # noqa: PLC0415 - comes with jpegtran-cffi, which not all systems have
    except ImportError:
        return None, None
    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    for path in _candidates():
        try:
            library: Any = ffi.dlopen(path)
        except OSError:
            continue
        if hasattr(library, "tj3SetCroppingRegion"):  # since version 3
            return ffi, library
    return None, None


def _candidates() -> Iterator[str]:
    """Where the library may be: beside jpegtran-cffi, in its wheel; or on the system."""
    try:
        for file in files("jpegtran-cffi-wheels") or ():
            if file.name.startswith("libturbojpeg"):
                yield str(file.locate())
    except PackageNotFoundError:
        pass
    on_system = find_library("turbojpeg")
    if on_system is not None:
        yield on_system


_ffi, _lib = _load()

AVAILABLE = _lib is not None
"""Whether there is such a library; Pillow and libvips do the same work without."""


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
    with _handle(_DECOMPRESS) as handle:
        _check(handle, _lib.tj3DecompressHeader(handle, jpeg, len(jpeg)))
        return _bands(handle)


def decode(jpeg: bytes, part: Box, canvas: Canvas, x: int, y: int) -> None:
    """Decode a part of a JPEG into a canvas, its upper left corner at `x`, `y`.

    The part begins at a multiple of the width of its MCUs. Pixels at its edges may lack the chroma
    of their neighbours beyond. Raises NotDoneError, whatever is on the canvas then.
    """
    with _handle(_DECOMPRESS) as handle:
        _lib.tj3Set(handle, _SCAN_LIMIT, _MOST_SCANS)
        _check(handle, _lib.tj3DecompressHeader(handle, jpeg, len(jpeg)))
        inside = part.x + part.width <= _lib.tj3Get(
            handle, _WIDTH
        ) and part.y + part.height <= _lib.tj3Get(handle, _HEIGHT)
        if not inside or _bands(handle) != canvas.bands:
            raise NotDoneError
        _check(
            handle,
            _lib.tj3SetCroppingRegion(handle, (part.x, part.y, part.width, part.height)),
        )
        pitch = canvas.width * canvas.bands
        start, end = y * pitch + x * canvas.bands, (y + part.height - 1) * pitch
        end += (x + part.width) * canvas.bands
        if x + part.width > canvas.width or end > len(canvas.pixels):
            raise NotDoneError
        with _ffi.from_buffer("unsigned char[]", canvas.pixels) as pixels:
            _check(
                handle,
                _lib.tj3Decompress8(
                    handle, jpeg, len(jpeg), pixels + start, pitch, _PIXELS[canvas.bands]
                ),
            )


def encode(pixels: memoryview, width: int, bands: int, quality: int, *, full_chroma: bool) -> bytes:
    """Gray or RGB pixels as a baseline JPEG; with half the chroma each way unless it is in full."""
    row = width * bands
    colour = _SAMPLED_444 if full_chroma else _SAMPLED_420
    with (
        _handle(_COMPRESS) as handle,
        _result() as (jpeg, size),
        _ffi.from_buffer("unsigned char[]", pixels) as source,
    ):
        _lib.tj3Set(handle, _QUALITY, quality)
        _lib.tj3Set(handle, _SUBSAMPLING, _SAMPLED_GRAY if bands == 1 else colour)
        _check(
            handle,
            _lib.tj3Compress8(
                handle, source, width, row, len(source) // row, _PIXELS[bands], jpeg, size
            ),
        )
        return bytes(_ffi.buffer(jpeg[0], size[0]))


def _bands(handle: Any) -> int:
    colour = _lib.tj3Get(handle, _COLOUR)
    if colour not in {_YCBCR, _GRAY}:
        raise NotDoneError
    return 1 if colour == _GRAY else 3


@contextmanager
def _handle(kind: int) -> Iterator[Any]:
    handle = _lib.tj3Init(kind)
    if not handle:
        raise MemoryError
    try:
        yield handle
    finally:
        _lib.tj3Destroy(handle)


@contextmanager
def _result() -> Iterator[tuple[Any, Any]]:
    """Where the library puts what it has made, and how much that is."""
    jpeg, size = _ffi.new("unsigned char **"), _ffi.new("size_t *")
    try:
        yield jpeg, size
    finally:
        _lib.tj3Free(jpeg[0])


def _check(handle: Any, failed: int) -> None:
    if failed:  # for a warning, too
        raise NotDoneError(_ffi.string(_lib.tj3GetErrorStr(handle)).decode("utf-8", "replace"))
