"""Failures remembered for some seconds, so that what just failed is not tried again at once."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from iiif_server.errors import IiifServerError

Key = TypeVar("Key")

_REMEMBERED = 1024


class RecentFailures(Generic[Key]):
    """What failed within the last `seconds`, by key; the oldest are forgotten beyond a thousand."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._failures: OrderedDict[Key, tuple[float, IiifServerError]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<RecentFailures {len(self._failures)}>"

    def remember(self, key: Key, error: IiifServerError, seconds: float | None = None) -> None:
        """Keep the failure of a key, for as long as failures are kept or for so many seconds."""
        until = self._clock() + (self._seconds if seconds is None else seconds)
        self._failures[key] = (until, error)
        self._failures.move_to_end(key)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def raise_recent(self, key: Key) -> None:
        """Raise the failure of a key anew, if it is recent."""
        until, error = self._failures.get(key, (0.0, None))
        if error is None:
            return
        if self._clock() < until:
            raise type(error)(*error.args)
        del self._failures[key]


class Repetitions(Generic[Key]):
    """How often something was done for a key within the last `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._times: OrderedDict[Key, list[float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Repetitions of {len(self._times)}>"

    def count(self, key: Key) -> int:
        """How often it was done."""
        since = self._clock() - self._seconds
        return sum(time > since for time in self._times.get(key, ()))

    def add(self, key: Key) -> None:
        """It was done again."""
        since = self._clock() - self._seconds
        times = [time for time in self._times.pop(key, ()) if time > since]
        self._times[key] = [*times, self._clock()]
        while len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
