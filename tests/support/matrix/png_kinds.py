"""PNG: colour types, depths, interlacing, and the priorities of its colour chunks."""

import struct
import zlib
from binascii import crc32
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from support.matrix import profiles
from support.matrix.chart import BITS, FRACTIONS, GRAYS, LAB, RGB, Array, Kind, grays, painted
from support.matrix.colours import (
    ADOBE,
    BT2020,
    P3,
    SRGB,
    curved,
    lab_of_srgb,
    light_of_lab,
    video,
)
from support.matrix.jpegs import exif_block

_GRAY, _COLOUR, _PALETTE, _GRAY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))


def png(
    pixels: Array,
    type_: int,
    depth: int = 8,
    *,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    interlaced: bool = False,
) -> bytes:
    """A PNG whose rows have all five filters in turn."""
    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, depth, type_, 0, 0, interlaced)
    passes = [pixels]
    if interlaced:
        passes = [pixels[y::down, x::across] for x, y, across, down in ADAM7]
    raw = b"".join(_filtered(part, depth) for part in passes if part.size)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            *before,
            chunk(b"IDAT", zlib.compress(raw)),
            *after,
            chunk(b"IEND", b""),
        )
    )


def _filtered(pixels: Array, depth: int) -> bytes:
    rows = pixels.reshape(pixels.shape[0], -1)
    step = max(1, pixels.shape[2] * depth // 8)
    if depth == 16:
        data = rows.astype(">u2").view(np.uint8).reshape(rows.shape[0], -1)
    elif depth == 8:
        data = rows.astype(np.uint8)
    else:
        shifts = np.arange(depth - 1, -1, -1)
        bits = (rows.astype(np.uint8)[:, :, None] >> shifts) & 1
        data = np.packbits(bits.reshape(rows.shape[0], -1).astype(np.uint8), axis=1)
    above = np.vstack((np.zeros_like(data[:1]), data[:-1])).astype(int)
    left = np.pad(data.astype(int), ((0, 0), (step, 0)))[:, : data.shape[1]]
    corner = np.pad(above, ((0, 0), (step, 0)))[:, : data.shape[1]]
    predicted = (0 * above, left, above, (left + above) // 2, _paeth(left, above, corner))
    found = b""
    for number in range(data.shape[0]):
        kind = number % 5
        row = (data[number].astype(int) - predicted[kind][number]) % 256
        found += bytes([kind]) + row.astype(np.uint8).tobytes()
    return found


def _paeth(left: Array, above: Array, corner: Array) -> Array:
    guess = left + above - corner
    far = [np.abs(guess - value) for value in (left, above, corner)]
    nearest = np.where(far[1] <= far[2], above, corner)
    return np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, nearest)


def _kind(name: str, pixels: Any, type_: int, lab: Array = LAB, **options: Any) -> Iterator[Kind]:
    near, half = options.pop("near", 0.0), name.endswith("half")
    values = painted(pixels)
    yield Kind(f"png {name}", lambda: png(values, type_, **options), lab, near, half)
    if not options.get("before") or "tRNS" in name:
        yield Kind(
            f"png {name} interlaced",
            lambda: png(values, type_, interlaced=True, **options),
            lab,
            near,
            half,
        )


def _samples() -> Iterator[Kind]:
    wide, opaque = RGB.astype(np.uint16) * 257, np.full((24, 1), 255)
    for depth in (1, 2, 4, 8, 16):
        most = (1 << depth) - 1
        values, lab = grays(1 << depth)
        near = 0.6 if depth < 8 else 0.0
        whole = np.rint(values * most).astype(int)
        yield from _kind(f"gray {depth} bits", whole, _GRAY, lab, depth=depth, near=near)
        # What is white is transparent, and on white it is the same.
        clear = chunk(b"tRNS", struct.pack(">H", most))
        yield from _kind(
            f"gray {depth} bits tRNS", whole, _GRAY, lab, depth=depth, before=[clear], near=near
        )
    yield from _kind("RGB", RGB, _COLOUR)
    yield from _kind("RGB 16 bits", wide, _COLOUR, depth=16)
    yield from _kind(
        "RGB tRNS", RGB, _COLOUR, before=[chunk(b"tRNS", struct.pack(">3H", *[255] * 3))]
    )
    yield from _kind(
        "RGB 16 bits tRNS",
        wide,
        _COLOUR,
        depth=16,
        before=[chunk(b"tRNS", struct.pack(">3H", *[65_535] * 3))],
    )
    half = np.full((24, 1), 128)
    mixed = lab_of_srgb((FRACTIONS * 128 + 127) / 255)
    yield from _kind("RGBA", np.hstack((RGB, opaque)), _COLOUR_ALPHA)
    yield from _kind("RGBA half", np.hstack((RGB, half)), _COLOUR_ALPHA, mixed)
    yield from _kind(
        "RGBA 16 bits half", np.hstack((wide, half * 257)), _COLOUR_ALPHA, mixed, depth=16
    )
    gray, lab = GRAYS[:, None].astype(int), grays()[1]
    gray_mixed = lab_of_srgb(np.repeat((gray * 128 + 255 * 127) / 255 / 255, 3, axis=1))
    yield from _kind("gray and alpha", np.hstack((gray, opaque)), _GRAY_ALPHA, lab)
    yield from _kind("gray and alpha half", np.hstack((gray, half)), _GRAY_ALPHA, gray_mixed)
    yield from _kind(
        "gray and alpha 16 bits half",
        np.hstack((gray, half)) * 257,
        _GRAY_ALPHA,
        gray_mixed,
        depth=16,
    )


def _palettes() -> Iterator[Kind]:
    index = np.arange(24)
    for depth in (1, 2, 4, 8):
        count = min(24, 1 << depth)
        palette = chunk(b"PLTE", RGB[:count].tobytes())
        lab = LAB[index % count]
        yield from _kind(
            f"palette {depth} bits", index % count, _PALETTE, lab, depth=depth, before=[palette]
        )
        values = painted(index % count)
        yield Kind(
            f"png palette {depth} bits interlaced",
            partial(png, values, _PALETTE, depth, before=[palette], interlaced=True),
            lab,
        )
        clear = [palette, chunk(b"tRNS", bytes([128] * count))]
        mixed = lab_of_srgb((FRACTIONS[index % count] * 128 + 127) / 255)
        yield from _kind(
            f"palette {depth} bits tRNS half",
            index % count,
            _PALETTE,
            mixed,
            depth=depth,
            before=clear,
        )
    black_white = lab_of_srgb(np.repeat(BITS[:, None].astype(float), 3, axis=1))
    clear = [chunk(b"PLTE", bytes([0, 0, 0, 9, 200, 3])), chunk(b"tRNS", b"\xff\0")]
    yield from _kind(
        "palette 1 bit, tRNS whole", BITS, _PALETTE, black_white, depth=1, before=clear
    )


def _colours() -> Iterator[Kind]:
    def gama(value: float) -> bytes:
        return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))

    def chrm(primaries: tuple[float, ...]) -> bytes:
        points = (0.3127, 0.3290, *primaries)
        return chunk(b"cHRM", struct.pack(">8I", *(round(p * 100_000) for p in points)))

    def cicp(*numbers: int) -> bytes:
        return chunk(b"cICP", bytes(numbers))

    def iccp(profile: bytes) -> bytes:
        return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))

    srgb = chunk(b"sRGB", b"\0")
    adobe = profiles.as_bytes(profiles.in_space(ADOBE, profiles.GAMMA))
    p3 = profiles.as_bytes(curved(light_of_lab(LAB, P3)))
    light = profiles.as_words(light_of_lab(LAB, SRGB))
    of_gamma = profiles.as_bytes(np.clip(light_of_lab(LAB, SRGB), 0, 1) ** (1 / 1.8))
    bt2020 = profiles.as_words(video(light_of_lab(LAB, BT2020)))
    for name, values, before in (
        ("gAMA 0.45455", RGB, [gama(0.45455)]),
        ("gAMA 0.45455 and cHRM of sRGB", RGB, [gama(0.45455), chrm(SRGB)]),
        ("gAMA 1/1.8", of_gamma, [gama(1 / 1.8), chrm(SRGB)]),
        ("gAMA and cHRM wide", adobe, [gama(1 / profiles.GAMMA), chrm(ADOBE)]),
        ("sRGB", RGB, [srgb]),
        ("sRGB before gAMA and cHRM", RGB, [gama(1), chrm(ADOBE), srgb]),
        ("iCCP", adobe, [iccp(profiles.ADOBE_RGB)]),
        ("iCCP before sRGB", adobe, [iccp(profiles.ADOBE_RGB), srgb]),
        ("iCCP before gAMA and cHRM", adobe, [gama(1), chrm(SRGB), iccp(profiles.ADOBE_RGB)]),
        ("iCCP that is sRGB", RGB, [iccp(profiles.SRGB_TABLE)]),
        (
            "iCCP of exchanged primaries",
            profiles.as_bytes(profiles.in_space((0.30, 0.60, 0.64, 0.33, 0.15, 0.06), 2.2)),
            [iccp(profiles.EXCHANGED)],
        ),
        ("cICP Display P3", p3, [cicp(12, 13, 0, 1)]),
        ("cICP before iCCP", p3, [cicp(12, 13, 0, 1), iccp(profiles.ADOBE_RGB)]),
        ("cICP before sRGB and gAMA", p3, [cicp(12, 13, 0, 1), gama(1), srgb]),
        ("cICP sRGB before iCCP", RGB, [cicp(1, 13, 0, 1), iccp(profiles.ADOBE_RGB)]),
        ("cICP unknown before iCCP", adobe, [cicp(77, 77, 0, 1), iccp(profiles.ADOBE_RGB)]),
        ("broken iCCP", RGB, [iccp(profiles.ADOBE_RGB[:200])]),
        ("iCCP that is no zlib stream", RGB, [chunk(b"iCCP", b"p\0\0not zlib")]),
        ("iCCP for gray", RGB, [iccp(profiles.gray())]),
        ("iCCP for inks", RGB, [iccp(profiles.press())]),
        (
            "sBIT, bKGD, pHYs and tIME",
            RGB,
            [
                chunk(b"sBIT", b"\5\6\5"),
                chunk(b"bKGD", struct.pack(">3H", 255, 0, 0)),
                chunk(b"pHYs", struct.pack(">IIB", 0, 0, 1)),
                chunk(b"tIME", bytes(7)),
            ],
        ),
    ):
        near = 0.0 if values is RGB else 1.0
        yield from _kind(name, values, _COLOUR, before=before, near=near)
    yield from _kind(
        "gAMA 1 16 bits", light, _COLOUR, depth=16, before=[gama(1), chrm(SRGB)], near=1
    )
    yield from _kind(
        "cICP BT.2020 16 bits", bt2020, _COLOUR, depth=16, before=[cicp(9, 14, 0, 1)], near=1
    )
    _, lab = grays()
    luma = np.clip(light_of_lab(lab, SRGB)[:, 0], 0, 1)
    gray = np.rint(luma ** (1 / 1.8) * 255).astype(np.uint8)
    yield from _kind("gray gAMA", gray, _GRAY, lab, before=[gama(1 / 1.8)], near=1)
    yield from _kind("gray iCCP", gray, _GRAY, lab, before=[iccp(profiles.gray())], near=1)
    yield from _kind("gray iCCP for RGB", GRAYS, _GRAY, lab, before=[iccp(profiles.ADOBE_RGB)])
    palette = [iccp(profiles.ADOBE_RGB), chunk(b"PLTE", adobe.tobytes())]
    yield from _kind("palette iCCP", np.arange(24), _PALETTE, before=palette, near=1)
    alpha = np.hstack((adobe, np.full((24, 1), 255, np.uint8)))
    yield from _kind("RGBA iCCP", alpha, _COLOUR_ALPHA, before=[iccp(profiles.ADOBE_RGB)], near=1)


