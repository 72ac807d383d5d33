"""TGA and PCX: what is wrong with a file is told before, or by, the decoder."""

import struct
from pathlib import Path

import numpy as np
import pytest

from iiif_server.codecs.jobs import render
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    NotAnImageError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.original_format import Bounds, OriginalFormat
from support.growth import growth
from support.matrix.chart import RGB, painted
from support.matrix.rare_kinds import KINDS, pcx, tga
from support.rendering import EVERYTHING, derive, planned, written

TGA, PCX = KINDS["tga 24 bits run lengths"], KINDS["pcx RGB"]
PNG = "full/max/0/default.png"


def sized(data: bytes, width: int, height: int) -> bytes:
    """The same file, said to have other dimensions."""
    if data[0] == 10:
        return data[:8] + struct.pack("<HH", width - 1, height - 1) + data[12:]
    return data[:12] + struct.pack("<HH", width, height) + data[16:]


@pytest.mark.parametrize("data", [TGA, PCX], ids=["tga", "pcx"])
def test_dimensions_are_limited(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(OriginalTooLargeError, match="pixels"):
        probe(written(tmp_path, sized(data, 60_000, 60_000)), 10**9, EVERYTHING)
    with pytest.raises(DamagedOriginalError, match="truncated"):
        probe(written(tmp_path, sized(data, 20_000, 20_000)), 10**9, EVERYTHING)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_end_early_are_damaged(kind: str, tmp_path: Path) -> None:
    data = KINDS[kind]
    palette = 769 if kind == "pcx palette" else 0
    path = written(tmp_path, data[: len(data) - palette - 300])
    with pytest.raises(DamagedOriginalError):
        derive(path, PNG, bounds=EVERYTHING)


@pytest.mark.parametrize("data", [TGA, PCX], ids=["tga", "pcx"])
def test_a_decoder_takes_what_is_estimated(data: bytes, tmp_path: Path) -> None:
    side = 3000
    pixels = np.zeros((side, side, 3), np.uint8)
    whole = tga(2, pixels)
    if data is PCX:
        whole = sized(pcx(np.zeros((side, 3 * side)), 8, 3), side, side)
    plan = planned(written(tmp_path, whole), PNG, bounds=EVERYTHING)
    assert growth(render, plan) < cost_of_render(plan).bytes


def test_a_tga_has_no_signature_but_possible_numbers(tmp_path: Path) -> None:
    data = tga(2, painted(RGB))
    for at, value in ((1, 2), (2, 4), (7, 9), (16, 12), (17, 0x40)):
        path = written(tmp_path, data[:at] + bytes([value]) + data[at + 1 :])
        with pytest.raises(NotAnImageError):
            probe(path, 10**9, EVERYTHING)


def test_each_format_may_be_read_alone(tmp_path: Path) -> None:
    only = Bounds(formats=frozenset({OriginalFormat.TGA}))
    assert probe(written(tmp_path, TGA), 10**9, only).format is OriginalFormat.TGA
    with pytest.raises(UnsupportedOriginalError):
        probe(written(tmp_path, PCX), 10**9, only)


def test_a_palette_without_need_is_unsupported(tmp_path: Path) -> None:
    """And not damaged: the format permits it, and the decoder does not read it."""
    data = tga(2, painted(RGB))
    mapped = data[:1] + b"\1" + data[2:5] + b"\x10\0\x18" + data[8:18] + bytes(48) + data[18:]
    with pytest.raises(UnsupportedOriginalError, match="palette"):
        probe(written(tmp_path, mapped), 10**9, EVERYTHING)
