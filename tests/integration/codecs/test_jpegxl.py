"""JPEG XL: colours, orientation and profiles of files from an encoder."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.probe import probe, probe_file
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalRefusedError,
    OriginalTooLargeError,
    PageNotFoundError,
)
from iiif_server.plan.header import Profile
from iiif_server.plan.local_file import LocalFile
from support.jxls import JXLS, LEFT, RIGHT
from support.pictures import wide_profile
from support.rendering import write_file

GRAYS = ((88,) * 3, (70,) * 3)
UPRIGHT = sorted(JXLS.keys() - {"turned"})


@pytest.mark.parametrize("name", UPRIGHT)
def test_colours_are_right_in_every_view(name: str, tmp_path: Path) -> None:
    left, right = GRAYS if name == "gray" else (LEFT, RIGHT)
    with open_image(write_file(tmp_path, JXLS[name])) as image:
        assert image.info.gray is (name == "gray")
        for format_, near in (("png", 6), ("jpg", 8)):
            for region, size in (("full", "max"), ("full", "16,"), ("24,4,16,8", "max")):
                made = Image.open(BytesIO(image.render(region=region, size=size, format=format_)))
                pixels = np.asarray(made.convert("RGBA"))[:, :, :3].astype(int)
                assert np.abs(pixels[1, 1] - left).max() <= near, (format_, region, size)
                if name != "alpha":
                    assert np.abs(pixels[1, -2] - right).max() <= near, (format_, region, size)


def test_alpha_is_kept(tmp_path: Path) -> None:
    with open_image(write_file(tmp_path, JXLS["alpha"])) as image:
        made = Image.open(BytesIO(image.render(format="png")))
    assert made.getpixel((4, 4)) == (*LEFT, 255)
    assert made.getpixel((60, 4)) == (*RIGHT, 128)


@pytest.mark.parametrize("name", ["icc", "lossy icc"])
def test_colours_keep_their_profile(name: str, tmp_path: Path) -> None:
    with open_image(write_file(tmp_path, JXLS[name])) as image:
        made = Image.open(BytesIO(image.render(format="png")))
    assert made.info["icc_profile"] == wide_profile()


def test_srgb_is_left_out(tmp_path: Path) -> None:
    assert probe(write_file(tmp_path, JXLS["lossy"]), 10**9).profile is Profile.SRGB


def test_the_orientation_is_applied_once(tmp_path: Path) -> None:
    with open_image(write_file(tmp_path, JXLS["turned"])) as image:
        assert (image.info.width, image.info.height) == (48, 64)
        made: Any = Image.open(BytesIO(image.render(format="png"))).convert("RGB")
    assert np.abs(np.array(made.getpixel((40, 4))) - LEFT).max() <= 6
    assert np.abs(np.array(made.getpixel((4, 60))) - RIGHT).max() <= 6


def test_an_animation_has_one_page(tmp_path: Path) -> None:
    file = LocalFile.at(write_file(tmp_path, JXLS["anim"]))
    with pytest.raises(PageNotFoundError):
        probe_file(file, max_pixels=10**9, page=2)


def test_pixels_are_limited_before_the_decoder(tmp_path: Path) -> None:
    path = write_file(tmp_path, JXLS["rgb"])
    assert probe(path, 64 * 48).stored.area == 64 * 48
    with pytest.raises(OriginalTooLargeError, match="3,072 pixels"):
        probe(path, 64 * 48 - 1)


@pytest.mark.parametrize("name", sorted(JXLS.keys() - {"anim"}))
def test_files_cut_anywhere_are_damaged(name: str, tmp_path: Path) -> None:
    data = JXLS[name]
    for length in range(12, len(data) - 1, 5):
        path = write_file(tmp_path, data[:length])
        with pytest.raises(DamagedOriginalError), open_image(path) as image:
            image.render()


@pytest.mark.parametrize("name", JXLS)
def test_any_flipped_bit_is_shown_or_refused(name: str, tmp_path: Path) -> None:
    data = JXLS[name]
    for at in range(2, min(len(data), 160), 3):
        flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        path = write_file(tmp_path, flipped)
        with (
            suppress(OriginalRefusedError),
            open_image(path, max_source_pixels=1_000_000) as image,
        ):
            made = Image.open(BytesIO(image.render(size="!64,64", format="png")))
            assert max(made.size) <= 64
