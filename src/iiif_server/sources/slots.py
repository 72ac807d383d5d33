"""Limits on concurrent fetches: in total, and per host."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from iiif_server.errors import SourceBusyError


class Slots:
    """Concurrency limit of fetches: a total, and half of it (at least one) per host.

    A fetch that waits for a slot of its host takes no slot of other hosts.
    """

    def __init__(self, number: int, queue_timeout: float) -> None:
        self._all = asyncio.Semaphore(number)
        self._per_host = (number + 1) // 2
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()
        self._queue_timeout = queue_timeout
        self._in_use = 0

    def __repr__(self) -> str:
        return f"<Slots {self._in_use} taken, for {len(self._hosts)} hosts>"

    @property
    def in_use(self) -> int:
        """Number of slots in use."""
        return self._in_use

    @asynccontextmanager
    async def acquire(self, host: str) -> AsyncIterator[None]:
        """Slot for a fetch from this host. Raises SourceBusyError after the queue timeout."""
        async with AsyncExitStack() as stack:
            slots_of_host = self._hosts.setdefault(host, asyncio.Semaphore(self._per_host))
            self._users[host] += 1
            stack.callback(self._leave, host)
            try:
                async with asyncio.timeout(self._queue_timeout):
                    await stack.enter_async_context(slots_of_host)
                    await stack.enter_async_context(self._all)
            except TimeoutError as error:
                raise SourceBusyError(
                    "Too many originals are being fetched at the moment; please try again soon."
                ) from error
            self._in_use += 1
            try:
                yield
            finally:
                self._in_use -= 1

    def _leave(self, host: str) -> None:
        self._users[host] -= 1
        if not self._users[host]:  # free the memory of unused hosts
            del self._users[host], self._hosts[host]
