"""Pyramids as clients see them: made once, served as they lie, rebuilt when damaged."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server.images.pyramid_options import PyramidOptions
from support import pictures
from support.apps import (
    Server,
    decode_image,
    region_engine,
    running_app,
    settings_below,
    sleep_until_revalidated,
)
from support.rendering import psnr

WIDTH, HEIGHT, SIDE = 700, 500, 128
WHOLE = "/disk:pic.jpg/0,0,700,500/88,63/0/default.jpg"
"""The one tile of the smallest level."""
DETAIL = "/disk:pic.jpg/128,256,128,128/128,128/0/default.jpg"


@asynccontextmanager
async def app(folder: Path, **settings: Any) -> AsyncIterator[Server]:
    options = {"min_pixels": 100_000, "tile_size": SIDE, **settings.pop("pyramids", {})}
    chosen = settings_below(
        folder,
        types={"disk": {"source": "disk"}},
        pyramids=PyramidOptions.model_validate(options),
        **settings,
    )
    async with running_app(chosen) as server:
        yield server


async def built(server: Server, name: str = "pic.jpg") -> None:
    """Wait until the detail part, which is made ahead, is there too."""
    await server.get(f"/disk:{name}/0,0,128,128/128,128/0/default.jpg")
    await settled(server)


async def settled(server: Server) -> None:
    """Wait until no part of a pyramid is being made."""
    building = True
    while building:  # the server tells nobody but those who ask
        await asyncio.sleep(0.02)
        building = bool((await server.status())["pyramids"]["building"])


def engine(response: Any) -> str:
    return str(response.headers["server-timing"].partition('desc="')[2].partition('"')[0])


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.szi"))


@pytest.fixture
def pixels() -> pictures.Pixels:
    return pictures.photograph(WIDTH, HEIGHT)


async def test_every_tile_that_info_json_announces_shows_its_part(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    whole = Image.fromarray(pixels)
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        (tiles,) = (await server.get("/disk:pic.jpg/info.json")).json()["tiles"]
        assert tiles["width"] == SIDE
        assert tiles["scaleFactors"] == [1, 2, 4, 8]
        for factor in tiles["scaleFactors"]:
            step = SIDE * factor
            for x in range(0, WIDTH, step):
                for y in range(0, HEIGHT, step):
                    width, height = min(step, WIDTH - x), min(step, HEIGHT - y)
                    size = (-(-width // factor), -(-height // factor))
                    path = (
                        f"/disk:pic.jpg/{x},{y},{width},{height}/{size[0]},{size[1]}/0/default.jpg"
                    )
                    answer = await server.get(path)
                    assert engine(answer) == "tile", path
                    made = decode_image(answer)
                    assert made.size == size
                    reference = whole.crop((x, y, x + width, y + height)).resize(
                        size, Image.Resampling.LANCZOS
                    )
                    assert psnr(np.asarray(made), np.asarray(reference)) > 26, path
        assert (await server.status())["made_by"] == {"tile": 24 + 6 + 2 + 1}


async def test_many_who_ask_at_once_cause_one_build(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        answers = await asyncio.gather(*(server.get(WHOLE) for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        await built(server)
        # The two parts.
        assert (await server.status())["pools"]["image"]["done"] == 2
    assert len(parts(tmp_path)) == 2


@pytest.mark.parametrize(
    ("request_", "close"),
    [
        ("full/300,/0/default.jpg", 33),
        ("37,41,500,333/250,/0/default.png", 33),
        ("101,103,300,200/300,200/0/default.webp", 30),
        ("full/200,/90/default.png", 30),
        ("full/200,/!0/gray.png", 30),
    ],
)
async def test_what_is_no_tile_is_made_of_the_nearest_level(
    tmp_path: Path, pixels: pictures.Pixels, request_: str, close: int
) -> None:
    (tmp_path / "without").mkdir()
    async with app(tmp_path / "without", pyramids={"enabled": False}) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        direct = await server.get(f"/disk:pic.jpg/{request_}")
        assert engine(direct) == "raster"
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        await built(server)
        answer = await server.get(f"/disk:pic.jpg/{request_}")
        assert engine(answer) == "level"
    one, other = decode_image(direct).convert("RGB"), decode_image(answer).convert("RGB")
    assert one.size == other.size
    assert psnr(np.asarray(one), np.asarray(other)) > close


async def test_the_small_levels_are_made_for_the_next_who_asks_for_a_thumbnail(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        # Somebody who was led to a detail, and has not seen the whole.
        await server.get(DETAIL)
        await settled(server)
        (detail,) = parts(tmp_path)
        first = await server.get("/disk:pic.jpg/full/50,/0/default.jpg")
        assert engine(first) == "level"
        await settled(server)
        assert len(parts(tmp_path)) == 2
        assert detail in parts(tmp_path)


async def test_transparency_survives_where_the_format_has_it(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put(
            "disk", "pic.png", pictures.saved(Image.fromarray(pictures.with_alpha(pixels)), "PNG")
        )
        await built(server, "pic.png")
        png = await server.get("/disk:pic.png/full/350,/0/default.png")
        assert decode_image(png).mode == "RGBA"
        assert np.asarray(decode_image(png))[..., 3].min() < 255
        tile = await server.get("/disk:pic.png/0,0,128,128/128,128/0/default.jpg")
        assert (engine(tile), decode_image(tile).mode) == ("tile", "RGB")


async def test_pyramid_is_found_again_after_a_restart(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        await built(server)
        before = await server.get(DETAIL)
    async with app(tmp_path) as server:
        after = await server.get(DETAIL)
        assert after.content == before.content
        assert after.headers["etag"] == before.headers["etag"]
        assert (await server.status())["pools"]["image"]["done"] == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed"])
async def test_damaged_part_is_made_again(
    tmp_path: Path, pixels: pictures.Pixels, damage: str
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        await built(server)
        good = (await server.get(DETAIL)).content
    for path in parts(tmp_path):
        data = path.read_bytes()
        middle = len(data) // 2
        if damage == "removed":
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(data[:middle])
        else:
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    async with app(tmp_path) as server:
        assert (await server.get(DETAIL)).content == good
    assert all(path.stat().st_size > 1000 for path in parts(tmp_path))


async def test_part_removed_under_a_running_server_does_no_harm(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        await built(server)
        good = (await server.get(DETAIL)).content
        for path in parts(tmp_path):
            path.unlink()
        assert (await server.get(DETAIL)).content == good
        answer = await server.get("/disk:pic.jpg/full/300,/0/default.jpg")
        assert answer.status_code == 200


async def test_replaced_original_has_another_pyramid(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        path = server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        before = await server.get(WHOLE)
        server.put("disk", "pic.jpg", pictures.jpeg(255 - pixels))
        os.utime(path, (1, 1))
        await sleep_until_revalidated()
        after = await server.get(WHOLE)
        assert after.headers["etag"] != before.headers["etag"]
        inverted = 255 - np.asarray(decode_image(after)).astype(int)
        assert psnr(inverted, np.asarray(decode_image(before))) > 30


async def test_without_room_for_pyramids_tiles_are_made_one_by_one(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    async with app(tmp_path, cache_path=tmp_path / "cache") as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        detail, whole = await server.get(DETAIL), await server.get(WHOLE)
    assert (engine(detail), decode_image(detail).size) == (region_engine(), (128, 128))
    assert (engine(whole), decode_image(whole).size) == ("raster", (88, 63))


async def test_damaged_original_is_refused_and_not_tried_again_at_once(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    data = pictures.jpeg(pixels)
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", data[: len(data) // 2])
        server.put("disk", "good.jpg", data)
        for _ in range(3):
            assert (await server.get(WHOLE)).status_code == 422
        assert (await server.status())["pools"]["image"]["done"] == 1
        assert (await server.get(WHOLE.replace("pic", "good"))).status_code == 200


async def test_two_servers_on_one_folder_make_one_pyramid(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as one, app(tmp_path) as other:
        one.put("disk", "pic.jpg", pictures.jpeg(pixels))
        answers = await asyncio.gather(*(server.get(WHOLE) for server in (one, other) * 5))
        assert len({answer.content for answer in answers}) == 1
        await built(one)
        await built(other)
        done = [(await server.status())["pools"]["image"]["done"] for server in (one, other)]
        assert sum(done) == 2  # the two parts
    assert len(parts(tmp_path)) == 2


# --- what levels may stand for -----------------------------------------------------------------


@pytest.mark.needs_lossless
async def test_a_region_within_one_tile_is_cut_from_the_tile_without_loss(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    data = pictures.jpeg(pixels, sampling=0)  # 4:4:4, so that cutting leaves the colours alone
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", data)
        path = "/disk:pic.jpg/144,272,64,48/max/{}/default.jpg"
        direct = await server.get(path.format("0"))
        turned = await server.get(path.format("180"))
        await built(server)
        for stored in server.settings.cache_path.rglob("*.jpg"):
            stored.unlink()
        # The original is made unreadable without a change of its size and time.
        original = server.original_path("disk", "pic.jpg")
        status = original.stat()
        start = data.index(b"\xff\xda") + 14  # of the coefficients
        original.write_bytes(data[:start] + bytes(len(data) - start - 2) + b"\xff\xd9")
        os.utime(original, ns=(status.st_atime_ns, status.st_mtime_ns))
        for before, rotation in ((direct, "0"), (turned, "180")):
            cut = await server.get(path.format(rotation))
            assert engine(cut) == "jpegtran"
            assert np.array_equal(np.asarray(decode_image(cut)), np.asarray(decode_image(before)))


@pytest.mark.parametrize(
    ("request_", "exact"),
    [("100,100,200,150/max/0/default.png", True), ("full/600,/0/default.png", False)],
)
async def test_a_lossless_answer_of_a_lossless_original_shows_no_trace_of_its_pyramid(
    request_: str, *, exact: bool, tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.png", pictures.saved(Image.fromarray(pixels), "PNG"))
        before = await server.get(f"/disk:pic.png/{request_}")
        await built(server, "pic.png")
        for stored in server.settings.cache_path.rglob("*.png"):
            stored.unlink()
        after = await server.get(f"/disk:pic.png/{request_}")
        assert engine(after) == "raster"
        assert after.content == before.content
        if exact:
            assert np.array_equal(np.asarray(decode_image(after)), pixels[100:250, 100:300])


async def test_a_tag_is_strong_only_where_the_bytes_are_always_the_same(
    tmp_path: Path, pixels: pictures.Pixels
) -> None:
    async with app(tmp_path) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pixels))
        server.put("disk", "small.jpg", pictures.jpeg(pixels[:100, :100].copy()))
        for path in (DETAIL, "/disk:pic.jpg/full/max/0/default.jpg"):
            assert (await server.get(path)).headers["etag"].startswith('"')
        assert (
            (await server.get("/disk:small.jpg/full/50,/0/default.jpg"))
            .headers["etag"]
            .startswith('"')
        )
        path = "/disk:pic.jpg/full/300,/0/default.jpg"
        response = await server.get(path)
        assert response.headers["etag"].startswith('W/"')
        again = await server.get(path, If_None_Match=response.headers["etag"])
        assert again.status_code == 304
