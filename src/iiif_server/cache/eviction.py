"""Eviction: limits of the store, and selection of the entries to evict. Pure."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

MAX_AHEAD = 3600.0
"""Seconds by which a time of use may be ahead of the clock, as clocks of machines differ. If it is
more, a clock was or is wrong, and the time of use is unknown."""
MAX_VICTIMS = 100_000
"""Maximum number of entries that one scan selects, in at most 30 MB of memory; if more have to be
evicted, another scan follows."""
_LEFT_FREE = 1_000_000_000
"""Default of the free bytes that the cache leaves on the disk, but at most the share below."""
_LEFT_FREE_SHARE = 20
"""Divisor of the size of the disk: at most one twentieth of it is left free by default."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Stored file that eviction may select."""

    name: str
    size: int
    """In bytes."""
    last_used: float
    """Seconds since the epoch."""
    pinned: bool = False
    """Whether it is in use, so that eviction skips it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the store; `None` is unlimited."""

    max_bytes: int | None = None
    max_files: int | None = None
    ttl: float | None = None
    """Seconds since the last use after which an entry expires."""
    low_water: float = 0.9
    """Share of an exceeded limit down to which eviction removes entries."""
    min_free: int | None = None
    """Free bytes to leave on the disk; None: 1 GB, or a twentieth of a disk below 20 GB."""

    def exceeded(self, total_bytes: int, total_files: int) -> bool:
        """Whether a limit is exceeded."""
        return (self.max_bytes is not None and total_bytes > self.max_bytes) or (
            self.max_files is not None and total_files > self.max_files
        )

    def excess(self, total_bytes: int, total_files: int) -> tuple[int, int]:
        """Bytes and files to evict: those above the low-water mark of each exceeded limit.

        Not positive for a limit that is not exceeded.
        """
        return (
            _excess(total_bytes, self.max_bytes, self.low_water),
            _excess(total_files, self.max_files, self.low_water),
        )

    def holds(self, size: int) -> bool:
        """Whether an entry of `size` bytes is below the low-water mark, so that it can stay."""
        mark = _mark(self.max_bytes, self.low_water)
        return mark is None or size <= mark

    def tightened(self, total_bytes: int, shortage: int) -> "Bounds":
        """Limits that also end a shortage (bytes) of disk space.

        Unchanged if there is no shortage, or if evicting everything would not end it.
        """
        if not 0 < shortage <= total_bytes:
            return self
        left = total_bytes - shortage
        return replace(
            self, max_bytes=left if self.max_bytes is None else min(left, self.max_bytes)
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """Size and free space of a disk, in bytes; other programs may use it, too."""

    total: int
    free: int

    def shortage(self, min_free: int | None, requested: int = 0) -> int:
        """Bytes to free before `requested` bytes can be written with `min_free` left; 0 if none."""
        if not self.total:  # the file system does not report its size
            return 0
        if min_free is None:
            min_free = min(_LEFT_FREE, self.total // _LEFT_FREE_SHARE)
        return max(0, min_free + requested - self.free)


def is_ahead(last_used: float, now: float) -> bool:
    """Whether a time of use is so far in the future that it must be wrong."""
    return last_used > now + MAX_AHEAD


class Selection:
    """Selects entries to evict during a scan. It stores the selected entries, not all.

    All entries older than `ttl` are selected. If the rest exceeds a limit, the least recently used
    entries down to the low-water mark of this limit are selected, too. Held entries never are.
    Entries with an impossible time of use come first: otherwise they would stay for ever.
    """

    def __init__(
        self,
        bounds: Bounds,
        now: float,
        expected: tuple[int, int],
        *,
        shortage: int = 0,
        most: int = MAX_VICTIMS,
    ) -> None:
        """`expected`: bytes and files that the scan will probably find.

        `shortage`: bytes to free on the disk. `most`: maximum number of expired entries, and of
        others, that are selected.
        """
        self._bounds = bounds
        self._now = now
        self._shortage = shortage
        self._most = most
        self._need = bounds.tightened(expected[0], shortage).excess(*expected)
        self.size = self.files = 0
        """Bytes and files found by the scan."""
        self._expired: list[Candidate] = []
        self._expired_size = 0
        self._oldest: list[tuple[float, str, int]] = []
        """Heap of the selected entries that have not expired, the most recently used first."""
        self._oldest_size = 0
        self._left_out = self._expired_left_out = False
        """Whether other entries could be evicted, and whether other expired entries exist."""

    def __repr__(self) -> str:
        return f"<Selection {len(self._expired) + len(self._oldest)} of {self.files}>"

    def add(self, found: Candidate) -> None:
        """Add an entry that the scan found."""
        self.size += found.size
        self.files += 1
        if found.pinned:
            return
        ahead = is_ahead(found.last_used, self._now)
        ttl = self._bounds.ttl
        if ttl is not None and (ahead or self._now - found.last_used > ttl):
            if len(self._expired) == self._most:
                self._expired_left_out = True
                return
            self._expired.append(found)
            self._expired_size += found.size
            return
        use = math.inf if ahead else -found.last_used
        if self._is_covered() and (not self._oldest or use <= self._oldest[0][0]):
            self._left_out = True
            return
        heapq.heappush(self._oldest, (use, found.name, found.size))
        self._oldest_size += found.size
        self._trim()

    def victims(self) -> Iterator[Candidate]:
        """Entries to evict, in no order; to be called after the scan."""
        self._need = self._found_bounds.excess(*self._left)
        self._trim()
        yield from self._expired
        for use, name, size in self._oldest:
            yield Candidate(name, size, -use)

    @property
    def is_partial(self) -> bool:
        """Whether another scan is needed: without `victims`, a limit is still exceeded."""
        size, files = self._left
        size, files = size - self._oldest_size, files - len(self._oldest)
        return self._expired_left_out or (
            self._left_out and self._found_bounds.exceeded(size, files)
        )

    @property
    def _found_bounds(self) -> Bounds:
        return self._bounds.tightened(self.size, self._shortage)

    @property
    def _left(self) -> tuple[int, int]:
        """Bytes and files of the entries that have not expired."""
        return self.size - self._expired_size, self.files - len(self._expired)

    def _trim(self) -> None:
        while self._oldest and (
            len(self._oldest) > self._most or self._is_covered(without=self._oldest[0][2])
        ):
            _, _, size = heapq.heappop(self._oldest)
            self._oldest_size -= size
            self._left_out = True

    def _is_covered(self, without: int | None = None) -> bool:
        """Whether the selected entries suffice, also `without` one of this size (bytes)."""
        one, size = (0, 0) if without is None else (1, without)
        return (
            self._oldest_size - size >= self._need[0] and len(self._oldest) - one >= self._need[1]
        )


def _mark(bound: int | None, low_water: float) -> int | None:
    return None if bound is None else int(bound * low_water)


def _excess(total: int, bound: int | None, low_water: float) -> int:
    return 0 if bound is None or total <= bound else total - int(bound * low_water)
