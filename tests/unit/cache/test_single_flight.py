"""Single flight: one piece of work per key."""

import asyncio
import gc

import pytest

from iiif_server.cache.single_flight import SingleFlight


class Work:
    """Work that ends when it is told to, and counts how often it was begun and cancelled."""

    def __init__(self, result: str = "done", error: Exception | None = None) -> None:
        self.begun = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self._result = result
        self._error = error

    async def __call__(self) -> str:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error is not None:
            raise self._error
        return self._result


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def give_up(*callers: asyncio.Task[str]) -> None:
    for caller in callers:
        caller.cancel()
    await settle()
    assert all(caller.cancelled() for caller in callers)


async def test_callers_at_the_same_time_share_one_run() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work, other = Work("first"), Work("second")
    callers = [asyncio.create_task(flights.run("key", w)) for w in (work, other, other)]
    await settle()
    assert (work.begun, other.begun, len(flights)) == (1, 0, 1)
    work.may_end.set()
    assert await asyncio.gather(*callers) == ["first", "first", "first"]
    await settle()
    assert len(flights) == 0


async def test_different_keys_fly_apart() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    left, right = Work("left"), Work("right")
    callers = [
        asyncio.create_task(flights.run(key, work)) for key, work in (("l", left), ("r", right))
    ]
    await settle()
    assert len(flights) == 2
    right.may_end.set()
    assert await callers[1] == "right"
    assert not callers[0].done()
    left.may_end.set()
    assert await callers[0] == "left"


async def test_a_result_is_not_remembered() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    first, second = Work("first"), Work("second")
    first.may_end.set()
    second.may_end.set()
    assert await flights.run("key", first) == "first"
    assert await flights.run("key", second) == "second"


async def test_an_error_reaches_all_who_waited_and_is_not_remembered() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    failing, working = Work(error=LookupError("no")), Work("now")
    callers = [asyncio.create_task(flights.run("key", failing)) for _ in range(3)]
    await settle()
    failing.may_end.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    assert failing.begun == 1
    working.may_end.set()
    assert await flights.run("key", working) == "now"


async def test_an_error_before_the_first_pause_reaches_the_caller() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    failing = Work(error=LookupError("no"))
    failing.may_end.set()
    with pytest.raises(LookupError):
        await flights.run("key", failing)
    await settle()
    assert len(flights) == 0


@pytest.mark.parametrize("leaver", [0, 1])
async def test_a_caller_who_gives_up_harms_nobody(leaver: int) -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.run("key", work)) for _ in range(2)]
    await settle()
    await give_up(callers[leaver])
    assert work.cancelled == 0
    work.may_end.set()
    assert await callers[1 - leaver] == "done"
    assert work.begun == 1


async def test_the_work_is_cancelled_when_the_last_caller_gives_up() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.run("key", work)) for _ in range(2)]
    await settle()
    await give_up(*callers)
    await settle()
    assert work.cancelled == 1
    assert len(flights) == 0


async def test_a_caller_after_the_last_one_gave_up_starts_anew() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    abandoned, fresh = Work("abandoned"), Work("fresh")
    caller = asyncio.create_task(flights.run("key", abandoned))
    await settle()
    caller.cancel()
    next_caller = asyncio.create_task(flights.run("key", fresh))
    await settle()
    assert caller.cancelled()
    assert (abandoned.cancelled, fresh.begun, len(flights)) == (1, 1, 1)
    fresh.may_end.set()
    assert await next_caller == "fresh"


async def test_an_abandoned_flight_that_ends_late_leaves_its_successor_alone() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    cleaned_up = asyncio.Event()

    async def slow_to_end() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await cleaned_up.wait()
        return "never"

    abandoned = asyncio.create_task(flights.run("key", slow_to_end))
    await settle()
    await give_up(abandoned)
    fresh = Work("fresh")
    callers = [asyncio.create_task(flights.run("key", fresh))]
    await settle()
    cleaned_up.set()
    await settle()
    callers.append(asyncio.create_task(flights.run("key", fresh)))
    await settle()
    assert (fresh.begun, len(flights)) == (1, 1)
    fresh.may_end.set()
    assert await asyncio.gather(*callers) == ["fresh", "fresh"]


async def test_the_number_in_flight_shows() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    assert repr(flights) == "<SingleFlight 0 in flight>"


async def test_work_that_is_to_be_kept_goes_on_without_callers() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    caller = asyncio.create_task(flights.run("key", work))
    await settle()
    flights.keep("key")
    await give_up(caller)
    assert (work.cancelled, len(flights)) == (0, 1)
    late = asyncio.create_task(flights.run("key", Work("another")))
    await settle()
    work.may_end.set()
    assert await late == "done"
    await settle()
    assert len(flights) == 0


async def test_kept_work_that_fails_unseen_is_nobodys_error() -> None:
    """asyncio reports an exception that nobody retrieved when its task is collected."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work(error=LookupError("no"))
    caller = asyncio.create_task(flights.run("key", work))
    await settle()
    flights.keep("key")
    await give_up(caller)
    work.may_end.set()
    await settle()
    assert len(flights) == 0
    del caller
    gc.collect()
    await settle()
    assert reported == []


async def test_keeping_what_is_not_under_way_does_nothing() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    flights.keep("key")
    work = Work()
    caller = asyncio.create_task(flights.run("key", work))
    await settle()
    await give_up(caller)
    await settle()
    assert work.cancelled == 1


async def test_closing_cancels_all_that_is_under_way() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    caller = asyncio.create_task(flights.run("key", work))
    await settle()
    flights.keep("key")
    await flights.close()
    assert work.cancelled == 1
    with pytest.raises(asyncio.CancelledError):
        await caller
    await flights.close()
