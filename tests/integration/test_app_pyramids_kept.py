"""Pyramids under way: in which order they are made, when they go, and what fails."""

import asyncio
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from iiif_server.images import open_parts
from iiif_server.images import pyramids as pipeline
from iiif_server.plan.grid import Part
from iiif_server.telemetry.events import EntryDropped, Evicted, Rendered, WorkerReplaced
from iiif_server.workers.admission import Lane
from support import jobs, pictures
from support.apps import (
    Server,
    assert_problem,
    decode_image,
    region_engine,
    running_app,
    settings_below,
    sleep_until_revalidated,
)
from support.builds import Builds
from support.pictures import Pixels, detailed, photograph
from support.rendering import psnr
from support.waiting import async_wait_until

TYPES = {"disk": {"source": "disk"}}
WIDTH, HEIGHT, SIDE = 700, 500, 128
REDUCED = "disk:pic.jpg/0,0,512,500/128,125/0/default.jpg"
DETAIL = "disk:pic.jpg/128,256,128,128/128,128/0/default.jpg"
PHOTO = pictures.jpeg(photograph(WIDTH, HEIGHT))
OTHER_PHOTO = pictures.jpeg(photograph(WIDTH, HEIGHT)[::-1, ::-1])

OPEN = {"confinement": "off"}
"""So that workers can load what tests have them do."""


def small(folder: Path, **settings: Any) -> Any:
    pyramids = {"min_pixels": 10_000, "tile_size": SIDE, **settings.pop("pyramids", {})}
    return settings_below(folder, types=TYPES, pyramids=pyramids, **settings)


def parts(server: Server) -> list[Path]:
    """The files of pyramids that the store has."""
    return sorted(path for path in server.services.store.paths() if path.suffix == ".szi")


async def both_parts(server: Server, count: int = 2) -> None:
    await async_wait_until(
        lambda: len(parts(server)) == count and server.services.pyramids.building == 0
    )


def engine(response: Any) -> str:
    return str(response.headers["server-timing"].partition('desc="')[2].partition('"')[0])


def shown(response: Any) -> npt.NDArray[np.uint8]:
    return np.asarray(decode_image(response).convert("RGB"))


# --- in which order -------------------------------------------------------------------------


async def test_a_reduced_tile_is_answered_before_there_is_detail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        builds.gated = Part.DETAIL
        builds.gate.clear()
        server.put("disk", "pic.jpg", PHOTO)
        answer = await server.get(f"/{REDUCED}")
        assert (engine(answer), decode_image(answer).size) == ("tile", (128, 125))
        assert len(parts(server)) == 1
        # the other is under way, though nobody has asked for it
        await async_wait_until(lambda: builds.parts == [Part.REDUCED, Part.DETAIL])
        waiting = asyncio.create_task(server.get(f"/{DETAIL}"))
        again = await server.get(f"/{REDUCED}")
        assert again.content == answer.content
        assert not waiting.done()
        builds.gate.set()
        assert engine(await waiting) == "tile"
        await both_parts(server)
        assert builds.parts == [Part.REDUCED, Part.DETAIL]


async def test_detail_is_made_in_the_background_until_somebody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        builds.gated = Part.DETAIL
        builds.gate.clear()
        path = server.put("disk", "pic.jpg", PHOTO)
        await server.get(f"/{REDUCED}")
        await async_wait_until(lambda: builds.parts == [Part.REDUCED, Part.DETAIL])
        assert builds.lanes == [Lane.BUILD, Lane.BACKGROUND]
        await server.get(f"/{REDUCED}")
        assert builds.promoted == []
        waiting = [asyncio.create_task(server.get(f"/{DETAIL}")) for _ in range(3)]
        await async_wait_until(lambda: builds.promoted != [])
        builds.gate.set()
        assert {engine(await answer) for answer in waiting} == {"tile"}
        assert builds.promoted == [str(path)]
        assert builds.parts == [Part.REDUCED, Part.DETAIL]


async def test_a_tile_of_full_resolution_needs_no_reduced_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        server.put("disk", "pic.jpg", PHOTO)
        answers = await asyncio.gather(*(server.get(f"/{DETAIL}") for _ in range(30)))
        assert len({answer.content for answer in answers}) == 1
        assert builds.parts == [Part.DETAIL]
        assert builds.lanes == [Lane.BUILD]


