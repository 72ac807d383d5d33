"""LogLuv and LogL in TIFF (G. Ward, 1998): logarithmic light, decoded by imagecodecs (libtiff).

libtiff reads whole files, so each segment is wrapped in a TIFF of its own, with trusted tags.
"""

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.sample_colours import Photometric

Array = NDArray[Any]

_decode = imagecodecs.tiff_decode  # loaded here: a sandboxed worker can load no more
LOGARITHMIC = frozenset({int(Photometric.LOG_L), int(Photometric.LOG_LUV)})
_TIFF_HEADER = "<2sHIH"
_SHORT, _LONG = 3, 4
_BITS, _FLOATING = 32, 3
"""Requested sample type: libtiff takes it from BitsPerSample and SampleFormat."""


def decode_segment(
    data: bytes, compression: int, photometric: int, width: int, height: int
) -> NDArray[np.float32]:
    """Decode luminance (LogL), or X, Y and Z (LogLuv), of a segment: rows, columns, samples.

    A luminance of 1 is white. Raises what imagecodecs raises.
    """
    samples = 1 if photometric == Photometric.LOG_L else 3
    fields = (
        (256, _LONG, width),
        (257, _LONG, height),
        (258, _SHORT, _BITS),
        (259, _SHORT, compression),
        (262, _SHORT, photometric),
        (273, _LONG, 0),
        (277, _SHORT, samples),
        (278, _LONG, height),
        (279, _LONG, len(data)),
        (339, _SHORT, _FLOATING),
    )
    start = struct.calcsize(_TIFF_HEADER) + 12 * len(fields) + 4
    file = struct.pack(_TIFF_HEADER, b"II", 42, 8, len(fields))
    for tag, type_, value in fields:
        file += struct.pack("<HHII", tag, type_, 1, start if tag == 273 else value)  # noqa: PLR2004
    found: Array = _decode(file + bytes(4) + data)
    return found.reshape(height, width, samples)
