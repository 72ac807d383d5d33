"""What is read with `limits.rare`: TGA, PCX, and TIFF with LERC, JPEG XL or LogLuv inside."""

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from support.matrix.chart import (
    BITS,
    FRACTIONS,
    GRAYS,
    HEIGHT,
    LAB,
    RGB,
    WIDTH,
    Array,
    Kind,
    grays,
    painted,
)
from support.matrix.colours import SRGB, lab_of_srgb, linear, own_xyz
from support.matrix.jxl_kinds import jxl
from support.matrix.profiles import ADOBE_RGB
from support.tiff_samples import TiffFile

_INDEX = np.arange(24, dtype=np.uint8)


# --- TGA ------------------------------------------------------------------------------------


def tga(
    kind: int,
    pixels: Array,
    *,
    flags: int = 0,
    palette: bytes = b"",
    identity: bytes = b"",
) -> bytes:
    """A TGA of rows, columns, bytes as they are stored; of run lengths from kind 9."""
    height, width, count = pixels.shape
    colours = struct.pack("<HHB", 0, len(palette) // 3, 24 if palette else 0)
    size = struct.pack("<HHHHBB", 0, 0, width, height, 8 * count, flags)
    head = bytes([len(identity), bool(palette), kind]) + colours + size
    data = pixels.astype(np.uint8).tobytes() if kind < 9 else _packets(pixels)
    return head + identity + palette + data


def _packets(pixels: Array) -> bytes:
    """Runs, and a literal for each pixel that is alone."""
    data = b""
    for row in pixels.astype(np.uint8):
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and run < 128 and (row[at + run] == row[at]).all():
                run += 1
            data += bytes([127 + run if run > 1 else 0]) + row[at].tobytes()
            at += run
    return data


def _tgas() -> Iterator[Kind]:
    bgr = painted(RGB[:, ::-1])
    palette = RGB[:, ::-1].tobytes()
    r, g, b = (RGB.astype(np.uint16) >> 3).T
    words = painted(r << 10 | g << 5 | b).astype("<u2").view(np.uint8).reshape(HEIGHT, WIDTH, 2)
    lab15 = lab_of_srgb(np.stack((r, g, b), 1) / 31)
    half = painted(np.hstack((RGB[:, ::-1], np.full((24, 1), 128))))
    nothing = painted(np.hstack((RGB[:, ::-1], np.zeros((24, 1), int))))
    mixed = lab_of_srgb((FRACTIONS * 128 + 127) / 255)
    gray_lab = grays()[1]
    cases: tuple[tuple[str, Array, int, Array, dict[str, Any]], ...] = (
        ("24 bits", bgr[::-1], 2, LAB, {}),
        ("24 bits from the top", bgr, 2, LAB, {"flags": 0x20}),
        ("24 bits from the right", bgr[::-1, ::-1], 2, LAB, {"flags": 0x10}),
        ("24 bits run lengths", bgr[::-1], 10, LAB, {"identity": b"a chart"}),
        ("32 bits", nothing[::-1], 2, LAB, {}),
        ("32 bits half transparent", half[::-1], 2, mixed, {"flags": 8}),
        ("16 bits", words[::-1], 2, lab15, {}),
        ("palette", painted(_INDEX)[::-1], 1, LAB, {"palette": palette}),
        ("palette run lengths", painted(_INDEX)[::-1], 9, LAB, {"palette": palette}),
        ("gray", painted(GRAYS)[::-1], 3, gray_lab, {}),
        ("gray run lengths", painted(GRAYS)[::-1], 11, gray_lab, {}),
    )
    for name, pixels, kind, lab, options in cases:
        write = partial(tga, kind, np.ascontiguousarray(pixels), **options)
        yield Kind(f"tga {name}", write, lab, dithered="half" in name)


# --- PCX ------------------------------------------------------------------------------------


def pcx(rows: Array, bits: int, planes: int, palette: bytes = b"", behind: bytes = b"") -> bytes:
    """A PCX of rows of bytes, all planes of a row one after the other, of an even length each."""
    length = rows.shape[1] // planes
    head = struct.pack("<BBBBHHHHHH", 10, 5, 1, bits, 0, 0, WIDTH - 1, HEIGHT - 1, 72, 72)
    head += palette[:48].ljust(48, b"\0") + b"\0" + bytes([planes]) + struct.pack("<HH", length, 1)
    data = b""
    for row in rows.astype(np.uint8).reshape(-1, length).tolist():
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and run < 63 and row[at + run] == row[at]:
                run += 1
            single = run == 1 and row[at] < 0xC0
            data += bytes([row[at]]) if single else bytes([0xC0 + run, row[at]])
            at += run
    return head.ljust(128, b"\0") + data + behind


def _even(pixels: Array) -> Array:
    return np.pad(pixels, ((0, 0), (0, pixels.shape[1] % 2)) + ((0, 0),) * (pixels.ndim - 2))


def _pcxs() -> Iterator[Kind]:
    rgb = _even(painted(RGB)).transpose(0, 2, 1).reshape(HEIGHT, -1)
    index = _even(painted(_INDEX)[:, :, 0])
    behind = b"\x0c" + RGB.tobytes().ljust(768, b"\0")
    bits = _even(np.packbits(painted(BITS)[:, :, 0], axis=1))
    sixteen = painted(_INDEX % 16)[:, :, 0]
    planes = np.concatenate(
        [_even(np.packbits(sixteen >> plane & 1, axis=1)) for plane in range(4)], axis=1
    )
    black_white = lab_of_srgb(np.repeat(BITS[:, None].astype(float), 3, axis=1))
    yield Kind("pcx RGB", lambda: pcx(rgb, 8, 3))
    yield Kind("pcx palette", lambda: pcx(index, 8, 1, behind=behind))
    yield Kind("pcx 1 bit", lambda: pcx(bits, 1, 1, b"\0\0\0\xff\xff\xff"), black_white)
    colours = RGB[:16].tobytes()
    yield Kind("pcx 4 planes", lambda: pcx(planes, 1, 4, colours), LAB[_INDEX % 16])


# --- TIFF -----------------------------------------------------------------------------------

_TYPES = {"uint8": 1, "uint16": 3, "float32": 6}


def lerc(values: Array) -> bytes:
    """A blob of LERC 2.4 without compression: rows, columns, bands."""
    height, width, bands = values.shape
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    body = struct.pack("<i", 0) + low.tobytes() + high.tobytes() + b"\1" + values.tobytes()
    length = 14 + 7 * 4 + 3 * 8 + len(body)
    numbers = (height, width, bands, height * width, 8, length, _TYPES[values.dtype.name])
    head = struct.pack("<7i3d", *numbers, 0.0, float(low.min()), float(high.max()))
    return bytes(b"Lerc2 " + struct.pack("<iI", 4, _fletcher(head + body)) + head + body)


def _fletcher(data: bytes) -> int:
    """The checksum of LERC: Fletcher's, of words whose first byte is the higher one."""
    one = two = 0xFFFF
    words = np.frombuffer(data + bytes(len(data) % 2), ">u2").tolist()
    for at, word in enumerate(words):
        one += word
        two += one
        if at % 359 == 358 or at == len(words) - 1 - len(data) % 2:
            one, two = (one & 0xFFFF) + (one >> 16), (two & 0xFFFF) + (two >> 16)
    one, two = (one & 0xFFFF) + (one >> 16), (two & 0xFFFF) + (two >> 16)
    return two << 16 | one


def _tiffs() -> Iterator[Kind]:
    floats = FRACTIONS.astype(np.float32)
    words = RGB.astype(np.uint16) * 257
    for name, values, bits in (("", RGB, 8), (" 16 bits", words, 16), (" float", floats, 32)):
        tags = {339: (3, [3] * 3)} if bits == 32 else {}
        base: dict[str, Any] = {"bits": bits, "compression": 34_887, "encode": lerc, "tags": tags}
        yield Kind(f"tiff LERC{name}", TiffFile(painted(values), 2, rows=48, **base).write)
    base = {"compression": 34_887, "encode": lerc}
    yield Kind("tiff LERC tiles", TiffFile(painted(RGB), 2, tile=(64, 48), **base).write)
    planar = TiffFile(painted(RGB), 2, rows=48, planar=True, **base)
    yield Kind("tiff LERC planar", planar.write)
    for number in (50_002, 52_546):
        base = {"compression": number, "encode": jxl}
        yield Kind(f"tiff JPEG XL {number}", TiffFile(painted(RGB), 2, rows=48, **base).write)
    yield Kind("tiff JPEG XL tiles", TiffFile(painted(RGB), 2, tile=(64, 48), **base).write)


# --- light in logarithms --------------------------------------------------------------------

_ROWS = {
    40: (0.138270, 1411), 95: (0.044859, 6920), 106: (0.032139, 8442), 113: (0.023739, 9476),
    115: (0.023739, 9784), 116: (0.023739, 9938), 128: (0.009991, 11873), 129: (0.009991, 12041),
    130: (0.009016, 12209), 131: (0.009016, 12379), 133: (0.006217, 12719), 135: (0.005097, 13065),
    136: (0.005097, 13240), 142: (0.001068, 14291), 144: (0.000717, 14612), 147: (0.000484, 15041),
    149: (0.001242, 15293), 150: (0.001188, 15408), 151: (0.001011, 15517), 155: (0.003251, 15888),
}  # fmt: skip
"""Of LogLuv of 24 bits, those rows of its grid of colours that the chart is in: where each begins,
and how many cells are before it (G. Ward Larson, LogLuv Encoding, 1998)."""


def _log(luminance: Array, steps: int, bias: int) -> Array:
    with np.errstate(divide="ignore"):
        found = np.floor(steps * (np.log2(luminance) + bias))
    return np.where(luminance > 0, np.maximum(found, 0), 0).astype(np.uint32)


def log_l(luminance: Array) -> Array:
    """LogL of 16 bits: 256 steps for each doubling."""
    return _log(luminance, 256, 64)


def _chromaticity(xyz: Array) -> tuple[Array, Array]:
    """u' and v'; of black, those of white."""
    x, y, z = np.where(xyz[:, 1:2] > 0, xyz, 1).T
    return 4 * x / (x + 15 * y + 3 * z), 9 * y / (x + 15 * y + 3 * z)


def log_luv(xyz: Array) -> Array:
    """LogLuv of 32 bits of rows of XYZ."""
    u, v = _chromaticity(xyz)
    chroma = (410 * u).astype(np.uint32) << 8 | (410 * v).astype(np.uint32)
    found: Array = log_l(xyz[:, 1]) << 16 | chroma
    return found


def _log_luv24(xyz: Array) -> Array:
    cells = []
    for u, v in zip(*_chromaticity(xyz), strict=True):
        start, before = _ROWS[int((v - 0.01694) / 0.0035)]
        cells.append(before + int((u - start) / 0.0035))
    found: Array = _log(xyz[:, 1], 64, 12) << 14 | np.array(cells, np.uint32)
    return found


def bytes_in_runs(rows: Array, count: int) -> bytes:
    """Each row as planes of its bytes, the highest first, in runs and literals of 127 at most."""
    data = b""
    for row in rows[:, :, 0]:
        for plane in range(count - 1, -1, -1):
            values, at = (row >> 8 * plane & 255).tolist(), 0
            while at < len(values):
                run = 1
                while at + run < len(values) and run < 127 and values[at + run] == values[at]:
                    run += 1
                literal = values[at : at + 1] if run < 4 else []
                data += bytes([1, *literal]) if literal else bytes([126 + run, values[at]])
                at += len(literal) or run
    return data


def _bytes_of_24_bits(rows: Array) -> bytes:
    return b"".join(int(value).to_bytes(3, "big") for value in rows.ravel())


def logluv(
    codes: Array, kind: int, samples: int = 0, profile: bytes = b"", **options: Any
) -> bytes:
    """A TIFF of LogLuv of 32 or 24 bits, or of LogL: 32, 24 or 16."""
    count, photometric = kind // 8, 32_844 if kind == 16 else 32_845
    samples = samples or (1 if kind == 16 else 3)
    tags: dict[int, tuple[int, Sequence[int]]] = {
        277: (3, [samples]), 258: (3, [16] * samples), 339: (3, [2] * samples),
    }  # fmt: skip
    if profile:
        tags[34_675] = (7, profile)
    return TiffFile(
        codes,
        photometric,
        bits=16,
        compression=34_677 if kind == 24 else 34_676,
        encode=_bytes_of_24_bits if kind == 24 else partial(bytes_in_runs, count=count),
        tags=tags,
        **options,
    ).write()


XYZ = linear(FRACTIONS) @ own_xyz(SRGB).T
"""Of the patches, under D65; white has a luminance of 1."""


def _lights() -> Iterator[Kind]:
    levels, gray_lab = grays()
    of_gray = painted(log_l(linear(levels)))
    for name, codes, kind, lab in (
        ("LogLuv", painted(log_luv(XYZ)), 32, LAB),
        ("LogLuv of 24 bits", painted(_log_luv24(XYZ)), 24, LAB),
        ("LogL", of_gray, 16, gray_lab),
    ):
        # A step of u' or v' is a colour apart.
        near = 1.5 if kind > 16 else 0
        yield Kind(f"tiff {name}", partial(logluv, codes, kind, rows=48), lab, near)
        write = partial(logluv, codes, kind, rows=48, profile=ADOBE_RGB)
        if kind > 16:
            yield Kind(f"tiff {name} and a profile", write, lab, near)
        yield Kind(f"tiff {name} tiles", partial(logluv, codes, kind, tile=(64, 48)), lab, near)


def kinds() -> Iterator[Kind]:
    """All rare kinds."""
    for some in (_tgas, _pcxs, _tiffs, _lights):
        yield from some()


KINDS = {kind.name: kind.write() for some in (_tgas, _pcxs) for kind in some()}
"""The files of TGA and PCX, by name."""
