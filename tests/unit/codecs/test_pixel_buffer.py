"""Pixel buffers: scaling and orientation of small images."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs import pixel_buffer as pixel_buffer_module
from iiif_server.codecs import turbojpeg
from iiif_server.codecs.pixel_buffer import FloatBox, PixelBuffer
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.orientation import UPRIGHT, Orientation
from support import pictures
from support.pictures import Pixels
from support.rendering import psnr

WIDTH, HEIGHT = 211, 157

needs_scaling = pytest.mark.skipif(not pixel_buffer_module.CAN_SCALE, reason="no cykooz-resizer")


def picture(*, gray: bool = False) -> Pixels:
    pixels = pictures.photograph(WIDTH, HEIGHT)
    return np.ascontiguousarray(pixels[..., 0]) if gray else pixels


def rows_of(pixels: Pixels) -> PixelBuffer:
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    return PixelBuffer(bytearray(pixels.tobytes()), pixels.shape[1], pixels.shape[0], bands)


def pixels_of(rows: PixelBuffer) -> Pixels:
    shape = (rows.height, rows.width, rows.bands)
    return np.frombuffer(rows.pixels, np.uint8).reshape(shape).squeeze()


WHOLE = FloatBox(0, 0, WIDTH, HEIGHT)


@needs_scaling
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize(
    ("extent", "size"),
    [
        (WHOLE, Dimensions(100, 70)),
        (FloatBox(10.25, 3.5, 150.125, 120.75), Dimensions(97, 51)),
        (FloatBox(0.5, 0.25, WIDTH - 0.5, HEIGHT - 0.25), Dimensions(180, 150)),
        (FloatBox(20, 30, 40, 50), Dimensions(1, 1)),
        (FloatBox(20, 30, 40, 50), Dimensions(90, 120)),
        (FloatBox(7.75, 9.5, 1.5, 2.25), Dimensions(30, 45)),
        (FloatBox(WIDTH - 1, HEIGHT - 1, 1, 1), Dimensions(5, 3)),
    ],
    ids=str,
)
def test_an_extent_is_scaled_as_by_pillow(
    extent: FloatBox, size: Dimensions, *, gray: bool
) -> None:
    pixels = picture(gray=gray)
    got = rows_of(pixels).scaled(extent, size)
    assert (got.width, got.height, got.bands) == (size.width, size.height, 1 if gray else 3)
    box = (extent.x, extent.y, extent.x + extent.width, extent.y + extent.height)
    wanted = Image.fromarray(pixels).resize(
        (size.width, size.height), Image.Resampling.LANCZOS, box=box
    )
    assert np.abs(pixels_of(got).astype(int) - np.asarray(wanted).astype(int)).max() <= 2


@needs_scaling
def test_what_is_not_scaled_is_cut_and_not_blurred() -> None:
    pixels = picture()
    rows = rows_of(pixels)
    assert rows.scaled(WHOLE, Dimensions(WIDTH, HEIGHT)) is rows
    cut = rows.scaled(FloatBox(30, 40, 50, 60), Dimensions(50, 60))
    assert np.array_equal(pixels_of(cut), pixels[40:100, 30:80])
    # Off by less than a pixel: as many are touched as are asked for.
    near = rows.scaled(FloatBox(30.25, 40.5, 49.5, 59.25), Dimensions(50, 60))
    assert np.array_equal(pixels_of(near), pixels[40:100, 30:80])
    beyond = FloatBox(WIDTH - 50.25, HEIGHT - 60.5, 50.5, 61)
    at_the_end = rows.scaled(beyond, Dimensions(51, 61))
    assert np.array_equal(pixels_of(at_the_end), pixels[-61:, -51:])


@needs_scaling
def test_an_extent_that_was_rounded_beyond_the_end_ends_there() -> None:
    got = rows_of(picture()).scaled(FloatBox(100.5, 80.5, 111, 77), Dimensions(40, 30))
    assert (got.width, got.height) == (40, 30)


TURNS = [Orientation(mirror, quarters) for mirror in (False, True) for quarters in range(4)]


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_rows_are_turned(turn: Orientation, *, gray: bool) -> None:
    pixels = picture(gray=gray)
    wanted = np.rot90(np.fliplr(pixels) if turn.mirror else pixels, -turn.quarters)
    assert np.array_equal(pixels_of(rows_of(pixels).oriented(turn)), wanted)


def test_what_stays_upright_is_not_copied() -> None:
    rows = rows_of(picture())
    assert rows.oriented(UPRIGHT) is rows


@pytest.mark.needs_partial_decoding
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_rows_become_a_jpeg_with_their_profile(*, gray: bool) -> None:
    profile = pictures.gray_profile() if gray else pictures.wide_profile(70_000)
    pixels = picture(gray=gray)
    rows = rows_of(pixels)
    for given in (None, profile):
        data = turbojpeg.encode(replace(rows, profile=given), 95)
        image = Image.open(BytesIO(data))
        assert image.info.get("icc_profile") == given
        assert psnr(np.asarray(image).astype(float), pixels.astype(float)) > 30


def test_an_extent_is_that_of_a_box_in_a_reduced_image() -> None:
    extent = FloatBox.of(Box(10, 20, 30, 41), 4)
    assert extent == FloatBox(2.5, 5.0, 7.5, 10.25)
    assert extent.relative_to(2, 5) == FloatBox(0.5, 0.0, 7.5, 10.25)
