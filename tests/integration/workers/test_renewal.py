"""Workers that reach their lifetime are replaced without a failed job."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from iiif_server.errors import WorkerDiedError
from iiif_server.telemetry.events import Event, WorkerRenewed, WorkerReplaced
from iiif_server.workers.lifetime import Lifetime
from iiif_server.workers.pool import Setup
from support import jobs
from support.pools import LONG, running_pool
from support.waiting import async_wait_until

MB = 1 << 20


def lasting(max_jobs: int | None = None, max_memory: int | None = None) -> Setup:
    return Setup(jobs.nothing, lifetime=Lifetime(max_jobs, max_memory))


async def test_worker_is_renewed_after_its_jobs() -> None:
    events: list[Event] = []
    async with running_pool(1, lasting(max_jobs=3), events=events) as pool:
        (first,) = pool.pids
        for _ in range(2):
            assert await pool.run(jobs.pid, None, timeout=LONG) == first
        assert (pool.stats.renewed, pool.pids) == (0, (first,))
        assert await pool.run(jobs.pid, None, timeout=LONG) == first
        await async_wait_until(lambda: pool.stats.renewed == 1)
        assert pool.stats.workers == 1
        assert await pool.run(jobs.pid, None, timeout=LONG) != first
        await async_wait_until(lambda: not jobs.is_alive(first))
        assert events == [WorkerRenewed("test", "jobs")]
        assert pool.stats.replaced == 0


async def test_worker_that_holds_on_to_memory_is_renewed() -> None:
    events: list[Event] = []
    async with running_pool(1, lasting(max_memory=100 * MB), events=events) as pool:
        (first,) = pool.pids
        await pool.run(jobs.hold_on_to, 10 * MB, timeout=LONG)
        assert pool.stats.renewed == 0
        await pool.run(jobs.hold_on_to, 200 * MB, timeout=LONG)
        await async_wait_until(lambda: pool.stats.renewed == 1)
        assert await pool.run(jobs.pid, None, timeout=LONG) != first
        assert events == [WorkerRenewed("test", "memory")]


async def test_mapped_files_are_not_memory_that_is_held_on_to(tmp_path: Path) -> None:
    original = tmp_path / "original"
    with original.open("wb") as file:
        file.truncate(200 * MB)
    async with running_pool(1, lasting(max_memory=100 * MB)) as pool:
        assert await pool.run(jobs.map_and_read, original, timeout=LONG) == 200 * MB
        await pool.run(jobs.echo, None, timeout=LONG)
        assert pool.stats.renewed == 0


async def test_no_job_is_lost_or_done_twice_while_workers_are_renewed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with running_pool(2, lasting(max_jobs=5)) as pool:
        rounds = 0
        while pool.stats.renewed < 4:
            rounds += 1
            results = await asyncio.gather(
                *(pool.run(jobs.echo, n, timeout=LONG) for n in range(10)),
                *(pool.run(jobs.write_line, log, timeout=LONG) for _ in range(2)),
            )
            assert results[:10] == list(range(10))
        assert log.read_text().count("\n") == 2 * rounds
        assert (pool.stats.done, pool.stats.replaced) == (12 * rounds, 0)
        await async_wait_until(lambda: pool.stats.workers == 2)


async def test_worker_goes_on_until_the_next_one_is_there(tmp_path: Path) -> None:
    """A pool of one has a worker at any time; the old one ends after the job that it has."""
    async with running_pool(1, lasting(max_jobs=1)) as pool:
        (first,) = pool.pids
        await pool.run(jobs.echo, None, timeout=LONG)
        begun, go = tmp_path / "begun", tmp_path / "go"
        # At once, before another process can have started.
        running = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(lambda: pool.stats.renewed == 1)
        assert first in pool.pids
        assert await pool.run(jobs.pid, None, timeout=LONG) != first
        go.touch()
        assert await running == first
        await async_wait_until(lambda: not jobs.is_alive(first))
        assert first not in pool.pids


async def test_worker_that_dies_while_it_is_being_renewed_is_followed_by_one() -> None:
    events: list[Event] = []
    async with running_pool(1, lasting(max_jobs=2), events=events) as pool:
        await pool.run(jobs.echo, None, timeout=LONG)
        dying = pool.run(jobs.fail, ("ValueError", ["its last job"]), timeout=LONG)
        with pytest.raises(ValueError, match="last job"):
            await dying
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.die, None, timeout=LONG)
        await async_wait_until(lambda: pool.stats.workers == 1 and pool.stats.busy == 0)
        assert await pool.run(jobs.echo, "well", timeout=LONG) == "well"
        assert WorkerReplaced("test", "died") in events


async def test_closing_leaves_no_worker_that_was_being_started() -> None:
    async with running_pool(2, lasting(max_jobs=1)) as pool:
        await asyncio.gather(*(pool.run(jobs.echo, n, timeout=LONG) for n in range(2)))
        pids = pool.pids
    assert pool.stats.workers == 0
    await async_wait_until(lambda: not any(map(jobs.is_alive, pids)))


async def test_worker_killed_from_outside_costs_its_job_one_try(tmp_path: Path) -> None:
    """As the kernel does when there is no memory left."""
    async with running_pool(1, lasting(max_jobs=100)) as pool:
        (first,) = pool.pids
        begun, go = tmp_path / "begun", tmp_path / "go"
        running = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        go.touch()
        os.kill(first, signal.SIGKILL)
        assert await running in {first, *pool.pids}
        assert (await pool.run(jobs.pid, None, timeout=LONG)) in pool.pids
