"""Circuit breaker: whatever keeps failing is left alone for a while. Pure."""

import time
from collections.abc import Callable
from typing import Literal

_FAILURES = 3
"""Failures in a row after which the breaker opens."""
_REST = 10.0
"""Seconds for which it stays open before one call is tried."""


class CircuitBreaker:
    """Circuit breaker: closed while calls succeed, open after failures in a row, then half-open.

    While it is half-open, one call is tried, and decides.
    """

    def __init__(
        self,
        *,
        failures: int = _FAILURES,
        rest: float = _REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = failures
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._try_at = 0.0
        """When the next call may be tried while the breaker is not closed."""

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state}>"

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """What happens to the next call."""
        if self._failures < self._most:
            return "closed"
        return "open" if self._clock() < self._try_at else "half-open"

    def allows(self) -> bool:
        """Whether a call may be made now; it has to be followed by `worked` or `failed`."""
        state = self.state
        if state == "half-open":
            self._try_at = self._clock() + self._rest  # until it is known how this one ends
        return state != "open"

    def worked(self) -> bool:
        """Take note of a call that succeeded; whether the breaker was open before it."""
        was_open = self._failures >= self._most
        self._failures = 0
        return was_open

    def failed(self) -> bool:
        """Take note of a call that failed; whether that has opened the breaker."""
        self._failures += 1
        self._try_at = self._clock() + self._rest
        return self._failures == self._most
