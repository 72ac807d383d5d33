"""PNG and TIFF with 16 bits per sample from deep originals (`encoding.depth`)."""

import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iiif_server import open_image
from iiif_server.plan.encoding import EncodingOptions
from support.deep import samples_of
from support.jp2 import enumerated, jp2
from support.jpegs import lossless
from support.matrix.ffmpeg import LOSSLESS_J2K, encoded, jpeg2000
from support.matrix.heif_kinds import Heif, av1, hevc, nclx, picture
from support.matrix.png_kinds import chunk, png
from support.pictures import wide_profile
from support.psds import psd
from support.tiff_samples import TiffFile

Array = NDArray[Any]
DEEP = EncodingOptions(depth=16)
SIDE = 32
rng = np.random.default_rng(1)
WORDS = rng.integers(0, 65_536, (SIDE, SIDE, 4), np.uint16)
"""Noise: all bits count."""
RGB, RGBA = np.ascontiguousarray(WORDS[:, :, :3]), WORDS
GRAY, GRAY_ALPHA = np.ascontiguousarray(WORDS[:, :, :1]), np.ascontiguousarray(WORDS[:, :, :2])


def from_bits(values: Array, bits: int) -> Array:
    return np.rint(values.astype(float) * 65_535 / ((1 << bits) - 1))


def j2k(values: Array, bits: int) -> bytes:
    planes = [np.ascontiguousarray(values[:, :, at]) for at in range(values.shape[2])]
    name = f"gray{bits}le" if len(planes) == 1 else f"yuv444p{bits}le"
    return encoded("jpeg2000", name, planes, options=LOSSLESS_J2K)


def ycc_12_bits() -> tuple[bytes, Array]:
    """Convert to sYCC by the formulas of IEC 61966-2-1, Amendment 1, in 12-bit levels."""
    ycc = np.stack([(WORDS[:, :, at] >> 6) + 1_536 for at in range(3)], axis=2)
    luma, blue, red = (ycc[:, :, at].astype(float) - (2_048 if at else 0) for at in range(3))
    colours = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    expected = np.clip(np.stack(colours, axis=2) * (65_535 / 4_095), 0, 65_535)
    return jp2(j2k(ycc.astype(np.uint16), 12), enumerated(18)), np.rint(expected)


def heic(values: Array, bits: int) -> bytes:
    """Write a lossless gray or RGB picture; HEVC stores green, blue, red."""
    gray = values.shape[2] == 1
    planes = [np.ascontiguousarray(values[:, :, at]) for at in ((0,) if gray else (1, 2, 0))]
    coded = hevc(planes, f"{'gray' if gray else 'gbrp'}{bits}le", ranged=True)
    colours = nclx(1, 13, 0, ranged=True)
    return Heif([picture(coded, values.shape, colours, bits=bits, count=len(planes))]).write()


FLOATS = WORDS[:, :, :1].astype(np.float32) / 65_535
LONGS = GRAY.astype(np.uint32) * 65_537
KINDS: dict[str, tuple[Callable[[], bytes], Array]] = {
    "png gray": (lambda: png(GRAY, 0, 16), GRAY),
    "png gray alpha": (lambda: png(GRAY_ALPHA, 4, 16), GRAY_ALPHA),
    "png rgb": (lambda: png(RGB, 2, 16), RGB),
    "png rgb interlaced": (lambda: png(RGB, 2, 16, interlaced=True), RGB),
    "png rgba": (lambda: png(RGBA, 6, 16), RGBA),
    "tiff gray": (TiffFile(GRAY, 1, 16).write, GRAY),
    "tiff white is 0": (TiffFile(GRAY, 0, 16).write, 65_535 - GRAY),
    "tiff rgb": (TiffFile(RGB, 2, 16, order=">").write, RGB),
    "tiff rgba": (TiffFile(RGBA, 2, 16, extra=[2]).write, RGBA),
    "tiff planar": (TiffFile(RGB, 2, 16, planar=True).write, RGB),
    "tiff tiles": (TiffFile(RGB, 2, 16, tile=(16, 16), deflate=True).write, RGB),
    "tiff 12 bits": (TiffFile(GRAY >> 4, 1, 12).write, from_bits(GRAY >> 4, 12)),
    "tiff 32 bits": (TiffFile(LONGS, 1, 32).write, GRAY),
    "tiff signed": (
        TiffFile((GRAY.astype(np.int32) - 32_768).astype(np.int16), 1, 16).write,
        GRAY,
    ),
    "tiff float": (TiffFile(FLOATS, 1, 32).write, GRAY),
    "jp2 gray": (lambda: jp2(j2k(GRAY, 16), enumerated(17), count=1), GRAY),
    "jp2 rgb": (lambda: jp2(jpeg2000(RGB), enumerated(16)), RGB),
    "jp2 12 bits": (
        lambda: jp2(j2k(RGB >> 4, 12), enumerated(16)),
        from_bits(RGB >> 4, 12),
    ),
    "jpeg lossless": (lambda: lossless(GRAY, 16), GRAY),
    "jpeg 12 bits lossless": (lambda: lossless(RGB >> 4, 12), from_bits(RGB >> 4, 12)),
    "jp2 sYCC": (lambda: ycc_12_bits()[0], ycc_12_bits()[1]),
    "psd": (lambda: psd(RGB, 3, bits=16), RGB),
    **{
        f"heic {name} {bits} bits": (
            partial(heic, values >> 16 - bits, bits),
            from_bits(values >> 16 - bits, bits),
        )
        for name, values in (("gray", GRAY), ("rgb", RGB))
        for bits in (10, 12)
    },
}


