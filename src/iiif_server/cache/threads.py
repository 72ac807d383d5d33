"""Storage threads: a thread pool with timeouts per disk, so that a hung disk blocks no other."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from iiif_server.errors import StorageTimedOutError

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_THREADS = 8
"""Threads of one storage, the most that a hung disk can block."""
_TIMEOUT = 10.0
"""Timeout (seconds) of an ordinary call: to open a file, or to read a piece of it."""
LONG = 600.0
"""Timeout (seconds) of a call that reads or writes whole files, or many."""
_TRY_AGAIN = 5.0
"""Seconds after a timeout until one more call is tried."""
_IDLE = 10.0
"""Seconds after which an idle thread ends."""


class StorageThreads(Executor):
    """Executor with few threads and with timeouts, for the blocking calls of one storage.

    A call that exceeds its timeout raises StorageTimedOutError; its thread stays blocked. Until the
    storage answers again, further calls fail at once, except one every few seconds. The threads
    are daemons, so that the process can end while they are blocked.
    """

    def __init__(
        self,
        name: str,
        size: int = _THREADS,
        timeout: float = _TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` completes "The storage of ..." in error messages."""
        self._name = name
        self._size = size
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Condition()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = 0
        self._pending = 0
        """Number of calls that wait for a thread or are under way."""
        self._overdue: set[Future[Any]] = set()
        self._is_shut_down = False
        self._closed_until = 0.0
        """Time by the clock until which calls fail at once; 0: the storage has answered since."""

    def __repr__(self) -> str:
        return f"<StorageThreads {self._name}: {self._threads}, {len(self._overdue)} overdue>"

    @property
    def answers(self) -> bool:
        """Whether the storage has answered since the last timeout, and a thread is free."""
        with self._lock:
            return not self._overdue or (not self._closed_until and len(self._overdue) < self._size)

    def submit(
        self,
        fn: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> "Future[Result]":
        """Submit a blocking call, as to any executor: for aiofiles and `loop.run_in_executor`.

        In an event loop it has the timeout of `run`, and its future gets StorageTimedOutError.
        Elsewhere there is no timeout: the future waits until the storage answers.
        """
        work = partial(fn, *args, **kwargs)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._raise_if_closed()
            return self._submit(work)
        return asyncio.run_coroutine_threadsafe(self.run(work), loop)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of Executor
        """Refuse further calls with RuntimeError; `wait` for the others, without a timeout."""
        with self._lock:
            self._is_shut_down = True
            queued = [call for call, _ in self._calls] if cancel_futures else []
            self._lock.notify_all()
        for call in queued:
            call.cancel()
        if wait:
            with self._lock:
                self._lock.wait_for(lambda: not self._pending)

    async def run(
        self,
        function: Callable[..., Result],
        *arguments: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - that of the storage, unless given
        undo: Callable[[Result], object] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> Result:
        """Run a blocking call in a thread and return its result.

        Raises the error of the call, or StorageTimedOutError after `timeout` seconds. If the caller
        was cancelled or timed out, the thread passes the later result to `undo`. `ended` is called
        when the call has ended, in any case, in any thread.
        """
        self._raise_if_closed()
        call = self._submit(partial(function, *arguments))
        if ended is not None:
            call.add_done_callback(lambda _: ended())
        future = asyncio.wrap_future(call)
        future.add_done_callback(_retrieve)
        try:
            done = await self._done_in_time(future, timeout or self._timeout)
        except asyncio.CancelledError:
            _leave(call, undo)
            asyncio.get_running_loop().call_later(timeout or self._timeout, self._miss, call)
            raise
        if done:
            return future.result()
        _leave(call, undo)
        self._miss(call)
        raise self._timed_out()

    async def _done_in_time(self, future: "asyncio.Future[Any]", seconds: float) -> bool:
        """Whether a call ends in time. Stops waiting early if the storage stops answering."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            done, _ = await asyncio.wait({future}, timeout=min(left, self._timeout))
            if done:
                return True
            if not self.answers:
                break
        return False

    async def settle(self, function: Callable[..., object], *arguments: Any) -> None:
        """Run a blocking call that releases something, and wait for it until the timeout.

        It runs also while other calls fail at once. Its errors are ignored.
        """
        future = asyncio.wrap_future(self._submit(partial(function, *arguments)))
        future.add_done_callback(_retrieve)
        await asyncio.wait({future}, timeout=self._timeout)

    def begin(self, function: Callable[..., object], *arguments: Any) -> None:
        """Start a blocking call without waiting for it; its errors are ignored."""
        self._submit(partial(function, *arguments))

    def _submit(self, work: Callable[[], Result]) -> "Future[Result]":
        call: Future[Result] = Future()
        context = copy_context()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("no further calls can be made after shutdown")
            self._calls.append((call, partial(context.run, work)))
            self._pending += 1
            if self._threads < min(self._pending, self._size):
                self._threads += 1
                name = f"storage of {self._name}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            else:
                self._lock.notify()
        return call

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._calls or self._is_shut_down, _IDLE)
                if not self._calls:
                    self._threads -= 1
                    return
                call, work = self._calls.popleft()
            if call.set_running_or_notify_cancel():
                self._finish(call, work)
            with self._lock:
                self._pending -= 1
                if self._is_shut_down:
                    self._lock.notify_all()
            del call, work  # an idle thread must not keep references to their objects

    def _finish(self, call: "Future[Any]", work: Callable[[], Any]) -> None:
        try:
            settle: Callable[[], None] = partial(call.set_result, work())
        except BaseException as error:  # noqa: BLE001 - the future raises it in the caller
            settle = partial(call.set_exception, error)
        with self._lock:
            self._overdue.discard(call)
            self._closed_until = 0.0
        settle()

    def _raise_if_closed(self) -> None:
        with self._lock:
            if not self._overdue:
                return
            now = self._clock()
            if len(self._overdue) >= self._size or now < self._closed_until:
                raise self._timed_out()
            if self._closed_until:
                self._closed_until = now + _TRY_AGAIN

    def _miss(self, call: "Future[Any]") -> None:
        with self._lock:
            if call.running():
                self._overdue.add(call)
                self._closed_until = self._clock() + _TRY_AGAIN

    def _timed_out(self) -> StorageTimedOutError:
        return StorageTimedOutError(f"The storage of {self._name} does not answer.")


def _leave(call: "Future[Result]", undo: Callable[[Result], object] | None) -> None:
    """Cancel a call without a waiting caller; if it has started, undo its result."""
    if not call.cancel() and undo is not None:
        call.add_done_callback(partial(_undone, undo))


def _undone(undo: Callable[[Result], object], call: "Future[Result]") -> None:
    if call.exception() is None:
        undo(call.result())


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Retrieve the exception, so that asyncio does not log it as never retrieved."""
    if not future.cancelled():
        future.exception()