def _structures() -> Iterator[Kind]:
    for orientation in range(1, 9):
        pixels = painted(RGB, orientation)
        tag = [chunk(b"eXIf", exif_block(orientation))]
        yield Kind(f"png eXIf {orientation}", partial(png, pixels, _COLOUR, before=tag))
        yield Kind(
            f"png eXIf {orientation} behind the pixels",
            partial(png, pixels, _COLOUR, after=tag),
        )
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    height, width, _ = painted(RGB).shape
    frame = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    second = struct.pack(">IIIIIHHBB", 1, width, height, 0, 0, 1, 10, 0, 0)
    other = zlib.compress(_filtered(255 - painted(RGB), 8))
    frames = [chunk(b"fcTL", second), chunk(b"fdAT", struct.pack(">I", 2) + other)]
    yield Kind(
        "png animated",
        lambda: png(painted(RGB), _COLOUR, before=[control, chunk(b"fcTL", frame)], after=frames),
    )
    yield Kind(
        "png animated, default image apart",
        lambda: png(
            painted(RGB),
            _COLOUR,
            before=[control],
            after=[chunk(b"fcTL", frame), chunk(b"fdAT", struct.pack(">I", 1) + other)],
        ),
    )
    yield Kind("png bytes behind the end", lambda: png(painted(RGB), _COLOUR) + b"trailing" * 20)
    text = [chunk(b"tEXt", b"Comment\0" + b"x" * 5000), chunk(b"prVt", b"own")]
    yield Kind(
        "png text and private chunks", lambda: png(painted(RGB), _COLOUR, before=text, after=text)
    )


def kinds() -> Iterator[Kind]:
    """All kinds of PNG."""
    for some in (_samples, _palettes, _colours, _structures):
        yield from some()
