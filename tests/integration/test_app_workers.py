"""Worker processes that die, hang or are missing: requests are answered, the server goes on."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from iiif_server.telemetry.events import Rendered, RenderFailed, WorkerReplaced
from support.apps import (
    Server,
    assert_problem,
    decode_image,
    is_running,
    picture,
    running_app,
    settings_below,
)
from support.waiting import async_wait_until

TYPES = {"disk": {"source": "disk"}}
SLOW = "/disk:large.png/full/max/33/default.png"
"""Takes a second or so."""


def put_large(server: Server) -> None:
    """An original that takes its time."""
    path = server.put("disk", "large.png", b"")
    Image.effect_noise((2400, 1800), 60).convert("RGB").save(path, compress_level=1)


async def kill_a_busy_worker(server: Server) -> None:
    """Kill the only image process in the middle of its work."""
    pool = server.services.image_pool
    await async_wait_until(lambda: pool.stats.busy == 1)
    await asyncio.sleep(0.1)
    assert pool.stats.busy == 1, "too fast to be killed"
    os.kill(pool.pids[0], signal.SIGKILL)


async def test_a_request_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        put_large(server)
        before = server.services.image_pool.pids
        asking = asyncio.create_task(server.get(SLOW))
        await kill_a_busy_worker(server)
        assert decode_image(await asking).width > 2400
        assert [event.reason for event in server.events_of(WorkerReplaced)] == ["died"]
        assert len(server.events_of(Rendered)) == 1
        assert server.services.image_pool.pids != before
        server.put("disk", "pic.jpg", picture())
        response = await server.get("/disk:pic.jpg/full/50,/0/default.jpg")
        assert decode_image(response).size == (50, 38)
        assert (await server.status())["pools"]["image"]["replaced"] == 1


async def test_a_request_whose_workers_die_twice_is_given_up(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        put_large(server)
        asking = asyncio.create_task(server.get(SLOW))
        await kill_a_busy_worker(server)
        await async_wait_until(lambda: len(server.events_of(WorkerReplaced)) == 1)
        await kill_a_busy_worker(server)
        assert_problem(await asking, 500, "could not be rendered")
        assert len(server.events_of(RenderFailed)) == 1
        server.put("disk", "pic.jpg", picture())
        response = await server.get("/disk:pic.jpg/full/50,/0/default.jpg")
        assert decode_image(response).size == (50, 38)
        assert len(server.services.store.paths()) == 1


async def test_requests_that_wait_are_not_lost_with_the_worker(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        put_large(server)
        server.put("disk", "pic.jpg", picture())
        await server.get("/disk:large.png/info.json")
        slow = asyncio.create_task(server.get(SLOW))
        await async_wait_until(lambda: server.services.image_pool.stats.busy == 1)
        others = [
            asyncio.create_task(server.get(f"/disk:pic.jpg/full/{width},/0/default.jpg"))
            for width in (30, 40, 50)
        ]
        await async_wait_until(lambda: server.services.image_pool.stats.waiting == 3)
        os.kill(server.services.image_pool.pids[0], signal.SIGKILL)
        assert [decode_image(await other).width for other in others] == [30, 40, 50]
        assert (await slow).status_code == 200


async def test_a_header_process_that_dies_is_replaced(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        server.put("disk", "pic.jpg", picture())
        os.kill(server.services.header_pool.pids[0], signal.SIGKILL)
        responses = await asyncio.gather(*(server.get("/disk:pic.jpg/info.json") for _ in range(5)))
        assert {response.status_code for response in responses} == {200}


async def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, limits={"render_timeout": 0.2})
    async with running_app(settings) as server:
        put_large(server)
        (before,) = server.services.image_pool.pids
        response = await server.get(SLOW)
        assert_problem(response, 503, "0.2 seconds")
        assert int(response.headers["retry-after"]) > 0
        assert not is_running(before)
        server.put("disk", "pic.jpg", picture())
        for _ in range(2):
            assert (await server.get("/disk:pic.jpg/full/50,/0/default.jpg")).status_code == 200
        assert [event.reason for event in server.events_of(WorkerReplaced)] == ["deadline"]


async def test_no_process_is_left_when_the_application_ends(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, size_pool_size=2, image_pool_size=2)
    async with running_app(settings) as server:
        pids = (*server.services.image_pool.pids, *server.services.header_pool.pids)
        assert len(pids) == 4
        assert all(is_running(pid) for pid in pids)
    assert not any(is_running(pid) for pid in pids)


async def test_the_application_ends_soon_though_workers_are_busy(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        put_large(server)
        asking = asyncio.create_task(server.get(SLOW))
        await async_wait_until(lambda: server.services.image_pool.stats.busy == 1)
        pids = server.services.image_pool.pids
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 5
    assert not any(is_running(pid) for pid in pids)
    try:
        response = await asking
    except asyncio.CancelledError:
        return
    assert response.status_code >= 500


@pytest.mark.parametrize("size", ["max", "300,"])
async def test_a_client_who_leaves_harms_no_other(tmp_path: Path, size: str) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        put_large(server)
        path = f"/disk:large.png/full/{size}/45/default.png"
        first = asyncio.create_task(server.get(path))
        await async_wait_until(lambda: server.services.image_pool.stats.busy == 1)
        second = asyncio.create_task(server.get(path))
        await asyncio.sleep(0.02)
        first.cancel()
        assert (await second).status_code == 200
        assert len(server.events_of(Rendered)) == 1
