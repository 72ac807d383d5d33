"""Raw photographs, developed by LibRaw (rawpy, the extra `raw`) with one fixed recipe."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.errors import DamagedOriginalError, OriginalTooLargeError, UnsupportedOriginalError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT
from iiif_server.plan.original_format import OriginalFormat

try:  # with this module: a sandboxed worker can load no more
    _rawpy: Any = import_module("rawpy")
except ImportError:
    _rawpy = None

AVAILABLE = _rawpy is not None
"""Whether the extra `raw` is installed."""
_OPTIONS = {
    "use_camera_wb": True,  # by daylight where the camera states none
    "no_auto_bright": True,
    "adjust_maximum_thr": 0.0,  # white is that of the sensor, not the brightest pixel
    "gamma": (2.4, 12.92),  # of sRGB
    "output_bps": 16,
    "user_flip": 0,
}
"""Options besides LibRaw's defaults: AHD, sRGB, clipped highlights, no noise reduction."""
_EXIF_BY_FLIP = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
"""EXIF orientation by LibRaw's flip bits: mirrored horizontally, vertically, transposed."""
_ASPECT_TOLERANCE = 0.005
"""Difference of a pixel's sides that LibRaw tolerates without scaling."""
_BYTES_PER_PIXEL = 20
"""Bytes per pixel: sensor samples, four colours, the developed image, and its copies."""
_EFFORT = 60


def raw_header(bounded: BoundedFile, file: BinaryIO) -> ImageHeader:
    """Read the image header of the developed image. Raises OriginalRefusedError."""
    if not AVAILABLE:
        raise UnsupportedOriginalError(
            "This server cannot read raw photographs: install the extra iiif-server[raw]."
        )
    with _opened(file.fileno()) as raw:
        sizes, gray = raw.sizes, raw.num_colors == 1
    bounded.check_size(sizes.width, sizes.height)
    bounded.check_size(sizes.raw_width, sizes.raw_height)
    if not abs(sizes.pixel_aspect - 1) <= _ASPECT_TOLERANCE:
        raise bounded.unsupported("has pixels that are not square")
    area = sizes.raw_width * sizes.raw_height
    return ImageHeader(
        format=OriginalFormat.RAW,
        stored=Dimensions(sizes.width, sizes.height),
        orientation=FROM_EXIF.get(_EXIF_BY_FLIP.get(sizes.flip, 1), UPRIGHT),
        colour=Colour.GRAY if gray else Colour.RGB,
        transparent=False,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1,
        pixel_bytes=2 if gray else 6,
        needs=Needs(bytes=bounded.size + _BYTES_PER_PIXEL * area, effort=_EFFORT * area),
        reader=Reader.LIBRAW,
        bits=16,
    )


def read_raw(descriptor: int, header: ImageHeader, _: int) -> Pixels:
    """Develop the image; return its pixels before the orientation is applied.

    Raises OriginalRefusedError.
    """
    with _opened(descriptor) as raw:
        developed: NDArray[np.uint16] = raw.postprocess(**_OPTIONS)
    height, width = developed.shape[:2]
    if (width, height) != (header.stored.width, header.stored.height):
        raise UnsupportedOriginalError(
            "The sensor of this RAW image has other rows than its picture, which this server does "
            "not read."
        )
    values = developed.reshape(height, width, -1)
    gray = values.shape[2] == 1
    return to_pixels(
        Samples(values, Photometric.MIN_IS_BLACK if gray else Photometric.RGB, 16), None
    )


@contextmanager
def _opened(descriptor: int) -> Iterator[Any]:
    with os.fdopen(os.dup(descriptor), "rb") as file, _rawpy.RawPy() as raw:
        file.seek(0)
        try:
            raw.open_buffer(file)
            yield raw
        except (_rawpy.LibRawTooBigError, _rawpy.LibRawMemPoolOverflowError) as error:
            raise OriginalTooLargeError("The original exceeds the limits of LibRaw.") from error
        except _rawpy.LibRawUnsufficientMemoryError as error:
            raise MemoryError from error
        except (
            _rawpy.LibRawFileUnsupportedError,
            _rawpy.LibRawNotImplementedError,
            _rawpy.NotSupportedError,
        ) as error:
            raise UnsupportedOriginalError(
                "LibRaw does not support the camera or the compression of this RAW image."
            ) from error
        except _rawpy.LibRawError as error:  # whose words are those of a failing disk
            raise DamagedOriginalError(
                "The original is damaged: its RAW data could not be decoded."
            ) from error
