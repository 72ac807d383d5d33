"""TIFF: samples, layouts, compressions and structure."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from support.matrix import packing, profiles
from support.matrix.chart import (
    BITS,
    FRACTIONS,
    GRAYS,
    HEIGHT,
    INDEX,
    LAB,
    RGB,
    WIDTH,
    Array,
    Kind,
    grays,
    painted,
)
from support.matrix.colours import (
    ADOBE,
    full_range,
    lab_of_srgb,
    light_of_lab,
    limited_range,
    srgb_of_lab,
    ycbcr,
)
from support.matrix.ffmpeg import jpeg2000
from support.matrix.inks import DEFAULT_INKS, DEFAULT_LAB
from support.matrix.jpegs import EXTENDED, LOSSLESS, Jpeg, stream
from support.tiff_samples import TiffFile

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _DOUBLE = 1, 3, 4, 5, 7, 12
_ICC, _ORIENTATION, _SUBSAMPLING, _TABLES = 34_675, 274, 530, 347
_WHITE_IS_0, _BLACK_IS_0, _COLOUR, _PALETTE, _INKS, _YCC, _LAB, _ICC_LAB, _ITU_LAB = (
    0,
    1,
    2,
    3,
    5,
    6,
    8,
    9,
    10,
)
_RGB16 = RGB.astype(np.uint16) * 257
_BLACK_AND_WHITE = lab_of_srgb(np.repeat(1 - BITS[:, None], 3, axis=1))
_OPAQUE, _NOTHING = np.full((24, 1), 255, np.uint8), np.zeros((24, 1), np.uint8)
_YCC444 = full_range(ycbcr(FRACTIONS))

Tags = dict[int, tuple[int, Any]]


def _tiff(values: Any, photometric: int, orientation: int = 1, **options: Any) -> TiffFile:
    return TiffFile(painted(values, orientation), photometric, **options)


def _kind(name: str, file: TiffFile, lab: Array = LAB, **options: Any) -> Kind:
    return Kind(f"tiff {name}", file.write, lab, **options)


def _icc(profile: bytes) -> Tags:
    return {_ICC: (_UNDEFINED, list(profile))}


def _layouts() -> Iterator[Kind]:
    for order, mark in (("<", "II"), (">", "MM")):
        for big in (False, True):
            for planar in (False, True):
                for tile in (None, (32, 48)):
                    name = (
                        f"{mark} {'big' if big else 'classic'} "
                        f"{'planar' if planar else 'joint'} {'tiles' if tile else 'strips'}"
                    )
                    file = _tiff(RGB, _COLOUR, order=order, big=big, planar=planar, tile=tile)
                    yield _kind(name, file)
                    if not big:
                        deep = replace(file, values=painted(_RGB16), bits=16)
                        yield _kind(f"{name} 16 bits", deep)
    for orientation in range(1, 9):
        file = _tiff(RGB, _COLOUR, orientation, tags={_ORIENTATION: (_SHORT, [orientation])})
        yield _kind(f"orientation {orientation}", file)
        yield _kind(f"orientation {orientation} tiles", replace(file, tile=(64, 16)))
    for number in (0, 9):
        file = _tiff(RGB, _COLOUR, tags={_ORIENTATION: (_SHORT, [number])})
        yield _kind(f"orientation {number}", file)
    yield _kind(
        "a tile larger than the image", _tiff(RGB, _COLOUR, tile=(2048, 1024), deflate=True)
    )
    yield _kind("one row a strip", _tiff(RGB, _COLOUR, rows=1))
    yield _kind("one strip", _tiff(RGB, _COLOUR, rows=HEIGHT))


def _depths() -> Iterator[Kind]:
    for bits in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32):
        levels = 1 << bits
        values, lab = grays(levels)
        integers = np.rint(values * (levels - 1)).astype(np.uint32)
        type_ = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
        integers = integers.astype(type_)
        near = 0.6 if bits <= 4 else 0
        options: dict[str, Any] = {"bits": bits}
        yield _kind(f"gray {bits} bits", _tiff(integers, _BLACK_IS_0, **options), lab, near=near)
        inverse = (levels - 1 - integers.astype(np.int64)).astype(type_)
        white = _tiff(inverse, _WHITE_IS_0, **options)
        yield _kind(f"gray {bits} bits, white is 0", white, lab, near=near)
        if bits in {1, 4, 12, 16}:
            tiled = _tiff(integers, _BLACK_IS_0, tile=(64, 32), order=">", **options)
            yield _kind(f"gray {bits} bits tiles MM", tiled, lab, near=near)
    for bits in (2, 4, 5, 10, 12, 14, 32):
        most = (1 << bits) - 1
        type_ = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
        rounded = np.rint(FRACTIONS * most)
        file = _tiff(rounded.astype(type_), _COLOUR, bits=bits)
        yield _kind(f"RGB {bits} bits", file, lab_of_srgb(rounded / most))
    for bits in (8, 16, 32):
        half = 1 << (bits - 1)
        signed = (np.rint(FRACTIONS * (2 * half - 1)) - half).astype(f"i{bits // 8}")
        yield _kind(f"RGB signed {bits} bits", _tiff(signed, _COLOUR, bits=bits))
    for bits in (16, 32, 64):
        floats = FRACTIONS.astype(f"f{bits // 8}")
        file = _tiff(floats, _COLOUR, bits=bits)
        yield _kind(f"RGB float {bits} bits", file)
        yield _kind(
            f"RGB float {bits} bits planar tiles MM",
            replace(file, planar=True, tile=(32, 32), order=">"),
        )
        predicted = replace(file, predictor=3, deflate=True)
        yield _kind(f"RGB float {bits} bits predictor 3", predicted)
    values, lab = grays()
    span = {340: (_DOUBLE, [-10.0]), 341: (_DOUBLE, [30.0])}
    file = _tiff((values * 40 - 10).astype(np.float32), _BLACK_IS_0, bits=32, tags=span)
    yield _kind("gray float with a span", file, lab)


def _extras() -> Iterator[Kind]:
    wide = np.full((24, 1), 65_535, np.uint16)
    for name, extra, values in (
        ("none given", (), _NOTHING),
        ("0", (0,), _NOTHING),
        ("1", (1,), _OPAQUE),
        ("2", (2,), _OPAQUE),
        ("0 0", (0, 0), np.hstack((_NOTHING, _NOTHING))),
        ("0 2", (0, 2), np.hstack((_NOTHING, _OPAQUE))),
        ("2 0", (2, 0), np.hstack((_OPAQUE, _NOTHING))),
        ("0 0 0 0", (0, 0, 0, 0), np.hstack([_NOTHING] * 4)),
    ):
        file = _tiff(np.hstack((RGB, values)), _COLOUR, extra=extra)
        yield _kind(f"extra samples {name}", file)
        yield _kind(f"extra samples {name} planar", replace(file, planar=True))
        deep = values.astype(np.uint16) * 257
        yield _kind(
            f"extra samples {name} 16 bits",
            _tiff(np.hstack((_RGB16, deep)), _COLOUR, bits=16, extra=extra),
        )
    values, lab = grays()
    for number, more in ((0, _NOTHING), (1, _OPAQUE), (2, _OPAQUE)):
        pair = np.hstack((GRAYS[:, None], more))
        yield _kind(f"gray extra sample {number}", _tiff(pair, _BLACK_IS_0, extra=[number]), lab)
    pair = np.hstack((GRAYS[:, None].astype(np.uint16) * 257, wide))
    yield _kind("gray extra sample 2, 16 bits", _tiff(pair, _BLACK_IS_0, bits=16, extra=[2]), lab)
    pair = np.hstack((255 - GRAYS[:, None], _OPAQUE))
    yield _kind("gray white is 0 with alpha", _tiff(pair, _WHITE_IS_0, extra=[2]), lab)
    # On white, half of it: (c + 255) / 2.
    half = np.full((24, 1), 128, np.uint8)
    mixed = (RGB * (128 / 255) + 255 * (127 / 255)) / 255
    for number, colour in ((1, np.rint(RGB * (128 / 255)).astype(np.uint8)), (2, RGB)):
        file = _tiff(np.hstack((colour, half)), _COLOUR, extra=[number])
        yield _kind(f"half transparent {number}", file, lab_of_srgb(mixed), dithered=True)
        yield _kind(
            f"half transparent {number} planar",
            replace(file, planar=True),
            lab_of_srgb(mixed),
            dithered=True,
        )
        words = np.hstack((colour, half)).astype(np.uint16) * 257
        deeper = _tiff(words, _COLOUR, bits=16, extra=[number])
        yield _kind(f"half transparent {number} 16 bits", deeper, lab_of_srgb(mixed), dithered=True)


def _palettes() -> Iterator[Kind]:
    index = np.arange(24, dtype=np.uint8)
    for bits, factor in ((8, 257), (8, 1), (5, 257), (16, 257)):
        colours = np.zeros((1 << bits, 3), np.int64)
        colours[:24] = RGB
        table = {320: (_SHORT, (colours.T * factor).ravel().tolist())}
        values = index.astype(np.uint16) if bits > 8 else index
        name = f"palette {bits} bits" + (" of 8-bit colours" if factor == 1 else "")
        yield _kind(name, _tiff(values, _PALETTE, bits=bits, tags=table))
        yield _kind(
            f"{name} tiles LZW",
            _tiff(
                values,
                _PALETTE,
                bits=bits,
                tags=table,
                tile=(48, 32),
                compression=5,
                pack=packing.lzw,
            ),
        )
    for bits in (1, 2, 4):
        count = 1 << bits
        colours = RGB[:count].astype(int)
        table = {320: (_SHORT, (colours.T * 257).ravel().tolist())}
        yield _kind(
            f"palette {bits} bits",
            _tiff(index % count, _PALETTE, bits=bits, tags=table),
            LAB[index % count],
        )


def _colours() -> Iterator[Kind]:
    yield from _lab_kinds()
    yield from _ink_kinds()
    adobe = profiles.in_space(ADOBE, profiles.GAMMA)
    yield _kind(
        "wide profile", _tiff(profiles.as_bytes(adobe), _COLOUR, tags=_icc(profiles.ADOBE_RGB))
    )
    yield _kind(
        "wide profile 16 bits tiles",
        _tiff(
            profiles.as_words(adobe), _COLOUR, bits=16, tile=(64, 64), tags=_icc(profiles.ADOBE_RGB)
        ),
    )
    yield _kind(
        "wide profile planar",
        _tiff(profiles.as_bytes(adobe), _COLOUR, planar=True, tags=_icc(profiles.ADOBE_RGB)),
    )
    yield _kind(
        "wide profile float",
        _tiff(adobe.astype(np.float32), _COLOUR, bits=32, tags=_icc(profiles.ADOBE_RGB)),
    )
    linear = profiles.as_words(light_of_lab(LAB, (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)))
    yield _kind(
        "linear profile named sRGB, 16 bits",
        _tiff(linear, _COLOUR, bits=16, tags=_icc(profiles.LINEAR_NAMED_SRGB)),
        near=1,
    )
    gray = (srgb_of_lab(grays()[1])[:, 0], grays()[1])
    light = np.clip(light_of_lab(gray[1], (0.64, 0.33, 0.30, 0.60, 0.15, 0.06))[:, 0], 0, 1)
    yield _kind(
        "gray profile",
        _tiff(profiles.as_bytes(light ** (1 / 1.8)), _BLACK_IS_0, tags=_icc(profiles.gray())),
        gray[1],
    )
    yield _kind(
        "gray profile 16 bits",
        _tiff(
            profiles.as_words(light ** (1 / 1.8)), _BLACK_IS_0, bits=16, tags=_icc(profiles.gray())
        ),
        gray[1],
    )
    yield _kind(
        "white is 0 with a gray profile",
        _tiff(255 - profiles.as_bytes(light ** (1 / 1.8)), _WHITE_IS_0, tags=_icc(profiles.gray())),
        gray[1],
    )
    for name, profile in (
        ("no bytes", b""),
        ("broken", profiles.ADOBE_RGB[:200]),
        ("for inks", profiles.press()),
        ("for gray", profiles.gray()),
    ):
        tags = {_ICC: (_UNDEFINED, list(profile) or [0])}
        yield _kind(f"profile {name}", _tiff(RGB, _COLOUR, tags=tags))


def _lab_kinds() -> Iterator[Kind]:
    light, a, b = LAB.T
    cie8 = np.stack((np.rint(light * 2.55), np.rint(a) % 256, np.rint(b) % 256), 1)
    icc8 = np.stack((np.rint(light * 2.55), np.rint(a) + 128, np.rint(b) + 128), 1)
    cie16 = np.stack((light * 655.35, (a * 256) % 65_536, (b * 256) % 65_536), 1)
    icc16 = np.stack((light * 652.8, (a + 128) * 256, (b + 128) * 256), 1)
    itu = np.stack((light * 2.55, a * 1.5 + 128, b * 1.275 + 96), 1)
    for name, photometric, values, bits in (
        ("CIELab 8 bits", _LAB, cie8, 8),
        ("CIELab 16 bits", _LAB, cie16, 16),
        ("ICCLab 8 bits", _ICC_LAB, icc8, 8),
        ("ICCLab 16 bits", _ICC_LAB, icc16, 16),
        ("ITULab 8 bits", _ITU_LAB, itu, 8),
    ):
        type_ = np.uint8 if bits == 8 else np.uint16
        whole = np.clip(np.rint(values), 0, (1 << bits) - 1).astype(type_)
        file = _tiff(whole, photometric, bits=bits)
        # In ITULab, there is no blue as strong as that of the chart.
        lab = (
            (whole - np.array((0, 128, 96))) / (2.55, 1.5, 1.275)
            if photometric == _ITU_LAB
            else LAB
        )
        near = 0.3 if photometric == _ITU_LAB else 0.0
        yield _kind(name, file, lab, near=near)
        yield _kind(f"{name} planar", replace(file, planar=True), lab, near=near)
        tiled = replace(file, tile=(32, 32), deflate=True, order=">")
        yield _kind(f"{name} tiles deflate MM", tiled, lab, near=near)
        opaque = np.full((24, 1), (1 << bits) - 1, type_)
        yield _kind(
            f"{name} with alpha",
            _tiff(np.hstack((whole, opaque)), photometric, bits=bits, extra=[2]),
            lab,
            near=near,
        )
    signed = cie8.astype(np.uint8)
    predicted = _tiff(signed, _LAB, predictor=2, compression=5, pack=packing.lzw)
    yield _kind("CIELab 8 bits LZW predictor 2", predicted)


def _ink_kinds() -> Iterator[Kind]:
    press = _icc(profiles.press())
    inks8 = np.rint(profiles.INKS * 255).astype(np.uint8)
    inks16 = np.rint(profiles.INKS * 65_535).astype(np.uint16)
    lab = profiles.INK_LAB
    file = _tiff(inks8, _INKS, tags=press)
    deep = _tiff(inks16, _INKS, bits=16, tags=press)
    yield _kind("CMYK with a profile", file, lab)
    yield _kind("CMYK with a profile 16 bits", deep, lab)
    yield _kind("CMYK with a profile planar", replace(file, planar=True), lab)
    yield _kind("CMYK with a profile 16 bits planar", replace(deep, planar=True), lab)
    yield _kind(
        "CMYK with a profile tiles LZW",
        replace(file, tile=(64, 64), compression=5, pack=packing.lzw),
        lab,
    )
    five = _tiff(np.hstack((inks8, _NOTHING)), _INKS, tags=press, extra=[0])
    yield _kind("CMYK and a spot colour", five, lab)
    yield _kind("CMYK and a spot colour, planar", replace(five, planar=True), lab)
    six = _tiff(np.hstack((inks8, _NOTHING, _OPAQUE)), _INKS, tags=press, extra=[0, 2])
    yield _kind("CMYK, a spot colour and alpha", six, lab)
    yield _kind(
        "CMYK with alpha", _tiff(np.hstack((inks8, _OPAQUE)), _INKS, tags=press, extra=[2]), lab
    )
    half = np.hstack((inks8, np.full((24, 1), 128, np.uint8)))
    mixed = (srgb_of_lab(lab) * 128 + 127) / 255
    yield _kind(
        "CMYK half transparent",
        _tiff(half, _INKS, tags=press, extra=[2]),
        lab_of_srgb(mixed),
        near=0.5,
        dithered=True,
    )
    jpeg = _tiff(
        inks8,
        _INKS,
        tags=press,
        compression=7,
        rows=64,
        encode=lambda part: Jpeg(part, segments=b"").write(),
    )
    yield _kind("CMYK JPEG", jpeg, lab)
    for name, values, bits in (
        ("8 bits", DEFAULT_INKS, 8),
        ("16 bits", DEFAULT_INKS.astype(np.uint16) * 257, 16),
    ):
        plain = _tiff(values, _INKS, bits=bits)
        yield _kind(f"CMYK without a profile {name}", plain, DEFAULT_LAB)
        yield _kind(
            f"CMYK without a profile {name} planar", replace(plain, planar=True), DEFAULT_LAB
        )
    yield _kind(
        "CMYK without a profile, RGB profile",
        _tiff(DEFAULT_INKS, _INKS, tags=_icc(profiles.ADOBE_RGB)),
        DEFAULT_LAB,
    )


def _units(values: Array, across: int, down: int) -> bytes:
    """Subsampled YCbCr: the luma of a unit, and its chroma (TIFF 6.0, section 21)."""
    height, width, _ = values.shape
    rows, columns = -(-height // down), -(-width // across)
    padded = np.pad(
        values, ((0, rows * down - height), (0, columns * across - width), (0, 0)), mode="edge"
    )
    cut = padded.reshape(rows, down, columns, across, 3).transpose(0, 2, 1, 3, 4)
    luma = cut[..., 0].reshape(rows, columns, down * across)
    chroma = np.rint(cut[..., 1:].astype(float).mean(axis=(2, 3))).astype(np.uint8)
    return np.concatenate((luma, chroma), axis=2).tobytes()


def _ycc_kinds() -> Iterator[Kind]:
    for across, down in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)):
        tags: Tags = {_SUBSAMPLING: (_SHORT, [across, down])}
        encode = partial(_units, across=across, down=down)
        file = _tiff(_YCC444, _YCC, tags=tags, encode=encode, rows=32)
        yield _kind(f"YCbCr {across}x{down}", file)
        yield _kind(
            f"YCbCr {across}x{down} tiles deflate", replace(file, tile=(64, 48), deflate=True)
        )
        yield _kind(
            f"YCbCr {across}x{down} LZW MM",
            replace(file, compression=5, pack=packing.lzw, order=">"),
        )
        if across * down > 8:  # a unit of a JPEG has at most ten blocks
            continue
        jpeg = partial(_jpeg_of, sampling=[(across, down), (1, 1), (1, 1)])
        yield _kind(
            f"YCbCr {across}x{down} JPEG", replace(file, compression=7, encode=jpeg, rows=32)
        )
    limited = limited_range(ycbcr(FRACTIONS))
    fractions = [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]
    reference = {_SUBSAMPLING: (_SHORT, [1, 1]), 532: (_RATIONAL, fractions)}
    yield _kind("YCbCr 16 to 235", _tiff(limited, _YCC, tags=reference))
    other = full_range(ycbcr(FRACTIONS, 0.2126, 0.0722))
    coefficients = [2126, 10_000, 7152, 10_000, 722, 10_000]
    tags = {_SUBSAMPLING: (_SHORT, [1, 1]), 529: (_RATIONAL, coefficients)}
    yield _kind("YCbCr with coefficients of BT.709", _tiff(other, _YCC, tags=tags))
    yield _kind(
        "YCbCr planar", _tiff(_YCC444, _YCC, planar=True, tags={_SUBSAMPLING: (_SHORT, [1, 1])})
    )
    yield _kind(
        "YCbCr with subsampling by default",
        _tiff(_YCC444, _YCC, encode=partial(_units, across=2, down=2), rows=32),
    )


def _jpeg_of(part: Array, **options: Any) -> bytes:
    return Jpeg(part, segments=b"", **options).write()


def _stream_of(part: Array, **options: Any) -> bytes:
    return stream(Jpeg(part, **options))


def _jpeg_kinds() -> Iterator[Kind]:
    _, lab = grays()
    tables: Tags = {_TABLES: (_UNDEFINED, list(Jpeg(painted(RGB)).tables_only()))}
    ycc = {_SUBSAMPLING: (_SHORT, [2, 2])}
    halved = [(2, 2), (1, 1), (1, 1)]
    jpeg: dict[str, Any] = {"compression": 7, "rows": 48}
    yield _kind("JPEG gray", _tiff(GRAYS, _BLACK_IS_0, encode=_jpeg_of, **jpeg), lab)
    yield _kind(
        "JPEG gray tables tiles",
        _tiff(GRAYS, _BLACK_IS_0, encode=_stream_of, tags=tables, tile=(64, 64), **jpeg),
        lab,
    )
    yield _kind("JPEG RGB", _tiff(RGB, _COLOUR, encode=_jpeg_of, **jpeg))
    yield _kind("JPEG RGB tables", _tiff(RGB, _COLOUR, encode=_stream_of, tags=tables, **jpeg))
    yield _kind(
        "JPEG RGB tables tiles",
        _tiff(RGB, _COLOUR, encode=_stream_of, tags=tables, tile=(64, 32), **jpeg),
    )
    yield _kind("JPEG RGB planar", _tiff(RGB, _COLOUR, encode=_jpeg_of, planar=True, **jpeg))
    full: Tags = {_SUBSAMPLING: (_SHORT, [1, 1])}
    yield _kind(
        "JPEG YCbCr planar", _tiff(_YCC444, _YCC, encode=_jpeg_of, planar=True, tags=full, **jpeg)
    )
    streams = partial(_stream_of, sampling=halved)
    yield _kind(
        "JPEG YCbCr tables tiles",
        _tiff(_YCC444, _YCC, encode=streams, tags=tables | ycc, tile=(64, 64), **jpeg),
    )
    yield _kind(
        "JPEG YCbCr tables tiles MM big",
        _tiff(
            _YCC444,
            _YCC,
            encode=streams,
            tags=tables | ycc,
            tile=(64, 96),
            order=">",
            big=True,
            **jpeg,
        ),
    )
    whole = partial(_jpeg_of, sampling=halved)
    yield _kind("JPEG YCbCr without a subsampling tag", _tiff(_YCC444, _YCC, encode=whole, **jpeg))
    pixels = np.hstack((RGB, _OPAQUE))
    yield _kind("JPEG RGB with alpha", _tiff(pixels, _COLOUR, encode=_jpeg_of, extra=[2], **jpeg))
    for orientation in (3, 6):
        tags = {_ORIENTATION: (_SHORT, [orientation])} | ycc
        yield _kind(
            f"JPEG YCbCr tiles orientation {orientation}",
            _tiff(_YCC444, _YCC, orientation, encode=whole, tags=tags, tile=(64, 64), **jpeg),
        )
    adobe = profiles.as_bytes(profiles.in_space(ADOBE, profiles.GAMMA))
    yield _kind(
        "JPEG YCbCr tiles wide profile",
        _tiff(
            full_range(ycbcr(adobe / 255)),
            _YCC,
            encode=whole,
            tile=(64, 64),
            tags=ycc | _icc(profiles.ADOBE_RGB),
            **jpeg,
        ),
    )
    deep = np.rint(FRACTIONS * 4095).astype(np.uint16)
    yield _kind(
        "JPEG RGB 12 bits",
        _tiff(deep, _COLOUR, bits=12, encode=partial(_jpeg_of, bits=12, frame=EXTENDED), **jpeg),
    )
    lossless = partial(_jpeg_of, frame=LOSSLESS)
    yield _kind("JPEG RGB lossless", _tiff(RGB, _COLOUR, encode=lossless, **jpeg))
    wide = GRAYS.astype(np.uint16) * 257
    yield _kind(
        "JPEG gray lossless 16 bits tiles",
        _tiff(wide, _BLACK_IS_0, bits=16, encode=partial(lossless, bits=16), tile=(64, 64), **jpeg),
        lab,
    )
    yield from _old_jpeg_kinds()


def _old_jpeg_kinds() -> Iterator[Kind]:
    """Compression 6 (TIFF 6.0, section 22)."""
    whole = Jpeg(painted(_YCC444), sampling=[(2, 2), (1, 1), (1, 1)])
    base: dict[str, Any] = {"compression": 6, "rows": HEIGHT}
    tags: Tags = {_SUBSAMPLING: (_SHORT, [2, 2])}
    yield _kind("old JPEG, whole", _tiff(_YCC444, _YCC, pieces=[whole.write()], tags=tags, **base))
    yield _kind(
        "old JPEG, whole strips",
        _tiff(
            _YCC444,
            _YCC,
            encode=partial(_jpeg_of),
            compression=6,
            rows=48,
            tags={_SUBSAMPLING: (_SHORT, [1, 1])},
        ),
    )
    data = whole.write()
    # The offset is that of the only strip, behind the head of the file.
    more = tags | {513: (_LONG, [8]), 514: (_LONG, [len(data)])}
    yield _kind(
        "old JPEG, interchange format", _tiff(_YCC444, _YCC, pieces=[data], tags=more, **base)
    )


def _compressions() -> Iterator[Kind]:
    for name, number, pack in (
        ("PackBits", 32_773, packing.packbits),
        ("LZW", 5, packing.lzw),
        ("deflate", 8, packing.stored),
        ("deflate, old number", 32_946, packing.stored),
        ("Zstandard", 50_000, packing.zstd),
        ("LZMA", 34_925, packing.xz),
    ):
        for predictor in (1, 2):
            if predictor == 2 and number == 32_773:
                continue
            options: dict[str, Any] = {
                "compression": number,
                "pack": pack,
                "predictor": predictor,
            }
            own = f"{name} predictor {predictor}"
            yield _kind(own, _tiff(RGB, _COLOUR, **options))
            yield _kind(
                f"{own} 16 bits MM tiles",
                _tiff(_RGB16, _COLOUR, bits=16, order=">", tile=(48, 64), **options),
            )
    wide = np.rint(FRACTIONS * (2**32 - 1)).astype(np.uint32)
    yield _kind("32 bits predictor 2", _tiff(wide, _COLOUR, bits=32, deflate=True, predictor=2))
    yield _kind(
        "LZW padded",
        _tiff(RGB, _COLOUR, compression=5, pack=lambda data: packing.lzw(data) + b"\0\xff\0"),
    )
    yield _kind(
        "LZW with more rows than the image",
        _tiff(RGB, _COLOUR, compression=5, rows=32, pieces=_padded_strips()),
    )
    for name, encode, number in (
        ("modified Huffman", packing.huffman, 2),
        ("group 3", packing.group3, 3),
        ("group 4", packing.group4, 4),
    ):
        fax: dict[str, Any] = {"bits": 1, "encode": encode, "compression": number, "rows": 47}
        yield _kind(name, _tiff(BITS, _WHITE_IS_0, **fax), _BLACK_AND_WHITE)
        yield _kind(
            f"{name}, black is 0",
            _tiff(BITS, _BLACK_IS_0, **fax),
            _BLACK_AND_WHITE[np.arange(24) ^ 1],
        )
        reverse = {266: (_SHORT, [2])}
        yield _kind(
            f"{name} FillOrder 2",
            _tiff(BITS, _WHITE_IS_0, pack=_reversed, tags=reverse, **fax),
            _BLACK_AND_WHITE,
        )
    yield _kind(
        "1 bit FillOrder 2",
        _tiff(BITS, _WHITE_IS_0, bits=1, pack=_reversed, tags={266: (_SHORT, [2])}),
        _BLACK_AND_WHITE,
    )
    yield _kind(
        "8 bits FillOrder 2", _tiff(RGB, _COLOUR, pack=_reversed, tags={266: (_SHORT, [2])})
    )
    yield _kind(
        "12 bits FillOrder 2",
        _tiff(
            RGB.astype(np.uint16) * 16, _COLOUR, bits=12, pack=_reversed, tags={266: (_SHORT, [2])}
        ),
        lab_of_srgb(RGB.astype(int) * 16 / 4095),
    )
    yield _kind(
        "WebP", _tiff(RGB, _COLOUR, compression=50_001, encode=packing.webp_lossless, rows=48)
    )
    yield _kind(
        "WebP tiles",
        _tiff(RGB, _COLOUR, compression=50_001, tile=(64, 64), encode=packing.webp_lossless),
    )
    for number in (33_005, 34_712):
        yield _kind(
            f"JPEG 2000 {number}",
            _tiff(RGB, _COLOUR, compression=number, encode=jpeg2000, tile=(64, 64)),
        )
    yield _kind(
        "JPEG 2000 gray 16 bits",
        _tiff(
            GRAYS.astype(np.uint16) * 257,
            _BLACK_IS_0,
            bits=16,
            compression=34_712,
            encode=jpeg2000,
            tile=(64, 64),
        ),
        grays()[1],
    )
    yield _kind(
        "JPEG 2000 33003, YCbCr",
        _tiff(
            _YCC444,
            _YCC,
            compression=33_003,
            tile=(64, 64),
            encode=partial(jpeg2000, transform=False),
            tags={_SUBSAMPLING: (_SHORT, [1, 1])},
        ),
    )


def _padded_strips() -> list[bytes]:
    values = np.pad(painted(RGB), ((0, -HEIGHT % 32), (0, 0), (0, 0)))
    return [packing.lzw(values[top : top + 32].tobytes()) for top in range(0, HEIGHT, 32)]


def _reversed(data: bytes) -> bytes:
    return bytes(int(format(byte, "08b")[::-1], 2) for byte in data)


def _structures() -> Iterator[Kind]:
    small = TiffFile(painted(255 - RGB)[:40, :60].copy(), _COLOUR)
    tiled = _tiff(RGB, _COLOUR, tile=(32, 32), deflate=True)
    sparse = [row * 7 + 6 for row in (4,)] + [34]
    yield _kind("sparse tiles", replace(tiled, tile=(32, 32), missing=sparse))
    halved = [
        TiffFile(
            painted(RGB)[::step, ::step].copy(),
            _COLOUR,
            tile=(32, 32),
            deflate=True,
            tags={254: (_LONG, [1])},
        )
        for step in (2, 4)
    ]
    reduced = replace(small, tags={254: (_LONG, [1])})
    first = _tiff(RGB, _COLOUR)
    yield Kind("tiff thumbnail in front", lambda: first.write(reduced.write()))
    yield Kind("tiff thumbnail behind", lambda: reduced.write(first.write()))
    yield Kind("tiff another page behind", lambda: small.write(first.write()))
    yield Kind("tiff reduced pages", lambda: _chained(tiled, *halved))
    yield Kind("tiff reduced pages first", lambda: _chained(*halved, tiled))
    yield Kind("tiff SubIFDs", lambda: _with_below(tiled, halved))
    jpeg = [
        replace(
            file,
            deflate=False,
            compression=7,
            encode=partial(_jpeg_of),
            photometric=_YCC,
            values=full_range(ycbcr(file.values / 255)),
            tags={**file.tags, _SUBSAMPLING: (_SHORT, [1, 1])},
        )
        for file in (tiled, *halved)
    ]
    yield Kind("tiff SubIFDs JPEG", lambda: _with_below(jpeg[0], jpeg[1:]))
    label = replace(small, tags={254: (_LONG, [1])})
    macro = replace(small, tags={254: (_LONG, [9])})
    plain = [replace(file, tags={_SUBSAMPLING: (_SHORT, [1, 1])}) for file in jpeg]
    yield Kind("tiff slide, as SVS", lambda: _chained(plain[0], small, *plain[1:], label, macro))


def _chained(*files: TiffFile) -> bytes:
    data = b""
    for file in files:
        data = file.write(data)
    return data


def _with_below(main: TiffFile, below: list[TiffFile]) -> bytes:
    """A file whose reduced levels are SubIFDs."""
    data, places = bytearray(_chained(*below)), []
    link, at = 4, 4
    while at:
        link = at
        (offset,) = struct.unpack_from("<I", data, link)
        if not offset:
            break
        places.append(offset)
        at = offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0]
    whole = replace(main, tags={**main.tags, 330: (13, places)}).write(bytes(data))
    changed = bytearray(whole)
    changed[4:8] = whole[link : link + 4]
    changed[link : link + 4] = bytes(4)
    for place in places[:-1]:
        struct.pack_into("<I", changed, place + 2 + 12 * changed[place], 0)
    return bytes(changed)


def _awkward() -> Iterator[Kind]:
    """Files that break a rule, and that others read."""
    whole: dict[str, Any] = {"rows": HEIGHT}
    length = HEIGHT * WIDTH * 3
    for name, tags in (
        ("no RowsPerStrip", {278: (_LONG, [])}),
        ("RowsPerStrip beyond the image", {278: (_LONG, [2**32 - 1])}),
        ("no StripByteCounts", {279: (_LONG, [])}),
        ("StripByteCounts 0", {279: (_LONG, [0])}),
        ("StripByteCounts too small", {279: (_LONG, [length // 2])}),
        ("StripByteCounts too large", {279: (_LONG, [length + 100_000])}),
        ("no Compression", {259: (_SHORT, [])}),
        ("no PlanarConfiguration", {284: (_SHORT, [])}),
        ("no SampleFormat", {339: (_SHORT, [])}),
        ("one BitsPerSample", {258: (_SHORT, [8])}),
        ("one SampleFormat", {339: (_SHORT, [1])}),
        ("SampleFormat 4", {339: (_SHORT, [4, 4, 4])}),
        ("resolution 0", {282: (_RATIONAL, [0, 0]), 283: (_RATIONAL, [0, 0])}),
        ("a tag nobody knows", {65_000: (_BYTE, list(range(200)))}),
    ):
        yield _kind(name, _tiff(RGB, _COLOUR, tags=tags, **whole))
    bits = _tiff(BITS, _WHITE_IS_0, bits=1, tags={258: (_SHORT, []), 277: (_SHORT, [])}, **whole)
    yield _kind("no BitsPerSample and SamplesPerPixel", bits, _BLACK_AND_WHITE)
    _, lab = grays()
    yield _kind("planar of one sample", _tiff(GRAYS, _BLACK_IS_0, planar=True), lab)
    yield _kind("odd tiles", _tiff(RGB, _COLOUR, tile=(50, 37)))
    yield _kind("odd tiles deflate", _tiff(RGB, _COLOUR, tile=(51, 33), deflate=True))
    yield _kind(
        "deflate, StripByteCounts too large",
        _tiff(RGB, _COLOUR, compression=8, pack=lambda data: packing.stored(data) + b"\0" * 40),
    )
    four = np.hstack((RGB, _OPAQUE))
    yield _kind("ExtraSamples of a value nobody knows", _tiff(four, _COLOUR, extra=[999]))
    yield Kind("tiff bytes behind the end", lambda: _tiff(RGB, _COLOUR).write() + b"\0trailing" * 9)
    assert INDEX.shape == (HEIGHT, WIDTH)


def kinds() -> Iterator[Kind]:
    """All kinds of TIFF."""
    for some in (
        _layouts,
        _depths,
        _extras,
        _palettes,
        _colours,
        _ycc_kinds,
        _jpeg_kinds,
        _compressions,
        _structures,
        _awkward,
    ):
        yield from some()
