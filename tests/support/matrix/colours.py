"""Colours by formula: sRGB, Lab under D50, other primaries, and the distance Delta E 2000.

IEC 61966-2-1; ICC.1 (D50, Bradford's adaptation); CIE 142-2001; ITU-T H.273.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

D50 = np.array((0.9642, 1.0, 0.8249))
D65 = (0.3127, 0.3290)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
BT601_625 = (0.64, 0.33, 0.29, 0.60, 0.15, 0.06)
BT601_525 = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
"""x and y of red, green and blue; white is D65."""
_BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)
_THIRD = 6 / 29


def to_xyz(primaries: tuple[float, ...], white: tuple[float, float] = D65) -> Array:
    """The matrix from linear RGB to XYZ under D50."""
    own = own_xyz(primaries, white)
    cones = (_BRADFORD @ D50) / (_BRADFORD @ own.sum(axis=1))
    adapted: Array = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ own
    return adapted


def own_xyz(primaries: tuple[float, ...], white: tuple[float, float] = D65) -> Array:
    """The matrix from linear RGB to XYZ under its own white."""
    x, y = np.array(primaries).reshape(3, 2).T
    basis = np.array((x / y, np.ones(3), (1 - x - y) / y))
    point = np.array((white[0] / white[1], 1, (1 - sum(white)) / white[1]))
    found: Array = basis * np.linalg.solve(basis, point)
    return found


def linear(values: ArrayLike) -> Array:
    """Light of sRGB values from 0 to 1."""
    value: Array = np.asarray(values, float)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def curved(light: ArrayLike) -> Array:
    """SRGB values of light."""
    part: Array = np.clip(np.asarray(light, float), 0, 1)
    return np.where(part <= 0.0031308, part * 12.92, 1.055 * part ** (1 / 2.4) - 0.055)


def video(light: ArrayLike) -> Array:
    """Values of light by the curve of BT.709."""
    part: Array = np.clip(np.asarray(light, float), 0, 1)
    return np.where(part < 0.018054, part * 4.5, 1.0993 * part**0.45 - 0.0993)


def lab_of_xyz(xyz: Array) -> Array:
    """L*, a* and b* of XYZ under D50."""
    ratio = xyz / D50
    f = np.where(ratio > _THIRD**3, np.cbrt(ratio), ratio / (3 * _THIRD**2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def xyz_of_lab(lab: ArrayLike) -> Array:
    """XYZ under D50."""
    light, a, b = np.moveaxis(np.asarray(lab, float), -1, 0)
    y = (light + 16) / 116
    f = np.stack((y + a / 500, y, y - b / 200), axis=-1)
    found: Array = np.where(f > _THIRD, f**3, 3 * _THIRD**2 * (f - 4 / 29)) * D50
    return found


def lab_of_srgb(values: ArrayLike) -> Array:
    """Lab under D50 of sRGB values from 0 to 1."""
    return lab_of_xyz(linear(values) @ to_xyz(SRGB).T)


def srgb_of_lab(lab: ArrayLike) -> Array:
    """SRGB values from 0 to 1; out of gamut they are cut off."""
    return curved(light_of_lab(lab, SRGB))


def light_of_lab(lab: ArrayLike, primaries: tuple[float, ...]) -> Array:
    """Linear values of colours in a space with other primaries."""
    found: Array = xyz_of_lab(lab) @ np.linalg.inv(to_xyz(primaries)).T
    return found


def ycbcr(rgb: Array, red: float = 0.299, blue: float = 0.114) -> Array:
    """Y from 0 to 1, Cb and Cr from -0.5 to 0.5, of RGB from 0 to 1."""
    r, g, b = np.moveaxis(np.asarray(rgb, float), -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    return np.stack((y, (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)), axis=-1)


def full_range(ycc: Array, bits: int = 8) -> Array:
    """Integers of Y, Cb and Cr that span their type, as in JPEG."""
    most, middle = (1 << bits) - 1, 1 << (bits - 1)
    values = np.asarray(ycc) * most + np.array((0, middle, middle))
    found: Array = np.clip(np.rint(values), 0, most).astype(np.uint16 if bits > 8 else np.uint8)
    return found


def limited_range(ycc: Array, bits: int = 8) -> Array:
    """Integers of Y, Cb and Cr as in video: 16 to 235, and 16 to 240, in 8 bits."""
    step = 1 << (bits - 8)
    values = np.asarray(ycc) * np.array((219, 224, 224)) * step + np.array((16, 128, 128)) * step
    found: Array = np.rint(values).astype(np.uint16 if bits > 8 else np.uint8)
    return found


def delta_e(one: ArrayLike, other: ArrayLike) -> Array:
    """CIEDE2000 with all weights 1 (Sharma, Wu and Dalal, 2005)."""
    l1, a1, b1 = np.moveaxis(np.asarray(one, float), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(other, float), -1, 0)
    mean = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    gray = 1.5 - 0.5 * np.sqrt(mean / (mean + 25.0**7))
    c1, c2 = np.hypot(gray * a1, b1), np.hypot(gray * a2, b2)
    h1 = np.degrees(np.arctan2(b1, gray * a1)) % 360
    h2 = np.degrees(np.arctan2(b2, gray * a2)) % 360
    both = c1 * c2 > 0
    turn = (h2 - h1 + 180) % 360 - 180
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(np.where(both, turn, 0)) / 2)
    far = np.abs(h1 - h2) > 180
    h = np.where(both, (h1 + h2 + np.where(far, 360, 0)) / 2 % 360, h1 + h2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(h - 30))
        + 0.24 * np.cos(np.radians(2 * h))
        + 0.32 * np.cos(np.radians(3 * h + 6))
        - 0.20 * np.cos(np.radians(4 * h - 63))
    )
    offset = (light - 50) ** 2
    sl, sc = 1 + 0.015 * offset / np.sqrt(20 + offset), 1 + 0.045 * chroma
    sh = 1 + 0.015 * chroma * t
    power = chroma**7
    turned = np.radians(60 * np.exp(-(((h - 275) / 25) ** 2)))
    rt = -2 * np.sqrt(power / (power + 25.0**7)) * np.sin(turned)
    dl, dc, dh = (l2 - l1) / sl, (c2 - c1) / sc, dh / sh
    found: Array = np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rt * dc * dh, 0))
    return found
