"""Extents: the parts of a file that are present, and those that are missing. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Extent = tuple[int, int]
"""The first byte, and the one after the last."""

Result = TypeVar("Result")


class BytesMissingError(Exception):
    """A parser needs bytes of a file that are not present yet."""

    def __init__(self, *extents: Extent) -> None:
        super().__init__(*extents)
        self.extents = extents


@dataclass(frozen=True, slots=True)
class FromParts(Generic[Result]):
    """What a worker made of the parts of a file that are present, or the bytes that it needs."""

    result: Result | None
    needs: tuple[Extent, ...] = ()
    """Extents that are missing; the result is None then."""


def joined(extents: Iterable[Extent], gap: int = 0) -> tuple[Extent, ...]:
    """Ascending extents, apart from each other, of the same bytes and gaps up to so many bytes."""
    found: list[Extent] = []
    for start, stop in sorted(extents):
        if start >= stop:
            continue
        if found and start <= found[-1][1] + gap:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        else:
            found.append((start, stop))
    return tuple(found)


def missing(present: Sequence[Extent], wanted: Iterable[Extent]) -> tuple[Extent, ...]:
    """The bytes of the wanted extents that are in none of the present ones, which are `joined`."""
    found: list[Extent] = []
    for start, stop in joined(wanted):
        at = start
        first = max(0, bisect_right(present, (start, start)) - 1)
        for have_start, have_stop in present[first:]:
            if have_start >= stop:
                break
            if have_start > at:
                found.append((at, have_start))
            at = max(at, have_stop)
        if at < stop:
            found.append((at, stop))
    return tuple(found)


def length_of(extents: Iterable[Extent]) -> int:
    """The bytes in extents that are `joined`."""
    return sum(stop - start for start, stop in extents)
