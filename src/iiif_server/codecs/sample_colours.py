"""Sample colours: conversion of TIFF samples to libvips pixels.

Formulas: TIFF 6.0, sections 20 to 23; ICC.1, 6.3.4; ITU-T T.42; IEC 61966-2-1 (sRGB).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from iiif_server.codecs.pixel_buffer import Pixels, with_profile

Array = NDArray[Any]


class Photometric(IntEnum):
    """PhotometricInterpretation of TIFF, also for other formats."""

    MIN_IS_WHITE = 0
    MIN_IS_BLACK = 1
    RGB = 2
    PALETTE = 3
    INKS = 5
    YCBCR = 6
    CIE_LAB = 8
    ICC_LAB = 9
    ITU_LAB = 10
    LOG_L = 32_844
    LOG_LUV = 32_845


_LAB = frozenset({Photometric.CIE_LAB, Photometric.ICC_LAB, Photometric.ITU_LAB})
_LOGARITHMIC = frozenset({Photometric.LOG_L, Photometric.LOG_LUV})
_BYTE, _WORD = 255, 65_535
_PIXELS_PER_STEP = 1 << 16
"""Pixels per step of floating-point conversion."""
_D50 = np.array((0.96422, 1.0, 0.82521))
_D50_TO_SRGB = np.array(
    (
        (3.1338561, -1.6168667, -0.4906146),
        (-0.9787684, 1.9161415, 0.0334540),
        (0.0719453, -0.2289914, 1.4052427),
    )
)
"""Matrix from XYZ (D50) to linear sRGB, with Bradford adaptation."""
_D65 = np.array((0.95047, 1.0, 1.08883))
_D65_TO_SRGB = np.array(
    (
        (3.2404542, -1.5371385, -0.4985314),
        (-0.9692660, 1.8760108, 0.0415560),
        (0.0556434, -0.2040259, 1.0572252),
    )
)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of an image with their interpretation."""

    values: Array
    """Array of rows, columns, samples: colour, then alpha."""
    photometric: int
    """A `Photometric`."""
    bits: int
    """Bits per sample."""
    alpha: bool = False
    premultiplied: bool = False
    """Whether the colours are premultiplied (associated alpha)."""
    palette: Array | None = None
    sample_range: tuple[float, float] | None = None
    """Values that become black and white, from tags of the file or the setting `range`."""
    coefficients: tuple[float, ...] = (0.299, 0.587, 0.114)
    """Luma coefficients of red, green, blue."""
    reference: tuple[float, ...] = (0, 255, 128, 255, 128, 255)
    """Black and white of Y, Cb and Cr."""
    ranges: tuple[tuple[float, float], ...] = ()
    """L*, a*, b* of the least and greatest sample, unless the encoding defines them."""
    under_d65: bool = False
    """Whether Lab is relative to the white of sRGB, instead of D50."""


def to_pixels(samples: Samples, profile: bytes | None) -> Pixels:
    """Convert samples to a `pyvips.Image` of 8 or 16 bits: gray, RGB or CMYK, with the profile.

    Black and white are the limits of an integer type, 0 and 1 of floating point, or `sample_range`.
    Values outside are clipped; NaN becomes black. Alpha uses the full range of its type.
    """
    colour, alpha = samples.values, None
    if samples.alpha:
        colour, alpha = colour[:, :, :-1], colour[:, :, -1:]
        alpha = _scale(replace(samples, values=alpha, sample_range=None))
    colour = _colour(replace(samples, values=colour))
    if alpha is not None:
        alpha = _to_depth(alpha, colour.dtype)
        if samples.premultiplied:
            colour = _unpremultiply(colour, alpha)
        colour = np.concatenate((colour, alpha), axis=2)
    return _to_vips(colour, samples, profile)


