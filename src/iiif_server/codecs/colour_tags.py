"""ICC profiles of colour tags: gAMA and cHRM of PNG, and code points (ITU-T H.273) of PNG and AVIF.

Matrix profiles: ICC.1, 8.3 and 8.4; their connection space is XYZ under D50.
"""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from iiif_server.formats.colour_tags import ColourTags

Matrix = NDArray[np.float64]

_D50 = np.array((0.9642, 1.0, 0.8249))
_BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)
_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_D65, _ILLUMINANT_C = (0.3127, 0.3290), (0.310, 0.316)
_PRIMARIES: dict[int, tuple[float, ...]] = {
    1: _SRGB,
    4: (*_ILLUMINANT_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_ILLUMINANT_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""Chromaticities x, y of white, red, green, blue, by ColourPrimaries."""
_TOLERANCE = 0.002
"""Tolerance for the chromaticities of sRGB, which writers round."""
_SRGB_EXPONENT, _EXPONENT_TOLERANCE = 1 / 0.45455, 0.03
"""gAMA of sRGB, for PNGs without cHRM (W3C PNG, 11.3.2.5)."""
_ENTRIES, _WORD = 1024, 65_535
_MAX_MATRIX_ENTRY = 32_767
"""Range of a number in a profile (s15Fixed16Number)."""


def _video_to_linear(value: Matrix) -> Matrix:
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))  # noqa: PLR2004


def _srgb_to_linear(value: Matrix) -> Matrix:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004


Curve = Callable[[Matrix], Matrix] | float
"""Transfer function from encoded values to linear light, or its exponent."""

_TRANSFERS: dict[int, Curve] = {
    1: _video_to_linear,
    4: 2.2,
    5: 2.8,
    6: _video_to_linear,
    8: 1.0,
    13: _srgb_to_linear,
    14: _video_to_linear,
    15: _video_to_linear,
}
"""Transfer functions by TransferCharacteristics."""


def profile_of(tags: ColourTags, *, gray: bool) -> bytes | None:
    """Return the ICC profile for colour tags; empty for sRGB, None for unknown tags."""
    primaries = tags.chromaticities or _PRIMARIES.get(tags.primaries)
    curve: Curve | None
    if tags.gamma:
        exponent = 1 / tags.gamma
        is_srgb = abs(exponent - _SRGB_EXPONENT) < _EXPONENT_TOLERANCE
        curve = _srgb_to_linear if is_srgb else exponent
    else:
        curve = _TRANSFERS.get(tags.transfer)
        is_srgb = tags.transfer == 13  # noqa: PLR2004 - sRGB
    if primaries is None or curve is None:
        return None
    if is_srgb and (gray or np.allclose(primaries, _SRGB, atol=_TOLERANCE)):
        return b""
    matrix = None if gray else _to_d50(primaries)
    if matrix is not None and not (np.abs(matrix) < _MAX_MATRIX_ENTRY).all():  # or not a number
        return None
    return _profile(matrix, _curve_tag(curve))


def _to_d50(primaries: tuple[float, ...]) -> Matrix | None:
    """Return the matrix from linear RGB to XYZ (D50), with Bradford adaptation."""
    points = np.array(primaries).reshape(4, 2)
    with np.errstate(all="ignore"):
        white, *colours = (np.array((x / y, 1, (1 - x - y) / y)) for x, y in points)
        basis = np.array(colours).T
        try:
            to_xyz = basis * np.linalg.solve(basis, white)
        except np.linalg.LinAlgError:
            return np.full((3, 3), np.nan)
        adaptation = (_BRADFORD @ _D50) / (_BRADFORD @ white)
        adapted: Matrix = np.linalg.inv(_BRADFORD) @ np.diag(adaptation) @ _BRADFORD @ to_xyz
    return adapted


def _curve_tag(curve: Curve) -> bytes:
    """Serialise a curve as curveType (ICC.1, 10.6); an exponent is a u8Fixed8Number."""
    if callable(curve):
        light = np.clip(curve(np.linspace(0, 1, _ENTRIES)), 0, 1)
        numbers = np.rint(light * _WORD).astype(">u2")
    else:
        numbers = np.array([min(round(curve * 256), _WORD)], ">u2")
    return struct.pack(">4s4xI", b"curv", len(numbers)) + numbers.tobytes()


def _profile(matrix: Matrix | None, trc: bytes) -> bytes:
    """Build a profile of version 2.4 with these colorants and one curve for all channels."""
    tags = {b"cprt": b"text\0\0\0\0No copyright\0", b"desc": _description_tag(b"Colour tags")}
    tags[b"wtpt"] = _xyz_tag(_D50)
    if matrix is None:
        tags[b"kTRC"] = trc
    else:
        for number, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
            tags[name] = _xyz_tag(matrix[:, number])
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc)
    header_bytes, body, offsets = 128 + 4 + 12 * len(tags), b"", {}
    directory = struct.pack(">I", len(tags))
    for name, data in tags.items():
        if data not in offsets:
            offsets[data] = header_bytes + len(body)
            body += data + bytes(-len(data) % 4)
        directory += struct.pack(">4sII", name, offsets[data], len(data))
    space = b"GRAY" if matrix is None else b"RGB "
    header = struct.pack(
        ">I4xI4s4s4s", header_bytes + len(body), 0x0240_0000, b"mntr", space, b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + _s15_fixed16(_D50)
    return header.ljust(128, b"\0") + directory + body


def _description_tag(text: bytes) -> bytes:
    return struct.pack(">4s4xI", b"desc", len(text) + 1) + text + bytes(1 + 12 + 67)


def _xyz_tag(values: Matrix) -> bytes:
    return b"XYZ \0\0\0\0" + _s15_fixed16(values)


def _s15_fixed16(values: Matrix) -> bytes:
    """Convert numbers to s15Fixed16Number."""
    return struct.pack(">3i", *(round(float(value) * 65_536) for value in values))
