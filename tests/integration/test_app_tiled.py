"""Tiled TIFFs: their own tiles are sent as they lie, and what they lack is made."""

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image

from iiif_server.images.pyramid_options import PyramidOptions
from support import pictures, tiffs
from support.apps import Server, assert_problem, decode_image, running_app, settings_below
from support.pictures import Pixels
from support.rendering import psnr

WIDTH, HEIGHT = 1203, 903
NAME = "disk:pic.tif"


@asynccontextmanager
async def serving(folder: Path, data: bytes, **settings: Any) -> AsyncIterator[Server]:
    options = {"min_pixels": 100_000, "tile_size": 256, **settings.pop("pyramids", {})}
    chosen = settings_below(
        folder,
        types={"disk": {"source": "disk"}},
        pyramids=PyramidOptions.model_validate(options),
        **settings,
    )
    async with running_app(chosen) as server:
        server.put("disk", "pic.tif", data)
        yield server


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return pictures.photograph(WIDTH, HEIGHT)


def engine(response: Any) -> str:
    return str(response.headers["server-timing"].partition('desc="')[2].partition('"')[0])


def tile(
    column: int, row: int, side: int | tuple[int, int] = 128, factor: int = 1, name: str = NAME
) -> tuple[str, tuple[int, int]]:
    """What a viewer asks for a tile of the image, and the extent it expects."""
    across, down = (side, side) if isinstance(side, int) else side
    x, y = column * across * factor, row * down * factor
    width, height = min(across * factor, WIDTH - x), min(down * factor, HEIGHT - y)
    size = ceil(width / factor), ceil(height / factor)
    path = f"/{name}/{x},{y},{width},{height}/{size[0]},{size[1]}/0/default.jpg"
    return path, size


