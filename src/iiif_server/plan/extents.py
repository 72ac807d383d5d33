"""Extents: the parts of a file that are present, and those that are missing. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Extent = tuple[int, int]
"""Extent of bytes: offsets of its start and its end, which is exclusive."""

Result = TypeVar("Result")


class BytesMissingError(Exception):
    """Error for a parser that needs bytes that are not present yet."""

    def __init__(self, *extents: Extent) -> None:
        super().__init__(*extents)
        self.extents = extents


@dataclass(frozen=True, slots=True)
class PartialResult(Generic[Result]):
    """Result of a job on a partly downloaded file, or the extents that it needs."""

    result: Result | None
    needs: tuple[Extent, ...] = ()
    """Missing extents; the result is then None."""


def merge_extents(extents: Iterable[Extent], gap: int = 0) -> tuple[Extent, ...]:
    """Return the union of extents, ascending; gaps up to `gap` bytes are included."""
    found: list[Extent] = []
    for start, stop in sorted(extents):
        if start >= stop:
            continue
        if found and start <= found[-1][1] + gap:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        else:
            found.append((start, stop))
    return tuple(found)


def missing_extents(present: Sequence[Extent], requested: Iterable[Extent]) -> tuple[Extent, ...]:
    """Return the requested extents that are missing; `present` is as of `merge_extents`."""
    found: list[Extent] = []
    for start, stop in merge_extents(requested):
        at = start
        first = max(0, bisect_right(present, (start, start)) - 1)
        for present_start, present_stop in present[first:]:
            if present_start >= stop:
                break
            if present_start > at:
                found.append((at, present_start))
            at = max(at, present_stop)
        if at < stop:
            found.append((at, stop))
    return tuple(found)


def total_length(extents: Iterable[Extent]) -> int:
    """Return the number of bytes in extents as of `merge_extents`."""
    return sum(stop - start for start, stop in extents)
