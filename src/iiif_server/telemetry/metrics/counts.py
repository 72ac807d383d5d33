"""Counters and histograms of responses, their stages, and events."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from prometheus_client import Counter, Histogram

from iiif_server.telemetry.events import (
    AccessRefused,
    Event,
    Evicted,
    Fetched,
    FetchFailed,
    PyramidFailed,
    PyramidMade,
    Quarantined,
    Rendered,
    RenderFailed,
    SandboxIncomplete,
    WorkerNotStarted,
    WorkerRenewed,
    WorkerReplaced,
    WorkRefused,
)
from iiif_server.telemetry.metrics.gauges import Gauges
from iiif_server.telemetry.metrics.instruments import SLOW, Instruments
from iiif_server.telemetry.requests import Answered
from iiif_server.telemetry.stages import STAGES


class _Kind(NamedTuple):
    """Metrics of responses with the same labels."""

    answers: Counter
    size: Counter
    duration: Histogram


class Metrics:
    """Metrics of a server process, combined with those of its sibling processes."""

    def __init__(self) -> None:
        self.instruments = Instruments()
        self.gauges = Gauges(self.instruments)
        self._kinds: dict[tuple[str, str, int, str], _Kind] = {}
        make = self.instruments
        self._requests = make.counter(
            "requests", "Requests answered.", "route", "version", "status", "engine"
        )
        self._size = make.counter("response_bytes", "Bytes of bodies sent.", "route", "engine")
        self._duration = make.histogram(
            "request_duration", "Time from a request to the end of its answer.", "route", "engine"
        )
        stages = make.histogram(
            "stage_duration", "Time that a stage of answering an image request took.", "stage"
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._by_event = _counts_of_events(make)

    def __repr__(self) -> str:
        return f"<Metrics {self.instruments}>"

    def answered(self, answered: Answered) -> None:
        """Count a response. This is on the hot path, and takes a few microseconds."""
        key = answered.route, answered.version, answered.status, answered.engine
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._kind(*key)
        kind.answers.inc()
        kind.size.inc(answered.size)
        kind.duration.observe(answered.seconds)
        if answered.stages is not None:
            for stage, seconds in answered.stages.seconds.items():
                self._stages[stage].observe(seconds)

    def observe(self, event: Event) -> None:
        """Count an event."""
        count = self._by_event.get(type(event))
        if count is not None:
            count(event)

    def _kind(self, route: str, version: str, status: int, engine: str) -> _Kind:
        return _Kind(
            self._requests.labels(route, version, str(status), engine),
            self._size.labels(route, engine),
            self._duration.labels(route, engine),
        )


def _counts_of_events(make: Instruments) -> Mapping[type[Event], Callable[[Any], None]]:
    """Create the metrics of events; return the function that counts each type of event."""
    renders = make.counter("renders", "Derivatives made by workers.", "engine")
    failures = make.counter("render_failures", "Derivatives that could not be made.")
    replaced = make.counter(
        "workers_replaced", "Worker processes that died or were killed.", "pool", "reason"
    )
    renewed = make.counter(
        "workers_renewed", "Worker processes that ended as planned.", "pool", "reason"
    )
    not_started = make.counter(
        "workers_not_started", "Worker processes that could not be started.", "pool"
    )
    incomplete = make.counter(
        "sandbox_incomplete", "Parts of the sandbox that workers were started without.", "pool"
    )
    refused = make.counter(
        "work_refused", "Jobs refused for lack of capacity or time.", "pool", "lane", "reason"
    )
    quarantines = make.counter("quarantines", "Originals put into quarantine.", "lane")
    evicted = make.counter("store_evicted_bytes", "Bytes of derivatives evicted from the disk.")
    access_refused = make.counter(
        "access_refused", "Requests for operators' pages without a valid token."
    )
    return {
        AccessRefused: lambda _: access_refused.inc(),
        Evicted: lambda event: evicted.inc(event.size),
        Quarantined: lambda event: quarantines.labels(event.lane).inc(),
        RenderFailed: lambda _: failures.inc(),
        Rendered: lambda event: renders.labels(event.engine).inc(),
        WorkRefused: lambda event: refused.labels(event.pool, event.lane, event.reason).inc(),
        SandboxIncomplete: lambda event: incomplete.labels(event.pool).inc(),
        WorkerNotStarted: lambda event: not_started.labels(event.pool).inc(),
        WorkerRenewed: lambda event: renewed.labels(event.pool, event.reason).inc(),
        WorkerReplaced: lambda event: replaced.labels(event.pool, event.reason).inc(),
        **_counts_of_fetches(make),
        **_counts_of_pyramids(make),
    }


def _counts_of_fetches(make: Instruments) -> Mapping[type[Event], Callable[[Any], None]]:
    fetches = make.counter("fetches", "Originals fetched over HTTP, or not.", "outcome")
    done, failed = fetches.labels("done"), fetches.labels("failed")
    fetched = make.counter("fetched_bytes", "Bytes of originals fetched.")
    duration = make.histogram("fetch_duration", "Time that a fetch took.", bounds=SLOW)

    def count(event: Fetched) -> None:
        done.inc()
        fetched.inc(event.size)
        duration.observe(event.seconds)

    return {Fetched: count, FetchFailed: lambda _: failed.inc()}


def _counts_of_pyramids(make: Instruments) -> Mapping[type[Event], Callable[[Any], None]]:
    parts = make.counter("pyramid_parts", "Parts of pyramids made, or not.", "outcome")
    done, failed = parts.labels("done"), parts.labels("failed")
    duration = make.histogram(
        "pyramid_build_duration", "Time that making a part of a pyramid took.", bounds=SLOW
    )

    def count(event: PyramidMade) -> None:
        done.inc()
        duration.observe(event.seconds)

    return {PyramidMade: count, PyramidFailed: lambda _: failed.inc()}
