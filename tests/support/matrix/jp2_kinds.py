"""JPEG 2000: depths, colour spaces, palettes and sampling; codestreams by FFmpeg and OpenJPH."""

import struct
from collections.abc import Callable, Iterator
from functools import partial

import imagecodecs
import numpy as np

from support.jp2 import box, channels, enumerated, mapping, palette
from support.matrix import profiles
from support.matrix.chart import (
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
from support.matrix.colours import ADOBE, full_range, light_of_lab, linear, ycbcr
from support.matrix.ffmpeg import LOSSLESS_J2K, encoded, jpeg2000
from support.matrix.inks import DEFAULT_INKS, DEFAULT_LAB

_SRGB, _GRAY, _SYCC, _ESYCC, _CMYK, _CMY, _LAB = 16, 17, 18, 24, 12, 11, 14
_TO_XYZ = np.array(
    (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
)
"""From linear sRGB to XYZ under its own white, D65 (IEC 61966-2-1)."""
_YCC = full_range(ycbcr(FRACTIONS))


def _file(
    stream: bytes, *inner: bytes, count: int = 3, bits: int = 8, brand: bytes = b"jp2 "
) -> bytes:
    signature = box(b"jP  ", b"\r\n\x87\n")
    kind = box(b"ftyp", brand + bytes(4) + brand)
    head = box(b"ihdr", struct.pack(">IIHBBBB", HEIGHT, WIDTH, count, bits - 1, 7, 0, 0))
    return signature + kind + box(b"jp2h", head + b"".join(inner)) + box(b"jp2c", stream)


def _icc(profile: bytes, method: int = 2) -> bytes:
    return box(b"colr", bytes([method, 0, 0]) + profile)


def _planes(values: Array, format_: str) -> bytes:
    planes = [np.ascontiguousarray(values[:, :, at]) for at in range(values.shape[2])]
    return encoded("jpeg2000", format_, planes, options=LOSSLESS_J2K)


def _shallow(values: Array, bits: int) -> bytes:
    """A codestream of few bits: it has differences to the middle of the range."""
    stream = bytearray(
        jpeg2000((values + 128 - (1 << (bits - 1))).astype(np.uint8), transform=False)
    )
    count = values.shape[2]
    assert stream[40:42] == struct.pack(">H", count)
    for number in range(count):
        stream[42 + 3 * number] = bits - 1
    return bytes(stream)


def _halved(values: Array, across: int, down: int, format_: str, type_: type = np.uint8) -> bytes:
    height, width, _ = values.shape
    padded = np.pad(values, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    cut = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across, 3)
    chroma = np.rint(cut.astype(float).mean(axis=(1, 3))).astype(type_)
    planes = [
        np.ascontiguousarray(values[:, :, 0]),
        *(np.ascontiguousarray(chroma[:, :, at]) for at in (1, 2)),
    ]
    return encoded("jpeg2000", format_, planes, options=LOSSLESS_J2K)


def _of_gray(stream: Callable[[], bytes], bits: int) -> bytes:
    return _file(stream(), enumerated(_GRAY), count=1, bits=bits)


def _of_rgb(stream: Callable[[], bytes], bits: int) -> bytes:
    return _file(stream(), enumerated(_SRGB), bits=bits)


def _depths() -> Iterator[Kind]:
    for bits in (1, 2, 3, 4, 5, 6, 7):
        most = (1 << bits) - 1
        values, lab = grays(1 << bits)
        whole = np.rint(values * most).astype(int)
        near = 0.6 if bits <= 4 else 0.0
        yield Kind(
            f"jp2 gray {bits} bits",
            partial(_of_gray, partial(_shallow, painted(whole), bits), bits),
            lab,
            near,
        )
    for bits in (8, 9, 10, 12, 14, 16):
        most = (1 << bits) - 1
        type_ = np.uint8 if bits == 8 else np.uint16
        values, lab = grays()
        end = "" if bits == 8 else f"{bits}le"
        deep = painted(np.rint(values * most).astype(type_))
        yield Kind(
            f"jp2 gray {bits} bits",
            partial(_of_gray, partial(_planes, deep, f"gray{end}"), bits),
            lab,
        )
        plain = "" if bits == 8 else f"p{bits}le"
        if bits != 8:
            rgb = painted(np.rint(FRACTIONS * most).astype(type_))
            yield Kind(
                f"jp2 RGB {bits} bits",
                partial(_of_rgb, partial(_planes, rgb, f"yuv444{plain}"), bits),
            )
    yield Kind("jp2 RGB", lambda: _file(jpeg2000(painted(RGB)), enumerated(_SRGB)))
    wide = painted(RGB.astype(np.uint16) * 257)
    yield Kind(
        "jp2 RGB 16 bits transformed", lambda: _file(jpeg2000(wide), enumerated(_SRGB), bits=16)
    )
    yield Kind(
        "jp2 RGB 5 bits",
        lambda: _file(
            _shallow(painted(np.rint(FRACTIONS * 31).astype(int)), 5), enumerated(_SRGB), bits=5
        ),
        near=1.5,
    )
    yield Kind("jp2 codestream", lambda: jpeg2000(painted(RGB)))
    yield Kind("jp2 codestream gray", lambda: jpeg2000(painted(GRAYS)), grays()[1])
    yield Kind("jp2 jpx", lambda: _file(jpeg2000(painted(RGB)), enumerated(_SRGB), brand=b"jpx "))


def _high_throughput() -> Iterator[Kind]:
    wide = painted(RGB.astype(np.uint16) * 257)
    for name, write, lab in (
        (
            "RGB",
            lambda: _file(
                bytes(imagecodecs.htj2k_encode(painted(RGB))), enumerated(_SRGB), brand=b"jph "
            ),
            LAB,
        ),
        (
            "RGB 16 bits",
            lambda: _file(
                bytes(imagecodecs.htj2k_encode(wide)), enumerated(_SRGB), bits=16, brand=b"jph "
            ),
            LAB,
        ),
        (
            "gray",
            lambda: _file(
                bytes(imagecodecs.htj2k_encode(painted(GRAYS)[:, :, 0])), enumerated(_GRAY), count=1
            ),
            grays()[1],
        ),
        (
            "tiles",
            lambda: _file(
                bytes(imagecodecs.htj2k_encode(painted(RGB), tile=(64, 64))), enumerated(_SRGB)
            ),
            LAB,
        ),
        (
            "without reductions",
            lambda: _file(
                bytes(imagecodecs.htj2k_encode(painted(RGB), resolutions=1)), enumerated(_SRGB)
            ),
            LAB,
        ),
        ("codestream", lambda: bytes(imagecodecs.htj2k_encode(painted(RGB))), LAB),
    ):
        yield Kind(f"jp2 HTJ2K {name}", write, lab)


def _labs() -> Iterator[tuple[str, Callable[[], bytes], Array, float]]:
    """CIELab by 16 bits, and with ranges, offsets and illuminants (ISO 15444-2, M.11.7.4.1)."""

    def given(lab: Array, illuminant: bytes) -> bytes:
        values = np.rint(lab * (2.55, 1, 1) + (0, 100, 120)).astype(np.uint8)
        tail = struct.pack(">6I", 100, 0, 255, 100, 255, 120) + b"\0" + illuminant
        colours = box(b"colr", struct.pack(">BBBI", 1, 0, 0, _LAB) + tail)
        return _file(jpeg2000(painted(values), transform=False), colours)

    kept = np.clip(LAB, (0, -85, -75), (100, 85, 125))
    words = kept / (100, 170, 200) * 65_535 + (0, 32_768, 24_576)
    deep = painted(np.clip(np.rint(words), 0, 65_535).astype(np.uint16))
    yield (
        "CIELab 16 bits",
        lambda: _file(_planes(deep, "yuv444p16le"), enumerated(_LAB), bits=16),
        kept,
        0.3,
    )
    yield "CIELab with ranges", lambda: given(LAB, b"D50"), LAB, 0.5
    # Under another white, the same colours have other numbers.
    cubes = np.cbrt(linear(FRACTIONS) @ _TO_XYZ.T / _TO_XYZ.sum(axis=1))
    low = cubes <= 6 / 29
    cubes[low] = (cubes[low] ** 3) * (841 / 108) + 4 / 29
    x, y, z = cubes.T
    under_d65 = np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=1)
    yield "CIELab under D65", lambda: given(under_d65, b"D65"), LAB, 0.5


def _spaces() -> Iterator[Kind]:
    def simple(values: Array) -> bytes:
        return jpeg2000(painted(values), transform=False)

    light, a, b = LAB.T
    lab = np.stack((light * 2.55, a * 1.5 + 128, b * 1.275 + 96), 1)
    lab = np.clip(np.rint(lab), 0, 255).astype(np.uint8)
    seen = (lab - np.array((0, 128, 96))) / (2.55, 1.5, 1.275)
    adobe = profiles.as_bytes(profiles.in_space(ADOBE, profiles.GAMMA))
    four = _four(np.rint(profiles.INKS * 255).astype(np.uint8))
    _, gray_lab = grays()
    luma = np.clip(light_of_lab(gray_lab, (0.64, 0.33, 0.30, 0.60, 0.15, 0.06))[:, 0], 0, 1)
    gray = np.rint(luma ** (1 / 1.8) * 255).astype(np.uint8)
    for name, data, expected, near in (
        ("no colour box", lambda: _file(simple(RGB)), LAB, 0),
        ("sYCC", lambda: _file(simple(_YCC), enumerated(_SYCC)), LAB, 0.5),
        (
            "sYCC halved",
            lambda: _file(_halved(painted(_YCC), 2, 2, "yuv420p"), enumerated(_SYCC)),
            LAB,
            0.5,
        ),
        (
            "sYCC halved across",
            lambda: _file(_halved(painted(_YCC), 2, 1, "yuv422p"), enumerated(_SYCC)),
            LAB,
            0.5,
        ),
        (
            "sYCC 10 bits halved",
            lambda: _file(
                _halved(painted(full_range(ycbcr(FRACTIONS), 10)), 2, 2, "yuv420p10le", np.uint16),
                enumerated(_SYCC),
                bits=10,
            ),
            LAB,
            0.5,
        ),
        (
            "sYCC 16 bits",
            lambda: _file(
                _planes(painted(full_range(ycbcr(FRACTIONS), 16)), "yuv444p16le"),
                enumerated(_SYCC),
                bits=16,
            ),
            LAB,
            0.5,
        ),
        ("e-sYCC", lambda: _file(simple(_YCC), enumerated(_ESYCC)), LAB, 0.5),
        (
            "e-sYCC halved",
            lambda: _file(_halved(painted(_YCC), 2, 2, "yuv420p"), enumerated(_ESYCC)),
            LAB,
            0.5,
        ),
        ("CMY", lambda: _file(simple(255 - RGB), enumerated(_CMY)), LAB, 0),
        *_labs(),
        ("CIELab", lambda: _file(simple(lab), enumerated(_LAB)), seen, 0.3),
        ("ICC", lambda: _file(simple(adobe), _icc(profiles.ADOBE_RGB)), LAB, 1),
        (
            "ICC, method 3",
            lambda: _file(simple(adobe), _icc(profiles.ADOBE_RGB, 3), brand=b"jpx "),
            LAB,
            1,
        ),
        (
            "ICC before enumerated",
            lambda: _file(simple(adobe), _icc(profiles.ADOBE_RGB), enumerated(_SRGB)),
            LAB,
            1,
        ),
        (
            "ICC 16 bits",
            lambda: _file(
                _planes(
                    painted(profiles.as_words(profiles.in_space(ADOBE, profiles.GAMMA))),
                    "yuv444p16le",
                ),
                _icc(profiles.ADOBE_RGB),
                bits=16,
            ),
            LAB,
            1,
        ),
        (
            "ICC by a table",
            lambda: _file(
                simple(np.rint(profiles.TABLE_VALUES * 255).astype(np.uint8)),
                _icc(profiles.table_rgb()),
            ),
            profiles.TABLE_LAB,
            1,
        ),
        ("ICC gray", lambda: _file(simple(gray), _icc(profiles.gray()), count=1), gray_lab, 0.5),
        ("ICC broken", lambda: _file(simple(RGB), _icc(profiles.ADOBE_RGB[:140])), LAB, 0),
        ("CMYK", lambda: _file(_four(DEFAULT_INKS), enumerated(_CMYK), count=4), DEFAULT_LAB, 0),
        ("CMYK ICC", lambda: _file(four, _icc(profiles.press()), count=4), profiles.INK_LAB, 0),
    ):
        yield Kind(f"jp2 {name}", data, expected, near)


def _four(values: Array) -> bytes:
    """A codestream of four components."""
    pixels = painted(values)
    height, width, _ = pixels.shape
    return encoded(
        "jpeg2000", "rgba", [pixels.reshape(height, width * 4)], width=width, options=LOSSLESS_J2K
    )


def _channels() -> Iterator[Kind]:
    swapped = jpeg2000(painted(RGB[:, ::-1].copy()), transform=False)
    order = channels((0, 0, 3), (1, 0, 2), (2, 0, 1))
    opaque, nothing = np.full((24, 1), 255, np.uint8), np.zeros((24, 1), np.uint8)
    index = np.arange(24, dtype=np.uint8)
    colours = palette(*[tuple(row) for row in RGB.tolist()])
    twice = palette((9, 9, 9), (9, 9, 9), *[tuple(row) for row in RGB.tolist()])
    few = palette(*[tuple(row) for row in RGB[:16].tolist()])
    alpha = channels((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))
    pair = np.stack((GRAYS, np.full(24, 255, np.uint8)), 1)
    for name, data, lab in (
        ("components in another order", lambda: _file(swapped, enumerated(_SRGB), order), LAB),
        (
            "opacity",
            lambda: _file(_four(np.hstack((RGB, opaque))), enumerated(_SRGB), alpha, count=4),
            LAB,
        ),
        (
            "a component without a definition",
            lambda: _file(_four(np.hstack((RGB, nothing))), enumerated(_SRGB), count=4),
            LAB,
        ),
        (
            "gray and opacity",
            lambda: _file(
                encoded(
                    "jpeg2000",
                    "ya8",
                    [painted(pair).reshape(HEIGHT, WIDTH * 2)],
                    width=WIDTH,
                    options=LOSSLESS_J2K,
                ),
                enumerated(_GRAY),
                channels((0, 0, 1), (1, 1, 0)),
                count=2,
            ),
            grays()[1],
        ),
        (
            "palette",
            lambda: _file(
                jpeg2000(painted(index)), enumerated(_SRGB), colours, mapping(0, 1, 2), count=1
            ),
            LAB,
        ),
        (
            "palette with equal entries",
            lambda: _file(
                jpeg2000(painted(index + 2)), enumerated(_SRGB), twice, mapping(0, 1, 2), count=1
            ),
            LAB,
        ),
        (
            "palette of 4 bits",
            lambda: _file(
                _shallow(painted(index.astype(int) % 16), 4),
                enumerated(_SRGB),
                few,
                mapping(0, 1, 2),
                count=1,
                bits=4,
            ),
            LAB[index % 16],
        ),
        (
            "palette with a profile",
            lambda: _file(
                jpeg2000(painted(index)),
                _icc(profiles.ADOBE_RGB),
                palette(
                    *[
                        tuple(row)
                        for row in profiles.as_bytes(
                            profiles.in_space(ADOBE, profiles.GAMMA)
                        ).tolist()
                    ]
                ),
                mapping(0, 1, 2),
                count=1,
            ),
            LAB,
        ),
    ):
        yield Kind(f"jp2 {name}", data, lab, 0.5)


def kinds() -> Iterator[Kind]:
    """All kinds of JPEG 2000."""
    for some in (_depths, _high_throughput, _spaces, _channels):
        yield from some()
