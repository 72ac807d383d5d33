"""Limits of concurrent fetches, in total and per host."""

import asyncio
from collections import Counter

import pytest

from iiif_server.errors import SourceBusyError
from iiif_server.sources.slots import Slots

LONG = 60.0


class Fetches:
    """Fetches that last until they are told to end."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.may_end = asyncio.Event()
        self.under_way: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self, *hosts: str) -> None:
        """Have one more begin for each host, as far as it may."""
        self.tasks += [asyncio.create_task(self._fetch(host)) for host in hosts]
        await settle()

    async def end(self) -> None:
        self.may_end.set()
        await asyncio.gather(*self.tasks)

    async def _fetch(self, host: str) -> None:
        async with self._slots.acquire(host):
            self.under_way[host] += 1
            try:
                await self.may_end.wait()
            finally:
                self.under_way[host] -= 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("number", "most"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5), (11, 6)]
)
async def test_one_host_gets_half_of_the_slots_but_one_at_least(number: int, most: int) -> None:
    slots = Slots(number, LONG)
    fetches = Fetches(slots)
    await fetches.begin(*["slow"] * 3 * number)
    assert fetches.under_way["slow"] == slots.in_use == most
    await fetches.end()
    assert slots.in_use == 0


async def test_a_slow_host_leaves_room_for_others() -> None:
    slots = Slots(4, LONG)
    fetches = Fetches(slots)
    await fetches.begin(*["slow"] * 50, "quick", "other")
    assert fetches.under_way == {"slow": 2, "quick": 1, "other": 1}
    await fetches.end()


async def test_no_more_slots_are_taken_than_there_are() -> None:
    slots = Slots(4, LONG)
    fetches = Fetches(slots)
    await fetches.begin(*(f"host-{number}" for number in range(20)))
    assert slots.in_use == fetches.under_way.total() == 4
    await fetches.end()


@pytest.mark.parametrize("hosts", [["a", "a"], ["a", "b"]])
async def test_whoever_waits_too_long_is_refused(hosts: list[str]) -> None:
    slots = Slots(1, 0.01)
    async with slots.acquire(hosts[0]):
        with pytest.raises(SourceBusyError):
            async with slots.acquire(hosts[1]):
                pytest.fail("there was no slot")
        assert slots.in_use == 1
    assert slots.in_use == 0
    async with slots.acquire(hosts[1]):
        assert slots.in_use == 1


async def test_a_fetch_that_takes_its_time_is_not_refused_for_it() -> None:
    async with Slots(1, 0.01).acquire("a"):
        await asyncio.sleep(0.05)


async def test_a_timeout_of_the_fetch_is_none_of_the_queue() -> None:
    with pytest.raises(TimeoutError):
        async with Slots(1, LONG).acquire("a"):
            raise TimeoutError


async def test_those_who_give_up_leave_their_place() -> None:
    slots = Slots(2, LONG)
    fetches = Fetches(slots)
    await fetches.begin("a", "a", "b", "c")
    waiting = [fetches.tasks[1], fetches.tasks[3]]
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert slots.in_use == 2
    fetches.tasks = [task for task in fetches.tasks if task not in waiting]
    await fetches.end()
    assert slots.in_use == 0
    again = Fetches(slots)
    await again.begin("a", "b")
    assert slots.in_use == 2
    await again.end()


async def test_hosts_that_nobody_asks_for_are_forgotten() -> None:
    slots = Slots(2, 0.01)
    async with slots.acquire("a"), slots.acquire("b"):
        with pytest.raises(SourceBusyError):
            async with slots.acquire("c"):
                pytest.fail("there was no slot")
        assert repr(slots) == "<Slots 2 taken, for 2 hosts>"
    assert repr(slots) == "<Slots 0 taken, for 0 hosts>"
