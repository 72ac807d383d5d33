"""Circuit breaker: after failures in a row, calls are skipped for some seconds. Pure."""

import time
from collections.abc import Callable
from typing import Literal

_FAILURES = 3
"""Number of failures in a row after which the breaker opens."""
_REST = 10.0
"""Seconds for which the breaker stays open before one call is tried."""


class CircuitBreaker:
    """Circuit breaker: closed while calls succeed, open after failures in a row, then half-open.

    While it is half-open, the result of one call decides whether it closes.
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
        """Time by the clock of the next call while the breaker is not closed."""

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state}>"

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """State for the next call."""
        if self._failures < self._most:
            return "closed"
        return "open" if self._clock() < self._try_at else "half-open"

    def allows(self) -> bool:
        """Whether a call may be made now; the caller reports it with `worked` or `failed`."""
        state = self.state
        if state == "half-open":
            self._try_at = self._clock() + self._rest  # no second call before this one ends
        return state != "open"

    def worked(self) -> bool:
        """Record a successful call. Returns whether the breaker was not closed before it."""
        was_open = self._failures >= self._most
        self._failures = 0
        return was_open

    def failed(self) -> bool:
        """Record a failed call. Returns whether it has opened the breaker."""
        self._failures += 1
        self._try_at = self._clock() + self._rest
        return self._failures == self._most
