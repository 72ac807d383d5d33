"""Cancels the work for clients that disconnect before the response."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

_CHECK_AFTER = 0.02
"""Seconds before the connection is watched, which most responses do not need."""


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Context that is cancelled when the client disconnects; it then raises ClientDisconnect.

    For use before the response has begun, in routes that do not read the request body.
    """
    connected = asyncio.timeout(None)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        connected.reschedule(0)

    watching: set[asyncio.Task[None]] = set()
    check_timer = asyncio.get_running_loop().call_later(
        _CHECK_AFTER, lambda: watching.add(asyncio.create_task(watch()))
    )
    try:
        async with connected:
            yield
    except TimeoutError:
        if connected.expired():
            raise ClientDisconnect from None
        raise
    finally:
        check_timer.cancel()
        for task in watching:
            task.cancel()
