"""`python -m bench.pool`: overhead of one job, beside the work that it does."""

import asyncio
import sys
import time
from collections.abc import Callable

from iiif_server.workers.pool import Setup, WorkerPool

_ROUNDS = 5
_JOBS = (("nothing", 0, 2000), ("100 kB", 10**5, 500), ("5 MB", 5 * 10**6, 10))
"""What is sent there and back: its name, its bytes, and how often in a round."""


def nothing() -> None:
    """Setup of a worker that needs none."""


def echo(value: bytes) -> bytes:
    """Return the value."""
    return value


async def _measure_jobs(
    pool: WorkerPool, size: int, jobs: int, clock: Callable[[], float]
) -> float:
    """Return microseconds per job: the best of some rounds."""
    payload = b"x" * size
    found = []
    for _ in range(_ROUNDS):
        began = clock()
        for _ in range(jobs):
            await pool.run(echo, payload, timeout=60)
        found.append((clock() - began) / jobs)
    return min(found) * 1e6


async def measure() -> None:
    """Print the measurements."""
    began = time.perf_counter()
    pool = WorkerPool("bench", 1, Setup(nothing), print)
    await pool.open()
    print(f"start of a worker: {(time.perf_counter() - began) * 1e3:.0f} ms")
    try:
        for name, size, jobs in _JOBS:
            wall = await _measure_jobs(pool, size, jobs, time.perf_counter)
            own = await _measure_jobs(pool, size, jobs, time.process_time)
            print(f"{name} there and back: {wall:.0f} us, {own:.0f} us of the server's CPU")
    finally:
        await pool.close()


if __name__ == "__main__":
    # Workers find functions by the names of their modules, of which `__main__` is none.
    from bench import pool  # noqa: PLW0406

    sys.exit(asyncio.run(pool.measure()))
