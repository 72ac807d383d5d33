"""Decoding of neighbouring tiles into one buffer."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs import tiles, turbojpeg
from iiif_server.codecs.pixel_buffer import PixelBuffer
from iiif_server.codecs.tiles import GRID, Tiles, decode_tiles
from iiif_server.iiif.geometry import Box, Dimensions
from support import pictures
from support.pictures import Pixels

SIDE = 64
LEVEL = Dimensions(3 * SIDE - 21, 2 * SIDE - 5)


@pytest.fixture(params=[False, True], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode with one thread, or with two whatever the size."""
    if request.param:
        monkeypatch.setattr(tiles, "_SINGLE_THREAD_PIXELS", 0)


def picture(*, gray: bool = False) -> Pixels:
    y, x = np.mgrid[0 : LEVEL.height, 0 : LEVEL.width]
    bands = [(x * 3 + y) % 256, (y * 5) % 256, (x + y * 2) % 256]
    return np.stack(bands[:1] if gray else bands, axis=-1).astype(np.uint8).squeeze()


def tiled(pixels: Pixels, **options: Any) -> Tiles:
    data = [
        pictures.jpeg(pixels[top : top + SIDE, left : left + SIDE], **options)
        for top in range(0, LEVEL.height, SIDE)
        for left in range(0, LEVEL.width, SIDE)
    ]
    return Tiles(data, 3, Dimensions(SIDE, SIDE), Box(0, 0, LEVEL.width, LEVEL.height))


def one_by_one(found: Tiles) -> Pixels:
    rows = [
        np.concatenate([np.asarray(Image.open(BytesIO(tile))) for tile in row], axis=1)
        for row in (found.data[:3], found.data[3:])
    ]
    return np.concatenate(rows)


PARTS = [
    Box(0, 0, LEVEL.width, LEVEL.height),
    Box(GRID, 3, 20, 20),  # inside of one tile
    Box(SIDE - GRID, SIDE - 7, 40, 30),  # of four
    Box(SIDE, 0, SIDE, SIDE),  # one tile as it is
    Box(2 * SIDE, 60, LEVEL.width - 2 * SIDE, LEVEL.height - 60),  # up to the edges
    Box(5, 5, 100, 100),  # off the grid
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"sampling": 0}], ids=str)
def test_a_part_has_the_pixels_that_whole_tiles_have(
    part: Box, *, gray: bool, options: dict[str, Any]
) -> None:
    found = tiled(picture(gray=gray), **options)
    got = decode_tiles(found, part)
    assert got.bands == (1 if gray else 3)
    pixels = np.frombuffer(got.pixels, np.uint8).reshape(part.height, part.width, -1).squeeze()
    whole = one_by_one(found)[part.y : part.y + part.height, part.x : part.x + part.width]
    # At the left and right edge of the part chroma may lack the neighbours that it is made of.
    assert np.array_equal(pixels[:, 1:-1], whole[:, 1:-1])
    assert np.abs(pixels.astype(int) - whole).max() <= 64


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_whole_tiles_are_decoded_where_there_is_no_other_way(part: Box) -> None:
    found = tiled(picture())
    pieces = found.pieces(part)
    got = tiles._decode_with_pillow(pieces, part)
    whole = one_by_one(found)[part.y : part.y + part.height, part.x : part.x + part.width]
    assert got.pixels == whole.tobytes()


def test_the_profile_of_the_tiles_is_that_of_the_part() -> None:
    profile = pictures.wide_profile(70_000)
    found = tiled(picture(), icc_profile=profile)
    assert decode_tiles(found, PARTS[0]).profile == profile
    assert decode_tiles(tiled(picture()), PARTS[0]).profile is None


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize(
    "damage",
    [
        lambda jpeg: jpeg[: len(jpeg) // 2],
        lambda _: b"",
        lambda jpeg: b"\x89PNG" + jpeg,
        lambda jpeg: jpeg[:2],
    ],
)
def test_a_damaged_tile_is_an_error_and_not_a_gray_square(
    damage: Callable[[bytes], bytes], place: int
) -> None:
    found = tiled(picture())
    data = list(found.data)
    data[place] = damage(data[place])
    with pytest.raises(Exception, match=r".+"):
        decode_tiles(Tiles(data, found.across, found.full, found.at), PARTS[0])


@pytest.mark.needs_partial_decoding
class TestTurboJpeg:
    def test_nothing_is_written_beyond_the_canvas(self) -> None:
        jpeg = pictures.jpeg(picture()[:SIDE, :SIDE])
        for part, x, y in (
            (Box(0, 0, SIDE, SIDE), 1, 0),
            (Box(0, 0, SIDE, SIDE), 0, 1),
            (Box(0, 0, SIDE + 1, SIDE), 0, 0),
            (Box(0, 0, SIDE, SIDE + 1), 0, 0),
        ):
            canvas = PixelBuffer(bytearray(SIDE * SIDE * 3), SIDE, SIDE, 3)
            with pytest.raises(turbojpeg.TurboJpegError):
                turbojpeg.decode(jpeg, part, canvas, x, y)

    def test_gray_does_not_go_onto_a_canvas_of_colour(self) -> None:
        canvas = PixelBuffer(bytearray(SIDE * SIDE * 3), SIDE, SIDE, 3)
        gray = pictures.jpeg(picture(gray=True)[:SIDE, :SIDE])
        with pytest.raises(turbojpeg.TurboJpegError):
            turbojpeg.decode(gray, Box(0, 0, SIDE, SIDE), canvas, 0, 0)

    @pytest.mark.parametrize("quality", [85, 89, 90, 95])
    @pytest.mark.parametrize("gray", [True, False])
    def test_what_is_encoded_is_what_pillow_encodes(self, *, gray: bool, quality: int) -> None:
        pixels = picture(gray=gray)
        buffer = PixelBuffer(pixels.tobytes(), LEVEL.width, LEVEL.height, 1 if gray else 3)
        got = turbojpeg.encode(buffer, quality)
        expected = pictures.jpeg(pixels, quality=quality, sampling=0 if quality >= 90 else 2)
        mine, theirs = (np.asarray(Image.open(BytesIO(data))) for data in (got, expected))
        assert np.array_equal(mine, theirs)