@cache
def original(name: str) -> tuple[bytes, Array]:
    write, expected = KINDS[name]
    return write(), np.asarray(expected).astype(np.int64)


def rendered(
    data: bytes, path: Path, *parameters: str, encoding: EncodingOptions = DEEP, **options: str
) -> bytes:
    path.write_bytes(data)
    with open_image(path, encoding=encoding) as image:
        return image.render(*parameters, **options)


@pytest.mark.parametrize("format_", ["png", "tif"])
@pytest.mark.parametrize("name", KINDS)
def test_samples_keep_their_bits(name: str, format_: str, tmp_path: Path) -> None:
    data, expected = original(name)
    views: list[tuple[tuple[str, str, str], Array]] = [
        (("full", "max", "0"), expected),
        (("3,5,20,16", "max", "0"), expected[5:21, 3:23]),
        (("0,0,16,16", "max", "90"), np.rot90(expected[:16, :16], -1)),
        (("full", "max", "!180"), np.rot90(expected[:, ::-1], 2)),
    ]
    for parameters, wanted in views:
        made = samples_of(rendered(data, tmp_path / "o", *parameters, format=format_))
        assert made.dtype == np.uint16
        assert made.shape == wanted.shape
        most = 3 if name == "jp2 sYCC" else 1  # by coefficients of 3 digits
        assert np.abs(made.astype(int) - wanted).max() <= most, parameters


@pytest.mark.parametrize("format_", ["png", "tif"])
@pytest.mark.parametrize("name", ["png gray", "png rgb", "tiff rgb", "tiff float", "jp2 gray"])
def test_the_default_is_8_bits(name: str, format_: str, tmp_path: Path) -> None:
    data, expected = original(name)
    plain = EncodingOptions()
    made = samples_of(rendered(data, tmp_path / "o", encoding=plain, format=format_))
    assert made.dtype == np.uint8
    assert np.abs(made.astype(int) - (expected >> 8)).max() <= 1


@pytest.mark.parametrize("format_", ["jpg", "webp", "gif", "avif", "jp2", "pdf"])
def test_other_formats_do_not_change(format_: str, tmp_path: Path) -> None:
    data, _ = original("png rgba")
    plain = rendered(data, tmp_path / "o", encoding=EncodingOptions(), format=format_)
    deep = rendered(data, tmp_path / "o", format=format_)
    assert len(deep) == len(plain)
    if format_ != "pdf":  # which has the time in it
        assert deep == plain


@pytest.mark.parametrize("format_", ["png", "tif"])
def test_originals_of_8_bits_and_bitonal_images_do_not_change(format_: str, tmp_path: Path) -> None:
    bytes_ = png((RGB >> 8).astype(np.uint8), 2)
    for data, quality in ((bytes_, "default"), (original("png rgb")[0], "bitonal")):
        made = [
            rendered(data, tmp_path / "o", quality=quality, format=format_, encoding=encoding)
            for encoding in (DEEP, EncodingOptions())
        ]
        assert made[0] == made[1]


