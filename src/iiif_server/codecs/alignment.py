"""Pixel alignment: crops that libvips, which scales around the centre, does not shift. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

_MAX_EXTRA = 16
"""Maximum additional pixels of the result at either end, which are cropped again."""


@dataclass(frozen=True, slots=True)
class Span:
    """Operations along one axis: crop, scale, and crop the result."""

    start: int
    end: int
    """First source pixel and the one after the last; beyond the source, its edges are repeated."""
    before: int
    """Pixels of the result before the requested ones."""
    total: int
    """Pixels of the result before it is cropped."""


def aligned_span(start: float, extent: float, size: int, tolerance: float) -> Span | None:
    """Return the span that scales `extent` pixels from `start` to `size`; or None.

    libvips' `resize` makes round(crop / scale) pixels, and distributes the rounding error evenly to
    both ends. So an end between two pixels is exact only if the other end is displaced equally,
    which a few more pixels of the result at one end achieve. The displacement is at most
    `tolerance` pixels of the result; None if no span achieves that.
    """
    step = extent / size
    if step == 1:  # nothing is scaled, so nothing can be shifted
        whole = start == int(start)
        return Span(int(start), int(start) + size, 0, size) if whole else None
    spans = _spans(start, extent, size)
    return next((span for span in spans if abs(_shift(span, start, step)) <= tolerance), None)


def _spans(start: float, extent: float, size: int) -> Iterator[Span]:
    """Yield possible spans, those with the fewest pixels first."""
    step = extent / size
    for before, after in _extra_pixels():
        total = before + size + after
        for left, right in _bounds(start - before * step, start + extent + after * step):
            if floor((right - left) / step + 0.5) == total:
                yield Span(left, right, before, total)


def _shift(span: Span, start: float, step: float) -> float:
    """Return the displacement of the result to the right, in pixels of the result."""
    begins = span.start + (span.end - span.start - span.total * step) / 2
    return (begins - (start - span.before * step)) / step


def _extra_pixels() -> Iterator[tuple[int, int]]:
    """Yield numbers of additional pixels before and after, the fewest first."""
    for sum_ in range(2 * _MAX_EXTRA + 1):
        for before in range(max(0, sum_ - _MAX_EXTRA), min(sum_, _MAX_EXTRA) + 1):
            yield before, sum_ - before


def _bounds(first: float, last: float) -> Iterator[tuple[int, int]]:
    """Yield integer bounds nearest to either end, the widest first."""
    for left in (floor(first), ceil(first)):
        for right in (ceil(last), floor(last)):
            yield left, right
