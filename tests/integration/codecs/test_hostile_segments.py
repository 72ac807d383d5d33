"""Strips and tiles of TIFFs whose own headers contradict the directory."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from iiif_server.codecs.jobs import render
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.header import Reader
from iiif_server.plan.render_plan import RenderPlan
from iiif_server.workers.admission import Lane, lane_of
from support.growth import measure_growth
from support.matrix.chart import RGB as RGB_OF_CHART
from support.matrix.chart import painted
from support.matrix.jxl_kinds import jxl
from support.matrix.rare_kinds import lerc
from support.rendering import EVERYTHING, derive, plan_request, write_file
from support.tiff_samples import TiffFile

SIDE = 64
LARGE = 20_000
"""Side of an image that takes 400 MB, at one byte a pixel."""
GRAY, RGB = np.zeros((SIDE, SIDE, 1), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)


def of_compression(
    compression: int, piece: bytes, tags: Mapping[int, tuple[int, list[float]]] | None = None
) -> bytes:
    """Gray TIFF of one tile with these bytes; samples of 16 bits are signed."""
    told: dict[int, tuple[int, list[float]]] = {259: (3, [compression]), **(tags or {})}
    values = GRAY.astype(np.int8)
    return TiffFile(values, 1, tile=(SIDE, SIDE), pieces=[piece], tags=told).write()


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(imagecodecs.jpeg_encode(GRAY[:, :, 0]))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg2000_of(side: int) -> bytes:
    data = bytearray(imagecodecs.jpeg2k_encode(GRAY[:, :, 0], codecformat="j2k"))
    at = data.index(b"\xff\x51")
    for place in (6, 22):
        data[at + place : at + place + 8] = struct.pack(">II", side, side)
    return bytes(data)


def lerc_of(height: int, width: int, bands: int = 1) -> bytes:
    """LERC blob of constant pixels, with other values in its header."""
    data = lerc(GRAY)
    return data[:14] + struct.pack("<3i", height, width, bands) + data[26:]


LIES: dict[str, Callable[[], tuple[int, Any]]] = {
    "jpeg": lambda: (7, jpeg_of(LARGE, LARGE)),
    "old jpeg": lambda: (6, jpeg_of(LARGE, LARGE)),
    "jpeg without a frame": lambda: (7, jpeg_of(LARGE, LARGE)[:100]),
    "jpeg 2000": lambda: (34_712, jpeg2000_of(LARGE)),
    "no jpeg 2000": lambda: (34_712, bytes(100)),
    "webp": lambda: (50_001, imagecodecs.webp_encode(np.zeros((3000, 3000, 3), np.uint8))),
    "webp without its container": lambda: (
        50_001,
        imagecodecs.webp_encode(np.zeros((3000, 3000, 3), np.uint8))[12:],
    ),
    "jpeg xl": lambda: (50_002, jxl(painted(RGB_OF_CHART))),
    "lerc": lambda: (34_887, lerc_of(LARGE, LARGE)),
    "lerc of many bands": lambda: (34_887, lerc_of(SIDE, SIDE, 9)),
    "lerc of no rows": lambda: (34_887, lerc_of(0, SIDE)),
    "lerc of several blobs": lambda: (34_887, 9 * lerc_of(SIDE, SIDE)),
    "lerc that is cut short": lambda: (34_887, lerc_of(SIDE, SIDE)[:30]),
    "zstd": lambda: (50_000, imagecodecs.zstd_encode(bytes(LARGE * LARGE // 4))),
}


@pytest.mark.parametrize("name", LIES)
def test_an_image_larger_than_its_tile_reaches_no_decoder(name: str, tmp_path: Path) -> None:
    compression, piece = LIES[name]()
    plan = planned_of(tmp_path, of_compression(compression, piece))
    with pytest.raises(DamagedOriginalError):
        render(plan)
    assert measure_growth(render_refused, plan) < cost_of_render(plan).bytes


OTHERS: dict[str, Callable[[], tuple[int, bytes]]] = {
    "jpeg 2000 of 16 bits": lambda: (
        34_712,
        bytes(imagecodecs.jpeg2k_encode(GRAY[:, :, 0].astype(np.uint16), codecformat="j2k")),
    ),
    "jpeg xl of 16 bits": lambda: (50_002, jxl_of(GRAY.astype(np.uint16))),
    "jpeg xl of floats": lambda: (50_002, jxl_of(GRAY.astype(np.float32))),
    "jpeg xl of colours": lambda: (50_002, jxl_of(RGB)),
    "jpeg xl of few rows": lambda: (50_002, jxl_of(GRAY[:8])),
    "lerc of floats": lambda: (34_887, bytes(imagecodecs.lerc_encode(np.zeros((SIDE, SIDE))))),
    "lerc of colours": lambda: (34_887, bytes(imagecodecs.lerc_encode(RGB))),
}
"""Images of a segment's size, whose samples are not those of the file."""


