"""ICC profiles written by hand (ICC.1:2001-04 and ICC.1:2022), and values of the chart in them."""

import struct

import numpy as np

from support.matrix.chart import LAB, Array
from support.matrix.colours import (
    ADOBE,
    BT2020,
    P3,
    SRGB,
    lab_of_xyz,
    light_of_lab,
    linear,
    to_xyz,
)

GAMMA = 2.19921875
_GRID = 5
"""Nodes of the table of inks in each direction."""


def matrix(
    primaries: tuple[float, ...],
    gamma: float = GAMMA,
    *,
    version: int = 2,
    name: str = "Test",
    table: Array | None = None,
) -> bytes:
    """A profile of primaries and a curve."""
    colorants = to_xyz(primaries)
    tags = {f"{c}XYZ".encode(): _xyz(colorants[:, at]) for at, c in enumerate("rgb")}
    curve = _table_curve(table) if table is not None else _gamma(gamma, version)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return profile(b"RGB ", tags, version=version, name=name)


def gray(gamma: float = 1.8) -> bytes:
    """A profile of gray."""
    return profile(b"GRAY", {b"kTRC": _gamma(gamma, 2)}, name="Gray")


def profile(
    space: bytes,
    tags: dict[bytes, bytes],
    *,
    version: int = 2,
    name: str = "Test",
    connection: bytes = b"XYZ ",
    class_: bytes = b"mntr",
) -> bytes:
    """A profile with these tags."""
    every = {
        b"desc": _description(name, version),
        b"cprt": _text("None", version),
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
        **tags,
    }
    offset = 132 + 12 * len(every)
    directory, data = struct.pack(">I", len(every)), b""
    for tag, value in every.items():
        directory += struct.pack(">4sII", tag, offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = bytearray(128)
    struct.pack_into(">I", head, 0, offset + len(data))
    head[8] = version
    head[12:24] = class_ + space + connection
    struct.pack_into(">6H", head, 24, 2020, 1, 1, 0, 0, 0)
    head[36:40] = b"acsp"
    struct.pack_into(">3i", head, 68, *_fixed((0.9642, 1.0, 0.8249)))
    return bytes(head) + directory + data


def _fixed(values: object) -> list[int]:
    return [round(value * 65_536) for value in np.asarray(values, float)]


def _xyz(values: object) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(values))


def _gamma(value: float, version: int) -> bytes:
    if version == 4:  # parametric
        return b"para" + bytes(8) + struct.pack(">i", round(value * 65_536))
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


def _table_curve(values: Array) -> bytes:
    entries: bytes = np.rint(np.clip(values, 0, 1) * 65_535).astype(">u2").tobytes()
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + entries


def _description(name: str, version: int) -> bytes:
    if version == 4:
        return _text(name, version)
    text = name.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)


def _text(text: str, version: int) -> bytes:
    if version == 4:
        data = text.encode("utf-16-be")
        return (
            b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
        )
    return b"text" + bytes(4) + text.encode() + b"\0"


SRGB_TABLE = matrix(SRGB, table=linear(np.linspace(0, 1, 1024)), name="A usual display")
ADOBE_RGB = matrix(ADOBE, name="Wide test gamut")
ADOBE_RGB_4 = matrix(ADOBE, 2.2, version=4, name="Wide test gamut 4")
LINEAR_NAMED_SRGB = matrix(SRGB, 1.0, name="sRGB IEC61966-2.1")
DISPLAY_P3 = matrix(P3, table=linear(np.linspace(0, 1, 1024)), name="Display P3")
BT2020_22 = matrix(BT2020, 2.2, name="BT.2020")
EXCHANGED = matrix((*SRGB[2:4], *SRGB[:2], *SRGB[4:]), 2.2, name="Exchanged primaries")


def in_space(primaries: tuple[float, ...], gamma: float) -> Array:
    """The chart in a space, from 0 to 1."""
    found: Array = np.clip(light_of_lab(LAB, primaries), 0, 1) ** (1 / gamma)
    return found


