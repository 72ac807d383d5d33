"""Pacing: when each request of a replay is due."""

_LONGEST_PAUSE = 60.0
"""Seconds: longer pauses of a log, and leaps of its clock, are shortened to that."""


class OriginalTiming:
    """The pace of the log: a request is due as long after the first as it was then."""

    def __init__(self) -> None:
        self._latest: float | None = None
        self._due = 0.0

    def due(self, time: float) -> float:
        """Seconds after the start at which a request is due that was logged at a time.

        Logs are not strictly in order of time: what is a little late is due at once. A clock that
        was set back goes on from there.
        """
        if self._latest is not None and time > self._latest:
            self._due += min(time - self._latest, _LONGEST_PAUSE)
        if self._latest is None or not self._latest - _LONGEST_PAUSE <= time <= self._latest:
            self._latest = time
        return self._due


class FixedRate:
    """The pace of so many requests per second."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._sent = 0

    def due(self, time: float) -> float:  # noqa: ARG002 - as above
        """Seconds after the start at which the next request is due."""
        self._sent += 1
        return (self._sent - 1) * self._step
