"""JPEG XL: decoded by the libjxl of imagecodecs, called through cffi.

imagecodecs itself gives no ICC profile, and colours that are in XYB as 8 bits of linear light.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import cffi
import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.errors import DamagedOriginalError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.jpegxl import Metadata, read_metadata
from iiif_server.plan.header import ImageHeader, Profile
from iiif_server.plan.original_format import OriginalFormat

_ffi = cffi.FFI()
_ffi.cdef(
    """
    typedef struct { uint32_t num_channels; int data_type; int endianness; size_t align; } Format;
    typedef struct { void *members[8]; } Cms;
    void *JxlDecoderCreate(const void *memory_manager);
    void JxlDecoderDestroy(void *);
    int JxlDecoderSubscribeEvents(void *, int events);
    int JxlDecoderSetInput(void *, const uint8_t *, size_t);
    void JxlDecoderCloseInput(void *);
    int JxlDecoderProcessInput(void *);
    int JxlDecoderSetCms(void *, Cms);
    const Cms *JxlGetDefaultCms(void);
    int JxlDecoderGetICCProfileSize(const void *, int target, size_t *);
    int JxlDecoderGetColorAsICCProfile(const void *, int target, uint8_t *, size_t);
    int JxlDecoderSetOutputColorProfile(void *, const void *, const uint8_t *, size_t);
    int JxlDecoderImageOutBufferSize(const void *, const Format *, size_t *);
    int JxlDecoderSetImageOutBuffer(void *, const Format *, void *, size_t);
    """
)
# A sandboxed worker can load no more. Through the module of imagecodecs, whose own name is the same
# everywhere, the functions of the libraries that it is linked with are found.
_lib: Any = _ffi.dlopen(import_module("imagecodecs._jpegxl").__file__)
_COLOUR, _IMAGE = 0x100, 0x1000
"""Decoder events: colour encoding known, image complete."""
_SUCCESS, _WANTS_BUFFER = 0, 5
_ORIGINAL, _OUTPUT = 0, 1
_FLOAT, _BYTE, _WORD = 0, 2, 3
_MAX_PROFILE = 16 << 20


def profile_of(descriptor: int) -> bytes:
    """Return the ICC profile of the pixels of `read_jpegxl`. Raises DamagedOriginalError."""
    data, found = _read(descriptor)
    with _decoder(data, _COLOUR) as decoder:
        return _colours(decoder, found)


def read_jpegxl(descriptor: int, header: ImageHeader, _: int) -> Pixels:
    """Decode the first frame, upright, with the ICC profile. Raises DamagedOriginalError."""
    data, found = _read(descriptor)
    if found.dimensions != header.stored:
        raise _damaged()
    if found.floating or found.bits > 16:  # noqa: PLR2004 - of two bytes
        type_, number = "f4", _FLOAT
    else:
        type_, number = ("u2", _WORD) if found.bits > 8 else ("u1", _BYTE)  # noqa: PLR2004
    size = found.dimensions
    values: NDArray[Any] = np.empty((size.height, size.width, found.channels), type_)
    with _decoder(data, _COLOUR | _IMAGE) as decoder:
        profile = _colours(decoder, found)
        if _lib.JxlDecoderProcessInput(decoder) != _WANTS_BUFFER:
            raise _damaged()
        layout = _ffi.new("Format *", (found.channels, number, 0, 0))
        needed = _ffi.new("size_t *")
        _lib.JxlDecoderImageOutBufferSize(decoder, layout, needed)
        if needed[0] != values.nbytes:
            raise _damaged()
        target = _ffi.from_buffer(values.data)
        _lib.JxlDecoderSetImageOutBuffer(decoder, layout, target, values.nbytes)
        if _lib.JxlDecoderProcessInput(decoder) != _IMAGE:
            raise _damaged()
    kind = Photometric.MIN_IS_BLACK if found.gray else Photometric.RGB
    samples = Samples(values, kind, 8 * values.itemsize, found.alpha, found.premultiplied)
    return to_pixels(samples, profile if header.profile is not Profile.NONE else None)


def _read(descriptor: int) -> tuple[bytes, Metadata]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        found = read_metadata(BoundedFile(file, OriginalFormat.JPEGXL))
        file.seek(0)
        return file.read(), found


@contextmanager
def _decoder(data: bytes, events: int) -> Iterator[Any]:
    decoder = _lib.JxlDecoderCreate(_ffi.NULL)
    if not decoder:
        raise MemoryError
    try:
        _lib.JxlDecoderSetCms(decoder, _lib.JxlGetDefaultCms()[0])
        _lib.JxlDecoderSubscribeEvents(decoder, events)
        source = _ffi.from_buffer("uint8_t[]", data)
        _lib.JxlDecoderSetInput(decoder, source, len(data))
        _lib.JxlDecoderCloseInput(decoder)
        yield decoder
    finally:
        _lib.JxlDecoderDestroy(decoder)


def _colours(decoder: Any, found: Metadata) -> bytes:
    """Decode up to the colour encoding; request the conversion of XYB to the file's profile."""
    if _lib.JxlDecoderProcessInput(decoder) != _COLOUR:
        raise _damaged()
    if found.xyb:
        original = _profile(decoder, _ORIGINAL)
        if original:
            # If libjxl refuses the profile, it converts to one of its own, which _OUTPUT then is.
            _lib.JxlDecoderSetOutputColorProfile(decoder, _ffi.NULL, original, len(original))
    return _profile(decoder, _OUTPUT)


def _profile(decoder: Any, target: int) -> bytes:
    size = _ffi.new("size_t *")
    if _lib.JxlDecoderGetICCProfileSize(decoder, target, size) or size[0] > _MAX_PROFILE:
        return b""
    buffer = _ffi.new("uint8_t[]", size[0])
    if _lib.JxlDecoderGetColorAsICCProfile(decoder, target, buffer, size[0]):
        return b""
    return bytes(_ffi.buffer(buffer))


def _damaged() -> DamagedOriginalError:
    return DamagedOriginalError("The original is damaged: this JPEGXL image cannot be decoded.")
