"""HEIC: photographs of phones."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.original_format import Bounds, OriginalFormat
from support.heic import HALVES, LEFT, RIGHT, with_code_points


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


def test_an_operator_may_leave_it_out(tmp_path: Path) -> None:
    formats = frozenset(OriginalFormat) - {OriginalFormat.HEIF}
    with pytest.raises(UnsupportedOriginalError):
        probe(written(tmp_path, HALVES), 10**9, Bounds(formats=formats))
