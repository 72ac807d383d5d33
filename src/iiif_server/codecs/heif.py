"""HEIF of 8 to 12 bits, decoded by pi-heif (libde265). Pillow has no 16-bit colours."""

import os
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pi_heif import open_heif

from iiif_server.codecs.decoder_errors import check_dimensions
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.formats.avif import with_default_matrix
from iiif_server.plan.header import ImageHeader, Profile

_BYTE_BITS = 8


def read_heif(descriptor: int, header: ImageHeader, _: int) -> Pixels:
    """Decode the pixels of the page, with its transformations and the ICC profile of the file.

    Raises DamagedOriginalError, and whatever pi-heif raises on hostile data.
    """
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        data = BytesIO(with_default_matrix(file.read()))
        image = open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)[header.page]
    image.load()  # which may change its size
    width, height = image.size
    check_dimensions(width, height, header.stored)
    bits = int(image.mode.partition(";")[2] or _BYTE_BITS)
    values: NDArray[np.uint8 | np.uint16] = np.frombuffer(
        image.data, np.uint8 if bits == _BYTE_BITS else "<u2"
    ).reshape(height, width, -1)
    gray = values.shape[2] <= 2  # noqa: PLR2004 - and alpha
    samples = Samples(
        values,
        Photometric.MIN_IS_BLACK if gray else Photometric.RGB,
        bits,
        alpha=image.has_alpha,
        premultiplied=image.premultiplied_alpha,
    )
    return to_pixels(
        samples, image.info.get("icc_profile") if header.profile is not Profile.NONE else None
    )