def expected(pixels: Pixels, column: int, row: int, side: tuple[int, int], factor: int) -> Pixels:
    """About what such a tile shows: the means of the pixels that come together in one."""
    x, y = column * side[0] * factor, row * side[1] * factor
    cut = pixels[y : y + side[1] * factor, x : x + side[0] * factor]
    height, width = (ceil(extent / factor) * factor for extent in cut.shape[:2])
    padded = np.pad(
        cut, ((0, height - cut.shape[0]), (0, width - cut.shape[1]), (0, 0)), mode="edge"
    )
    blocks = padded.reshape(height // factor, factor, width // factor, factor, -1)
    means: Pixels = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return means


# --- tiles that are sent as they lie -----------------------------------------------------------


FLAVOURS: dict[str, dict[str, Any]] = {
    "pyramid": {},
    "bigtiff": {"bigtiff": True},
    "subifds": {"subifd": True},
    "subifds of a bigtiff": {"subifd": True, "bigtiff": True},
    "444": {"Q": 95},
    "one level": {"pyramid": False},
}


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_full_resolution_tiles_hold_the_bytes_of_the_original(
    flavour: str, pixels: Pixels, tmp_path: Path
) -> None:
    data = tiffs.tiled(pixels, **FLAVOURS[flavour])
    base = tiffs.levels(data)[0]
    async with serving(tmp_path, data) as server:
        path, _ = tile(3, 2)
        response = await server.get(path)
        lying = base.tile(2 * ceil(WIDTH / 128) + 3)
        assert engine(response) == "tile"
        assert response.content.startswith(b"\xff\xd8")
        assert response.content.endswith(lying[2:])
        assert tiffs.quantisation_tables(response.content) == tiffs.quantisation_tables(base.tables)
        assert psnr(np.asarray(decode_image(response)), pixels[256:384, 384:512]) > 30
        assert not list(server.settings.cache_path.rglob("*.szi"))


@pytest.mark.parametrize("options", [{}, {"subifd": True, "bigtiff": True}])
async def test_tiles_of_all_levels_are_those_of_the_original(
    options: dict[str, Any], pixels: Pixels, tmp_path: Path
) -> None:
    data = tiffs.tiled(pixels, **options)
    async with serving(tmp_path, data) as server:
        for number, level in enumerate(tiffs.levels(data)):
            path, size = tile(0, 0, factor=2**number)
            response = await server.get(path)
            assert decode_image(response).size == size
            if size == (128, 128):
                assert engine(response) == "tile"
                assert response.content.endswith(level.tile(0)[2:])
        assert number == 4, "the level that is one tile"


@pytest.mark.parametrize(
    ("side", "options"),
    [
        (128, {}),
        (256, {}),
        (144, {}),
        ((256, 128), {}),
        ((64, 512), {"bigtiff": True}),
        (128, {"pyramid": False}),
        ((256, 128), {"pyramid": False}),
        (128, {"subifd": True}),
        (128, {"subifd": True, "bigtiff": True}),
        (128, {"compression": "deflate"}),
        (128, {"compression": "deflate", "pyramid": False}),
        (16, {}),
    ],
)
async def test_every_tile_that_info_json_announces_shows_its_part(
    side: int | tuple[int, int], options: Any, pixels: Pixels, tmp_path: Path
) -> None:
    async with serving(tmp_path, tiffs.tiled(pixels, side, **options)) as server:
        (announced,) = (await server.get(f"/{NAME}/info.json")).json()["tiles"]
        extent = announced["width"], announced["height"]
        for factor in announced["scaleFactors"]:
            for column in range(ceil(WIDTH / extent[0] / factor)):
                for row in range(ceil(HEIGHT / extent[1] / factor)):
                    path, size = tile(column, row, extent, factor)
                    shown = decode_image(await server.get(path))
                    assert shown.size == size, path
                    assert shown.mode == "RGB"
                    wanted = expected(pixels, column, row, extent, factor)
                    assert psnr(np.asarray(shown), wanted) > 24, path


@pytest.mark.parametrize(
    "case",
    [
        (128, {}, (128, 128)),
        (144, {}, (144, 144)),
        ((256, 128), {}, (256, 128)),
        (128, {"pyramid": False}, (128, 128)),
        (128, {"compression": "deflate"}, (128, 128)),
        # what has to be made anew is made in tiles of the configured size
        (128, {"compression": "deflate", "pyramid": False}, (256, 256)),
        ((256, 128), {"pyramid": False}, (256, 256)),
        (16, {}, (256, 256)),
    ],
)
@pytest.mark.parametrize("version", ["2", "3"])
async def test_info_json_announces_the_tiles_of_the_original(
    case: tuple[Any, Any, Any], version: str, pixels: Pixels, tmp_path: Path
) -> None:
    side, options, announced = case
    async with serving(tmp_path, tiffs.tiled(pixels, side, **options)) as server:
        (tiles,) = (await server.get(f"/iiif/{version}/{NAME}/info.json")).json()["tiles"]
        assert (tiles["width"], tiles["height"]) == announced
        last = tiles["scaleFactors"][-1]
        assert announced[0] * last >= WIDTH
        assert announced[1] * last >= HEIGHT


@pytest.mark.needs_lossless
async def test_tiles_at_the_edge_are_cut_without_loss(pixels: Pixels, tmp_path: Path) -> None:
    data = tiffs.tiled(pixels, Q=95)  # 4:4:4, so that cutting leaves the colours alone
    base = tiffs.levels(data)[0]
    async with serving(tmp_path, data) as server:
        path, size = tile(9, 7)
        assert size == (51, 7)
        response = await server.get(path)
        assert engine(response) == "jpegtran"
        whole = b"\xff\xd8" + base.tables[2:-2] + base.tile(7 * 10 + 9)[2:]
        padded = np.asarray(Image.open(io.BytesIO(whole)))
        assert np.array_equal(np.asarray(decode_image(response)), padded[:7, :51])
        assert engine(await server.get(path)) == "cache"


async def test_gray_tiles_are_gray(tmp_path: Path, pixels: Pixels) -> None:
    data = tiffs.tiled(pixels[..., :1])
    async with serving(tmp_path, data) as server:
        response = await server.get(tile(1, 1)[0])
        assert engine(response) == "tile"
        assert decode_image(response).mode == "L"
        assert response.content.endswith(tiffs.levels(data)[0].tile(11)[2:])


@pytest.mark.parametrize(
    ("column", "row"),
    [(1, 1), pytest.param(9, 7, marks=pytest.mark.needs_lossless, id="cut at the edge")],
)
async def test_tiles_of_rgb_components_say_so(
    column: int, row: int, tmp_path: Path, pixels: Pixels
) -> None:
    image = pictures.vips(pixels, "srgb")
    options = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True}
    data = pictures.tiff(image, compression="jpeg", rgbjpeg=True, Q=90, **options)
    async with serving(tmp_path, data) as server:
        response = await server.get(tile(column, row)[0])
        assert 0xEE in tiffs.markers(response.content), "an Adobe segment"
        wanted = expected(pixels, column, row, (128, 128), 1)
        assert psnr(np.asarray(decode_image(response)), wanted) > 30


