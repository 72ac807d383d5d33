"""How long each stage of an answer took."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

STAGES = ("fetch", "header", "cache", "shared", "queue", "open", "decode", "encode", "tile")
"""All that there are."""


class Stages:
    """Seconds by stage, in the order in which the stages began.

    The stages are `fetch` (until the original is held), `header`, `cache` (looking there), `shared`
    (until it came from the shared cache), `queue` (waiting for a worker), `open`, `decode` (until
    there are pixels), `encode`, and `tile` (having one of a pyramid, which may have to be made
    first).
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self.engine = ""
        """What made the answer, or `cache`."""

    def __repr__(self) -> str:
        return f"<Stages {self._seconds}>"

    @property
    def seconds(self) -> Mapping[str, float]:
        """What has been measured."""
        return self._seconds

    @property
    def began(self) -> Mapping[str, float]:
        """When each stage began, on the clock of `time.perf_counter`."""
        return self._began

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time that the context is open to a stage."""
        started = time.perf_counter()
        self._seconds.setdefault(stage, 0.0)
        self._began.setdefault(stage, started)
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - started

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take over what was measured elsewhere, one stage after the other, and ended just now."""
        began = time.perf_counter() - sum(seconds.values())
        for stage, value in seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + value
            self._began.setdefault(stage, began)
            began += value
