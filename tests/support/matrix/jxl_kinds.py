"""JPEG XL, written by hand: lossless (modular) codestreams of one group (ISO/IEC 18181-1).

Each sample is a token of a prefix code, whose codes are all equally long, and the bits below it.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from support.jp2 import box
from support.matrix import profiles
from support.matrix.chart import FRACTIONS, GRAYS, LAB, RGB, Array, Kind, grays, painted
from support.matrix.colours import P3, SRGB, curved, lab_of_srgb, light_of_lab

Field = tuple[int, int]
"""A value and its number of bits, the lowest first."""
_SRGB: tuple[Field, ...] = ((1, 1),)
_ENUMERATED: tuple[Field, ...] = ((0, 1), (0, 1))
"""Of a colour encoding: not the default one, and no ICC profile."""
_RELATIVE: Field = (1, 2)
_BY_SRGB: tuple[Field, ...] = ((0, 1), (2, 2), (11, 4))
"""Transfer function 13."""
_LINEAR: tuple[Field, ...] = ((0, 1), (2, 2), (6, 4))
_GRAY = (*_ENUMERATED, (1, 2), (1, 2), *_BY_SRGB, _RELATIVE)
_P3 = (*_ENUMERATED, (0, 2), (1, 2), (2, 2), (9, 4), *_BY_SRGB, _RELATIVE)
_LINEAR_SRGB = (*_ENUMERATED, (0, 2), (1, 2), (1, 2), *_LINEAR, _RELATIVE)
_EIGHT: tuple[Field, ...] = ((0, 1), (0, 2))
_HALVES: tuple[Field, ...] = ((1, 1), (1, 2), (4, 4))
"""Floating point of 16 bits, 5 of them the exponent."""


def _integers(bits: int) -> tuple[Field, ...]:
    return ((0, 1), (3, 2), (bits - 1, 6))


def _packed(fields: Sequence[Field]) -> bytes:
    """The fields, padded to whole bytes."""
    text = "".join(format(value, f"0{bits}b")[::-1] for value, bits in fields if bits)
    text += "0" * (-len(text) % 8)
    return int(text[::-1], 2).to_bytes(len(text) // 8, "little")


def _side(pixels: int) -> tuple[Field, ...]:
    return ((0, 2), (pixels - 1, 9))


def jxl(
    pixels: Array,
    colours: Sequence[Field] = _SRGB,
    depth: Sequence[Field] = _EIGHT,
    *,
    extra: int | None = None,
    orientation: int = 1,
) -> bytes:
    """A codestream of the samples: rows, columns, channels; the last may be
    an extra one of a type (0: alpha, 4: black).
    """
    height, width, _ = pixels.shape
    turned: tuple[Field, ...] = ((0, 1),)
    if orientation > 1:
        turned = ((1, 1), (orientation - 1, 3), (0, 1), (0, 1), (0, 1))
    tone: tuple[Field, ...] = ((1, 1),) if orientation > 1 else ()
    more = extra is not None
    channel: tuple[Field, ...] = ()
    if extra is not None:
        kind = ((2, 2), (extra - 2, 4)) if extra > 1 else ((extra, 2),)
        channel = ((0, 1), *kind, *depth, (0, 2), (0, 2), *(((0, 1),) if extra == 0 else ()))
    head = _packed(
        (
            *((0, 1), *_side(height), (0, 3), *_side(width)),
            *((0, 1), *turned, *depth, (0, 1), (int(more), 2), *channel),
            *((0, 1), *colours, *tone, (0, 2), (1, 1)),
        )
    )
    frame: tuple[Field, ...] = (
        *((0, 1), (0, 2), (1, 1), (0, 2), (0, 1)),  # regular, modular, no flags, no YCbCr
        *((0, 2), *[(0, 2)] * more, (1, 2), (0, 2)),  # not upsampled; groups of 256; one pass
        *((0, 1), (0, 2), *[(0, 2)] * more, (1, 1), (0, 2)),  # not cropped; replaces; the last
        *((0, 1), (0, 1), (0, 2), (0, 2), (0, 2)),  # no filter, no extension
        (0, 1),  # the table of contents is in order
    )
    group = _group(pixels)
    size = ((1, 2), (len(group) - 1024, 14)) if len(group) < 17_408 else None
    size = size or ((2, 2), (len(group) - 17_408, 22))
    return b"\xff\x0a" + head + _packed(frame) + _packed(size) + group


def _group(pixels: Array) -> bytes:
    """The only group: a tree of one leaf, whose prediction is 0, and the samples."""
    tree: tuple[Field, ...] = (
        *((1, 1), (1, 1)),  # quantisation by default, and a tree for all
        *((0, 1), (1, 1), (0, 2)),  # no LZ77, all contexts have one code
        *((1, 1), (0, 4), (0, 1)),  # of prefixes: numbers are all 0, in no bits
    )
    lengths = [(0, 2)] * 18
    lengths[5] = (2, 2)  # of the lengths, in the order of RFC 7932, 3.5: only 5 is used
    code: tuple[Field, ...] = (
        *((0, 1), (1, 1), (0, 4)),  # no LZ77, a prefix code, no bits of a token but its length
        *((1, 1), (4, 4), (15, 4)),  # 32 tokens
        *((0, 2), *lengths),
    )
    whole: tuple[Field, ...] = ((1, 1), (1, 1), (0, 2))  # the tree for all, no transformation
    samples = np.moveaxis(pixels, 2, 0).ravel().astype(int) * 2  # a sign is the lowest bit
    tokens = {value: _token(int(value)) for value in np.unique(samples)}
    return _packed([*tree, *code, *whole, *(f for value in samples for f in tokens[value])])


def _token(value: int) -> tuple[Field, ...]:
    bits = value.bit_length()
    prefix = int(format(bits, "05b")[::-1], 2)
    return ((prefix, 5), (value - (1 << bits >> 1), max(0, bits - 1)))


def _boxed(stream: bytes) -> bytes:
    start = b"\0\0\0\x0cJXL \r\n\x87\n"
    return start + box(b"ftyp", b"jxl \0\0\0\0jxl ") + box(b"jxlc", stream)


def kinds() -> Iterator[Kind]:
    """All kinds of JPEG XL."""
    half = np.hstack((RGB, np.full((24, 1), 128)))
    mixed = lab_of_srgb((FRACTIONS * 128 + 127) / 255)
    p3 = profiles.as_bytes(curved(light_of_lab(LAB, P3)))
    linear = profiles.as_words(light_of_lab(LAB, SRGB))
    yield Kind("jxl RGB", lambda: jxl(painted(RGB)))
    yield Kind("jxl RGB in boxes", lambda: _boxed(jxl(painted(RGB))))
    for bits in (5, 10, 12, 16):
        whole = np.rint(FRACTIONS * ((1 << bits) - 1)).astype(int)
        lab = lab_of_srgb(whole / ((1 << bits) - 1))
        deep = partial(jxl, painted(whole), _SRGB, _integers(bits))
        yield Kind(f"jxl RGB {bits} bits", deep, lab)
    floats = FRACTIONS.astype(np.float16).view(np.uint16)
    yield Kind("jxl RGB float 16 bits", lambda: jxl(painted(floats), _SRGB, _HALVES))
    yield Kind("jxl gray", lambda: jxl(painted(GRAYS), _GRAY), grays()[1])
    yield Kind("jxl RGBA half", lambda: jxl(painted(half), extra=0), mixed, dithered=True)
    yield Kind("jxl Display P3", lambda: jxl(painted(p3), _P3), near=1)
    yield Kind(
        "jxl linear 16 bits", lambda: jxl(painted(linear), _LINEAR_SRGB, _integers(16)), near=1
    )
    for orientation in range(2, 9):
        pixels = painted(RGB, orientation)
        turned = partial(jxl, pixels, orientation=orientation)
        yield Kind(f"jxl orientation {orientation}", turned)
