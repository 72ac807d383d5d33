"""Pacing: the time at which each request of a replay is due."""

_MAX_PAUSE = 60.0
"""Seconds to which longer pauses of a log, and jumps of its clock, are shortened."""


class OriginalTiming:
    """Timing of the log: the intervals between requests are those of the log."""

    def __init__(self) -> None:
        self._latest: float | None = None
        self._due = 0.0

    def due(self, time: float) -> float:
        """Return the seconds after the start at which a request of this logged time is due.

        Logs are not strictly in order of time: a request that is out of order is due at once. After
        a clock was set back, the intervals continue from its new time.
        """
        if self._latest is not None and time > self._latest:
            self._due += min(time - self._latest, _MAX_PAUSE)
        if self._latest is None or not self._latest - _MAX_PAUSE <= time <= self._latest:
            self._latest = time
        return self._due


class FixedRate:
    """Timing with a fixed number of requests per second."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._sent = 0

    def due(self, time: float) -> float:  # noqa: ARG002 - as above
        """Return the seconds after the start at which the next request is due."""
        self._sent += 1
        return (self._sent - 1) * self._step
