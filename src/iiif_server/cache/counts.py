"""Thread-safe counters of the store: files and bytes on the disk, hits, misses, evictions."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


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
    """Counters that several threads change; no lock is held during disk access.

    Files and bytes follow each commit and removal of this process. A scan of the disk replaces
    them: what this process committed or removed during the scan is counted once, whether the scan
    saw it or not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files = self._size = 0
        self._events: Counter[str] = Counter()
        self._committed: dict[str, int] | None = None
        """Name and length of each file committed during the scan under way; None without one."""
        self._removed: set[str] = set()

    def __repr__(self) -> str:
        return f"<StoreCounts {self.totals}>"

    @property
    def totals(self) -> Totals:
        """All counters at one moment."""
        with self._lock:
            return Totals(self._files, self._size, **self._events)

    def count(self, what: Literal["hits", "misses", "evicted", "dropped"], number: int = 1) -> None:
        """Count lookups that found something or nothing, evicted entries, or damaged ones."""
        with self._lock:
            self._events[what] += number

    def commit(self, name: str, size: int) -> None:
        """Add a new file to files and bytes."""
        with self._lock:
            self._files += 1
            self._size += size
            if self._committed is not None:
                self._committed[name] = size
                self._removed.discard(name)

    def remove(self, name: str, size: int) -> None:
        """Take a removed file off files and bytes."""
        with self._lock:
            self._files = max(0, self._files - 1)
            self._size = max(0, self._size - size)
            if self._committed is not None:
                self._committed.pop(name, None)
                self._removed.add(name)

    def begin_scan(self) -> None:
        """Note commits and removals from now on, until `end_scan`. One scan at a time."""
        with self._lock:
            self._committed = {}
            self._removed.clear()

    def end_scan(self, found: Iterable[tuple[str, int]]) -> set[str]:
        """Replace files and bytes by the names and sizes that a scan found; the names now counted.

        Includes what was committed meanwhile, and leaves out what was removed meanwhile.
        """
        sizes = dict(found)
        total = sum(sizes.values())  # of perhaps a million files: not while others wait
        with self._lock:
            for name, size in (self._committed or {}).items():
                total += size - sizes.get(name, 0)
                sizes[name] = size
            for name in self._removed:
                total -= sizes.pop(name, 0)
            self._committed = None
            self._removed.clear()
            self._files, self._size = len(sizes), total
        return set(sizes)
