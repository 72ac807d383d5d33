"""Real worker processes: their results, errors and deaths."""

import asyncio
import importlib.metadata
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs.jobs import prepare_process, render
from iiif_server.errors import (
    BusyError,
    DamagedOriginalError,
    ImageTooLargeError,
    OriginalChangedError,
    OriginalTooComplexError,
    QueueTimedOutError,
    RenderTimedOutError,
    WorkerDiedError,
    WorkerFailedError,
)
from iiif_server.plan.render_plan import Engine
from iiif_server.telemetry.events import Event, JobFailed, WorkerReplaced, WorkRefused
from iiif_server.telemetry.requests import CURRENT
from iiif_server.workers.admission import Capacity, Demand, Lane
from iiif_server.workers.affinity import MAX_OVERTAKEN
from iiif_server.workers.pool import Setup, WorkerPool
from support import jobs, pictures
from support.apps import region_engine
from support.pools import LONG, MODULES, BusyJobs, running_pool, wait_until_dead
from support.rendering import plan_request
from support.waiting import async_wait_until


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def given_up(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# --- who is told what ------------------------------------------------------------------------


async def test_what_is_told_of_a_job_is_told_of_the_request_that_wants_it() -> None:
    """Though it is the end of another one's job that lets it begin."""
    told: list[tuple[Event, str]] = []
    pool = WorkerPool(
        "test",
        1,
        Setup(jobs.nothing),
        lambda event: told.append((event, CURRENT.get())),
        queue_timeout=LONG,
    )

    async def ask(request: str, function: Callable[[Any], Any], argument: Any) -> None:
        CURRENT.set(request)
        with suppress(WorkerDiedError):
            await pool.run(function, argument, timeout=LONG)

    await pool.open()
    try:
        await asyncio.gather(ask("one", jobs.sleep, 0.1), ask("other", jobs.die, None))
    finally:
        await pool.close()
    assert [(type(event), request) for event, request in told[:1]] == [(WorkerReplaced, "other")]
    assert {request for _, request in told} == {"other"}


# --- results and errors ---------------------------------------------------------------------


async def test_results_come_back_to_whom_they_belong() -> None:
    async with running_pool(2) as pool:
        results = await asyncio.gather(
            *(pool.run(jobs.echo_pair, ("job", n), timeout=LONG) for n in range(40))
        )
        assert results == [("job", n) for n in range(40)]
        assert pool.stats.done == 40
        assert (pool.stats.busy, pool.stats.waiting, pool.stats.replaced) == (0, 0, 0)


async def test_work_is_done_in_other_processes_by_all_of_them() -> None:
    async with running_pool(2) as pool:
        seen = set(await asyncio.gather(*(pool.run(jobs.sleep, 0.1, timeout=LONG) for _ in "abcd")))
        assert seen == set(pool.pids)
        assert os.getpid() not in seen


async def test_large_results_come_back_whole() -> None:
    async with running_pool(1) as pool:
        payload = np.random.default_rng(1).bytes(3_000_000)
        assert await pool.run(jobs.echo, payload, timeout=LONG) == payload


@pytest.mark.parametrize(
    "error",
    [
        DamagedOriginalError("It is damaged."),
        OriginalChangedError("It has changed."),
        ValueError("a value"),
        KeyError("a key"),
        OSError(28, "No space left on device"),
        MemoryError(),
        TimeoutError("a disk that does not answer is no deadline"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_error_comes_back_with_its_type_and_harms_nobody(error: Exception) -> None:
    async with running_pool(1) as pool:
        before = pool.pids
        with pytest.raises(type(error)) as raised:
            await pool.run(jobs.fail, (type(error).__name__, list(error.args)), timeout=LONG)
        assert type(raised.value) is type(error)
        assert raised.value.args == error.args
        assert await pool.run(jobs.pid, None, timeout=LONG) in before
        assert pool.stats.replaced == 0


async def test_error_that_no_job_may_raise_is_told_to_the_log_and_harms_nobody() -> None:
    """Its class stays unknown to the server; what it says may hold a path, so it is for the log."""
    events: list[Event] = []
    async with running_pool(1, events=events) as pool:
        before = pool.pids
        with pytest.raises(WorkerFailedError) as raised:
            await pool.run(jobs.fail, ("OddError", ["odd", 7]), timeout=LONG)
        assert str(raised.value) == "The image could not be rendered."
        assert raised.value.reason == "support.jobs:OddError: ('odd', 7)"
        (event,) = events
        assert isinstance(event, JobFailed)
        assert (event.pool, event.function) == ("test", "support.jobs:fail")
        assert "odd" in event.error
        assert "raise found(*arguments)" in event.traceback
        assert await pool.run(jobs.pid, None, timeout=LONG) in before


async def test_what_cannot_be_sent_is_the_callers_error() -> None:
    async with running_pool(1) as pool:
        before = pool.pids
        with pytest.raises(TypeError, match="a function is no plain data"):
            await pool.run(jobs.echo, lambda: None, timeout=LONG)
        with pytest.raises(TypeError, match="a function is no plain data"):
            await pool.run(jobs.unsendable, None, timeout=LONG)
        with pytest.raises(TypeError, match="not a function of a module"):
            await pool.run(lambda _: None, None, timeout=LONG)
        assert await pool.run(jobs.pid, None, timeout=LONG) in before


async def test_every_worker_is_set_up_before_its_first_job(tmp_path: Path) -> None:
    async with running_pool(2, Setup(jobs.leave_mark, (tmp_path,))) as pool:
        assert names_in(tmp_path) == {f"ready-{pid}" for pid in pool.pids}
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.die, None, timeout=LONG)
        await async_wait_until(lambda: pool.stats.workers == 2)
        assert names_in(tmp_path) >= {f"ready-{pid}" for pid in pool.pids}


async def test_pool_whose_workers_cannot_be_set_up_does_not_open() -> None:
    pool = WorkerPool("test", 1, Setup(jobs.refuse_to_start), lambda _: None)
    with pytest.raises(WorkerDiedError):
        await pool.open()
    await pool.close()


async def test_derivative_is_made_by_a_worker(tmp_path: Path) -> None:
    pixels = pictures.photograph()
    original, target = tmp_path / "original.jpg", tmp_path / "made"
    original.write_bytes(pictures.jpeg(pixels))
    async with running_pool(1, Setup(prepare_process, (4, 1))) as pool:
        for request, engine in (
            ("64,64,64,64/max/0/default.jpg", Engine(region_engine())),
            ("60,60,64,64/max/0/default.png", Engine.RASTER),
        ):
            target.touch()
            plan = plan_request(original, request, target=target)
            made = await pool.run(render, plan, timeout=LONG, subject=str(original))
            assert (made.engine, made.data) == (engine, None)
            with Image.open(target) as image:
                assert image.size == (64, 64)
        original.write_bytes(original.read_bytes()[:2000])
        plan = plan_request(original, "full/max/0/default.png")
        with pytest.raises(DamagedOriginalError):
            await pool.run(render, plan, timeout=LONG)


# --- deadlines ------------------------------------------------------------------------------


async def test_deadline_ends_its_worker_and_no_other(tmp_path: Path) -> None:
    events: list[Event] = []
    async with running_pool(2, events=events) as pool:
        begun, go = tmp_path / "begun", tmp_path / "go"
        neighbour = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        before = set(pool.pids)
        with pytest.raises(RenderTimedOutError, match=r"0\.3 seconds"):
            await pool.run(jobs.sleep, LONG, timeout=0.3)
        go.touch()
        survivor = await neighbour
        await async_wait_until(lambda: pool.stats.workers == 2)
        (late,) = before - {survivor}
        assert survivor in pool.pids
        assert late not in pool.pids
        await wait_until_dead([late])
        assert events == [WorkerReplaced("test", "deadline")]
        assert await pool.run(jobs.echo, "well", timeout=LONG) == "well"


@pytest.mark.parametrize(("job", "tries"), [(jobs.abort, 2), (jobs.use_up, 1)])
async def test_a_job_that_takes_more_than_one_may_take_is_refused(
    job: Callable[[object], object], tries: int
) -> None:
    events: list[Event] = []
    async with running_pool(2, events=events) as pool:
        with pytest.raises(OriginalTooComplexError):
            await pool.run(job, None, timeout=LONG)
        assert await pool.run(jobs.echo, "well", timeout=LONG) == "well"
    assert [type(event) for event in events] == [WorkerReplaced] * tries


async def test_pool_of_one_recovers_from_a_deadline() -> None:
    async with running_pool(1) as pool:
        late = asyncio.create_task(pool.run(jobs.sleep, LONG, timeout=0.2))
        next_ = asyncio.create_task(pool.run(jobs.pid, None, timeout=LONG))
        before = pool.pids
        with pytest.raises(RenderTimedOutError):
            await late
        assert await next_ not in before


async def test_waiting_does_not_count_against_the_deadline(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        begun, go = tmp_path / "begun", tmp_path / "go"
        first = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        patient = asyncio.create_task(pool.run(jobs.echo, 1, timeout=2.0))
        await asyncio.sleep(2.2)
        assert not patient.done()
        go.touch()
        await first
        assert await patient == 1


# --- deaths ---------------------------------------------------------------------------------


async def test_job_that_kills_its_worker_is_tried_twice_and_no_more(tmp_path: Path) -> None:
    events: list[Event] = []
    log = tmp_path / "log"
    async with running_pool(2, events=events) as pool:
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.count_and_die, log, timeout=LONG)
        pids = log.read_text().split()
        assert len(pids) == len(set(pids)) == 2
        await async_wait_until(lambda: pool.stats.workers == 2)
        assert events == [WorkerReplaced("test", "died")] * 2
        assert pool.stats.replaced == 2


async def test_job_whose_worker_died_by_accident_is_done_after_all(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        before = pool.pids
        assert await pool.run(jobs.die_once, tmp_path / "mark", timeout=LONG) not in before


async def test_deaths_harm_no_neighbour(tmp_path: Path) -> None:
    async with running_pool(2) as pool:
        begun, go = tmp_path / "begun", tmp_path / "go"
        neighbour = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        queue = [asyncio.create_task(pool.run(jobs.echo, n, timeout=LONG)) for n in range(10)]
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.die, None, timeout=LONG)
        assert await asyncio.gather(*queue) == list(range(10))
        assert not neighbour.done()
        go.touch()
        assert await neighbour in pool.pids
        assert begun.read_text().count("\n") == 1


async def test_workers_killed_while_idle_cost_no_job() -> None:
    """Not even where all of them are gone: a job has not been tried before a worker has it."""
    async with running_pool(3) as pool:
        before = pool.pids
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await wait_until_dead(before)
        await asyncio.sleep(0.3)  # until their executors have noticed as well
        results = await asyncio.gather(
            *(pool.run(jobs.echo, n, timeout=LONG) for n in range(6)), return_exceptions=True
        )
        assert results == list(range(6))
        await async_wait_until(lambda: pool.stats.workers == 3)
        assert not set(pool.pids) & set(before)


async def test_ctrl_c_is_not_for_workers() -> None:
    async with running_pool(1) as pool:
        assert await pool.run(jobs.interrupted, None, timeout=LONG) == "alive"
        assert pool.stats.replaced == 0


# --- giving up ------------------------------------------------------------------------------


async def test_job_given_up_while_it_waits_never_runs(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        begun, go, log = tmp_path / "begun", tmp_path / "go", tmp_path / "log"
        first = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        waiting = asyncio.create_task(pool.run(jobs.write_line, log, timeout=LONG))
        await async_wait_until(lambda: pool.stats.waiting == 1)
        await given_up(waiting)
        assert pool.stats.waiting == 0
        go.touch()
        await first
        assert await pool.run(jobs.echo, "after", timeout=LONG) == "after"
        assert not log.exists()


async def test_job_given_up_while_it_runs_frees_its_worker_in_the_end(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        begun, go = tmp_path / "begun", tmp_path / "go"
        running = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        await given_up(running)
        assert pool.stats.busy == 1
        go.touch()
        assert await pool.run(jobs.pid, None, timeout=LONG) == int(begun.read_text())


async def test_job_given_up_is_not_tried_again(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        begun, go = tmp_path / "begun", tmp_path / "go"
        running = asyncio.create_task(pool.run(jobs.wait_and_die, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        await given_up(running)
        go.touch()
        assert await pool.run(jobs.echo, "after", timeout=LONG) == "after"
        assert begun.read_text().count("\n") == 1
        assert pool.stats.replaced == 1


# --- lanes ----------------------------------------------------------------------------------


TILE, BUILD, FULL = Demand(Lane.TILE), Demand(Lane.BUILD), Demand(Lane.FULL)


@pytest.mark.parametrize("demand", [BUILD, FULL])
async def test_a_crowd_of_expensive_work_leaves_a_worker_to_tiles(
    tmp_path: Path, demand: Demand
) -> None:
    async with running_pool(2) as pool:
        busy = BusyJobs(pool, tmp_path)
        await busy.run(demand)
        for _ in range(5):
            busy.submit(demand)
        assert await pool.run(jobs.echo, "tile", timeout=LONG, demand=TILE) == "tile"
        assert (pool.stats.busy, pool.stats.waiting) == (1, 5)
        lane = pool.lanes[demand.lane]
        assert (lane.running, lane.waiting, lane.refused) == (1, 5, 0)
        await busy.end()


async def test_with_one_worker_tiles_overtake_what_waits(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        busy = BusyJobs(pool, tmp_path)
        await busy.run(FULL)
        order: list[Lane] = []

        async def job(demand: Demand) -> None:
            await pool.run(jobs.echo, None, timeout=LONG, demand=demand)
            order.append(demand.lane)

        others = [asyncio.create_task(job(demand)) for demand in (FULL, BUILD, TILE)]
        await async_wait_until(lambda: pool.stats.waiting == 3)
        await busy.end()
        await asyncio.gather(*others)
        assert order == [Lane.TILE, Lane.BUILD, Lane.FULL]


async def test_expensive_work_is_bounded_by_the_memory_it_takes(tmp_path: Path) -> None:
    async with running_pool(8, capacity=Capacity(8, bytes=100)) as pool:
        busy = BusyJobs(pool, tmp_path)
        await busy.run(Demand(Lane.FULL, 60))
        busy.submit(Demand(Lane.FULL, 60))
        busy.submit(Demand(Lane.FULL, 10))  # behind it, lest it wait for ever
        await busy.run(Demand(Lane.BUILD, 40))
        assert pool.lanes[Lane.FULL].bytes == 60
        assert pool.lanes[Lane.FULL].waiting == 2
        assert pool.lanes[Lane.BUILD].bytes == 40
        await busy.end()
        assert [stats.bytes for stats in pool.lanes.values()] == [0] * len(Lane)


async def test_work_that_no_memory_is_there_for_is_refused_at_once() -> None:
    events: list[Event] = []
    async with running_pool(1, capacity=Capacity(1, bytes=1000), events=events) as pool:
        with pytest.raises(ImageTooLargeError, match=r"1,001 bytes.*1,000.*limits\.memory"):
            await pool.run(jobs.echo, 1, timeout=LONG, demand=Demand(Lane.FULL, 1001))
        assert pool.lanes[Lane.FULL].refused == 1
        assert events == [WorkRefused("test", "full", "never")]


async def test_more_work_than_may_wait_is_refused_at_once(tmp_path: Path) -> None:
    events: list[Event] = []
    async with running_pool(2, capacity=Capacity(2, queue=3), events=events) as pool:
        busy = BusyJobs(pool, tmp_path)
        await busy.run(FULL)
        waiting = [busy.submit(FULL) for _ in range(3)]
        await async_wait_until(lambda: pool.stats.waiting == 3)
        with pytest.raises(BusyError) as raised:
            await pool.run(jobs.echo, 1, timeout=LONG, demand=FULL)
        assert raised.value.retry_after > 0
        assert events == [WorkRefused("test", "full", "busy")]
        await given_up(waiting[0])
        busy.tasks.remove(waiting[0])
        busy.submit(FULL)  # has its place
        assert await pool.run(jobs.echo, "tile", timeout=LONG) == "tile"
        await busy.end()


async def test_who_waits_too_long_is_taken_out_of_the_queue(tmp_path: Path) -> None:
    events: list[Event] = []
    async with running_pool(1, queue_timeout=0.3, events=events) as pool:
        busy, log = BusyJobs(pool, tmp_path), tmp_path / "log"
        await busy.run(FULL)
        for demand in (TILE, FULL):
            with pytest.raises(QueueTimedOutError, match=r"0\.3 seconds"):
                await pool.run(jobs.write_line, log, timeout=LONG, demand=demand)
        assert pool.stats.waiting == 0
        assert events == [WorkRefused("test", lane, "deadline") for lane in ("tile", "full")]
        await busy.end()  # which has run for longer than anything may wait
        assert await pool.run(jobs.echo, 1, timeout=LONG) == 1
        assert not log.exists()


async def test_one_that_gives_up_clears_the_way_for_those_behind_it(tmp_path: Path) -> None:
    async with running_pool(8, capacity=Capacity(8, bytes=100)) as pool:
        busy = BusyJobs(pool, tmp_path)
        await busy.run(Demand(Lane.FULL, 60))
        large = asyncio.create_task(
            pool.run(jobs.echo, 1, timeout=LONG, demand=Demand(Lane.FULL, 60))
        )
        small = asyncio.create_task(
            pool.run(jobs.echo, 2, timeout=LONG, demand=Demand(Lane.FULL, 10))
        )
        await async_wait_until(lambda: pool.stats.waiting == 2)
        await given_up(large)
        assert await small == 2
        await busy.end()


@pytest.mark.parametrize("job", [jobs.die, jobs.sleep])
async def test_a_lost_worker_gives_its_place_in_the_lane_back(job: Callable[[Any], Any]) -> None:
    async with running_pool(2) as pool:
        with pytest.raises((WorkerDiedError, RenderTimedOutError)):
            await pool.run(job, LONG, timeout=0.3, demand=Demand(Lane.FULL, 10))
        assert await pool.run(jobs.echo, 1, timeout=LONG, demand=FULL) == 1
        assert pool.lanes[Lane.FULL].bytes == 0


async def test_who_asked_is_told_that_a_job_has_begun(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        busy, told = BusyJobs(pool, tmp_path), asyncio.Event()
        await busy.run(TILE)
        waiting = asyncio.create_task(pool.run(jobs.echo, 1, timeout=LONG, on_begin=told.set))
        await async_wait_until(lambda: pool.stats.waiting == 1)
        assert not told.is_set()
        await busy.end()
        await waiting
        assert told.is_set()


# --- affinity -------------------------------------------------------------------------------


async def test_same_subject_goes_to_the_same_worker() -> None:
    async with running_pool(3, affinity_size=8) as pool:
        homes: dict[str, set[int]] = {}
        for _ in range(4):
            for subject in ("a", "b", "c"):
                pid = await pool.run(jobs.pid, None, timeout=LONG, subject=subject)
                homes.setdefault(subject, set()).add(pid)
        assert [len(pids) for pids in homes.values()] == [1, 1, 1]
        assert len(set.union(*homes.values())) == 3


async def test_forgotten_subject_may_go_anywhere() -> None:
    async with running_pool(1, affinity_size=1) as pool:
        for subject in ("a", "b", "a", "b"):
            assert await pool.run(jobs.echo, subject, timeout=LONG, subject=subject) == subject


async def test_busy_worker_is_not_waited_for(tmp_path: Path) -> None:
    """Another that is idle has to open the original too, which is faster than waiting."""
    async with running_pool(2, affinity_size=4) as pool:
        begun, go = tmp_path / "begun", tmp_path / "go"
        first = asyncio.create_task(
            pool.run(jobs.wait_until, (begun, go), timeout=LONG, subject="a")
        )
        await async_wait_until(begun.exists)
        other = await pool.run(jobs.pid, None, timeout=LONG, subject="a")
        go.touch()
        assert await first != other


async def test_well_suited_jobs_overtake_only_so_often(tmp_path: Path) -> None:
    async with running_pool(1, affinity_size=1) as pool:
        await pool.run(jobs.echo, None, timeout=LONG, subject="a")
        begun, go, log = tmp_path / "begun", tmp_path / "go", tmp_path / "log"
        first = asyncio.create_task(
            pool.run(jobs.wait_until, (begun, go), timeout=LONG, subject="a")
        )
        await async_wait_until(begun.exists)
        order: list[str] = []

        async def job(subject: str) -> None:
            await pool.run(jobs.echo, None, timeout=LONG, subject=subject)
            order.append(subject)

        waiting: list[Awaitable[None]] = [asyncio.create_task(job("b"))]
        await async_wait_until(lambda: pool.stats.waiting == 1)
        waiting += [asyncio.create_task(job("a")) for _ in range(3 * MAX_OVERTAKEN)]
        await async_wait_until(lambda: pool.stats.waiting == 1 + 3 * MAX_OVERTAKEN)
        go.touch()
        await asyncio.gather(first, *waiting)
        assert order.index("b") == MAX_OVERTAKEN
    assert not log.exists()


# --- the end --------------------------------------------------------------------------------


async def test_closing_leaves_no_worker_behind(tmp_path: Path) -> None:
    async with running_pool(3) as pool:
        pids = pool.pids
        assert all(map(jobs.is_alive, pids))
        begun, go = tmp_path / "begun", tmp_path / "never"
        running = [
            asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
            for _ in range(2)
        ]
        await async_wait_until(lambda: begun.exists() and begun.read_text().count("\n") == 2)
    results = await asyncio.gather(*running, return_exceptions=True)
    assert [type(result) for result in results] == [WorkerDiedError] * 2
    assert not any(map(jobs.is_alive, pids))


async def test_closing_cancels_what_waits(tmp_path: Path) -> None:
    async with running_pool(1) as pool:
        begun, go = tmp_path / "begun", tmp_path / "never"
        running = asyncio.create_task(pool.run(jobs.wait_until, (begun, go), timeout=LONG))
        await async_wait_until(begun.exists)
        waiting = asyncio.create_task(pool.run(jobs.echo, 1, timeout=LONG))
        await async_wait_until(lambda: pool.stats.waiting == 1)
    with pytest.raises(WorkerDiedError):
        await running
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closed_pool_takes_no_job() -> None:
    async with running_pool(1) as pool:
        pass
    async with asyncio.timeout(LONG):
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.echo, 1, timeout=LONG)


async def test_closing_does_not_wait_for_a_worker_that_is_being_replaced() -> None:
    async with running_pool(2) as pool:
        with pytest.raises(RenderTimedOutError):
            await pool.run(jobs.sleep, LONG, timeout=0.2)
        # The fresh worker is starting now.
    await wait_until_dead(pool.pids)
    assert pool.stats.workers == 0


PARENT = """
    import asyncio, sys
    from pathlib import Path
    from support import jobs
    from iiif_server.workers.pool import Setup, WorkerPool

    async def serve(folder):
        pool = WorkerPool("test", 3, Setup(jobs.nothing), print)
        await pool.open()
        # One busy for ever, one idle, and one that is idle again.
        busy = asyncio.create_task(
            pool.run(jobs.wait_until, (folder / "begun", folder / "never"), timeout=600)
        )
        while not (folder / "begun").exists():
            await asyncio.sleep(0.005)
        await pool.run(jobs.echo, 1, timeout=60)
        print(*pool.pids, flush=True)
        await busy

    if __name__ == "__main__":
        asyncio.run(serve(Path(sys.argv[1])))
"""


def test_workers_end_when_their_server_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(textwrap.dedent(PARENT))
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": MODULES},
        text=True,
    ) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(jobs.is_alive, pids))
        server.kill()
        deadline = time.monotonic() + 20
        while any(map(jobs.is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = [pid for pid in pids if jobs.is_alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left


CONSOLE_SCRIPT = """
    import sys
    from {module} import {function}

    if __name__ == "__main__":
        import asyncio
        from pathlib import Path
        from support import jobs
        from iiif_server.composition.services import open_services
        from iiif_server.settings import Settings

        async def ask():
            folder = Path(sys.argv[1])
            settings = Settings(
                cache_path=folder / "cache", source_path=folder / "source",
                image_pool_size=1, size_pool_size=1,
                workers={{"confinement": "off"}},  # which the tests' own jobs lie outside of
            )
            async with open_services(settings, print) as services:
                for pool in (services.header_pool, services.image_pool):
                    names = await pool.run(jobs.loaded_modules, None, timeout=60)
                    print(*sorted(names), flush=True)

        asyncio.run(ask())
        assert "fastapi" in sys.modules
"""


def test_workers_of_the_console_script_load_no_web_framework(tmp_path: Path) -> None:
    """Workers import the main script anew; what it imports at its top, they pay for."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="iiif-server")
    script = tmp_path / "iiif-server"
    source = textwrap.dedent(CONSOLE_SCRIPT)
    script.write_text(source.format(module=entry.module, function=entry.attr))
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": MODULES},
    )
    workers = [set(line.split()) for line in result.stdout.splitlines()]
    assert len(workers) == 2
    for modules in workers:
        assert "iiif_server.workers.messages" in modules
        assert {"asyncio", "iiif_server.workers.pool"}.isdisjoint(modules)
        for heavy in ("fastapi", "starlette", "uvicorn", "httpx", "httpcore", "pydantic_settings"):
            assert heavy not in modules
    header_process, image_process = workers
    assert "pyvips" in image_process
    assert "pytest" not in header_process
