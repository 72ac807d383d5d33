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

    def remember(self, key: Key, error: IiifServerError) -> None:
        """Keep the failure of a key."""
        self._failures[key] = (self._clock() + self._seconds, error)
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
