"""Pixel buffers: small images in memory, scaled, turned and encoded without a libvips pipeline.

libvips takes about as long to set its threads to such an image as they then need for it. Pillow's
resampling, which is the same, has no vector instructions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from math import ceil, floor
from typing import Any, TypeAlias

import pyvips
from PIL import Image

from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.orientation import Orientation

try:
    _fir: Any = import_module("cykooz_resizer")  # it declares no types
except ImportError:  # there are wheels for some systems only
    _fir = None

Pixels: TypeAlias = Any
"""A `pyvips.Image`, for which the library declares no types; or a `PixelBuffer`."""
ICC = "icc-profile-data"
"""The field of a `pyvips.Image` that holds its profile."""
CAN_SCALE = _fir is not None
"""Whether Pillow can scale buffers; else libvips does it, a little less exactly."""
_MODES = {1: "L", 3: "RGB"}
_CLOCKWISE: Mapping[int, Image.Transpose] = {
    1: Image.Transpose.ROTATE_270,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_90,
}


def with_profile(image: Pixels, profile: bytes | None) -> Pixels:
    """Return a `pyvips.Image` with this ICC profile; unchanged if the profile is empty."""
    if profile:
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, ICC, profile)
    return image


@dataclass(frozen=True, slots=True)
class FloatBox:
    """Box in fractions of pixels: a region as seen in a reduced image."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, box: Box, shrink: int) -> "FloatBox":
        """Convert a box to pixels of the image reduced by `shrink`."""
        return cls(box.x / shrink, box.y / shrink, box.width / shrink, box.height / shrink)

    def relative_to(self, x: int, y: int) -> "FloatBox":
        """Return the box relative to a point of the image."""
        return replace(self, x=self.x - x, y=self.y - y)


@dataclass(frozen=True, slots=True)
class PixelBuffer:
    """Pixel buffer: an image of 8-bit samples, row by row from the top, without padding.

    Gray or RGB; with alpha besides only where it is on its way to libvips.
    """

    pixels: bytes | bytearray
    width: int
    height: int
    bands: int
    profile: bytes | None = None
    """ICC profile."""

    @classmethod
    def of(cls, image: Pixels) -> "PixelBuffer":
        """Copy the pixels of an 8-bit `pyvips.Image`."""
        profile = bytes(image.get(ICC)) if image.get_typeof(ICC) else None
        return cls(image.write_to_memory(), image.width, image.height, image.bands, profile)

    def to_vips(self) -> Pixels:
        """Return the buffer as a `pyvips.Image`."""
        image = pyvips.Image.new_from_memory(
            self.pixels, self.width, self.height, self.bands, "uchar"
        )
        gray = self.bands <= 2  # noqa: PLR2004 - and alpha
        return with_profile(image.copy(interpretation="b-w" if gray else "srgb"), self.profile)

    def contains(self, extent: FloatBox) -> bool:
        """Whether the buffer has all pixels of a box: that of a tile may end beyond the image."""
        x, y = extent.x + extent.width, extent.y + extent.height
        return x <= self.width and y <= self.height

    def scaled(self, extent: FloatBox, size: Dimensions) -> "PixelBuffer":
        """Scale a box of the buffer to a size, by Lanczos-3, which reads pixels around the box."""
        whole = self._whole_pixels(extent)
        if (whole.width, whole.height) == (size.width, size.height):
            extent = whole  # in place to within less than a pixel: scaling would only blur it
        else:
            extent = self._clip(extent)
        if (
            extent
            == FloatBox(0, 0, size.width, size.height)
            == FloatBox(0, 0, self.width, self.height)
        ):
            return self
        type_ = _fir.PixelType.U8 if self.bands == 1 else _fir.PixelType.U8x3
        source = _fir.ImageData(self.width, self.height, type_, bytes(self.pixels))
        target = _fir.ImageData(size.width, size.height, type_)
        options = _fir.ResizeOptions(
            _fir.ResizeAlg.convolution(_fir.FilterType.lanczos3),
            use_alpha=False,
            crop_box=_fir.CropBox(extent.x, extent.y, extent.width, extent.height),
        )
        _fir.Resizer().resize(source, target, options)
        return replace(self, pixels=target.get_buffer(), width=size.width, height=size.height)

    def _whole_pixels(self, extent: FloatBox) -> FloatBox:
        """Return the whole pixels that a box touches."""
        x, y = floor(extent.x), floor(extent.y)
        right = min(ceil(extent.x + extent.width), self.width)
        bottom = min(ceil(extent.y + extent.height), self.height)
        return FloatBox(x, y, right - x, bottom - y)

    def _clip(self, extent: FloatBox) -> FloatBox:
        """Clip a box to the image: rounding can exceed it."""
        width = min(extent.width, self.width - extent.x)
        return replace(extent, width=width, height=min(extent.height, self.height - extent.y))

    def oriented(self, orientation: Orientation) -> "PixelBuffer":
        """Return the buffer mirrored and turned."""
        steps = [Image.Transpose.FLIP_LEFT_RIGHT] if orientation.mirror else []
        steps += [_CLOCKWISE[orientation.quarters]] if orientation.quarters else []
        if not steps:
            return self
        image = Image.frombuffer(_MODES[self.bands], (self.width, self.height), self.pixels)
        for step in steps:
            image = image.transpose(step)
        return replace(self, pixels=image.tobytes(), width=image.width, height=image.height)
