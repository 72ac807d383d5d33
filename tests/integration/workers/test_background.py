"""Background workers: priority, suspension, resumption and end."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from iiif_server.telemetry.events import Event, WorkerRenewed
from iiif_server.workers.admission import Capacity, Demand, Lane
from iiif_server.workers.executor import WorkerProcess
from support import jobs
from support.pools import LONG, MODULES, BusyJobs, running_pool, wait_until_dead
from support.waiting import async_wait_until

BACKGROUND = Demand(Lane.BACKGROUND)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others only lower the priority")


def state(pid: int) -> str:
    """The state of a process as proc(5) has it: `T` is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_background_worker_has_a_low_priority_in_all_of_its_threads() -> None:
    async with running_pool(2) as pool:
        before = set(pool.pids)
        background = await pool.run(jobs.pid, None, timeout=LONG, demand=BACKGROUND)
        assert background not in before
        assert set(pool.pids) == before | {background}
        assert pool.stats.workers == 2
        threads = [int(name) for name in os.listdir(f"/proc/{background}/task")]
        assert len(threads) > 1
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {
            min(19, own + 10)
        }
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in before} == {own}


async def test_a_background_job_is_stopped_while_a_tile_is_made_and_ends_after_it(
    tmp_path: Path,
) -> None:
    async with running_pool(2) as pool:
        ahead, tile = BusyJobs(pool, tmp_path / "ahead"), BusyJobs(pool, tmp_path / "tile")
        for busy in (ahead, tile):
            busy.folder.mkdir()
        before = set(pool.pids)
        await ahead.run(BACKGROUND)
        (background,) = set(pool.pids) - before
        assert state(background) != "T"
        await tile.run(Demand(Lane.TILE))
        await async_wait_until(lambda: state(background) == "T")
        (ahead.folder / "go").touch()
        await asyncio.sleep(0.1)
        assert not ahead.tasks[0].done()
        await tile.end()
        await ahead.end()
        assert state(background) != "T"


async def test_a_pool_that_is_closed_ends_stopped_workers(tmp_path: Path) -> None:
    async with running_pool(2) as pool:
        busy = BusyJobs(pool, tmp_path)
        await busy.run(BACKGROUND)
        await busy.run(Demand(Lane.TILE))
        pids = pool.pids
        await async_wait_until(lambda: any(state(pid) == "T" for pid in pids))
    await wait_until_dead(pids)
    await asyncio.gather(*busy.tasks, return_exceptions=True)


async def test_an_aborted_job_is_done_later_and_fails_nobody(tmp_path: Path) -> None:
    events: list[Event] = []
    async with running_pool(2, capacity=Capacity(2, bytes=100), events=events) as pool:
        ahead, full = BusyJobs(pool, tmp_path / "ahead"), BusyJobs(pool, tmp_path / "full")
        for busy in (ahead, full):
            busy.folder.mkdir()
        before = set(pool.pids)
        await ahead.run(Demand(Lane.BACKGROUND, 60))
        (background,) = set(pool.pids) - before
        await full.run(Demand(Lane.FULL, 60))
        await wait_until_dead([background])
        assert events == [WorkerRenewed("test", "aborted")]
        await full.end()
        await ahead.end()
        assert pool.stats.replaced == 0


async def test_somebody_who_waits_has_a_stopped_job_continued(tmp_path: Path) -> None:
    async with running_pool(2) as pool:
        tile = BusyJobs(pool, tmp_path)
        marks = (tmp_path / "ahead", tmp_path / "on")
        ahead = asyncio.create_task(
            pool.run(jobs.wait_until, marks, timeout=LONG, subject="an image", demand=BACKGROUND)
        )
        await async_wait_until(marks[0].exists)
        await tile.run(Demand(Lane.TILE))
        marks[1].touch()
        pool.promote("an image")
        await ahead
        assert not tile.tasks[0].done()
        await tile.end()


async def test_a_worker_can_be_killed_while_it_is_stopped() -> None:
    process = await WorkerProcess.start(background=True)
    process.suspend()
    await async_wait_until(lambda: state(process.pid) == "T")
    process.kill()
    ended = await asyncio.wait_for(process.ended, LONG)
    assert ended.code == -signal.SIGKILL


SERVER = """
    import asyncio, pathlib
    from support import jobs
    from iiif_server.workers.admission import Demand, Lane
    from iiif_server.workers.pool import Setup, WorkerPool
    from iiif_server.workers.sandbox.confinement import Confinement
    from iiif_server.workers.sandbox.limits import limits_for

    async def main():
        pixels = {"source_pixels": 10**6, "result_pixels": 10**6}
        limits = limits_for(**pixels, threads=2, originals=1, deadline=600)
        tests = pathlib.Path(jobs.__file__).parents[1]
        sandbox = Confinement((tests,), (), limits)
        pool = WorkerPool("test", 1, Setup(jobs.nothing, confinement=sandbox), print)
        await pool.open()
        tasks = []
        for lane in (Lane.BACKGROUND, Lane.TILE):
            job = pool.run(jobs.sleep, 600, timeout=600, demand=Demand(lane))
            tasks.append(asyncio.create_task(job))
            while not pool.lanes[lane].running:
                await asyncio.sleep(0.01)
        print(*pool.pids, flush=True)
        await asyncio.sleep(600)

    asyncio.run(main())
"""


async def test_a_stopped_worker_ends_with_a_server_that_is_killed() -> None:
    """It cannot see for itself that the other end of its socket is closed."""
    server = subprocess.Popen(  # noqa: ASYNC220 - for a moment, and in a test
        [sys.executable, "-c", textwrap.dedent(SERVER)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": MODULES},
        text=True,
    )
    with server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
        await async_wait_until(lambda: any(state(pid) == "T" for pid in pids))
        server.kill()
    await wait_until_dead(pids)
