"""Prometheus counters, gauges and histograms, and their text format."""

import os
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from iiif_server.telemetry.metrics.sharing import VARIABLE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Buckets in seconds: from a response out of memory to the default `render_timeout`."""
SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Buckets in seconds for fetches and for builds of pyramids."""

Together = Literal["livesum", "livemax", "livemin"]
"""Aggregation of a gauge over several processes."""


class Instruments:
    """Creates counters, gauges and histograms in one registry, and exports them."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._folder = os.environ.get(VARIABLE)
        self._registry = CollectorRegistry()

    def __repr__(self) -> str:
        return f"<Instruments of {'several processes' if self.shared else 'this process'}>"

    @property
    def shared(self) -> bool:
        """Whether several processes share their metrics."""
        return self._folder is not None

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Create a counter; its exported name ends in `_total`."""
        return Counter(name, meaning, labels, namespace="iiif", registry=self._registry)

    def gauge(self, name: str, meaning: str, *labels: str, together: Together = "livesum") -> Gauge:
        """Create a gauge."""
        return Gauge(
            name,
            meaning,
            labels,
            namespace="iiif",
            registry=self._registry,
            multiprocess_mode=together,
        )

    def histogram(
        self, name: str, meaning: str, *labels: str, bounds: tuple[float, ...] = QUICK
    ) -> Histogram:
        """Create a histogram of durations; its exported name has the suffix `_seconds`."""
        return Histogram(
            name,
            meaning,
            labels,
            namespace="iiif",
            unit="seconds",
            registry=self._registry,
            buckets=bounds,
        )

    def text(self) -> bytes:
        """Return the metrics of all processes in the text format of Prometheus."""
        if self._folder is None:
            return generate_latest(self._registry)
        all_of_them = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_of_them, self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(all_of_them)