async def test_many_tiles_of_all_levels_at_once_cause_two_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path, image_pool_size=2)) as server:
        builds = Builds(server, monkeypatch)
        server.put("disk", "pic.jpg", PHOTO)
        paths = [
            f"/disk:pic.jpg/{x},{y},128,128/128,128/0/default.jpg"
            for x in range(0, 640, 128)
            for y in range(0, 384, 128)
        ]
        paths += [f"/{REDUCED}", "/disk:pic.jpg/0,0,256,256/128,128/0/default.jpg"] * 8
        answers = await asyncio.gather(*(server.get(path) for path in paths))
        assert {(answer.status_code, engine(answer)) for answer in answers} == {(200, "tile")}
        await both_parts(server)
        assert sorted(builds.parts) == [Part.DETAIL, Part.REDUCED]
        assert server.events_of(Rendered) == []


async def test_a_viewer_who_leaves_does_not_end_the_build_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        builds.gate.clear()
        server.put("disk", "pic.jpg", PHOTO)
        first, second = (asyncio.create_task(server.get(f"/{REDUCED}")) for _ in range(2))
        await async_wait_until(lambda: builds.parts == [Part.REDUCED])
        first.cancel()
        builds.gate.set()
        assert engine(await second) == "tile"
        assert builds.parts[:1] == [Part.REDUCED]
        await both_parts(server)
        assert len(builds.parts) == 2


# --- what is served -------------------------------------------------------------------------


