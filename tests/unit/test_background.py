"""Background tasks: kept while they run, discarded when they end, and their failures logged."""

import asyncio
import logging
from contextvars import Context, ContextVar

import pytest

from iiif_server.background import BackgroundTasks
from iiif_server.errors import NotNowError

LABEL: ContextVar[str] = ContextVar("label", default="none")


async def fail(error: Exception) -> None:
    raise error


async def test_a_task_that_has_ended_is_discarded_however_it_ended() -> None:
    tasks, gate = BackgroundTasks(), asyncio.Event()
    waiting = tasks.start(gate.wait())
    cancelled = tasks.start(asyncio.Event().wait())
    tasks.start(fail(ValueError("x")))
    assert len(tasks) == 3
    cancelled.cancel()
    gate.set()
    await tasks.wait()
    assert waiting.result()
    assert (len(tasks), tasks.running) == (0, frozenset())


async def test_an_exception_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = BackgroundTasks()
    tasks.keep(asyncio.create_task(fail(ZeroDivisionError("of a test"))))
    await tasks.wait()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert "in fail" in caplog.text


async def test_an_error_of_ours_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    tasks = BackgroundTasks()
    tasks.start(fail(NotNowError("The disk is full.")))
    await tasks.wait()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "The disk is full.")
    assert record.exc_info is None


async def test_what_is_cancelled_has_ended_then_and_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, ended = BackgroundTasks(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    for _ in range(3):
        tasks.start(work())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == [True] * 3
    assert (len(tasks), caplog.records) == (0, [])


async def test_a_task_may_have_a_context_of_its_own() -> None:
    tasks = BackgroundTasks()
    LABEL.set("a request")

    async def label() -> str:
        return LABEL.get()

    assert await tasks.start(label()) == "a request"
    assert await tasks.start(label(), context=Context()) == "none"


async def test_tasks_are_cancelled_when_the_context_is_left() -> None:
    async with BackgroundTasks() as tasks:
        waiting = tasks.start(asyncio.Event().wait())
    assert waiting.cancelled()


@pytest.mark.parametrize("error", [NotNowError("The disk is full."), ZeroDivisionError("x")])
async def test_repeated_work_is_done_until_the_context_is_left_though_it_fails(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    count, often = 0, asyncio.Event()

    async def work() -> None:
        nonlocal count
        count += 1
        if count == 3:
            often.set()
        raise error

    async with BackgroundTasks() as tasks:
        tasks.repeat(0.001, work)
        await often.wait()
    done = count
    await asyncio.sleep(0.01)
    assert count == done
    expected = logging.WARNING if isinstance(error, NotNowError) else logging.ERROR
    assert [record.levelno for record in caplog.records] == [expected] * done
