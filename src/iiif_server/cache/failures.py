"""Cache of recent failures, so that failed work is not tried again at once."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from iiif_server.cache.lru import Lru
from iiif_server.errors import IiifServerError

Key = TypeVar("Key", bound=Hashable)

_REMEMBERED = 1024


class RecentFailures(Generic[Key]):
    """Errors of the last `seconds`, by key; an LRU cache of 1024 keys."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._failures: Lru[Key, tuple[float, IiifServerError]] = Lru(_REMEMBERED)

    def __repr__(self) -> str:
        return f"<RecentFailures {len(self._failures)}>"

    def remember(self, key: Key, error: IiifServerError, seconds: float | None = None) -> None:
        """Store the error of a key, for `seconds` (default: those of the constructor)."""
        until = self._clock() + (self._seconds if seconds is None else seconds)
        self._failures.put(key, (until, error))

    def raise_recent(self, key: Key) -> None:
        """Raise the error of a key again, as a new instance, if it is recent."""
        until, error = self._failures.get(key) or (0.0, None)
        if error is not None and self._clock() < until:
            raise type(error)(*error.args)
        self._failures.remove(key)


class Repetitions(Generic[Key]):
    """Counter of events within the last `seconds`, by key; an LRU cache of 1024 keys."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._times: Lru[Key, list[float]] = Lru(_REMEMBERED)

    def __repr__(self) -> str:
        return f"<Repetitions of {len(self._times)}>"

    def count(self, key: Key) -> int:
        """Number of events of a key within the last `seconds`."""
        since = self._clock() - self._seconds
        return sum(time > since for time in self._times.get(key) or ())

    def add(self, key: Key) -> None:
        """Count an event of a key now."""
        since = self._clock() - self._seconds
        times = [time for time in self._times.get(key) or () if time > since]
        self._times.put(key, [*times, self._clock()])
