"""Threads of a storage: a call that hangs blocks one thread only."""

import asyncio
import io
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import aiofiles.threadpool
import pytest

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import StorageTimedOutError

UNLIMITED = 3600.0


class Clock:
    """A time that goes on when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def gate() -> Iterator[threading.Event]:
    """What calls wait for; it is opened at the end, whatever happens."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


async def hang(threads: StorageThreads, until: threading.Event, calls: int) -> None:
    """Have so many calls miss their deadline, all at once."""
    waiting = [threads.run(until.wait, timeout=0.05) for _ in range(calls)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in found} == {StorageTimedOutError}


async def test_what_a_call_returns_or_raises_reaches_its_caller() -> None:
    threads = StorageThreads("a")
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    assert threads.answers


async def test_a_storage_that_does_not_answer_fails_at_once_from_then_on() -> None:
    clock = Clock()
    with gate() as event:
        threads = StorageThreads("the type maps", 3, UNLIMITED, clock)
        await hang(threads, event, 1)
        assert not threads.answers
        called = threading.Event()
        for _ in range(5):
            with pytest.raises(StorageTimedOutError, match="of the type maps does not answer"):
                await threads.run(called.set)
        assert not called.is_set()


async def test_a_storage_that_does_not_answer_is_tried_by_one_call_now_and_then() -> None:
    clock = Clock()
    with gate() as event:
        threads = StorageThreads("a", 3, UNLIMITED, clock)
        await hang(threads, event, 1)
        clock.now += 6
        trying = asyncio.ensure_future(threads.run(event.wait))
        await asyncio.sleep(0)
        with pytest.raises(StorageTimedOutError):
            await threads.run(event.is_set)
        event.set()
        assert await trying
        assert threads.answers
        assert await threads.run(event.is_set)


async def test_one_slow_file_does_not_stop_the_others() -> None:
    clock = Clock()
    with gate() as event:
        threads = StorageThreads("a", 3, UNLIMITED, clock)
        await hang(threads, event, 1)
        clock.now += 6
        assert await threads.run(abs, -1) == 1  # the one that is tried: it is answered
        assert threads.answers
        for number in range(20):
            assert await threads.run(abs, number) == number


async def test_a_storage_takes_no_more_threads_than_it_has() -> None:
    clock = Clock()
    with gate() as event:
        threads = StorageThreads("a", 3, UNLIMITED, clock)
        before = threading.active_count()
        await hang(threads, event, 3)
        clock.now += 1000
        for _ in range(5):
            with pytest.raises(StorageTimedOutError):
                await threads.run(event.wait)
        assert threading.active_count() - before <= 3


async def test_other_storages_are_not_affected() -> None:
    with gate() as event:
        await hang(StorageThreads("a", 2), event, 2)
        assert await StorageThreads("b").run(abs, -1) == 1


async def test_what_nobody_waits_for_is_undone() -> None:
    undone: list[bool] = []
    done = threading.Event()

    def undo(*, result: bool) -> None:
        undone.append(result)
        done.set()

    with gate() as event:
        threads = StorageThreads("a", 1, UNLIMITED)
        for leave in ("deadline", "cancelled"):
            done.clear()
            event.clear()
            begun = threading.Event()

            def work(begun: threading.Event = begun) -> bool:
                begun.set()
                return event.wait()

            seconds = 0.05 if leave == "deadline" else None
            call = asyncio.ensure_future(
                threads.run(work, timeout=seconds, undo=lambda result: undo(result=result))
            )
            await asyncio.to_thread(begun.wait)
            if leave == "cancelled":
                call.cancel()
            await asyncio.wait({call})
            event.set()
            assert await asyncio.to_thread(done.wait, 30)
    assert undone == [True, True]


async def test_the_end_of_a_call_is_told_whoever_waits() -> None:
    ended = threading.Event()
    with gate() as event:
        threads = StorageThreads("a", 1)
        with pytest.raises(StorageTimedOutError):
            await threads.run(event.wait, timeout=0.05, ended=ended.set)
        assert not ended.is_set()
        event.set()
        assert await asyncio.to_thread(ended.wait, 30)


async def test_what_gives_something_back_is_done_even_if_nothing_else_is() -> None:
    given = threading.Event()
    with gate() as event:
        threads = StorageThreads("a", 2, 0.05)
        await hang(threads, event, 1)
        await threads.settle(given.set)
        assert given.is_set()


async def test_they_are_an_executor_for_asyncio() -> None:
    threads = StorageThreads("a")
    assert isinstance(threads, Executor)
    loop = asyncio.get_running_loop()
    name = (await loop.run_in_executor(threads, threading.current_thread)).name
    assert name == "storage of a"
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(threads, divmod, 7, 0)


class HangingFile(io.BufferedIOBase):
    """A file whose storage does not answer until an event."""

    def __init__(self, until: threading.Event) -> None:
        self.until = until
        self.reads = 0
        self.begun = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        self.begun.set()
        self.until.wait()
        return b"x" * (size or 0)


async def test_a_file_of_aiofiles_has_the_deadlines_of_its_storage() -> None:
    with gate() as event:
        file = HangingFile(event)
        threads = StorageThreads("the cache", 3, 0.05, Clock())
        reader = aiofiles.threadpool.wrap(file, executor=threads)
        for _ in range(3):
            with pytest.raises(StorageTimedOutError, match="of the cache does not answer"):
                await reader.read(2)
        assert file.reads == 1  # from the second on they fail at once
        assert not threads.answers
        event.set()
        threads.shutdown()
        assert threads.answers


async def test_a_read_of_aiofiles_that_is_cancelled_leaves_the_storage_usable() -> None:
    with gate() as event:
        file = HangingFile(event)
        threads = StorageThreads("a", 3, UNLIMITED, Clock())
        reading = asyncio.ensure_future(aiofiles.threadpool.wrap(file, executor=threads).read(2))
        await asyncio.to_thread(file.begun.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert threads.answers  # its deadline has not passed
        event.set()
        assert await threads.run(abs, -1) == 1


def test_without_an_event_loop_a_call_waits_for_its_storage() -> None:
    threads = StorageThreads("a")
    assert threads.submit(divmod, 7, 2).result() == (3, 1)
    assert threads.submit(int, "11", base=2).result() == 3
    assert list(threads.map(abs, [-1, 2])) == [1, 2]


async def test_after_shutdown_calls_under_way_end_and_further_ones_are_refused() -> None:
    with gate() as event:
        threads = StorageThreads("a", 1, UNLIMITED)
        begun = threading.Event()

        def work() -> bool:
            begun.set()
            return event.wait()

        under_way = asyncio.ensure_future(threads.run(work))
        await asyncio.to_thread(begun.wait)
        queued = asyncio.ensure_future(threads.run(abs, -1))
        await asyncio.sleep(0)
        threads.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await queued
        with pytest.raises(RuntimeError, match="after shutdown"):
            await threads.run(abs, -1)
        event.set()
        assert await under_way


def test_threads_do_not_keep_a_process_from_ending() -> None:
    async def run() -> None:
        threads = StorageThreads("a", 1)
        assert await threads.run(lambda: threading.current_thread().daemon)

    asyncio.run(run())
