"""Circuit breaker: after failures in a row, calls are skipped for some seconds. Pure."""

import time
from collections.abc import Callable
from typing import Literal

_MAX_FAILURES = 3
"""Number of failures in a row after which the breaker opens."""
_OPEN_SECONDS = 10.0
"""Seconds for which the breaker stays open before one call is tried."""


class CircuitBreaker:
    """Circuit breaker: closed while calls succeed, open after failures in a row, then half-open.

    While it is half-open, the result of one call decides whether it closes.
    """

    def __init__(
        self,
        *,
        failures: int = _MAX_FAILURES,
        open_seconds: float = _OPEN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._try_at = 0.0
        """Time by the clock of the next call while the breaker is not closed."""

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state}>"

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """State for the next call."""
        if self._failures < self._max_failures:
            return "closed"
        return "open" if self._clock() < self._try_at else "half-open"

    def allows(self) -> bool:
        """Whether a call may be made now. The caller then records its success or failure."""
        state = self.state
        if state == "half-open":
            self._try_at = self._clock() + self._open_seconds  # no second call before this one ends
        return state != "open"

    def record_success(self) -> bool:
        """Record a successful call. Returns whether the breaker was not closed before it."""
        was_open = self._failures >= self._max_failures
        self._failures = 0
        return was_open

    def record_failure(self) -> bool:
        """Record a failed call. Returns whether it has opened the breaker."""
        self._failures += 1
        self._try_at = self._clock() + self._open_seconds
        return self._failures == self._max_failures
