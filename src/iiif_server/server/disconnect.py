"""Clients who leave before they have their answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

_LOOK_AFTER = 0.02
"""Seconds that most answers do not take: until then nobody looks whether the client is there."""


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """A context that is cancelled as soon as the client has left; it raises ClientDisconnect then.

    To be used before an answer is begun, and for requests whose body nobody reads.
    """
    connected = asyncio.timeout(None)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        connected.reschedule(0)

    watching: set[asyncio.Task[None]] = set()
    look = asyncio.get_running_loop().call_later(
        _LOOK_AFTER, lambda: watching.add(asyncio.create_task(watch()))
    )
    try:
        async with connected:
            yield
    except TimeoutError:
        if connected.expired():
            raise ClientDisconnect from None
        raise
    finally:
        look.cancel()
        for task in watching:
            task.cancel()
