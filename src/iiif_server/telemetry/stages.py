"""Durations of the stages of a response."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

STAGES = ("fetch", "header", "cache", "shared", "queue", "open", "decode", "encode", "tile")
"""Names of all stages."""


class Stages:
    """Duration in seconds of each stage, in the order in which the stages began.

    - `fetch`: finding the original, and fetching it if necessary
    - `header`: reading the image header
    - `cache`: lookup in the store
    - `shared`: lookup in the shared cache, and the transfer
    - `queue`: waiting for a worker
    - `open`, `decode`, `encode`: work of the worker
    - `tile`: reading a tile of a pyramid, and building the pyramid if necessary
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self.engine = ""
        """Engine of the image, or `cache`."""

    def __repr__(self) -> str:
        return f"<Stages {self._seconds}>"

    @property
    def seconds(self) -> Mapping[str, float]:
        """Measured duration in seconds of each stage."""
        return self._seconds

    @property
    def began(self) -> Mapping[str, float]:
        """Start time of each stage, on the clock of `time.perf_counter`."""
        return self._began

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the duration of the context to a stage."""
        started = time.perf_counter()
        self._seconds.setdefault(stage, 0.0)
        self._began.setdefault(stage, started)
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - started

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add durations from a worker; its stages ran one after the other and have just ended."""
        began = time.perf_counter() - sum(seconds.values())
        for stage, value in seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + value
            self._began.setdefault(stage, began)
            began += value
