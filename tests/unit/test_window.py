"""Many jobs, a bounded number of them at once."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from iiif_server.background import completed


class Jobs:
    """Jobs that note how many of them are under way."""

    def __init__(self) -> None:
        self.begun = self.ended = self.active = self.peak = self.cancelled = 0

    async def one(self, number: int) -> int:
        self.begun += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await asyncio.sleep(0)
            if number == 13:
                raise LookupError(number)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1
        self.ended += 1
        return number


@pytest.mark.parametrize(("number", "at_once"), [(0, 3), (1, 3), (3, 3), (10, 3), (10, 1)])
async def test_all_are_done_and_no_more_than_so_many_at_once(number: int, at_once: int) -> None:
    jobs = Jobs()
    found = [done async for done in completed((jobs.one(n) for n in range(number)), at_once)]
    assert sorted(found) == list(range(number))
    assert jobs.peak == min(number, at_once)


async def test_jobs_are_taken_as_others_end() -> None:
    """A million names are no million tasks, nor coroutines."""
    taken = 0
    jobs = Jobs()

    def names() -> Iterator[int]:
        nonlocal taken
        for number in range(100, 1_000_100):
            taken += 1
            yield number

    async with aclosing(completed((jobs.one(n) for n in names()), 5)) as results:
        async for _ in results:
            break
    assert taken <= 10
    assert jobs.active == 0


async def test_the_first_error_is_raised_and_ends_what_is_under_way() -> None:
    jobs = Jobs()
    with pytest.raises(LookupError):
        _ = [done async for done in completed((jobs.one(n) for n in range(10, 1000)), 4)]
    assert jobs.begun < 20
    assert jobs.active == 0
