"""Tasks that run in the background: kept until they end, and no failure goes unseen."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

from iiif_server.errors import IiifServerError

logger = logging.getLogger("iiif_server")

Result = TypeVar("Result")


class BackgroundTasks:
    """Tasks that nobody has to wait for.

    The event loop itself keeps none alive. A task that has ended is discarded, and its exception is
    logged: with a traceback, unless it is an error of ours, whose message says what is wrong.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<BackgroundTasks {len(self)} running>"

    def __len__(self) -> int:
        return len(self._tasks)

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
        if isinstance(error, IiifServerError):
            logger.warning("%s", error)
        elif error is not None:
            logger.error("a background task has failed", exc_info=error)
