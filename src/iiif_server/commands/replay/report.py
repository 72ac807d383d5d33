"""Report of a replay: counts and latencies, in bounded memory."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_STEP = math.log(1.01)
"""Logarithm of the ratio of two buckets: one percent."""
_MIN_SECONDS = 1e-6
_ENGINE = re.compile(r'engine;desc="([a-z0-9_-]{1,20})"')
_MAX_NAMES = 20
"""Limit of distinct engines and failures, because a server can send any number of names."""
_RENDERED = frozenset({"jpegtran", "raster", "level"})
"""Engines that render an image; the others send existing bytes."""


class Latencies:
    """Histogram of latencies in seconds; percentiles are accurate to one percent."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.longest = 0.0

    @property
    def count(self) -> int:
        """Number of counted latencies."""
        return self._counts.total()

    def add(self, seconds: float) -> None:
        """Count a latency."""
        self._counts[math.ceil(math.log(max(seconds, _MIN_SECONDS)) / _STEP)] += 1
        self.longest = max(self.longest, seconds)

    def percentile(self, percent: float) -> float:
        """Return a percentile in seconds; 0 without latencies."""
        left = self.count * percent / 100
        for step, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return min(math.exp(step * _STEP), self.longest)
        return self.longest

    def document(self) -> dict[str, float]:
        """Return the percentiles in milliseconds by name."""
        times = {f"p{percent}": self.percentile(percent) for percent in (50, 95, 99)}
        return {name: round(s * 1000, 2) for name, s in (times | {"max": self.longest}).items()}


@dataclass(slots=True)
class Report:
    """Report of a replay."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Requests without a complete response, by reason."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Lines that were not replayed, by reason."""
    bytes: int = 0
    """Bytes of all bodies."""
    seconds: float = 0.0
    """Duration from the first request to the last response."""
    late: float = 0.0
    """Largest delay in seconds of a request after its due time."""
    latencies: Latencies = field(default_factory=Latencies)
    engines: dict[str, Latencies] = field(default_factory=dict)
    """Latencies of images by engine."""

    @property
    def images(self) -> Counter[str]:
        """Number of images by engine."""
        return Counter({engine: times.count for engine, times in self.engines.items()})

    @property
    def requests(self) -> int:
        """Number of sent requests."""
        return self.statuses.total() + self.failures.total()

    @property
    def hit_rate(self) -> float | None:
        """Share of images that needed no rendering; None without `Server-Timing` headers."""
        images = self.images
        rendered = sum(images[engine] for engine in _RENDERED)
        return 1 - rendered / images.total() if images else None

    @property
    def failed(self) -> bool:
        """Whether nothing was sent, a request failed, or a status was 500 or more."""
        return not self.requests or bool(self.failures) or any(s >= 500 for s in self.statuses)  # noqa: PLR2004

    def answered(self, status: int, size: int, seconds: float, server_timing: str) -> None:
        """Count a response."""
        self.statuses[status] += 1
        self.bytes += size
        self.latencies.add(seconds)
        found = _ENGINE.search(server_timing)
        if found is not None:
            engine = (
                found[1] if found[1] in self.engines or len(self.engines) < _MAX_NAMES else "other"
            )
            self.engines.setdefault(engine, Latencies()).add(seconds)

    def failure(self, reason: str) -> None:
        """Count a request without a complete response."""
        known = reason in self.failures or len(self.failures) < _MAX_NAMES
        self.failures[reason if known else "other"] += 1

    def document(self) -> dict[str, Any]:
        """Return the report as an object for JSON."""
        rate = self.hit_rate
        return {
            "requests": self.requests,
            "seconds": round(self.seconds, 3),
            "requests_per_second": round(self.requests / self.seconds, 2) if self.seconds else 0,
            "late_seconds": round(self.late, 3),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "failures": dict(self.failures.most_common()),
            "bytes": self.bytes,
            "hit_rate": None if rate is None else round(rate, 4),
            "latency_ms": self.latencies.document(),
            "engines": {
                engine: {"requests": count, **self.engines[engine].document()}
                for engine, count in self.images.most_common()
            },
            "skipped": dict(self.skipped.most_common()),
        }

    def __str__(self) -> str:
        report = self.document()
        pace = f"{report['requests_per_second']} per second, at most {self.late:.1f} s late"
        lines = [
            f"requests    {self.requests:,} in {self.seconds:.1f} s, {pace}",
            f"bytes       {self.bytes:,}",
            f"statuses    {_counts(report['statuses'])}",
            f"latency     {_times(report['latency_ms'])}",
            f"hit rate    {_share(self.hit_rate)}",
        ]
        for engine, times in report["engines"].items():
            share = _share(times.pop("requests") / self.images.total())
            lines.append(f"  {engine:9} {share:>6}  {_times(times)}")
        lines.append(f"failures    {_counts(report['failures'])}")
        lines.append(f"skipped     {_counts(report['skipped'])}")
        return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"


def _times(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {milliseconds:g} ms" for name, milliseconds in times.items())


def _share(share: float | None) -> str:
    return "unknown: no Server-Timing" if share is None else f"{share * 100:.1f} %"
