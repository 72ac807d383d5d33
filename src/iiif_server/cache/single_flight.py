"""Single flight: callers that need the same result wait for one run of the work."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class _Flight(Generic[Value]):
    task: asyncio.Task[Value]
    waiting: int = 0
    kept: bool = False


class SingleFlight(Generic[Key, Value]):
    """Single flight by key: concurrent callers with the same key share one run of the work.

    If a caller is cancelled, the others go on waiting. If the last one is cancelled, the work is
    cancelled, too, unless `keep` was called. An error is raised in all callers, and not cached.
    """

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight[Value]] = {}
        self.finished = 0
        """Number of finished flights."""

    def __repr__(self) -> str:
        return f"<SingleFlight {len(self._flights)} in flight>"

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: Key, work: Callable[[], Awaitable[Value]]) -> Value:
        """Run `work`, or wait for the run of the same key that is under way.

        Returns its result, or raises its error.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.ensure_future(_as_coroutine(work)))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._finish(key, flight))
        flight.waiting += 1
        try:
            # `asyncio.shield` logs failures without a waiting caller, from Python 3.14 on.
            await asyncio.wait([flight.task])
            return flight.task.result()
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.kept and not flight.task.done():
                self._finish(key, flight)
                flight.task.cancel()

    def is_under_way(self, key: Key) -> bool:
        """Whether work of this key is under way."""
        return key in self._flights

    def keep(self, key: Key) -> None:
        """Keep the work of this key running even if all its callers are cancelled."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.kept = True

    async def close(self) -> None:
        """Cancel all work that is under way."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _finish(self, key: Key, flight: _Flight[Value]) -> None:
        # A cancelled flight may still be ending when the next one of its key has started.
        if self._flights.get(key) is flight:
            del self._flights[key]
            self.finished += 1
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # keeps asyncio from logging the failure again


async def _as_coroutine(work: Callable[[], Awaitable[Value]]) -> Value:
    return await work()