def _colour(samples: Samples) -> Array:
    if samples.photometric in _LAB:
        return _convert(samples, _lab_to_srgb)
    if samples.photometric == Photometric.YCBCR:
        return _convert(samples, _ycbcr_to_rgb)
    if samples.photometric in _LOGARITHMIC:
        return _convert(samples, _logluv_to_srgb)
    if samples.photometric == Photometric.PALETTE and samples.palette is not None:
        colours = samples.palette.T  # in 16 bits; old files have 8
        colours = colours if colours.max(initial=0) <= _BYTE else colours >> 8
        index = np.minimum(samples.values[:, :, 0], len(colours) - 1)
        return colours[index].astype(np.uint8)
    values = _scale(samples)
    return np.invert(values) if samples.photometric == Photometric.MIN_IS_WHITE else values


def _convert(samples: Samples, convert: Any) -> Array:
    """Apply a function with 8-bit results, scaled to the depth of the samples."""
    height, width, bands = samples.values.shape
    max_value = _BYTE if samples.values.dtype.itemsize == 1 else _WORD
    found = np.empty((height, width, bands), np.uint8 if max_value == _BYTE else np.uint16)
    for top, bottom in _row_blocks(height, width):
        part = convert(replace(samples, values=samples.values[top:bottom])) * (max_value / _BYTE)
        found[top:bottom] = np.clip(np.rint(part), 0, max_value)
    return found


