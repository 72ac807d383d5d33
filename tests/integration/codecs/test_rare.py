"""TGA, PCX and LogLuv: errors are reported before, or by, the decoder."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iiif_server.codecs.decode import load
from iiif_server.codecs.jobs import render
from iiif_server.codecs.measure import measure_range
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    NotAnImageError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import Bounds, OriginalFormat
from iiif_server.plan.sample_ranges import has_range
from support.growth import measure_growth
from support.matrix.chart import RGB, painted
from support.matrix.colours import curved
from support.matrix.rare_kinds import KINDS, log_l, log_luv, logluv, pcx, tga
from support.rendering import EVERYTHING, derive, plan_request, write_file
from support.tiff_samples import TiffFile

TGA, PCX = KINDS["tga 24 bits run lengths"], KINDS["pcx RGB"]
PNG = "full/max/0/default.png"


def sized(data: bytes, width: int, height: int) -> bytes:
    """Change the dimensions in the header of a file."""
    if data[0] == 10:
        return data[:8] + struct.pack("<HH", width - 1, height - 1) + data[12:]
    return data[:12] + struct.pack("<HH", width, height) + data[16:]


@pytest.mark.parametrize("data", [TGA, PCX], ids=["tga", "pcx"])
def test_dimensions_are_limited(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(OriginalTooLargeError, match="pixels"):
        probe(write_file(tmp_path, sized(data, 60_000, 60_000)), 10**9, EVERYTHING)
    with pytest.raises(DamagedOriginalError, match="truncated"):
        probe(write_file(tmp_path, sized(data, 20_000, 20_000)), 10**9, EVERYTHING)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_end_early_are_damaged(kind: str, tmp_path: Path) -> None:
    data = KINDS[kind]
    palette = 769 if kind == "pcx palette" else 0
    path = write_file(tmp_path, data[: len(data) - palette - 300])
    with pytest.raises(DamagedOriginalError):
        derive(path, PNG, bounds=EVERYTHING)


@pytest.mark.parametrize("data", [TGA, PCX], ids=["tga", "pcx"])
def test_a_decoder_takes_what_is_estimated(data: bytes, tmp_path: Path) -> None:
    side = 3000
    pixels = np.zeros((side, side, 3), np.uint8)
    whole = tga(2, pixels)
    if data is PCX:
        whole = sized(pcx(np.zeros((side, 3 * side)), 8, 3), side, side)
    plan = plan_request(write_file(tmp_path, whole), PNG, bounds=EVERYTHING)
    assert measure_growth(render, plan) < cost_of_render(plan).bytes


def test_a_tga_has_no_signature_but_possible_numbers(tmp_path: Path) -> None:
    data = tga(2, painted(RGB))
    for at, value in ((1, 2), (2, 4), (7, 9), (16, 12), (17, 0x40)):
        path = write_file(tmp_path, data[:at] + bytes([value]) + data[at + 1 :])
        with pytest.raises(NotAnImageError):
            probe(path, 10**9, EVERYTHING)


def test_each_format_may_be_read_alone(tmp_path: Path) -> None:
    only = Bounds(formats=frozenset({OriginalFormat.TGA}))
    assert probe(write_file(tmp_path, TGA), 10**9, only).format is OriginalFormat.TGA
    with pytest.raises(UnsupportedOriginalError):
        probe(write_file(tmp_path, PCX), 10**9, only)


def test_a_palette_without_need_is_unsupported(tmp_path: Path) -> None:
    """Unsupported, not damaged: the format permits it, and the decoder does not read it."""
    data = tga(2, painted(RGB))
    mapped = data[:1] + b"\1" + data[2:5] + b"\x10\0\x18" + data[8:18] + bytes(48) + data[18:]
    with pytest.raises(UnsupportedOriginalError, match="palette"):
        probe(write_file(tmp_path, mapped), 10**9, EVERYTHING)


# --- light in logarithms --------------------------------------------------------------------

WHITE = int(log_luv(np.array([[0.9505, 1, 1.089]]))[0]) & 0xFFFF
LUMINANCES = (0, 2.0**-20, 0.18, 0.5, 1.0, 4.0, 2.0**40)


def lights(kind: int = 32, **options: Any) -> bytes:
    """Row of white pixels with these luminances."""
    codes = log_l(np.array(LUMINANCES))
    return logluv((codes if kind == 16 else codes << 16 | WHITE)[None, :, None], kind, **options)


def shown(path: Path, span: tuple[float, float] | None = None) -> Any:
    header = replace(probe(path, 10**9, EVERYTHING), sample_range=span)
    with path.open("rb") as file:
        return load(file.fileno(), header, 1).numpy().reshape(len(LUMINANCES), -1) / 65_535


@pytest.mark.parametrize("kind", [32, 16], ids=["LogLuv", "LogL"])
@pytest.mark.parametrize("span", [None, (0.0, 4.0), (0.1, 1.0)])
def test_a_luminance_of_1_is_white_or_what_was_chosen(
    span: tuple[float, float] | None, kind: int, tmp_path: Path
) -> None:
    low, high = span or (0, 1)
    expected = curved((np.array(LUMINANCES) - low) / (high - low))
    found = shown(write_file(tmp_path, lights(kind)), span)
    assert np.abs(found - expected[:, None]).max() < (0.005 if kind == 16 else 0.03)


def test_the_range_of_light_is_that_of_luminance(tmp_path: Path) -> None:
    path = write_file(tmp_path, lights())
    header = probe(path, 10**9, EVERYTHING)
    assert has_range(header)
    found = measure_range(LocalFile.at(path), header=header)
    assert found == pytest.approx((0, 2.0**40), rel=0.003)


def test_impossible_chromaticities_are_shown(tmp_path: Path) -> None:
    codes = np.array([[0x4000_0000, 0x4000_FFFF, 0x4000_FF00, 0x4000_00FF, 0xC000_8080]])
    path = write_file(tmp_path, logluv(codes[:, :, None], 32))
    assert derive(path, PNG, bounds=EVERYTHING).image.size == (5, 1)


@pytest.mark.parametrize(
    "data",
    [
        TiffFile(painted(RGB), 32_845).write(),
        TiffFile(painted(RGB), 2, compression=34_676, pack=bytes).write(),
        lights(16, samples=2),
        logluv(log_l(np.ones((4, 4, 1))) << 16 | WHITE, 32, planar=True, pieces=[b"\4\0"] * 3),
    ],
    ids=["uncompressed", "of RGB", "another sample", "planar"],
)
def test_light_that_libtiff_does_not_unpack_is_unsupported(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOriginalError):
        probe(write_file(tmp_path, data), 10**9, EVERYTHING)


def test_light_that_ends_early_is_damaged(tmp_path: Path) -> None:
    codes = log_l(np.ones((8, 8, 1))) << 16 | WHITE
    path = write_file(tmp_path, logluv(codes, 32, rows=8, pack=lambda data: data[:20]))
    with pytest.raises(DamagedOriginalError):
        derive(path, PNG, bounds=EVERYTHING)


def test_light_takes_what_is_estimated(tmp_path: Path) -> None:
    codes = np.full((2_000, 2_000, 1), 0x4000_0000 | WHITE, np.uint32)
    path = write_file(tmp_path, logluv(codes, 32, rows=2_000))
    plan = plan_request(path, PNG, bounds=EVERYTHING)
    assert measure_growth(render, plan) < cost_of_render(plan).bytes
