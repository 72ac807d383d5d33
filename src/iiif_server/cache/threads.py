"""Calls in threads whose results are not lost when their caller gives up."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def run_to_its_end(
    function: Callable[..., Result],
    *arguments: Any,
    undo: Callable[[Result], object] | None = None,
) -> Result:
    """The result of a blocking call, made in a thread.

    A caller who is cancelled leaves only when the call has ended; what it has brought about is then
    undone: a file that was opened or made would have no owner.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            with contextlib.suppress(asyncio.CancelledError):  # more than once: the thread goes on
                await asyncio.wait([call])
        if undo is not None and not call.cancelled() and call.exception() is None:
            undo(call.result())
        raise