def tiles_of(
    factor: int, width: int = WIDTH, height: int = HEIGHT
) -> list[tuple[tuple[int, int, int, int], tuple[int, int]]]:
    """Region and size that a viewer asks for, of each tile of a level."""
    step, found = SIDE * factor, []
    for y in range(0, height, step):
        for x in range(0, width, step):
            across, down = min(step, width - x), min(step, height - y)
            found.append(((x, y, across, down), (-(-across // factor), -(-down // factor))))
    return found


def reference(pixels: Pixels, factor: int) -> npt.NDArray[np.float64]:
    """The picture at a scale factor; what is left over at the end is what stands there."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    size = padded.shape[1] // factor, padded.shape[0] // factor
    return np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.LANCZOS), np.float64)


EVERY_TILE: dict[str, Callable[[Pixels], bytes]] = {
    "pic.png": lambda p: pictures.saved(Image.fromarray(p), "PNG", compress_level=1),
    "420.jpg": lambda p: pictures.jpeg(p, quality=95),
    "turned.jpg": lambda p: pictures.jpeg(
        np.ascontiguousarray(np.rot90(p, 1)), exif=pictures.exif(6), quality=95
    ),
    "16.tif": lambda p: pictures.tiff(pictures.vips(pictures.deep(p), "rgb16")),
}


@pytest.mark.parametrize("size", [(700, 500), (515, 389)], ids=str)
async def test_every_tile_of_every_flavour_shows_its_part(
    size: tuple[int, int], tmp_path: Path
) -> None:
    """The second size has columns and rows of a pixel or two at its ends."""
    pixels = detailed(*size)
    async with running_app(small(tmp_path)) as server:
        for name, encode in EVERY_TILE.items():
            server.put("disk", name, encode(pixels))
            info = (await server.get(f"/disk:{name}/info.json")).json()
            assert (info["width"], info["height"]) == size
            assert info["tiles"][0]["scaleFactors"] == [1, 2, 4, 8]
            for factor in (1, 2, 4, 8):
                level = reference(pixels, factor)
                for box, (width, height) in tiles_of(factor, *size):
                    numbers = ",".join(map(str, box))
                    path = f"/disk:{name}/{numbers}/{width},{height}/0/default.jpg"
                    answer = await server.get(path)
                    assert engine(answer) == "tile", path
                    assert decode_image(answer).size == (width, height), path
                    x, y = box[0] // factor, box[1] // factor
                    true = level[y : y + height, x : x + width]
                    assert psnr(shown(answer), true) > 27, path


FROM_LEVELS = [
    ("full/300,/0/default.jpg", 32),
    ("37,41,500,333/250,/0/default.png", 32),
    ("101,103,300,200/300,200/0/default.png", 30),
    ("100,100,512,384/128,96/90/default.webp", 30),
    ("full/200,/!180/gray.png", 32),
    ("full/175,125/30/default.jpg", 28),
    ("full/175,/0/default.gif", 24),
]


ORIGINALS: dict[str, Callable[[Pixels], bytes]] = {
    "pic.png": EVERY_TILE["pic.png"],
    "16.tif": EVERY_TILE["16.tif"],
    "cmyk.jpg": lambda p: pictures.saved(pictures.cmyk(p), "JPEG", quality=95),
    "wide.jpg": lambda p: pictures.jpeg(p, sampling=0, icc_profile=pictures.wide_profile()),
    "large-profile.jpg": lambda p: pictures.jpeg(
        p, sampling=0, icc_profile=pictures.wide_profile(40_000)
    ),
    "gray.jpg": lambda p: pictures.jpeg(np.ascontiguousarray(p[..., 1])),
    "turned.jpg": lambda p: pictures.jpeg(
        np.ascontiguousarray(np.rot90(p, 1)), sampling=0, exif=pictures.exif(6)
    ),
}


LOSSLESS = {"pic.png", "16.tif"}


async def test_what_is_made_of_levels_is_what_is_made_directly(tmp_path: Path) -> None:
    async with (
        running_app(small(tmp_path / "with")) as server,
        running_app(small(tmp_path / "without", pyramids={"enabled": False})) as direct,
    ):
        for count, (name, encode) in enumerate(ORIGINALS.items(), 1):
            for each in (server, direct):
                each.put("disk", name, encode(detailed(WIDTH, HEIGHT)))
            await server.get(f"/disk:{name}/full/88,63/0/default.jpg")
            await both_parts(server, 2 * count)
            for request, close in FROM_LEVELS:
                path = f"/disk:{name}/{request}"
                made, true = await server.get(path), await direct.get(path)
                # Nothing that goes without loss from end to end is made of a compressed level.
                exact = name in LOSSLESS and request.startswith(("37,", "101,"))
                source = "raster" if exact and request.endswith("png") else "level"
                assert (engine(made), engine(true)) == (source, "raster"), path
                assert decode_image(made).size == decode_image(true).size, path
                assert decode_image(made).mode == decode_image(true).mode, path
                profiles = [decode_image(each).info.get("icc_profile") for each in (made, true)]
                assert profiles[0] == profiles[1], path
                assert psnr(shown(made), shown(true)) > close, path


async def test_sizes_are_the_same_without_pyramids(tmp_path: Path) -> None:
    async with running_app(small(tmp_path, pyramids={"enabled": False})) as server:
        server.put("disk", "pic.jpg", PHOTO)
        info = (await server.get("/disk:pic.jpg/info.json")).json()
        assert info["tiles"][0]["scaleFactors"] == [1, 2, 4, 8]
        for factor in (1, 2, 4, 8):
            for box, size in tiles_of(factor)[-2:]:
                numbers = ",".join(map(str, box))
                path = f"/disk:pic.jpg/{numbers}/{size[0]},{size[1]}/0/default.jpg"
                answer = await server.get(path)
                assert decode_image(answer).size == size
                assert engine(answer) != "tile"
        assert parts(server) == []


@pytest.mark.parametrize("side", [256, 1024])
async def test_tiles_that_are_announced_are_those_of_the_settings(
    side: int, tmp_path: Path
) -> None:
    async with running_app(small(tmp_path, pyramids={"tile_size": side})) as server:
        server.put("disk", "pic.jpg", PHOTO)
        for version in (2, 3):
            info = (await server.get(f"/iiif/{version}/disk:pic.jpg/info.json")).json()
            (tiles,) = info["tiles"]
            assert tiles["width"] == side
            assert max(tiles["scaleFactors"]) == {256: 4, 1024: 1}[side]


async def test_a_small_image_goes_without_a_pyramid(tmp_path: Path) -> None:
    settings = small(tmp_path, pyramids={"min_pixels": WIDTH * HEIGHT + 1})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", PHOTO)
        assert engine(await server.get(f"/{REDUCED}")) == "raster"
        assert parts(server) == []
    settings = small(tmp_path, pyramids={"min_pixels": WIDTH * HEIGHT})
    async with running_app(settings) as server:
        assert engine(await server.get(f"/{REDUCED}")) == "tile"


async def test_transparent_original_is_white_in_tiles_and_transparent_in_png(
    tmp_path: Path,
) -> None:
    pixels = pictures.with_alpha(pictures.smooth(WIDTH, HEIGHT))
    opacity = pixels[..., 3:] / 255
    white = pixels[..., :3] * opacity + 255 * (1 - opacity)
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.png", pictures.saved(Image.fromarray(pixels), "PNG"))
        for x, y in ((128, 128), (256, 128), (512, 384)):
            width, height = min(128, WIDTH - x), min(128, HEIGHT - y)
            path = f"/disk:pic.png/{x},{y},{width},{height}/{width},{height}/0/default.jpg"
            answer = await server.get(path)
            assert engine(answer) == "tile"
            assert psnr(shown(answer), white[y : y + height, x : x + width]) > 28
        await server.get("/disk:pic.png/full/88,63/0/default.jpg")
        await both_parts(server)
        answer = await server.get("/disk:pic.png/100,100,400,300/max/0/default.png")
        assert engine(answer) == "raster"
        made = np.asarray(decode_image(answer))
        visible = pixels[100:400, 100:500, 3] > 0
        assert np.array_equal(made[..., 3], pixels[100:400, 100:500, 3])
        assert np.array_equal(made[visible], pixels[100:400, 100:500][visible])


# --- what is kept ---------------------------------------------------------------------------


async def test_tile_and_its_tag_are_the_same_after_a_restart_and_a_rebuild(
    tmp_path: Path,
) -> None:
    answers: list[tuple[Any, Any]] = []
    for rebuilt in (False, False, True):
        async with running_app(small(tmp_path)) as server:
            if not answers:
                server.put("disk", "pic.jpg", PHOTO)
            if rebuilt:
                for path in parts(server):
                    path.unlink()
            answers.append((await server.get(f"/{REDUCED}"), await server.get(f"/{DETAIL}")))
            await both_parts(server)
    for same in zip(*answers, strict=True):
        assert len({answer.content for answer in same}) == 1
        assert len({answer.headers["etag"] for answer in same}) == 1
    assert answers[0][0].headers["etag"] != answers[0][1].headers["etag"]


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
async def test_a_part_damaged_under_a_running_server_is_never_served(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        good = [(await server.get(f"/{path}")).content for path in (REDUCED, DETAIL)]
        await both_parts(server)
        builds = Builds(server, monkeypatch)
        for part in parts(server):
            data = bytearray(part.read_bytes())
            with part.open("r+b") as file:
                if damage == "flipped":
                    file.write(bytes(byte ^ 1 for byte in data[:-3000]))
                else:
                    file.truncate(len(data) // 3)
        for path, content in zip((REDUCED, DETAIL), good, strict=True):
            assert (await server.get(f"/{path}")).content == content
        await both_parts(server)
        assert sorted(builds.parts) == [Part.DETAIL, Part.REDUCED]
        assert len(server.events_of(EntryDropped)) == 2


@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed"])
async def test_a_level_damaged_under_a_running_server_is_never_used(
    damage: str, tmp_path: Path
) -> None:
    request = "/disk:pic.jpg/64,64,300,200/150,100/0/default.png"
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        await server.get(f"/{REDUCED}")
        await both_parts(server)
        for part in parts(server):
            if damage == "removed":
                part.unlink()
                continue
            data = bytearray(part.read_bytes())
            with part.open("r+b") as file:
                if damage == "flipped":
                    file.write(bytes(byte ^ 1 for byte in data[:-3000]))
                else:
                    file.truncate(len(data) // 3)
        answer = await server.get(request)
        true = reference(photograph(WIDTH, HEIGHT)[64:264, 64:364], 2)
        assert psnr(shown(answer), true) > 30
        assert engine(answer) == "raster"


async def test_what_is_evicted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_parts, "_CHECK_AFTER", 0.0)
    settings = small(tmp_path, cache={"max_files": 4, "low_water": 0.3})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", PHOTO)
        good = (await server.get(f"/{REDUCED}")).content
        await both_parts(server)
        gone = parts(server)
        for path in gone:
            os.utime(path, (1, 1))
        for width in range(50, 60):
            await server.get(f"/disk:pic.jpg/full/{width},/0/default.png")
        await async_wait_until(lambda: not {*gone} & {*parts(server)})
        builds = Builds(server, monkeypatch)
        assert (await server.get(f"/{REDUCED}")).content == good
        assert Part.REDUCED in builds.parts


async def test_pyramids_alone_stay_within_the_bounds(tmp_path: Path) -> None:
    settings = small(tmp_path, cache={"max_files": 4, "low_water": 0.5})
    async with running_app(settings) as server:
        for number in range(4):
            server.put("disk", f"{number}.jpg", PHOTO)
            for path in (REDUCED, DETAIL):
                answer = await server.get(f"/{path.replace('pic', str(number))}")
                assert (answer.status_code, engine(answer)) == (200, "tile")
        await async_wait_until(lambda: len(server.services.store.paths()) <= 4)
        assert server.events_of(Evicted) != []


async def test_tiles_are_served_where_the_bound_is_below_every_pyramid(tmp_path: Path) -> None:
    async with running_app(small(tmp_path, cache={"max_bytes": 1})) as server:
        server.put("disk", "pic.jpg", PHOTO)
        for _ in range(3):
            for path, size in ((REDUCED, (128, 125)), (DETAIL, (128, 128))):
                assert decode_image(await server.get(f"/{path}")).size == size
        await async_wait_until(lambda: parts(server) == [])


async def test_a_replaced_original_has_new_tiles_after_a_second(tmp_path: Path) -> None:
    pixels = photograph(WIDTH, HEIGHT)
    async with running_app(small(tmp_path)) as server:
        path = server.put("disk", "pic.jpg", PHOTO)
        for stamp, data, true in ((1, OTHER_PHOTO, pixels[::-1, ::-1]), (2, PHOTO, pixels)) * 2:
            path.write_bytes(data)
            os.utime(path, (stamp, stamp))
            await sleep_until_revalidated()
            for place in ((128, 256), (384, 128)):
                x, y = place
                answer = await server.get(f"/disk:pic.jpg/{x},{y},128,128/128,128/0/default.jpg")
                assert psnr(shown(answer), true[y : y + 128, x : x + 128]) > 30
            whole = await server.get("/disk:pic.jpg/full/88,63/0/default.jpg")
            assert psnr(shown(whole), reference(np.ascontiguousarray(true), 8)) > 26


# --- what fails -----------------------------------------------------------------------------


async def test_a_build_that_kills_its_worker_is_given_up_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path, workers=OPEN)) as server:
        builds = Builds(server, monkeypatch)
        builds.instead = jobs.die
        server.put("disk", "pic.jpg", PHOTO)
        server.put("disk", "other.jpg", OTHER_PHOTO)
        for made_by in (region_engine(), "cache", "cache"):
            answer = await server.get(f"/{DETAIL}")
            assert engine(answer) == made_by  # it can be had without a pyramid
            assert psnr(shown(answer), photograph(WIDTH, HEIGHT)[256:384, 128:256]) > 30
        assert builds.parts == [Part.DETAIL]
        assert [event.reason for event in server.events_of(WorkerReplaced)] == ["died"] * 2
        builds.instead = None
        assert engine(await server.get(f"/{DETAIL.replace('pic', 'other')}")) == "tile"
        assert engine(await server.get(f"/{DETAIL}")) != "tile"  # not yet again


async def test_a_build_that_failed_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_FAILURE_SECONDS", 0.0)
    async with running_app(small(tmp_path, limits={"quarantine": 0}, workers=OPEN)) as server:
        builds = Builds(server, monkeypatch)
        builds.instead = jobs.die
        server.put("disk", "pic.jpg", PHOTO)
        assert engine(await server.get(f"/{DETAIL}")) == region_engine()
        builds.instead = None
        assert engine(await server.get(f"/{DETAIL}")) == "tile"


async def test_a_worker_that_dies_once_in_a_build_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        server.put("disk", "pic.jpg", PHOTO)
        await server.get("/disk:pic.jpg/info.json")
        os.kill(server.services.image_pool.pids[0], signal.SIGKILL)
        assert engine(await server.get(f"/{DETAIL}")) == "tile"
        assert builds.parts == [Part.DETAIL]


async def test_an_error_that_nobody_foresaw_does_no_harm_to_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path, workers=OPEN)) as server:
        builds = Builds(server, monkeypatch)
        builds.instead = jobs.unsendable
        server.put("disk", "pic.jpg", PHOTO)
        for made_by in (region_engine(), "cache", "cache"):
            answer = await server.get(f"/{DETAIL}")
            assert (answer.status_code, engine(answer)) == (200, made_by)
        assert builds.parts == [Part.DETAIL]


async def test_a_build_that_takes_too_long_is_ended_and_tiles_are_served(tmp_path: Path) -> None:
    settings = small(tmp_path, pyramids={"build_timeout": 0.0001})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", PHOTO)
        for _ in range(2):
            answer = await server.get(f"/{DETAIL}")
            assert decode_image(answer).size == (128, 128)
        # It is told when the worker has ended, which the answers do not wait for.
        await async_wait_until(lambda: bool(server.events_of(WorkerReplaced)))
        assert [event.reason for event in server.events_of(WorkerReplaced)] == ["deadline"]
        assert parts(server) == []


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
async def test_a_damaged_original_is_refused_and_a_repaired_one_is_not(
    format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pictures.saved(Image.fromarray(photograph(WIDTH, HEIGHT)), format_)
    half = len(whole) // 2
    damaged = whole[:half]
    if format_ == "PNG":  # truncated ones are refused before anything is built
        damaged += bytes(1000) + whole[half + 1000 :]
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        server.put("disk", "pic.jpg", damaged)
        server.put("disk", "other.jpg", OTHER_PHOTO)
        answers = await asyncio.gather(*(server.get(f"/{REDUCED}") for _ in range(10)))
        answers += [await server.get(f"/{REDUCED}") for _ in range(3)]
        for answer in answers:
            assert_problem(answer, 422, "damaged")
        assert builds.parts == [Part.REDUCED]
        assert parts(server) == []
        assert engine(await server.get(f"/{REDUCED.replace('pic', 'other')}")) == "tile"
        server.put("disk", "pic.jpg", whole)
        assert engine(await server.get(f"/{REDUCED}")) == "tile"


async def test_tiles_are_served_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_bytes(b"a file where a folder should be")
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        server.put("disk", "pic.jpg", PHOTO)
        pixels = photograph(WIDTH, HEIGHT)
        answer = await server.get(f"/{DETAIL}")
        assert psnr(shown(answer), pixels[256:384, 128:256]) > 30
        answer = await server.get(f"/{REDUCED}")
        assert psnr(shown(answer), reference(pixels, 4)[:, :128]) > 26
        assert builds.parts == []


async def test_two_servers_share_one_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, though the first takes its time."""
    async with running_app(small(tmp_path)) as one, running_app(small(tmp_path)) as other:
        builds = [Builds(server, monkeypatch) for server in (one, other)]
        for each in builds:
            each.gate.clear()
        one.put("disk", "pic.jpg", PHOTO)
        asking = [asyncio.create_task(server.get(f"/{DETAIL}")) for server in (one, other)]
        await async_wait_until(lambda: any(each.parts for each in builds))
        await asyncio.sleep(0.1)
        assert sum(len(each.parts) for each in builds) == 1
        for each in builds:
            each.gate.set()
        answers = [await task for task in asking]
        assert [engine(answer) for answer in answers] == ["tile", "tile"]
        assert answers[0].content == answers[1].content
        assert sum(len(each.parts) for each in builds) == 1


async def test_nothing_is_left_among_what_is_being_written(tmp_path: Path) -> None:
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        server.put("disk", "bad.jpg", PHOTO[: len(PHOTO) // 2])
        await server.get(f"/{REDUCED}")
        await server.get(f"/{REDUCED.replace('pic', 'bad')}")
        await both_parts(server)
        incoming = server.settings.cache_path / "derivatives" / "incoming"
        assert [path for path in incoming.iterdir() if path.suffix != ".lock"] == []


async def test_a_tile_is_a_whole_jpeg_with_its_length_told(tmp_path: Path) -> None:
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        answer = await server.get(f"/{DETAIL}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert (answer.content[:2], answer.content[-2:]) == (b"\xff\xd8", b"\xff\xd9")


@pytest.mark.needs_lossless
async def test_a_tile_has_the_quantisation_of_its_original(tmp_path: Path) -> None:
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        answer = await server.get(f"/{DETAIL}")
        original: Any = Image.open(io.BytesIO(PHOTO))
        tile: Any = Image.open(io.BytesIO(answer.content))
        assert tile.quantization == original.quantization
