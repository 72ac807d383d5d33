"""Expensive work as clients see it: it waits or is refused, and what is small is not slowed."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from iiif_server.settings import Settings
from iiif_server.telemetry.events import Quarantined, Rendered, RenderFailed, WorkRefused
from support.apps import (
    Server,
    assert_problem,
    decode_image,
    picture,
    region_engine,
    running_app,
    settings_below,
)
from support.waiting import async_wait_until

TYPES = {"disk": {"source": "disk"}}
SMALL = "/disk:pic.jpg/full/50,/0/default.jpg"


def slow(degrees: int) -> str:
    """One of many images that take a second or so, and are large enough for the full lane."""
    return f"/disk:large.png/full/max/{degrees}/default.png"


async def put_originals(server: Server) -> None:
    """A large original, and a small one whose header is known."""
    server.put("disk", "pic.jpg", picture())
    path = server.put("disk", "large.png", b"")
    Image.effect_noise((2400, 1800), 60).convert("RGB").save(path, compress_level=1)
    for name in ("pic.jpg", "large.png"):
        assert (await server.get(f"/disk:{name}/info.json")).status_code == 200


async def started(server: Server, path: str) -> "asyncio.Task[object]":
    """A request whose image is being made."""
    task: asyncio.Task[object] = asyncio.create_task(server.get(path))
    await async_wait_until(lambda: server.services.image_pool.stats.busy == 1)
    return task


async def queued(server: Server, path: str, place: int) -> "asyncio.Task[object]":
    """A request whose image waits for a process."""
    task: asyncio.Task[object] = asyncio.create_task(server.get(path))
    await async_wait_until(lambda: server.services.image_pool.stats.waiting == place)
    return task


async def test_full_size_images_leave_a_process_to_small_ones(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES, image_pool_size=2)) as server:
        await put_originals(server)
        large = await started(server, slow(31))
        waiting = [await queued(server, slow(31 + n), n) for n in (1, 2)]
        assert decode_image(await server.get(SMALL)).width == 50
        lanes = (await server.status())["lanes"]
        assert not large.done()
        assert (lanes["full"]["running"], lanes["full"]["waiting"]) == (1, 2)
        assert lanes["full"]["bytes"] > 2400 * 1800
        for task in waiting:
            task.cancel()
        await large


async def test_more_than_may_wait_is_told_to_come_back(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, limits={"queue_length": 1})
    async with running_app(settings) as server:
        await put_originals(server)
        first = await started(server, slow(31))
        second = await queued(server, slow(32), 1)
        response = await server.get(slow(33))
        assert_problem(response, 503, "are waiting)")
        assert int(response.headers["retry-after"]) > 0
        assert server.events_of(WorkRefused) == [WorkRefused("image", "full", "busy")]
        assert server.events_of(RenderFailed) == []
        assert (await server.status())["lanes"]["full"]["refused"] == 1
        small = asyncio.create_task(server.get(SMALL))
        assert decode_image(await small).width == 50  # overtakes the second
        assert not second.done()
        await asyncio.gather(first, second)
        assert len(server.events_of(Rendered)) == 3


async def test_who_waits_too_long_is_told_to_come_back(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, limits={"queue_timeout": 0.1})
    async with running_app(settings) as server:
        await put_originals(server)
        first = await started(server, slow(31))
        response = await server.get(slow(32))
        assert_problem(response, 503, "0.1 seconds", "try again")
        assert int(response.headers["retry-after"]) > 0
        assert server.services.image_pool.stats.waiting == 0
        await first


def with_memory(settings: Settings, megabytes: int) -> Settings:
    """The settings with so much memory for images: also less than settings may say.

    One of many server processes may get as little as its share.
    """
    limits = settings.limits.model_copy(update={"memory": megabytes * 1_000_000})
    return settings.model_copy(update={"limits": limits})


async def test_an_image_that_no_memory_is_there_for_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    settings = with_memory(settings_below(tmp_path, types=TYPES), 20)
    async with running_app(settings) as server:
        await put_originals(server)
        response = await server.get("/disk:large.png/full/max/0/default.avif")
        assert_problem(response, 413, "bytes of memory", "20,000,000", "limits.memory", "smaller")
        assert "retry-after" not in response.headers
        assert (
            decode_image(await server.get("/disk:large.png/full/100,/0/default.jpg")).width == 100
        )
        assert (await server.status())["pools"]["image"]["replaced"] == 0


@pytest.mark.parametrize(
    ("memory", "region", "engine"),
    [
        (1000, "64,64,640,480", "jpegtran"),
        (50, "64,64,640,480", "raster"),  # which need not hold the coefficients of the whole
        (1000, "0,512,512,512", "tile"),
        (80, "0,512,512,512", "tile"),  # compressed anew, for the same reason
        (20, "0,512,512,512", "raster"),  # without a pyramid
    ],
)
async def test_where_memory_is_scarce_another_way_is_found(
    tmp_path: Path, memory: int, region: str, engine: str
) -> None:
    settings = with_memory(settings_below(tmp_path, types=TYPES), memory)
    async with running_app(settings) as server:
        path = server.put("disk", "large.jpg", b"")
        Image.linear_gradient("L").resize((4000, 3200)).convert("RGB").save(path, subsampling=2)
        response = await server.get(f"/disk:large.jpg/{region}/max/0/default.jpg")
        assert decode_image(response).size == tuple(map(int, region.split(",")[2:]))
        made_by = region_engine() if engine == "jpegtran" else engine
        assert f'engine;desc="{made_by}"' in response.headers["server-timing"]


# --- quarantine -----------------------------------------------------------------------------


async def lose_two_workers(server: Server, path: str) -> None:
    """Ask for an image whose worker is killed, and the one that tries again as well."""
    pool, asking = server.services.image_pool, asyncio.create_task(server.get(path))
    for lost in range(2):
        await async_wait_until(
            lambda lost=lost: pool.stats.replaced == lost and pool.stats.busy == 1  # type: ignore[misc]
        )
        await asyncio.sleep(0.1)
        assert pool.stats.busy == 1, "too fast to be killed"
        os.kill(pool.pids[0], signal.SIGKILL)
    assert_problem(await asking, 500, "could not be rendered")
    await async_wait_until(lambda: pool.stats.replaced == 2)


async def test_an_original_over_which_workers_died_burns_no_more_of_them(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        await put_originals(server)
        cached = await server.get("/disk:large.png/full/100,/0/default.jpg")
        await lose_two_workers(server, slow(31))
        (event,) = server.events_of(Quarantined)
        assert (event.identifier, event.lane) == ("disk:large.png", "full")
        done = server.services.image_pool.stats.done
        response = await server.get(slow(32))
        assert_problem(response, 503, "quarantine")
        assert 0 < int(response.headers["retry-after"]) <= 300
        status = await server.status()
        assert (status["quarantined"], status["pools"]["image"]["done"]) == (1, done)
        # What is made already or by itself, what is small, and other originals:
        again = await server.get("/disk:large.png/full/100,/0/default.jpg")
        assert again.content == cached.content
        assert (await server.get("/disk:large.png/info.json")).status_code == 200
        assert decode_image(await server.get("/disk:large.png/full/90,/0/default.jpg")).width == 90
        assert decode_image(await server.get(SMALL)).width == 50


async def test_replacing_the_original_ends_its_quarantine(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        await put_originals(server)
        await lose_two_workers(server, slow(31))
        assert (await server.get(slow(32))).status_code == 503
        server.put("disk", "large.png", picture(format_="PNG"))
        assert decode_image(await server.get(slow(32))).width > 200


async def test_what_takes_too_long_is_tried_once(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, limits={"render_timeout": 0.2})
    async with running_app(settings) as server:
        await put_originals(server)
        assert_problem(await server.get(slow(31)), 503, "0.2 seconds")
        for degrees in (31, 32, 33):
            assert_problem(await server.get(slow(degrees)), 503, "quarantine")
        assert server.services.image_pool.stats.replaced <= 1
