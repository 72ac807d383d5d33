"""Rounds of a worker that needs bytes of an original: bounded, whatever the file says."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from iiif_server.images.extents import AHEAD, MAX_AHEAD, ROUNDS, from_parts, read_ahead
from iiif_server.plan.extents import Extent, PartialResult, merge_extents, missing_extents

SIZE = 10**9


class Parts:
    """The parts of a file, without the file."""

    def __init__(self) -> None:
        self.size = SIZE
        self.present: tuple[Extent, ...] = ()
        self.brought: list[tuple[Extent, ...]] = []

    async def fetch(self, extents: Iterable[Extent]) -> None:
        self.brought.append(tuple(extents))
        self.present = merge_extents([*self.present, *self.brought[-1]])


class Original:
    """An original that has such parts."""

    file = "file"

    def __init__(self) -> None:
        self.parts = Parts()

    @asynccontextmanager
    async def for_worker(self) -> AsyncIterator[Sequence[int]]:
        yield ()

    async def fetch_whole(self) -> None:
        await self.parts.fetch([(0, SIZE)])


class Pool:
    """A worker that needs, in each round, what a function says."""

    async def run(self, work: Callable[..., Any], file: str, **_: Any) -> Any:
        return work(file)


async def brought(needs: Callable[[tuple[Extent, ...]], list[Extent]], **options: Any) -> Any:
    def work(_: str, *, present: tuple[Extent, ...]) -> PartialResult[str]:
        wanted = missing_extents(present, needs(present))
        return PartialResult(None, wanted) if wanted else PartialResult("done")

    original: Any = Original()
    pool: Any = Pool()
    assert await from_parts(pool, work, original, timeout=1, **options) == "done"
    return original.parts.brought


async def test_a_worker_gets_what_it_needs_and_no_more() -> None:
    assert await brought(lambda _: [(10, 20), (500, 600)]) == [((10, 20), (500, 600))]


async def test_a_worker_that_needs_ever_more_gets_the_whole_after_eight_rounds() -> None:
    def ever_more(present: tuple[Extent, ...]) -> list[Extent]:
        return [(0, min(SIZE, present[-1][1] + 1 if present else 1))]

    found = await brought(ever_more)
    assert len(found) == ROUNDS + 1
    assert found[-1] == ((0, SIZE),)


async def test_a_worker_that_needs_very_much_gets_the_whole_at_once() -> None:
    found = await brought(lambda _: [(5, 100 << 20)])
    assert found == [((0, SIZE),)]


async def test_a_worker_that_is_never_content_is_an_error() -> None:
    original: Any = Original()
    pool: Any = Pool()
    with pytest.raises(ValueError, match="needs more"):
        await from_parts(pool, lambda _, **__: PartialResult(None, ((0, 1),)), original, timeout=1)
    assert len(original.parts.brought) == ROUNDS + 2


async def test_a_whole_file_has_no_parts() -> None:
    original: Any = SimpleNamespace(parts=None)
    pool: Any = Pool()
    with pytest.raises(ValueError, match="whole"):
        await from_parts(pool, lambda _, **__: PartialResult("x"), original, timeout=1)


@pytest.mark.parametrize(
    ("extent", "size", "turn", "expected"),
    [
        ((100, 200), 10**6, 0, (100, 200 + AHEAD)),
        ((100, 200), 10**8, 0, (100, 200 + (10**8 >> 9))),
        ((100, 200), 10**12, 0, (100, 200 + MAX_AHEAD)),
        ((100, 200), 10**12, 1, (100, 200 + AHEAD)),
        ((800_000, 800_100), 10**6, 1, (800_000, 10**6)),
    ],
)
def test_more_is_read_than_a_header_needs(
    extent: Extent, size: int, turn: int, expected: Extent
) -> None:
    assert read_ahead([extent], size, turn) == [expected]
