"""TIFFs of every kind of sample: correct colours in full views, parts, reduced, and JPEG."""

import lzma
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError, UnsupportedOriginalError
from iiif_server.plan.header import Reader
from iiif_server.sources.content_coding import zstd
from support.rendering import derive
from support.tiff_samples import TiffFile

SIDE = 48
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)
RATIONAL, SHORT, DOUBLE = 5, 3, 12


def halves(left: Any, right: Any, type_: Any = np.uint8) -> NDArray[Any]:
    """Picture with one colour in the left half and one in the right."""
    values = np.empty((SIDE, SIDE, len(left)), type_)
    values[:, : SIDE // 2], values[:, SIDE // 2 :] = left, right
    return values


def ycbcr(rgb: tuple[int, ...]) -> tuple[int, ...]:
    r, g, b = rgb
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return round(y), round((b - y) / 1.772 + 128), round((r - y) / 1.402 + 128)


def units(across: int, down: int) -> list[bytes]:
    """Strip of subsampled YCbCr."""
    columns, rows = SIDE // across, -(-SIDE // down)
    left, right = (
        bytes([y] * across * down + [cb, cr]) for y, cb, cr in (ycbcr(LEFT), ycbcr(RIGHT))
    )
    return [(left * (columns // 2) + right * (columns // 2)) * rows]


def gray(value: int) -> tuple[int, int, int]:
    return (value, value, value)


RGB, RGB16 = halves(LEFT, RIGHT), halves(LEFT, RIGHT, np.uint16) * 257
WHOLE_STRIP = {278: (4, [SIDE])}
HALF = (LEFT, RIGHT)
KINDS: dict[str, tuple[TiffFile, tuple[Any, Any]]] = {
    "RGB": (TiffFile(RGB, 2), HALF),
    "a sample of which nothing is known": (
        TiffFile(np.dstack((RGB, RGB[:, :, 0] * 0)), 2, extra=[0]),
        HALF,
    ),
    "the same without ExtraSamples": (TiffFile(np.dstack((RGB, RGB[:, :, 0] * 0)), 2), HALF),
    "the same in 16 bits": (
        TiffFile(np.dstack((RGB16, RGB16[:, :, 0] * 0)), 2, bits=16, extra=[0]),
        HALF,
    ),
    "alpha behind an unknown sample": (
        TiffFile(np.dstack((RGB, RGB[:, :, 0] * 0, RGB[:, :, 0] * 0 + 255)), 2, extra=[0, 2]),
        HALF,
    ),
    "seven samples": (TiffFile(np.dstack((RGB, *[RGB[:, :, :1] * 0] * 4)), 2, extra=[0] * 4), HALF),
    "planar": (TiffFile(RGB, 2, planar=True), HALF),
    "planar in tiles": (TiffFile(RGB, 2, planar=True, tile=(16, 32)), HALF),
    "planar in 16 bits, big-endian": (TiffFile(RGB16, 2, bits=16, planar=True, order=">"), HALF),
    "BigTIFF in tiles, deflate": (TiffFile(RGB, 2, tile=(32, 16), deflate=True, big=True), HALF),
    "a tile larger than the image": (TiffFile(RGB, 2, tile=(1024, 512), deflate=True), HALF),
    "gray of 12 bits": (
        TiffFile(halves([2000], [4095], np.uint16), 1, bits=12),
        (gray(125), gray(255)),
    ),
    "gray of 4 bits beside an unknown sample": (
        TiffFile(halves([5, 0], [10, 0]), 1, bits=4, extra=[0]),
        (gray(85), gray(170)),
    ),
    "gray of 10 bits": (
        TiffFile(halves([0], [512], np.uint16), 1, bits=10),
        (gray(0), gray(128)),
    ),
    "gray of 6 bits, white is 0": (
        TiffFile(halves([0], [63]), 0, bits=6),
        (gray(255), gray(0)),
    ),
    "gray of 14 bits in tiles": (
        TiffFile(halves([0], [8192], np.uint16), 1, bits=14, tile=(16, 16)),
        (gray(0), gray(128)),
    ),
    "RGB of 12 bits": (
        TiffFile(halves([4095, 0, 0], [0, 0, 4095], np.uint16), 2, bits=12),
        ((255, 0, 0), (0, 0, 255)),
    ),
    "32-bit integers": (
        TiffFile(halves([2**31], [2**32 - 1], np.uint32), 1, bits=32),
        (gray(128), gray(255)),
    ),
    "signed bytes": (TiffFile(halves([-128], [0], np.int8), 1), (gray(0), gray(128))),
    "signed in 64 bits": (
        TiffFile(halves([-(2**63)], [0], np.int64), 1, bits=64),
        (gray(0), gray(128)),
    ),
    "signed in 16 bits": (
        TiffFile(halves([-32768], [0], np.int16), 1, bits=16),
        (gray(0), gray(128)),
    ),
    "floating point": (
        TiffFile(halves([0.5], [1.0], np.float32), 1, bits=32),
        (gray(128), gray(255)),
    ),
    "floating point, beyond its range and not a number": (
        TiffFile(halves([np.nan], [7.0], np.float32), 1, bits=32),
        (gray(0), gray(255)),
    ),
    "floating point of 16 bits, RGB": (
        TiffFile(halves([1.0, 0, 0], [0, 0, 1.0], np.float16), 2, bits=16),
        ((255, 0, 0), (0, 0, 255)),
    ),
    "floating point of 64 bits with a span of its own": (
        TiffFile(
            halves([100.0], [300.0], np.float64),
            1,
            bits=64,
            tags={340: (DOUBLE, [100.0]), 341: (DOUBLE, [500.0])},
        ),
        (gray(0), gray(128)),
    ),
    "YCbCr": (TiffFile(halves(ycbcr(LEFT), ycbcr(RIGHT)), 6, tags={530: (SHORT, [1, 1])}), HALF),
    "YCbCr, chroma halved": (
        TiffFile(RGB, 6, pieces=units(2, 2), tags={530: (SHORT, [2, 2]), **WHOLE_STRIP}),
        HALF,
    ),
    "YCbCr, chroma a quarter across": (
        TiffFile(RGB, 6, pieces=units(4, 1), tags={530: (SHORT, [4, 1]), **WHOLE_STRIP}),
        HALF,
    ),
    "CIELab": (
        TiffFile(halves([128, 0, 0], [255, 0, 0]), 8),
        (gray(119), gray(255)),
    ),
    "CIELab with alpha": (
        TiffFile(halves([128, 0, 0, 255], [255, 0, 0, 255]), 8, extra=[2]),
        (gray(119), gray(255)),
    ),
    "CIELab, planar": (
        TiffFile(halves([128, 0, 0], [255, 0, 0]), 8, planar=True),
        (gray(119), gray(255)),
    ),
    "CIELab in 16 bits": (
        TiffFile(halves([32768, 72 * 256, 0], [65535, 0, 0], np.uint16), 8, bits=16),
        ((222, 35, 123), gray(255)),
    ),
    "ICCLab": (TiffFile(halves([128, 200, 128], [255, 128, 128]), 9), ((222, 35, 123), gray(255))),
    "ICCLab in 16 bits": (
        TiffFile(halves([32640, 51200, 32768], [65280, 32768, 32768], np.uint16), 9, bits=16),
        ((222, 35, 123), gray(255)),
    ),
    "ITULab": (TiffFile(halves([128, 128, 96], [255, 128, 96]), 10), (gray(119), gray(255))),
    "a palette": (
        TiffFile(
            halves([0], [1]),
            3,
            tags={320: (SHORT, [v * 257 for c in range(3) for v in (LEFT[c], RIGHT[c])] + [0] * 0)},
            bits=1,
        ),
        HALF,
    ),
    "a tile that is left out": (
        TiffFile(RGB, 2, tile=(48, 16), missing=[2]),
        HALF,
    ),
}


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def written(kind: TiffFile, folder: Path) -> Path:
    path = folder / "original.tif"
    path.write_bytes(kind.write())
    return path


@pytest.mark.parametrize("name", KINDS)
def test_colours_are_right_in_every_view(name: str, tmp_path: Path) -> None:
    kind, (left, right) = KINDS[name]
    with open_image(written(kind, tmp_path)) as image:
        assert (image.info.width, image.info.height) == (SIDE, SIDE)
        for format_, near in (("png", 2), ("jpg", 6)):
            for region, size, across in (
                ("full", "max", 2),
                ("full", "24,", 2),
                ("0,0,24,16", "max", 1),
                ("8,8,32,8", "16,", 2),
            ):
                data = image.render(region=region, size=size, format=format_)
                made = np.asarray(opened(data).convert("RGB")).astype(int)
                assert np.abs(made[1, 1] - left).max() <= near, (format_, region, size)
                if across == 2:
                    assert np.abs(made[1, -2] - right).max() <= near, (format_, region, size)


def test_inks_beyond_the_four_are_ignored(tmp_path: Path) -> None:
    four = halves([55, 215, 215, 0], [200, 180, 0, 30])
    five = np.dstack((four, four[:, :, 0] * 0))
    renders = []
    for kind in (TiffFile(four, 5), TiffFile(five, 5, extra=[0]), TiffFile(four, 5, planar=True)):
        with open_image(written(kind, tmp_path)) as image:
            assert not image.info.transparent
            renders.append(image.render(format="png"))
    assert renders[0] == renders[1] == renders[2]


def test_inks_with_names_are_those_of_cmyk(tmp_path: Path) -> None:
    """InkSet 2 says that names follow; decoders show the first four as CMYK."""
    four = halves([55, 215, 215, 0], [200, 180, 0, 30])
    renders = []
    for tags in ({}, {332: (SHORT, [2])}):
        with open_image(written(TiffFile(four, 5, tags=tags), tmp_path)) as image:
            renders.append([image.render(format=format_) for format_ in ("png", "jpg")])
    assert renders[0] == renders[1]


@pytest.mark.parametrize(("associated", "colour"), [(1, 100), (2, 200)])
def test_alpha_is_what_the_file_says_it_is(associated: int, colour: int, tmp_path: Path) -> None:
    values = halves([colour, 0, 0, 128], [0, 0, colour, 128])
    for planar in (False, True):  # by libvips and by arrays
        kind = TiffFile(values, 2, extra=[associated], planar=planar)
        with open_image(written(kind, tmp_path)) as image:
            assert image.info.transparent
            red, _, _, alpha = np.asarray(opened(image.render(format="png")))[3, 3].astype(int)
            assert (abs(red - 200) <= 2, alpha) == (True, 128), planar


def test_a_thumbnail_in_front_is_not_the_image(tmp_path: Path) -> None:
    thumbnail = TiffFile(RGB[:8, :8], 2, tags={254: (4, [1])}).write()
    path = tmp_path / "original.tif"
    path.write_bytes(TiffFile(RGB, 2).write(before=thumbnail))
    with open_image(path) as opened_image:
        assert (opened_image.info.width, opened_image.info.height) == (SIDE, SIDE)
        made = opened(opened_image.render(format="png")).convert("RGB")
        assert made.getpixel((2, 2)) == LEFT


def test_a_segment_that_ends_early_is_damage(tmp_path: Path) -> None:
    kind = TiffFile(halves([2000], [4095], np.uint16), 1, bits=12, tile=(48, 48), deflate=True)
    (piece,) = kind.encoded()
    path = written(replace(kind, pieces=[piece[: len(piece) // 2]]), tmp_path)
    with pytest.raises(DamagedOriginalError), open_image(path) as image:
        image.render(format="png")


@pytest.mark.parametrize("photometric", [4_000, 32_803, 32_844])
def test_samples_that_nothing_reads_are_unsupported_and_not_damaged(
    photometric: int, tmp_path: Path
) -> None:
    path = written(TiffFile(RGB, photometric), tmp_path)
    with pytest.raises(UnsupportedOriginalError, match=f"interpretation {photometric}"):
        probe(path, 10**9)


def test_too_few_samples_for_the_colours_are_damage(tmp_path: Path) -> None:
    with pytest.raises(DamagedOriginalError, match="too few samples"):
        probe(written(TiffFile(RGB[:, :, :2], 2), tmp_path), 10**9)


def test_arrays_cost_the_memory_that_they_take(tmp_path: Path) -> None:
    plain = probe(written(TiffFile(RGB, 2), tmp_path), 10**9)
    planar = probe(written(TiffFile(RGB, 2, planar=True), tmp_path), 10**9)
    assert (plain.reader, planar.reader) == (Reader.LIBVIPS, Reader.ARRAYS)
    assert planar.needs.part_bytes - plain.needs.part_bytes >= 3 * 2  # as decoded, and as colours


def codestream(values: NDArray[Any]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
    return buffer.getvalue()


def packbits(data: bytes) -> bytes:
    pieces = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


COMPRESSIONS: dict[str, tuple[int, Callable[[NDArray[Any]], bytes]]] = {
    "PackBits": (32_773, lambda v: packbits(v.tobytes())),
    "deflate, by its old number": (32_946, lambda v: zlib.compress(v.tobytes())),
    "LZMA": (34_925, lambda v: lzma.compress(v.tobytes())),
    "Zstandard": (50_000, lambda v: zstd.compress(v.tobytes())),
    "JPEG 2000": (34_712, codestream),
    "JPEG 2000 of Aperio": (33_005, codestream),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressions_are_read(name: str, tmp_path: Path) -> None:
    number, compress = COMPRESSIONS[name]
    kind = TiffFile(RGB, 2, pieces=[compress(RGB)], tags={259: (SHORT, [number]), **WHOLE_STRIP})
    with open_image(written(kind, tmp_path)) as image:
        made = np.asarray(opened(image.render(format="png")).convert("RGB")).astype(int)
        part = np.asarray(opened(image.render(region="30,30,10,10", format="png")).convert("RGB"))
    assert np.abs(made[1, 1] - LEFT).max() <= 2
    assert np.abs(made[1, -2] - RIGHT).max() <= 2
    assert np.abs(part.astype(int)[5, 5] - RIGHT).max() <= 2


@pytest.mark.parametrize("name", [*COMPRESSIONS])
def test_compressed_data_that_are_cut_short_are_damage(name: str, tmp_path: Path) -> None:
    number, compress = COMPRESSIONS[name]
    piece = compress(RGB)
    kind = TiffFile(
        RGB, 2, pieces=[piece[: len(piece) // 2]], tags={259: (SHORT, [number]), **WHOLE_STRIP}
    )
    with pytest.raises(DamagedOriginalError), open_image(written(kind, tmp_path)) as image:
        image.render(format="png")


@pytest.mark.parametrize(
    "tags",
    [
        {340: (12, [-math.inf]), 341: (12, [math.inf])},
        {340: (2, [97, 0]), 341: (2, [98, 0])},
    ],
    ids=["infinite", "text"],
)
def test_a_range_in_the_file_that_is_none_is_ignored(
    tags: dict[int, tuple[int, list[float]]], tmp_path: Path
) -> None:
    values = np.array([[[0.0], [1.0]]])
    path = written(TiffFile(values, 1, bits=64, tags=tags), tmp_path)
    made = derive(path, "full/max/0/default.png").image.convert("L")
    assert [made.getpixel((x, 0)) for x in (0, 1)] == [0, 255]


def test_a_range_whose_ends_are_almost_infinite_is_shown(tmp_path: Path) -> None:
    values = np.array([[[-1.7e308], [0.0], [1.7e308]]])
    tags: dict[int, tuple[int, list[float]]] = {340: (12, [-1.7e308]), 341: (12, [1.7e308])}
    path = written(TiffFile(values, 1, bits=64, tags=tags), tmp_path)
    made = derive(path, "full/max/0/default.png").image.convert("L")
    assert [made.getpixel((x, 0)) for x in (0, 1, 2)] == [0, 128, 255]
