"""Background tasks of the event loop: kept until they end, and their failures are logged."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Self, TypeVar

from iiif_server.errors import IiifServerError

logger = logging.getLogger("iiif_server")

Result = TypeVar("Result")


class BackgroundTasks:
    """Tasks that nobody has to wait for; as a context manager, it cancels them when it is left.

    The event loop itself keeps no task alive. A task that has ended is discarded, and its exception
    is logged: with a traceback, unless it is an error of ours, whose message says what is wrong.
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
        """The tasks that have not ended."""
        return frozenset(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, Result], context: Context | None = None
    ) -> asyncio.Task[Result]:
        """Start a task, in a copy of the current context unless one is given."""
        return self.keep(asyncio.create_task(work, context=context))

    def keep(self, task: asyncio.Task[Result]) -> asyncio.Task[Result]:
        """Keep a task that was started elsewhere."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def repeat(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Start a task that does the work again and again, with so many seconds before each time.

        A failure is logged, and does not keep the work from being done the next time.
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
        """Wait for all that are running."""
        if self._tasks:
            await asyncio.wait(self.running)

    async def cancel(self) -> None:
        """Cancel all that are running, and wait until they have ended."""
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