def as_bytes(values: Array) -> Array:
    """Fractions in 8 bits."""
    found: Array = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return found


def as_words(values: Array) -> Array:
    """Fractions in 16 bits."""
    found: Array = np.rint(np.clip(values, 0, 1) * 65_535).astype(np.uint16)
    return found


# --- tables ---------------------------------------------------------------------------------


def _lab_of_inks(inks: Array) -> Array:
    """Lab of four inks from 0 to 1, by a press that does not exist; in the gamut of sRGB."""
    c, m, y, k = np.moveaxis(inks, -1, 0)
    light = (1 - 0.32 * c) * (1 - 0.45 * m) * (1 - 0.06 * y) * (1 - 0.92 * k) * 95 + 3
    paper = (1 - k) * 0.9
    a = (-28 * c + 55 * m - 4 * y) * paper
    b = (-34 * c - 6 * m + 60 * y) * paper
    return np.stack((light, a, b), axis=-1)


def _lut16(inputs: int, grid: int, encoded: Array) -> bytes:
    """A lut16Type without curves: from inputs to Lab (ICC.1:2001-04, 6.5.7)."""
    identity = struct.pack(">9i", *(65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536))
    head = b"mft2" + bytes(4) + bytes([inputs, 3, grid, 0]) + identity
    ends = struct.pack(">HH", 0, 65_535)
    table = encoded.astype(">u2").tobytes()
    return head + struct.pack(">HH", 2, 2) + ends * inputs + table + ends * 3


def _lab16(lab: Array) -> Array:
    """Lab in the 16 bits of version 2: 100 is 0xFF00, and a step of a* and b* 256."""
    values = lab * np.array((652.8, 256, 256)) + np.array((0, 32_768, 32_768))
    found: Array = np.clip(np.rint(values), 0, 65_535)
    return found


def _nodes(inputs: int, grid: int) -> Array:
    axes = np.meshgrid(*[np.linspace(0, 1, grid)] * inputs, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, inputs)


def press() -> bytes:
    """A profile of a press for CMYK, by a table into Lab."""
    table = _lut16(4, _GRID, _lab16(_lab_of_inks(_nodes(4, _GRID))))
    tags = dict.fromkeys((b"A2B0", b"A2B1", b"A2B2"), table)
    return profile(b"CMYK", tags, name="Test press", connection=b"Lab ", class_=b"prtr")


_INK_STEPS = np.array((
    (0, 0, 0, 0), (4, 0, 0, 0), (0, 4, 0, 0), (0, 0, 4, 0), (0, 0, 0, 4), (2, 0, 0, 0),
    (0, 2, 0, 0), (0, 0, 2, 0), (0, 0, 0, 2), (1, 1, 0, 0), (1, 0, 1, 0), (0, 1, 1, 0),
    (2, 1, 0, 0), (1, 2, 0, 0), (2, 0, 1, 1), (0, 2, 2, 0), (1, 1, 1, 0), (1, 1, 1, 1),
    (2, 2, 2, 0), (0, 0, 0, 1), (0, 0, 0, 3), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 2),
))  # fmt: skip
INKS = _INK_STEPS / (_GRID - 1)
"""Inks of 24 patches, at the nodes of the table: nothing is interpolated."""
INK_LAB = _lab_of_inks(INKS)


def table_rgb() -> bytes:
    """A profile of RGB by a table into Lab, as scanners have them; exact at its nodes."""
    light = (_nodes(3, _GRID) ** 1.8) @ to_xyz(SRGB).T
    return profile(
        b"RGB ",
        {b"A2B0": _lut16(3, _GRID, _lab16(lab_of_xyz(light)))},
        name="Test scanner",
        connection=b"Lab ",
        class_=b"scnr",
    )


TABLE_VALUES = np.concatenate((_nodes(3, 3)[1:24], [[1.0, 1.0, 1.0]]))
TABLE_LAB = lab_of_xyz(TABLE_VALUES**1.8 @ to_xyz(SRGB).T)
