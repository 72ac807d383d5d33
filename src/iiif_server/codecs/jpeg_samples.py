"""12-bit and lossless JPEGs, decoded as a whole by imagecodecs (libjpeg-turbo).

The file has been inspected: the decoder allocates what its frame header says.
"""

import os

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.decoder_errors import check_dimensions
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.formats.jpeg import icc_profile, sample_format
from iiif_server.plan.header import Colour, ImageHeader, Profile

_decode = imagecodecs.jpeg8_decode  # loaded here: a sandboxed worker can load no more
_PHOTOMETRIC = {
    Colour.GRAY: Photometric.MIN_IS_BLACK,
    Colour.RGB: Photometric.RGB,
    Colour.OTHER: Photometric.INKS,
}


def read_jpeg_samples(descriptor: int, header: ImageHeader, _: int) -> Pixels:
    """Decode the pixels, with the ICC profile. Raises errors of imagecodecs."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        data = file.read()
    values: NDArray[np.uint8 | np.uint16] = _decode(data)
    check_dimensions(values.shape[1], values.shape[0], header.stored)
    bits, inverted = sample_format(data)
    if header.colour is Colour.OTHER and inverted:
        values = values.dtype.type((1 << bits) - 1) - values
    samples = Samples(values.reshape(*values.shape[:2], -1), _PHOTOMETRIC[header.colour], bits)
    return to_pixels(samples, icc_profile(data) if header.profile is not Profile.NONE else None)
