"""One flight per key: many ask, the work is done once."""

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
    """Callers that ask for the same key at the same time share one run of the work.

    A caller who gives up harms nobody; when the last one gives up, the work is cancelled, unless it
    is to be kept. An error reaches all who waited, and is not remembered.
    """

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight[Value]] = {}
        self.landed = 0
        """How many flights have ended."""

    def __repr__(self) -> str:
        return f"<SingleFlight {len(self._flights)} in flight>"

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: Key, work: Callable[[], Awaitable[Value]]) -> Value:
        """The result of `work`, or of the same key's work that is already under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.ensure_future(_as_coroutine(work)))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._land(key, flight))
        flight.waiting += 1
        try:
            # `asyncio.shield` reports failures that nobody waited for, from Python 3.14 on.
            await asyncio.wait([flight.task])
            return flight.task.result()
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.kept and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def is_under_way(self, key: Key) -> bool:
        """Whether the work of a key is under way."""
        return key in self._flights

    def keep(self, key: Key) -> None:
        """Have the work of a key that is under way finished, though nobody may wait for it."""
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

    def _land(self, key: Key, flight: _Flight[Value]) -> None:
        # A cancelled flight may still be ending when the next one of its key has started.
        if self._flights.get(key) is flight:
            del self._flights[key]
            self.landed += 1
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # so that a failure nobody waited for is not reported twice


async def _as_coroutine(work: Callable[[], Awaitable[Value]]) -> Value:
    return await work()