async def test_a_profile_goes_with_every_tile(tmp_path: Path, pixels: Pixels) -> None:
    image = pictures.vips(pixels, "srgb").copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", pictures.wide_profile())
    options = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True}
    data = pictures.tiff(image, compression="jpeg", Q=90, **options)
    async with serving(tmp_path, data) as server:
        for column, row in ((1, 1), (9, 7)):
            shown = decode_image(await server.get(tile(column, row)[0]))
            assert shown.info["icc_profile"] == pictures.wide_profile()


async def test_tiles_need_no_pyramids_to_be_enabled(tmp_path: Path, pixels: Pixels) -> None:
    async with serving(tmp_path, tiffs.tiled(pixels), pyramids={"enabled": False}) as server:
        assert engine(await server.get(tile(1, 1)[0])) == "tile"


# --- what is made of its levels ----------------------------------------------------------------


async def test_regions_and_thumbnails_are_made_of_the_nearest_level(
    tmp_path: Path, pixels: Pixels
) -> None:
    data = tiffs.tiled(pixels, Q=95)
    # Full resolution is made unreadable: what is answered all the same was made of another level.
    spoiled = bytearray(data)
    base = tiffs.levels(data)[0]
    for offset, length in zip(base.tags[tiffs.OFFSETS], base.tags[tiffs.COUNTS], strict=True):
        spoiled[offset : offset + length] = bytes(length)
    async with serving(tmp_path, bytes(spoiled)) as server:
        shown = decode_image(await server.get(f"/{NAME}/full/300,/0/default.png"))
        wanted = np.asarray(Image.fromarray(pixels).resize(shown.size, Image.Resampling.LANCZOS))
        assert psnr(np.asarray(shown), wanted) > 30
        region = decode_image(await server.get(f"/{NAME}/101,99,800,600/400,300/90/default.jpg"))
        cut = Image.fromarray(pixels[99:699, 101:901]).resize((400, 300), Image.Resampling.LANCZOS)
        assert psnr(np.asarray(region), np.rot90(np.asarray(cut), -1)) > 30
        assert_problem(await server.get(f"/{NAME}/101,99,80,60/max/0/default.jpg"), 422)


async def test_the_levels_that_are_missing_are_made_and_full_resolution_is_not(
    tmp_path: Path, pixels: Pixels
) -> None:
    async with serving(tmp_path, tiffs.tiled(pixels, 64, pyramid=False)) as server:
        assert engine(await server.get(tile(0, 0, 64, 4)[0])) == "tile"
        assert engine(await server.get(tile(2, 3, 64)[0])) == "tile"
        (part,) = server.settings.cache_path.rglob("*.szi")
        with zipfile.ZipFile(part) as made:
            levels = {Path(name).parent.name for name in made.namelist() if name.endswith(".jpg")}
        assert levels == {"6", "7", "8", "9", "10"}, "full resolution, 11, is not among them"
        response = await server.get(f"/{NAME}/full/150,/0/default.jpg")
        assert engine(response) == "level"


