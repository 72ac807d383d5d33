"""Thread-safe counters of the store: files and bytes on the disk, hits, misses, evictions."""

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from iiif_server.cache.shared_totals import SharedTotals, TotalsFile


@dataclass(frozen=True, slots=True)
class Totals:
    """A consistent copy of the counters."""

    files: int = 0
    size: int = 0
    """In bytes."""
    hits: int = 0
    misses: int = 0
    evicted: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What the store holds and has done since the process started."""

    files: int
    size: int
    free: int | None
    """Bytes free on the disk when it was last looked at; None if it could not be."""
    hits: int
    misses: int
    evicted: int
    dropped: int
    failures: int
    """How often something could not be kept or read."""
    refused: str | None
    """Why nothing, or not everything, is kept at the moment; None if all is."""


class StoreCounts:
    """Counters that several threads change; files and bytes are those of all processes."""

    def __init__(self, shared: TotalsFile) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<StoreCounts {self.totals}>"

    @property
    def totals(self) -> Totals:
        """All counters, as this process knows them; waits for no disk."""
        latest = self._shared.latest
        with self._lock:
            return Totals(latest.files, latest.size, **self._events)

    @property
    def reach(self) -> float:
        """Seconds since the last use of the youngest entry that was last evicted; 0: not known."""
        return self._shared.latest.reach

    def count(self, what: Literal["hits", "misses", "evicted", "dropped"], number: int = 1) -> None:
        """Count lookups that found something or nothing, evicted entries, or damaged ones."""
        with self._lock:
            self._events[what] += number

    def refresh(self) -> SharedTotals:
        """See what all processes have counted."""
        return self._shared.refresh()

    def commit(self, size: int) -> None:
        """Add a new file to files and bytes."""
        self._shared.change(lambda totals: totals.added(size))

    def remove(self, size: int) -> None:
        """Take a removed file off files and bytes."""
        self._shared.change(lambda totals: totals.removed(size))

    def end_scan(self, before: SharedTotals, files: int, size: int, now: float) -> None:
        """Correct files and bytes by a scan that found so much; `before` are those at its start."""
        self._shared.change(lambda totals: totals.corrected(before, files, size, now))

    def set_reach(self, seconds: float) -> None:
        """Tell all processes how long ago was used what had to be evicted."""
        self._shared.change(lambda totals: replace(totals, reach=seconds))
