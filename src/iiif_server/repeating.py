"""Work that is done now and then, as long as something is open."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from iiif_server.errors import NotNowError

logger = logging.getLogger("iiif_server")


@asynccontextmanager
async def repeating(seconds: float, work: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """While this is open, the work is done again and again, with so many seconds between.

    One that fails is logged, and does not keep the next from being tried.
    """

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except NotNowError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("work that is repeated every %g seconds has failed", seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def in_background(work: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """While this is open, the work is done once; if it is not done by then, it is cancelled.

    A failure is logged.
    """

    async def once() -> None:
        try:
            await work()
        except Exception:
            logger.exception("work in the background has failed")

    task = asyncio.create_task(once())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