async def test_pages_are_no_levels_unless_they_say_so(tmp_path: Path, pixels: Pixels) -> None:
    # Two pages, the second with half the sides of the first and another picture.
    small = pictures.smooth(WIDTH // 2, HEIGHT // 2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "TIFF", save_all=True, append_images=[Image.fromarray(small)], tile=(128, 128)
    )
    async with serving(tmp_path, file.getvalue()) as server:
        shown = decode_image(await server.get(f"/{NAME}/full/300,/0/default.png"))
        wanted = np.asarray(Image.fromarray(pixels).resize(shown.size, Image.Resampling.LANCZOS))
        assert psnr(np.asarray(shown), wanted) > 30


# --- what is not what it should be -------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["offset", "length", "no JPEG", "other size", "cut short"])
async def test_a_tile_that_is_not_what_the_directory_says_is_refused_or_decoded(
    wrong: str, tmp_path: Path, pixels: Pixels
) -> None:
    data = bytearray(tiffs.tiled(pixels))
    base = tiffs.levels(bytes(data))[0]
    offset, length = base.tags[tiffs.OFFSETS][11], base.tags[tiffs.COUNTS][11]
    place = data.index(offset.to_bytes(4, "little"))
    match wrong:
        case "offset":
            data[place : place + 4] = (2**31).to_bytes(4, "little")
        case "length":
            place = data.index(length.to_bytes(4, "little"))
            data[place : place + 4] = (2**31).to_bytes(4, "little")
        case "no JPEG":
            data[offset : offset + length] = bytes(length)
        case "cut short":
            place = data.index(length.to_bytes(4, "little"))
            data[place : place + 4] = (length // 2).to_bytes(4, "little")
        case "other size":
            frame = data.index(b"\xff\xc0", offset)
            data[frame + 5 : frame + 9] = b"\x10\0\x10\0"
    async with serving(tmp_path, bytes(data)) as server:
        response = await server.get(tile(1, 1)[0])
        if wrong == "cut short":  # what is there of it can be decoded, and is a whole JPEG then
            assert decode_image(response).size == (128, 128)
            return
        assert_problem(response, 422)
        if wrong in {"no JPEG", "other size"}:
            assert engine(await server.get(tile(3, 2)[0])) == "tile", "the others are as before"


async def test_a_looping_directory_is_one_page(tmp_path: Path, pixels: Pixels) -> None:
    data = bytearray(tiffs.tiled(pixels, pyramid=False))
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    end = first + 2 + 12 * entries
    data[end : end + 4] = first.to_bytes(4, "little")
    async with serving(tmp_path, bytes(data)) as server:
        answer = await server.get(tile(1, 1)[0])
        assert answer.status_code == 200, answer.text
        assert psnr(np.asarray(decode_image(answer)), expected(pixels, 1, 1, (128, 128), 1)) > 25
        assert (await server.get("/disk:pic.tif;2/info.json")).status_code == 404


async def test_a_replaced_original_gives_its_new_tiles(tmp_path: Path, pixels: Pixels) -> None:
    async with serving(tmp_path, tiffs.tiled(pixels)) as server:
        before = await server.get(tile(1, 1)[0])
        server.put("disk", "pic.tif", tiffs.tiled(pixels[::-1].copy(), Q=70))
        after = await server.get(tile(1, 1)[0])
        assert engine(after) == "tile"
        assert after.headers["etag"] != before.headers["etag"]
        assert (
            psnr(np.asarray(decode_image(after)), expected(pixels[::-1], 1, 1, (128, 128), 1)) > 25
        )


async def test_a_turned_tiff_is_served_upright(tmp_path: Path, pixels: Pixels) -> None:
    image = pictures.vips(pixels, "srgb").copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    options = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True}
    data = pictures.tiff(image, compression="jpeg", Q=90, **options)
    upright = np.rot90(pixels, -1)
    async with serving(tmp_path, data) as server:
        shown = decode_image(await server.get(f"/{NAME}/0,0,903,1203/226,301/0/default.jpg"))
        wanted = Image.fromarray(upright).resize((226, 301), Image.Resampling.LANCZOS)
        assert psnr(np.asarray(shown), np.asarray(wanted)) > 26
        region = decode_image(await server.get(f"/{NAME}/128,128,128,128/max/0/default.jpg"))
        assert psnr(np.asarray(region), upright[128:256, 128:256]) > 26
