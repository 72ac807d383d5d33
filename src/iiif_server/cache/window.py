"""Bounded concurrency for many jobs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def completed(
    jobs: Iterable[Coroutine[Any, Any, Result]] | AsyncIterable[Coroutine[Any, Any, Result]],
    at_once: int,
) -> AsyncGenerator[Result, None]:
    """Results of jobs in the order in which they end, with at most `at_once` jobs under way.

    Jobs are taken from the iterable as others end, so a million jobs need no million tasks. Raises
    the first error of a job, and cancels the jobs under way.
    """
    waiting: set[asyncio.Task[Result]] = set()
    try:
        async for job in jobs if isinstance(jobs, AsyncIterable) else _each(jobs):
            waiting.add(asyncio.create_task(job))
            if len(waiting) >= at_once:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _each(jobs: Iterable[Result]) -> AsyncIterator[Result]:
    for job in jobs:
        yield job
