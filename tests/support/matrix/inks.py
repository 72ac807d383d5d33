"""CMYK without a profile: libvips' press profile, by lcms."""

from io import BytesIO

import numpy as np
import pyvips
from PIL import Image, ImageCms

from support.matrix.chart import RGB
from support.matrix.colours import lab_of_srgb

_PRESS = ImageCms.ImageCmsProfile(BytesIO(pyvips.Operation.call("profile_load", "cmyk")))
_SRGB = ImageCms.createProfile("sRGB")
_PIXELS = Image.frombytes("RGB", (24, 1), RGB.tobytes())
_INKS = ImageCms.profileToProfile(_PIXELS, _SRGB, _PRESS, outputMode="CMYK")
assert _INKS is not None
DEFAULT_INKS = np.asarray(_INKS).reshape(24, 4)
"""Inks of the chart, as far as the press has its colours."""
_BACK = ImageCms.profileToProfile(
    _INKS, _PRESS, _SRGB, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    outputMode="RGB", flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
)  # fmt: skip
assert _BACK is not None
DEFAULT_LAB = lab_of_srgb(np.asarray(_BACK).reshape(24, 3) / 255)
