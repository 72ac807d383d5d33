"""Tasks of the event loop: background tasks, and jobs with a limit of concurrency."""

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
)
from contextvars import Context
from typing import Any, Self, TypeVar

from iiif_server.errors import IiifServerError

logger = logging.getLogger("iiif_server")

Result = TypeVar("Result")


class BackgroundTasks:
    """Set of background tasks; as a context manager, it cancels them at the end.

    The event loop only has weak references to tasks, so this set holds them until they end. The
    exception of a task is logged: an IiifServerError as its message, others with a traceback.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<BackgroundTasks {len(self)} running>"

    def __len__(self) -> int:
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()

    @property
    def running(self) -> frozenset[asyncio.Task[Any]]:
        """Tasks that have not ended."""
        return frozenset(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, Result], context: Context | None = None
    ) -> asyncio.Task[Result]:
        """Start a task, in `context` or in a copy of the current context."""
        return self.keep(asyncio.create_task(work, context=context))

    def keep(self, task: asyncio.Task[Result]) -> asyncio.Task[Result]:
        """Add a task that was started elsewhere, and return it."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def repeat(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Start a task that calls `work` forever, after a pause of `seconds` each time.

        An exception of `work` is logged, and the next call follows as usual.
        """

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - it is logged
                    _log(error)

        self.start(repeat())

    async def wait(self) -> None:
        """Wait until the running tasks have ended."""
        if self._tasks:
            await asyncio.wait(self.running)

    async def cancel(self) -> None:
        """Cancel the running tasks, and wait until they have ended."""
        for task in self.running:
            task.cancel()
        await self.wait()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log(error)


def _log(error: BaseException) -> None:
    if isinstance(error, IiifServerError):
        logger.warning("%s", error)
    else:
        logger.error("a background task has failed", exc_info=error)


async def completed(
    jobs: Iterable[Coroutine[Any, Any, Result]] | AsyncIterable[Coroutine[Any, Any, Result]],
    at_once: int,
) -> AsyncGenerator[Result, None]:
    """Run jobs, at most `at_once` at a time; yield their results in the order in which they end.

    The next job is taken from the iterable when another ends, so that a million jobs need no
    million tasks. Raises the first error of a job, and cancels the running jobs.
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
