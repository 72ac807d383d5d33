"""Which entries have to go. Pure: no clock, no disk."""

from collections.abc import Sequence
from dataclasses import dataclass


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

    def exceeded(self, total_bytes: int, total_files: int) -> bool:
        """Whether there is more than may be kept."""
        return (self.max_bytes is not None and total_bytes > self.max_bytes) or (
            self.max_files is not None and total_files > self.max_files
        )


def victims(entries: Sequence[Candidate], bounds: Bounds, now: float) -> list[Candidate]:
    """The entries to remove, least recently used first.

    All that are older than `ttl`; and if what then remains exceeds a bound, as many more as bring
    it to the low-water mark of that bound. Held entries are never among them.
    """
    oldest_first = sorted(
        (entry for entry in entries if not entry.held), key=lambda entry: entry.last_used
    )
    expired = [
        entry
        for entry in oldest_first
        if bounds.ttl is not None and now - entry.last_used > bounds.ttl
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
