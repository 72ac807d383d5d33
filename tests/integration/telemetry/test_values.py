"""Values of events, metrics and Server-Timing, not only that there are some."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.telemetry.events import PyramidMade, Rendered, WorkerRenewed
from iiif_server.workers.options import WorkerOptions
from iiif_server.workers.pool import WorkerPool
from support.apps import Server, picture, running_app, settings_below
from support.servers import ADMIN_TOKEN
from support.waiting import async_wait_until

TYPES = {"disk": {"source": "disk"}}
HELD = 0.2
"""Seconds for which workers are stopped; values are compared with how long they really were."""
IN_WORKERS = ("open", "decode", "encode")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    pyramids = PyramidOptions(min_pixels=100_000, tile_size=128)
    async with running_app(settings_below(tmp_path, types=TYPES, pyramids=pyramids)) as server:
        server.put("disk", "pic.jpg", picture())
        server.put("disk", "large.jpg", picture(700, 500))
        for name in ("pic.jpg", "large.jpg"):  # so that headers are known
            await server.get(f"/disk:{name}/info.json")
        yield server


@contextmanager
def stopped(pool: WorkerPool) -> Iterator[None]:
    pids = pool.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def answer_after_a_stop(server: Server, path: str) -> tuple[httpx.Response, float, float]:
    """The answer, for how long its worker was stopped, and how long the answer took in all."""
    pool = server.services.image_pool
    started = time.perf_counter()
    with stopped(pool):
        request = asyncio.create_task(server.get(path))
        await async_wait_until(lambda: pool.stats.busy == 1)
        waiting = time.perf_counter()
        await asyncio.sleep(HELD)
        held = time.perf_counter() - waiting
    response = await request
    assert response.status_code == 200
    return response, held, time.perf_counter() - started


def timings(response: httpx.Response) -> dict[str, float]:
    """Seconds by stage, from Server-Timing."""
    stages = (part.partition(";dur=") for part in response.headers["server-timing"].split(", "))
    return {stage: float(value) / 1000 for stage, equals, value in stages if equals}


async def samples(server: Server) -> dict[str, float]:
    """The metrics, by name and labels as they are written."""
    response = await server.get("/metrics", Authorization=f"Bearer {ADMIN_TOKEN}")
    lines = response.text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def test_the_queue_time_is_how_long_a_job_waited_for_its_worker(server: Server) -> None:
    name = 'iiif_stage_duration_seconds_sum{stage="queue"}'
    before = await samples(server)
    response, held, took = await answer_after_a_stop(server, "/disk:pic.jpg/full/90,/0/default.png")
    stages = timings(response)
    assert held - 0.001 <= stages["queue"] <= took
    (rendered,) = server.events_of(Rendered)
    in_workers = sum(stages[stage] for stage in IN_WORKERS)
    # What workers measure themselves does not count as waiting.
    assert stages["queue"] + in_workers == pytest.approx(rendered.seconds, abs=0.001)
    assert held <= rendered.seconds <= took
    measured = (await samples(server))[name] - before.get(name, 0.0)
    assert measured == pytest.approx(stages["queue"], abs=0.001)


async def test_the_build_seconds_are_how_long_a_part_of_a_pyramid_took(server: Server) -> None:
    tile = "/disk:large.jpg/128,128,128,128/128,128/0/default.jpg"
    _, held, took = await answer_after_a_stop(server, tile)
    made = server.events_of(PyramidMade)[0]
    assert held <= made.seconds <= took
    await async_wait_until(lambda: server.services.pyramids.building == 0)
    seconds = sum(event.seconds for event in server.events_of(PyramidMade))
    found = await samples(server)
    assert found["iiif_pyramid_build_duration_seconds_sum"] == pytest.approx(seconds)
    assert found["iiif_pyramid_build_duration_seconds_count"] == len(server.events_of(PyramidMade))


async def test_renewals_are_counted_alike_in_events_metrics_and_status(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, workers=WorkerOptions(max_jobs=2))
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        await server.get("/disk:pic.jpg/info.json")
        async with asyncio.timeout(60):
            for turn in count(1):  # as many images as it takes for workers to start
                path = f"/disk:pic.jpg/full/20,/{turn / 1000}/default.jpg"
                assert (await server.get(path)).status_code == 200
                if server.services.image_pool.stats.renewed >= 2:
                    break
        renewals = server.events_of(WorkerRenewed)
        assert {(event.pool, event.reason) for event in renewals} == {("image", "jobs")}
        pools = (await server.status())["pools"]
        assert (pools["image"]["renewed"], pools["size"]["renewed"]) == (len(renewals), 0)
        counted = 'iiif_workers_renewed_total{pool="image",reason="jobs"}'
        assert (await samples(server))[counted] == len(renewals)
