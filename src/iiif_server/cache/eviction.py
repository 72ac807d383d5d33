"""Which entries have to go. Pure: no clock, no disk."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

AHEAD = 3600.0
"""Seconds by which a time of use may be ahead of the clock. More is no difference between two
machines: the clock was wrong, then or now, and when the entry was used is unknown."""
MOST_AT_ONCE = 100_000
"""Entries that one scan chooses, so that they take no more than 30 MB; another scan follows."""
_LEFT_FREE = 1_000_000_000
"""Bytes that are left free for others unless something else is said,"""
_LEFT_FREE_SHARE = 20
"""but no more than this part of the disk."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One stored file as eviction sees it."""

    name: str
    size: int
    """In bytes."""
    last_used: float
    """In seconds since the epoch."""
    held: bool = False
    """Whether it is in use and must stay."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept; `None` is no bound."""

    max_bytes: int | None = None
    max_files: int | None = None
    ttl: float | None = None
    """In seconds since last use."""
    low_water: float = 0.9
    """The share of a bound that is left once it has been passed."""
    min_free: int | None = None
    """Bytes of the disk that are left free; None: as many as its size suggests."""

    def exceeded(self, total_bytes: int, total_files: int) -> bool:
        """Whether there is more than may be kept."""
        return (self.max_bytes is not None and total_bytes > self.max_bytes) or (
            self.max_files is not None and total_files > self.max_files
        )

    def excess(self, total_bytes: int, total_files: int) -> tuple[int, int]:
        """Bytes and files that have to go: those above the low-water mark of each bound exceeded.

        Not positive where a bound is not exceeded.
        """
        return (
            _excess(total_bytes, self.max_bytes, self.low_water),
            _excess(total_files, self.max_files, self.low_water),
        )

    def holds(self, size: int) -> bool:
        """Whether an entry of so many bytes can stay when room is made."""
        mark = _mark(self.max_bytes, self.low_water)
        return mark is None or size <= mark

    def tightened(self, total_bytes: int, shortage: int) -> "Bounds":
        """The bounds that also end a shortage of disk space; the same if nothing would end it."""
        if not 0 < shortage <= total_bytes:
            return self
        left = total_bytes - shortage
        return replace(
            self, max_bytes=left if self.max_bytes is None else min(left, self.max_bytes)
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """The size and the free space of a disk, in bytes; other programs may use it too."""

    total: int
    free: int

    def shortage(self, min_free: int | None, wanted: int = 0) -> int:
        """The bytes to be freed before so many can be written, and enough is left for others."""
        if not self.total:  # a file system that does not say
            return 0
        if min_free is None:
            min_free = min(_LEFT_FREE, self.total // _LEFT_FREE_SHARE)
        return max(0, min_free + wanted - self.free)


def is_ahead(last_used: float, now: float) -> bool:
    """Whether a time of use cannot be true."""
    return last_used > now + AHEAD


class Selection:
    """Chooses what to evict while a scan goes on. Its memory is for what goes, not for all entries.

    All that are older than `ttl` go; and if what then remains exceeds a bound, as many of the least
    recently used as bring it to the low-water mark of that bound. Held entries are never among
    them. Of those whose time of use cannot be true the worst is supposed: it would keep them for
    ever.
    """

    def __init__(
        self,
        bounds: Bounds,
        now: float,
        expected: tuple[int, int],
        *,
        shortage: int = 0,
        most: int = MOST_AT_ONCE,
    ) -> None:
        """`expected` are the bytes and files that the scan will probably find.

        `shortage` is in bytes of the disk; `most` bounds what is chosen.
        """
        self._bounds = bounds
        self._now = now
        self._shortage = shortage
        self._most = most
        self._need = bounds.tightened(expected[0], shortage).excess(*expected)
        self.size = self.files = 0
        """Bytes and files that were found."""
        self._expired: list[Candidate] = []
        self._expired_size = 0
        self._oldest: list[tuple[float, str, int]] = []
        """A heap, the most recently used first: those that cover what has to go."""
        self._oldest_size = 0
        self._left_out = self._expired_left_out = False
        """Whether there are others that could be evicted, and that have expired."""

    def __repr__(self) -> str:
        return f"<Selection {len(self._expired) + len(self._oldest)} of {self.files}>"

    def add(self, found: Candidate) -> None:
        """Take an entry into account."""
        self.size += found.size
        self.files += 1
        if found.held:
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
        """The entries to evict, by what was found, in no order."""
        self._need = self._found_bounds.excess(*self._left)
        self._trim()
        yield from self._expired
        for use, name, size in self._oldest:
            yield Candidate(name, size, -use)

    @property
    def is_partial(self) -> bool:
        """Whether a bound is exceeded also without `victims`, and another scan would find more."""
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
        """Bytes and files that have not expired."""
        return self.size - self._expired_size, self.files - len(self._expired)

    def _trim(self) -> None:
        while self._oldest and (
            len(self._oldest) > self._most or self._is_covered(without=self._oldest[0][2])
        ):
            _, _, size = heapq.heappop(self._oldest)
            self._oldest_size -= size
            self._left_out = True

    def _is_covered(self, without: int | None = None) -> bool:
        """Whether the oldest are enough, or would be without one of this size."""
        one, size = (0, 0) if without is None else (1, without)
        return (
            self._oldest_size - size >= self._need[0] and len(self._oldest) - one >= self._need[1]
        )


def _mark(bound: int | None, low_water: float) -> int | None:
    return None if bound is None else int(bound * low_water)


def _excess(total: int, bound: int | None, low_water: float) -> int:
    return 0 if bound is None or total <= bound else total - int(bound * low_water)