def jxl_of(values: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(values, lossless=True))


@pytest.mark.parametrize("name", OTHERS)
def test_samples_of_another_kind_than_the_file_has_are_damage(name: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedOriginalError, match="strips or tiles"):
        render(planned_of(tmp_path, of_compression(*OTHERS[name]())))


@pytest.mark.parametrize(
    ("compression", "encode"),
    [
        (5, imagecodecs.lzw_encode),
        (8, zlib.compress),
        (34_925, imagecodecs.lzma_encode),
        (50_000, imagecodecs.zstd_encode),
    ],
)
def test_subsampled_pixels_are_unpacked_to_their_own_size(
    compression: int, encode: object, tmp_path: Path
) -> None:
    piece = encode(bytes(32 << 20))  # type: ignore[operator]
    tags = {259: (3, [compression]), 530: (3, [2, 2])}
    data = TiffFile(RGB, 6, tile=(SIDE, SIDE), pieces=[piece], tags=tags).write()
    plan = planned_of(tmp_path, data)
    assert measure_growth(render_refused, plan) < cost_of_render(plan).bytes


@pytest.mark.parametrize("tag", [258, 259, 277, 284])
def test_sizes_in_other_than_whole_numbers_are_damage(tag: int, tmp_path: Path) -> None:
    """The parser would not read this type of number, and the decoder would."""
    values = np.zeros((SIDE, SIDE, 1), np.int8)
    data = TiffFile(values, 1, tags={tag: (12, [2_000_000.0])}).write()
    with pytest.raises(DamagedOriginalError, match="not integers"):
        probe(write_file(tmp_path, data), 10**9)


def test_tiles_with_depth_are_damage(tmp_path: Path) -> None:
    data = of_compression(8, zlib.compress(bytes(SIDE * SIDE)), {32_998: (4, [100_000])})
    with pytest.raises(DamagedOriginalError, match="depth"):
        derive(write_file(tmp_path, data), "full/max/0/default.png")


def test_segments_much_longer_than_their_pixels_are_not_read(tmp_path: Path) -> None:
    data = of_compression(8, zlib.compress(bytes(SIDE * SIDE)) + bytes(20 << 20))
    with pytest.raises(DamagedOriginalError, match="longer than their pixels"):
        derive(write_file(tmp_path, data), "full/max/0/default.png")


def test_a_million_tiles_of_a_pixel_are_no_tile_s_work(tmp_path: Path) -> None:
    count = 500 * 500
    values = np.zeros((500, 500, 1), np.int8)
    table: dict[int, tuple[int, list[float]]] = {324: (4, [8] * count), 325: (4, [1] * count)}
    data = TiffFile(values, 1, tile=(1, 1), pieces=[b"\0\0"], tags=table).write()
    plan = planned_of(tmp_path, data)
    cost = cost_of_render(plan)
    assert plan.header.reader is Reader.ARRAYS
    assert lane_of(SIDE, cost.bytes, cost.effort) is Lane.FULL


@pytest.mark.parametrize("photometric", [2, 6, 8])
def test_conversion_of_colours_takes_what_is_estimated(photometric: int, tmp_path: Path) -> None:
    values = np.zeros((1500, 1500, 4), np.uint8)
    data = TiffFile(
        values, photometric, extra=[1], planar=True, deflate=True, tags={530: (3, [1, 1])}
    ).write()
    plan = planned_of(tmp_path, data)
    assert measure_growth(render, plan) < cost_of_render(plan).bytes


def planned_of(folder: Path, data: bytes) -> RenderPlan:
    request, target = "full/!40,40/0/default.png", folder / "made"
    return plan_request(write_file(folder, data), request, target=target, bounds=EVERYTHING)


def render_refused(plan: RenderPlan) -> None:
    """Render an original that may be refused."""
    try:
        render(plan)
    except DamagedOriginalError:
        return


def test_what_tifffile_thinks_of_a_file_is_not_printed(tmp_path: Path) -> None:
    """A file can cause any number of warnings."""
    data = of_compression(8, zlib.compress(bytes(SIDE * SIDE)), {317: (3, [77] * 3)})
    broken = data.replace(struct.pack("<HHI", 317, 3, 3), struct.pack("<HHI", 317, 99, 3))
    write_file(tmp_path, broken)
    script = (
        "import sys; from pathlib import Path; "
        "from iiif_server.codecs.jobs import prepare_process, render; "
        "from support.rendering import plan_request; prepare_process(1, 1); "
        "render(plan_request(Path(sys.argv[1]), 'full/!40,40/0/default.png'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "original")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stderr == b""
