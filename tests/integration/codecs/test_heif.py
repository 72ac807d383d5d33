"""HEIC: photographs of phones."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.jobs import render
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.original_format import Bounds, OriginalFormat
from support.growth import measure_growth
from support.heic import HALVES, LEFT, RIGHT, with_code_points
from support.matrix.heif_kinds import Heif, hevc, nclx, picture
from support.rendering import plan_request


def written(folder: Path, data: bytes) -> Path:
    path = folder / "original.heic"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("format_", ["png", "jpg"])
@pytest.mark.parametrize(
    ("region", "size"), [("full", "max"), ("full", "24,"), ("8,4,32,16", "max")]
)
def test_colours_are_right_in_every_view(
    region: str, size: str, format_: str, tmp_path: Path
) -> None:
    with open_image(written(tmp_path, HALVES)) as image:
        assert (image.info.format, image.info.width, image.info.height) == ("HEIF", 48, 24)
        data = image.render(region=region, size=size, format=format_)
    made = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(made[2, 1] - LEFT).max() <= 6
    assert np.abs(made[2, -2] - RIGHT).max() <= 6


@pytest.mark.parametrize(
    ("points", "red"), [((12, 13), (219, 0, 26)), ((1, 13), LEFT), ((2, 2), LEFT)]
)
def test_code_points_count(points: tuple[int, int], red: tuple[int, ...], tmp_path: Path) -> None:
    """Display P3, sRGB, unspecified."""
    with open_image(written(tmp_path, with_code_points(*points))) as image:
        made = Image.open(BytesIO(image.render(format="gif"))).convert("RGB")
    assert np.abs(np.asarray(made).astype(int)[2, 2] - red).max() <= 6


def test_more_pixels_than_are_read_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, HALVES)  # coded as 64 x 64, of which 48 x 24 are shown
    assert probe(path, 64 * 64).dimensions == Dimensions(48, 24)
    with pytest.raises(OriginalTooLargeError):
        probe(path, 64 * 64 - 1)


@pytest.mark.parametrize("length", [40, 200, len(HALVES) - 20])
def test_a_file_that_is_cut_short_is_damaged(length: int, tmp_path: Path) -> None:
    with (
        pytest.raises(DamagedOriginalError),
        open_image(written(tmp_path, HALVES[:length])) as image,
    ):
        image.render(format="png")


@pytest.mark.parametrize(
    ("bits", "format_"),
    [(8, "yuv420p"), (10, "yuv420p10le"), (10, "gray10le"), (12, "gbrp12le")],
)
def test_a_decoder_takes_what_is_estimated(bits: int, format_: str, tmp_path: Path) -> None:
    side, type_ = 2_000, np.uint8 if bits == 8 else np.uint16
    chroma = side // 2 if format_.startswith("yuv") else side
    planes = [np.full((side, side), 99, type_)]
    if not format_.startswith("gray"):
        planes += [np.full((chroma, chroma), 99, type_)] * 2
    coded, matrix = hevc(planes, format_, ranged=True), 0 if format_.startswith("g") else 6
    colours = nclx(1, 13, matrix, ranged=True)
    item = picture(coded, (side, side), colours, bits=bits, count=len(planes))
    plan = plan_request(written(tmp_path, Heif([item]).write()), "full/max/0/default.png")
    assert measure_growth(render, plan) < cost_of_render(plan).bytes


def test_an_operator_may_leave_it_out(tmp_path: Path) -> None:
    formats = frozenset(OriginalFormat) - {OriginalFormat.HEIF}
    with pytest.raises(UnsupportedOriginalError):
        probe(written(tmp_path, HALVES), 10**9, Bounds(formats=formats))