def _row_blocks(height: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _PIXELS_PER_STEP // max(1, width))
    for top in range(0, height, step):
        yield top, min(height, top + step)


def _scale(samples: Samples) -> Array:
    """Scale samples to 8- or 16-bit integers."""
    values, kind = samples.values, samples.values.dtype.kind
    if kind == "f" or samples.sample_range is not None:
        return _scale_range(samples)
    bits = samples.bits
    if kind == "i":
        values = values.astype(np.int64).view(np.uint64) + np.uint64(1 << (bits - 1))
    max_value = _BYTE if bits <= 8 else _WORD  # noqa: PLR2004 - bits of a byte
    type_ = np.uint8 if max_value == _BYTE else np.uint16
    if (1 << bits) - 1 == max_value:
        return values.astype(type_, copy=False)
    found = np.empty(values.shape, type_)
    for top, bottom in _row_blocks(*values.shape[:2]):
        part = values[top:bottom].astype(np.float64) * (max_value / ((1 << bits) - 1))
        found[top:bottom] = np.clip(np.rint(part), 0, max_value)
    return found


def _scale_range(samples: Samples) -> Array:
    """Scale a range of samples to 16-bit integers."""
    low, high = samples.sample_range or (0.0, 1.0)
    values = samples.values
    scale = 1.0 if math.isfinite(high - low) else 0.25  # no difference may be infinite
    low, high = low * scale, high * scale
    found = np.empty(values.shape, np.uint16)
    for top, bottom in _row_blocks(*values.shape[:2]):
        part = (values[top:bottom].astype(np.float64) * scale - low) / (high - low)
        part = np.nan_to_num(part, nan=0.0, posinf=1.0, neginf=0.0)
        found[top:bottom] = np.rint(np.clip(part, 0, 1) * _WORD)
    return found


def _to_depth(values: Array, type_: Any) -> Array:
    if values.dtype == type_:
        return values
    return (values >> 8).astype(type_) if type_ == np.uint8 else values.astype(type_) * 257


def _unpremultiply(colour: Array, alpha: Array) -> Array:
    """Undo the multiplication of colours with alpha."""
    max_value, found = np.iinfo(colour.dtype).max, np.empty_like(colour)
    for top, bottom in _row_blocks(*colour.shape[:2]):
        divisor = np.maximum(alpha[top:bottom].astype(np.float64), 1)
        found[top:bottom] = np.clip(
            np.rint(colour[top:bottom] * (max_value / divisor)), 0, max_value
        )
    return found


def _lab_to_srgb(samples: Samples) -> Array:
    """Convert Lab to 8-bit sRGB, clipped to the gamut."""
    white, matrix = (_D65, _D65_TO_SRGB) if samples.under_d65 else (_D50, _D50_TO_SRGB)
    lightness, a, b = _decode_lab(samples)
    y = (lightness + 16) / 116
    f = np.stack((y + a / 500, y, y - b / 200), axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * (3 * (6 / 29) ** 2)) * white
    return _apply_srgb_curve(xyz @ matrix.T)


def _logluv_to_srgb(samples: Samples) -> Array:
    """Convert XYZ or luminance (D65) to 8-bit sRGB or gray, from the sample range.

    Values outside the range or the gamut are clipped.
    """
    low, high = samples.sample_range or (0.0, 1.0)
    values = samples.values.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of infinite values
        linear = values @ _D65_TO_SRGB.T if samples.photometric == Photometric.LOG_LUV else values
    return _apply_srgb_curve(np.nan_to_num((linear - low) / (high - low), nan=0.0))


def _apply_srgb_curve(light: Array) -> Array:
    """Convert linear light to 8-bit sRGB, clipped at black and white."""
    linear = np.clip(light, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)  # noqa: PLR2004 - sRGB
    return curved * _BYTE


def _decode_lab(samples: Samples) -> tuple[Array, Array, Array]:
    """Decode L*, a*, b* from their TIFF encoding."""
    values = samples.values
    if values.dtype.kind == "f":
        lightness, a, b = np.moveaxis(values.astype(np.float64), -1, 0)
        return lightness, a, b
    wide = values.dtype.itemsize > 1
    step = 256.0 if wide else 1.0
    values = values.view(np.uint16 if wide else np.uint8)
    if samples.ranges:
        low, high = np.array(samples.ranges).T
        parts = low + values * ((high - low) / (_WORD if wide else _BYTE))
        lightness, a, b = np.moveaxis(parts, -1, 0)
        return lightness, a, b
    lightness, a, b = np.moveaxis(values.astype(np.float64), -1, 0)
    if samples.photometric == Photometric.CIE_LAB:
        # a* and b* are signed, whatever the type of the samples is.
        half = step * 128
        signed = [np.where(part >= half, part - 2 * half, part) / step for part in (a, b)]
        return lightness * (100 / (_WORD if wide else _BYTE)), signed[0], signed[1]
    lightness = lightness * (100 / (0xFF00 if wide else _BYTE))
    if samples.photometric == Photometric.ICC_LAB:
        return lightness, a / step - 128, b / step - 128
    return lightness, (a / step - 128) * (170 / 255), (b / step - 96) * (200 / 255)


def _ycbcr_to_rgb(samples: Samples) -> Array:
    kr, kg, kb = samples.coefficients
    black = samples.reference[::2]
    ranges = [high - low or 1 for low, high in zip(black, samples.reference[1::2], strict=True)]
    maxima = (255, 127, 127)
    y, cb, cr = (
        (samples.values[:, :, index].astype(np.float64) - black[index])
        * (maxima[index] / ranges[index])
        for index in range(3)
    )
    red = cr * (2 - 2 * kr) + y
    blue = cb * (2 - 2 * kb) + y
    green = (y - kb * blue - kr * red) / (kg or 1)
    return np.stack((red, green, blue), axis=-1)


def _to_vips(values: Array, samples: Samples, profile: bytes | None) -> Pixels:
    height, width, bands = values.shape
    wide = values.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        values.tobytes(), width, height, bands, "ushort" if wide else "uchar"
    )
    if samples.photometric == Photometric.INKS:
        interpretation = "cmyk"
    elif bands - samples.alpha == 1:
        interpretation = "grey16" if wide else "b-w"
    else:
        interpretation = "rgb16" if wide else "srgb"
    image = image.copy(interpretation=interpretation)
    return image if samples.photometric in _LAB | _LOGARITHMIC else with_profile(image, profile)
