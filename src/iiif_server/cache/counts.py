"""Thread-safe counters of the store: files and bytes on the disk, hits, misses, evictions."""

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from iiif_server.cache.shared_totals import SharedTotals, TotalsFile


@dataclass(frozen=True, slots=True)
class Totals:
    """Consistent snapshot of the counters."""

    files: int = 0
    size: int = 0
    """In bytes."""
    hits: int = 0
    misses: int = 0
    evicted: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Statistics of the store: its files and bytes now, and events since the process started."""

    files: int
    size: int
    free: int | None
    """Free bytes of the disk at the last successful check; None before it."""
    hits: int
    misses: int
    evicted: int
    dropped: int
    failures: int
    """Number of writes and reads that failed, or that the back-off did not try."""
    refused: str | None
    """Reason why the last write was refused; None if it was not."""


class StoreCounts:
    """Thread-safe counters. Files and bytes are those of all processes, events of this one."""

    def __init__(self, shared: TotalsFile) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<StoreCounts {self.totals}>"

    @property
    def totals(self) -> Totals:
        """All counters, as this process last saw them. Does not access the disk."""
        latest = self._shared.latest
        with self._lock:
            return Totals(latest.files, latest.size, **self._events)

    @property
    def reach(self) -> float:
        """Idle time (seconds) of the entry used last among those last evicted; 0 if unknown."""
        return self._shared.latest.reach

    def count(self, what: Literal["hits", "misses", "evicted", "dropped"], number: int = 1) -> None:
        """Count lookups with and without result, evicted entries, and damaged (dropped) ones."""
        with self._lock:
            self._events[what] += number

    def refresh(self) -> SharedTotals:
        """Read the totals of all processes from the disk."""
        return self._shared.refresh()

    def commit(self, size: int) -> None:
        """Add a new file to files and bytes."""
        self._shared.change(lambda totals: totals.added(size))

    def remove(self, size: int) -> None:
        """Subtract a removed file from files and bytes."""
        self._shared.change(lambda totals: totals.removed(size))

    def end_scan(self, before: SharedTotals, files: int, size: int, now: float) -> None:
        """Correct files and bytes by the result of a scan.

        `before` are the totals when the scan started; `now` is in seconds since the epoch.
        """
        self._shared.change(lambda totals: totals.corrected(before, files, size, now))

    def set_reach(self, seconds: float) -> None:
        """Write `reach`, in seconds, for all processes."""
        self._shared.change(lambda totals: replace(totals, reach=seconds))
