"""Worker pools, and jobs that keep their workers busy."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from iiif_server.telemetry.events import Event
from iiif_server.workers.admission import Capacity, Demand
from iiif_server.workers.pool import Setup, WorkerPool
from support import jobs
from support.waiting import async_wait_until

LONG = 60.0
"""Seconds that nothing here takes, however slow the computer."""
TESTS = Path(jobs.__file__).parent.parent
MODULES = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(TESTS))))
"""Where other processes find what this one has."""


@asynccontextmanager
async def running_pool(
    size: int,
    setup: Setup | None = None,
    *,
    affinity_size: int = 0,
    events: list[Event] | None = None,
    capacity: Capacity | None = None,
    queue_timeout: float | None = None,
) -> AsyncIterator[WorkerPool]:
    observer = (lambda _: None) if events is None else events.append
    pool = WorkerPool(
        "test",
        size,
        setup or Setup(jobs.nothing),
        observer,
        affinity_size=affinity_size,
        capacity=capacity,
        queue_timeout=queue_timeout,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def wait_until_dead(pids: Iterable[int]) -> None:
    await async_wait_until(lambda: not any(map(jobs.is_alive, pids)))


@dataclass
class BusyJobs:
    """Jobs that run until they are released."""

    pool: WorkerPool
    folder: Path
    tasks: list[asyncio.Task[int]] = field(default_factory=list)

    async def run(self, demand: Demand) -> asyncio.Task[int]:
        """Start a job, and wait until it has begun."""
        begun = self.folder / f"begun{len(self.tasks)}"
        task = self.submit(demand, begun)
        await async_wait_until(begun.exists)
        return task

    def submit(self, demand: Demand, begun: Path | None = None) -> asyncio.Task[int]:
        """Submit a job, which may have to wait in the queue."""
        marks = (begun or self.folder / f"begun{len(self.tasks)}", self.folder / "go")
        running = self.pool.run(jobs.wait_until, marks, timeout=LONG, demand=demand)
        self.tasks.append(asyncio.create_task(running))
        return self.tasks[-1]

    async def end(self) -> None:
        """Let all jobs end, and wait for them."""
        (self.folder / "go").touch()
        await asyncio.gather(*self.tasks)
