"""Which entries have to go. Pure: no clock, no disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

AHEAD = 3600.0
"""Seconds by which a time of use may be ahead of the clock. More is no difference between two
machines: the clock was wrong, then or now, and when the entry was used is unknown."""
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


def victims(entries: Sequence[Candidate], bounds: Bounds, now: float) -> list[Candidate]:
    """The entries to remove, least recently used first.

    All that are older than `ttl`; and if what then remains exceeds a bound, as many more as bring
    it to the low-water mark of that bound. Held entries are never among them. Of those whose time
    of use cannot be true the worst is supposed: it would keep them for ever.
    """
    oldest_first = sorted(
        (entry for entry in entries if not entry.held),
        key=lambda entry: (not is_ahead(entry.last_used, now), entry.last_used),
    )
    expired = [
        entry
        for entry in oldest_first
        if bounds.ttl is not None
        and (now - entry.last_used > bounds.ttl or is_ahead(entry.last_used, now))
    ]
    remaining_bytes = sum(entry.size for entry in entries) - sum(entry.size for entry in expired)
    remaining_files = len(entries) - len(expired)
    if not bounds.exceeded(remaining_bytes, remaining_files):
        return expired
    chosen = list(expired)
    too_many_bytes = Bounds(max_bytes=bounds.max_bytes).exceeded(remaining_bytes, 0)
    too_many_files = Bounds(max_files=bounds.max_files).exceeded(0, remaining_files)
    marks = Bounds(
        max_bytes=_mark(bounds.max_bytes, bounds.low_water) if too_many_bytes else None,
        max_files=_mark(bounds.max_files, bounds.low_water) if too_many_files else None,
    )
    for entry in oldest_first[len(expired) :]:
        if not marks.exceeded(remaining_bytes, remaining_files):
            break
        chosen.append(entry)
        remaining_bytes -= entry.size
        remaining_files -= 1
    return chosen


def _mark(bound: int | None, low_water: float) -> int | None:
    return None if bound is None else int(bound * low_water)
