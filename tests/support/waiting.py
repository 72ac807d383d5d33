"""Waiting for conditions that other processes or tasks bring about."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_INTERVAL = 0.05
_TASK_INTERVAL = 0.005
"""Seconds between two checks of a condition."""


def wait_until(
    condition: Callable[[], Result], seconds: float = 60.0, log: Callable[[], str] | None = None
) -> Result:
    """Wait until a condition is true; return its value.

    Raises AssertionError after `seconds`, with the text of `log`.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, log() if log else condition
        time.sleep(_INTERVAL)
    return value


async def async_wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition is true while other tasks run; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(_TASK_INTERVAL)
