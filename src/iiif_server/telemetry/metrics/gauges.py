"""Gauges, and counters whose totals components keep; updated at each scrape."""

from prometheus_client import Counter

from iiif_server.telemetry.metrics.instruments import Instruments


class Gauges:
    """Gauges and counters of the server.

    Memory, worker pools and fetches are summed over the server processes. The disk is common to all
    of them.
    """

    def __init__(self, make: Instruments) -> None:
        self.processes = make.gauge("serving_processes", "Processes that serve.")
        self.build = make.gauge(
            "build_info", "Always 1; its label is the version.", "version", together="livemax"
        )
        self.started = make.gauge(
            "start_time_seconds",
            "When the process that serves the longest was ready, since the epoch.",
            together="livemin",
        )
        self.ready = make.gauge(
            "ready", "Whether /health/ready answers 200, as 1 or 0.", together="livemin"
        )
        self.in_progress = make.gauge("requests_in_progress", "Requests being answered.")
        self.memory = make.gauge(
            "process_memory_bytes", "Memory that processes hold for themselves.", "process"
        )
        self.jobs = make.gauge("lane_jobs", "Jobs for image processes.", "lane", "state")
        self.job_memory = make.gauge(
            "lane_memory_bytes", "Memory that running jobs may take, as estimated.", "lane"
        )
        self.workers = make.gauge("workers", "Worker processes.", "pool", "state")
        self.jobs_done = make.counter("worker_jobs", "Jobs that workers have done.", "pool")
        self.cache = CacheGauges(make)
        self.fetching = make.gauge("fetches_in_progress", "Originals being fetched.")
        self.fetched_files = make.gauge(
            "fetched_files", "Fetched originals stored, if limited.", together="livemax"
        )
        self.fetched_bytes = make.gauge(
            "fetched_stored_bytes",
            "Bytes of fetched originals stored, if limited.",
            together="livemax",
        )
        self.fetched_evicted = make.counter("fetched_evictions", "Originals removed to make room.")
        self.quarantined = make.gauge("originals_quarantined", "Originals in quarantine.")
        self.headers = make.gauge("headers_known", "Headers of originals in memory.")


class CacheGauges:
    """Gauges and counters of the cache, in memory and on disk."""

    def __init__(self, make: Instruments) -> None:
        self.hits = make.counter(
            "cache_hits", "Lookups in a tier of the cache that found an entry.", "tier"
        )
        self.misses = make.counter("cache_misses", "Lookups in a tier that found none.", "tier")
        self.evictions = make.counter("cache_evictions", "Entries removed to make room.", "tier")
        self.cached = make.gauge("cache_bytes", "Bytes in a tier, over all processes.", "tier")
        self.entries = make.gauge("cache_entries", "Entries of a tier.", "tier")
        self.stored = make.gauge(
            "store_bytes", "Bytes of derivatives and pyramids on disk.", together="livemax"
        )
        self.files = make.gauge(
            "store_files", "Derivatives and parts of pyramids on disk.", together="livemax"
        )
        self.free = make.gauge(
            "store_free_bytes", "Bytes free on the disk of the cache.", together="livemin"
        )
        self.refusing = make.gauge(
            "store_refusing",
            "Whether nothing can be written to the cache, as 1 or 0.",
            together="livemax",
        )
        self.damaged = make.counter("store_damaged", "Files with a wrong checksum or length.")
        self.failures = make.counter("store_failures", "Reads and writes that failed.")
        self.shared_failures = make.counter(
            "shared_cache_failures", "Requests to the shared cache that failed."
        )
        self.shared_open = make.gauge(
            "shared_cache_open",
            "Whether the circuit breaker of the shared cache is open, as 1 or 0.",
            together="livemax",
        )
        self.shared_waiting = make.gauge(
            "shared_cache_waiting", "Entries that are still to be written to the shared cache."
        )
        self.building = make.gauge("pyramid_parts_in_progress", "Parts of pyramids being made.")


class CounterDeltas:
    """Adds the increase of totals of components to the counters of the process.

    When settings are reloaded, the components start again at 0, but the counters do not.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Counter, tuple[str, ...]], float] = {}

    def __repr__(self) -> str:
        return f"<CounterDeltas {len(self._known)}>"

    def add(self, counter: Counter, total: float, *labels: str) -> None:
        """Add the increase of `total` since the last call to a counter."""
        key = counter, labels
        known = self._known.get(key, 0.0)
        (counter.labels(*labels) if labels else counter).inc(max(0.0, total - known))
        self._known[key] = max(known, total)