@pytest.mark.parametrize("format_", ["png", "tif"])
def test_scaling_and_rotating_keep_levels_between_those_of_8_bits(
    format_: str, tmp_path: Path
) -> None:
    level = np.full((SIDE, SIDE, 3), (1_000, 30_001, 65_530), np.uint16)
    data = png(level, 2, 16)
    for size in ("16,", "20,11", "^50,"):
        made = samples_of(rendered(data, tmp_path / "o", "full", size, format=format_))
        assert np.abs(made.astype(int) - level[0, 0]).max() <= 1
    turned = samples_of(rendered(data, tmp_path / "o", "full", "max", "45", format=format_))
    middle = len(turned) // 2
    assert np.abs(turned[middle, middle].astype(int) - (1_000, 30_001, 65_530, 65_535)).max() <= 2
    assert turned[0, 0, 3] == 0


def linear(values: Array) -> Array:
    curved: Array = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return curved


def curved(values: Array) -> Array:
    found: Array = np.where(
        values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0) ** (1 / 2.4) - 0.055
    )
    return found


@pytest.mark.parametrize("format_", ["png", "tif"])
def test_gray_has_16_bits(format_: str, tmp_path: Path) -> None:
    data, expected = original("png rgb")
    made = samples_of(rendered(data, tmp_path / "o", quality="gray", format=format_))
    light = linear(expected / 65_535) @ (0.2126, 0.7152, 0.0722)
    assert made.dtype == np.uint16
    assert np.abs(made[:, :, 0] - curved(light) * 65_535).max() <= 40


def srgb_of_wide(values: Array) -> Array:
    """Convert by the curves of the profile and the matrix of sRGB (D50)."""
    to_xyz = np.array(
        [(0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457)]
    )
    srgb = np.array(
        [(0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)]
    )
    light = (values / 65_535) ** 2.19921875 @ (np.linalg.inv(srgb) @ to_xyz).T
    return np.clip(curved(light), 0, 1) * 65_535


@pytest.mark.parametrize("format_", ["png", "tif"])
def test_colours_are_converted_in_16_bits(format_: str, tmp_path: Path) -> None:
    moderate = (20_000 + RGB // 4).astype(np.uint16)
    opaque = np.concatenate((moderate, WORDS[:, :, 3:]), axis=2)
    small, large = (
        png(opaque, 6, 16, before=[chunk(b"iCCP", b"wide\0\0" + zlib.compress(profile))])
        for profile in (wide_profile(), wide_profile(padding=40_000))
    )
    assert (samples_of(rendered(small, tmp_path / "o", format=format_)) == opaque).all()
    made = samples_of(rendered(large, tmp_path / "o", format=format_))
    assert made.dtype == np.uint16
    off = np.abs(made[:, :, :3] - srgb_of_wide(moderate.astype(float)))
    # Only near the edge of the gamut, where a level of light is many of sRGB, it is more.
    assert (np.percentile(off, [50, 99, 100]) <= (5, 50, 150)).all()
    assert np.abs(made[:, :, 3].astype(int) - opaque[:, :, 3]).max() <= 1


@pytest.mark.parametrize("format_", ["png", "tif"])
def test_lab_is_converted_in_16_bits(format_: str, tmp_path: Path) -> None:
    lightness = np.arange(1_000, 65_000, 1_000).astype(np.uint16)[None, :, None].repeat(4, axis=0)
    lab = np.concatenate((lightness, np.zeros_like(lightness), np.zeros_like(lightness)), axis=2)
    data = TiffFile(lab, 8, 16).write()
    made = samples_of(rendered(data, tmp_path / "o", format=format_)).astype(int)
    light = lightness[:, :, 0] * (100 / 65_535)
    f = (light + 16) / 116
    expected = curved(np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)) * 65_535
    assert np.abs(made - expected[:, :, None]).max() <= 20


def test_white_of_an_avif_of_10_bits_is_white(tmp_path: Path) -> None:
    sides = (64, 32, 32)
    planes = [
        np.full((side, side), level, np.uint16)
        for side, level in zip(sides, (1_023, 512, 512), strict=True)
    ]
    stream = av1(planes, "yuv420p10le", ranged=True)
    item = picture(
        stream, (64, 64, 3), nclx(1, 13, 6, ranged=True), bits=10, type_=b"av01", count=3
    )
    made = samples_of(rendered(Heif([item], b"avif").write(), tmp_path / "o", format="png"))
    assert made.dtype == np.uint16
    assert made.min() >= 65_535 - 3 * 64


def test_jpeg_compression_of_tiff_is_for_8_bits(tmp_path: Path) -> None:
    encoding = EncodingOptions(depth=16, tiff_compression="jpeg")
    data, expected = original("png rgb")
    made = rendered(data, tmp_path / "o", encoding=encoding, format="tif")
    assert (samples_of(made) == expected).all()
