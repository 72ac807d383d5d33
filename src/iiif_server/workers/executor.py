"""One worker process as a `concurrent.futures.Executor`: a process and a socket to it.

The event loop reads and writes the socket and resolves results, without threads. So `submit` must
be called in the event loop.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from iiif_server.exits import exit_in_words
from iiif_server.workers import messages
from iiif_server.workers.environment import SIGNALS_OF_SERVER, worker_environment
from iiif_server.workers.messages import HEADER_BYTES, Answer, Call, MessageError, Ready, Start
from iiif_server.workers.sandbox.confinement import Confinement, SandboxStatus

_MODULE = "iiif_server.workers.process"
_START_SECONDS = 60.0
"""Timeout for the start of a worker, in seconds."""
_CHUNK = 1 << 18
"""Maximum bytes of one read from a worker."""
_MIN_RESULT_LIMIT = 64 << 20
"""Maximum bytes of a result message; a job with a larger memory demand may return more."""
_OUTPUT = 1 << 16
"""Maximum stored bytes of the standard error of a worker: the capacity of a pipe."""
_FIRST_POLL, _MAX_POLL = 0.001, 0.5
"""Shortest and longest interval of checks whether a process has ended; doubled each time."""
_EXIT_SECONDS = 1.0
"""Seconds for which a process may run after it has closed its socket."""


@dataclass(frozen=True, slots=True)
class Exit:
    """End of a worker process."""

    code: int | None
    """Exit code; negative: the number of a signal; None: the process has not ended yet."""
    reason: str = ""
    """Reason why the server killed it, or could not start it."""
    output: str = ""
    """Last output to its standard error."""

    @property
    def text(self) -> str:
        """Reason in one line, for the log."""
        last = self.output.rstrip().rpartition("\n")[2]
        detail = f": {last}" if last and (self.code or 0) >= 0 else ""
        if self.reason:
            return self.reason
        if self.code is None:
            return "it does not end though it was killed: its disk may hang"
        return exit_in_words(self.code) + detail


def start_call(
    function: Callable[..., Any], arguments: Sequence[Any], confinement: Confinement | None
) -> Call:
    """First message to a worker: call `function(*arguments)`, and enter the sandbox.

    Raises TypeError if the function is not one of a module, or an argument is not plain data.
    """
    name = messages.name_of(function)
    encoded = tuple(Raw(messages.encode(argument)) for argument in arguments)
    content = messages.encode(Start(name, encoded, confinement))
    return Call(name, content, messages.return_type_of(function))


class WorkerGoneError(Exception):
    """The worker process has ended; `exit` has the reason."""

    def __init__(self, exit_: Exit, *, sent: bool = True) -> None:
        super().__init__(exit_.text)
        self.exit = exit_
        self.sent = sent
        """Whether the worker had received its job."""


class StaleWorkerError(Exception):
    """The job was not begun: a folder that it needs was replaced after the worker had started."""


class WorkerProcess(Executor):
    """Worker process that does one job at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self._process = process
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._unsent = memoryview(b"")
        self._received = bytearray()
        self._max_result = _MIN_RESULT_LIMIT
        self._type: Any = Ready
        self._future: Future[Any] | None = None
        self._sent = True
        """Whether the message of the current job was sent."""
        self._kill_reason = ""
        self._killed = False
        self._output = b""
        self.pid = process.pid
        self.sandbox_status = SandboxStatus()
        self.problems: Sequence[str] = ()
        self.result: Any = None
        """Result of its set-up function."""
        self.memory = 0
        """Private memory in bytes after its last job."""
        self.ended: asyncio.Future[Exit] = self._loop.create_future()
        """Future that is resolved when the process has ended and was waited for."""
        self.on_end: Callable[[Exit], None] | None = None
        """Callback for an unexpected end."""
        connection.setblocking(False)
        self._loop.add_reader(connection.fileno(), self._read)

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid}>"

    @classmethod
    async def start(cls, *, background: bool = False) -> "WorkerProcess":
        """Start a process, which is not set up yet; raises WorkerGoneError if that fails.

        A background worker runs at a low priority, and can be suspended.
        """
        server_end, worker_end = socket.socketpair()
        loop = asyncio.get_running_loop()
        try:
            with worker_end:
                process = await loop.run_in_executor(
                    _starter, _start_process, worker_end.fileno(), background
                )
        except OSError as error:
            server_end.close()
            raise WorkerGoneError(Exit(None, f"could not be started: {error}")) from error
        return cls(process, server_end)

    async def set_up(self, start: Call) -> None:
        """Send the message of `start_call`, and wait until the worker is ready.

        Raises WorkerGoneError.
        """
        future = self._send(Call(start.function, start.content, Ready), ())
        try:
            async with asyncio.timeout(_START_SECONDS):
                ready: Ready = await asyncio.wrap_future(future)
            self.sandbox_status, self.problems = ready.sandbox_status, ready.problems
            self.result = messages.decode(ready.result, start.result)
        except TimeoutError as error:
            self.kill(f"was not ready within {_START_SECONDS:g} seconds")
            raise WorkerGoneError(Exit(None, self._kill_reason)) from error
        except MessageError as error:
            self.kill(f"sent what it may not send: {error}")
            raise WorkerGoneError(Exit(None, self._kill_reason)) from error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function of a module in the worker; a future with its result.

        Raises TypeError for other functions, and for arguments that are not plain data. The future
        raises the exception of the function, or WorkerGoneError.
        """
        return self.send(messages.call(fn, *args, **kwargs))

    def send(
        self, call: Call, descriptors: Sequence[int] = (), *, max_result: int = _MIN_RESULT_LIMIT
    ) -> Future[Any]:
        """Send an encoded call; a future with its result.

        `descriptors` are open files, the last arguments of the function. The worker is killed if
        its result has more than `max_result` bytes (at least 64 MiB are allowed).
        """
        self._max_result = max(max_result, _MIN_RESULT_LIMIT)
        return self._send(call, descriptors)

    def suspend(self) -> None:
        """Suspend a background worker, so that it uses no CPU time; `kill` still works.

        Only on Linux: elsewhere a suspended worker would outlive this process.
        """
        if sys.platform == "linux":
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a suspended worker."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self, reason: str = "") -> None:
        """Kill the process; its job, if any, fails with WorkerGoneError."""
        if reason and not self._kill_reason:
            self._kill_reason = f"killed because it {reason}"
        self._killed = True
        self._process.kill()  # it polls first, so the id cannot be that of another process
        self._disconnect()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002
        """Kill the process: it has no state to save."""
        self.kill()
        if wait:
            self._process.wait()

    # --- the socket -------------------------------------------------------------------------

    def _send(self, call: Call, descriptors: Sequence[int]) -> Future[Any]:
        if self._future is not None:
            raise RuntimeError(f"{self!r} has a job already")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        if self._socket.fileno() < 0:
            future.set_exception(WorkerGoneError(Exit(self._process.poll()), sent=False))
            return future
        self._future, self._type, self._sent = future, call.result, True
        frame = memoryview(messages.framed(call.content))
        try:
            sent = socket.send_fds(self._socket, [frame], descriptors)
        except OSError:  # it has ended; the exit code follows
            self._sent = False
            self._disconnect()
            return future
        self._unsent = frame[sent:]
        if self._unsent:
            self._loop.add_writer(self._socket.fileno(), self._write)
        return future

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._unsent = memoryview(b"")  # it has ended; `_read` notices it
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)  # the kernel closes descriptors that a worker sends
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return
        self._received += data
        if len(self._received) < HEADER_BYTES:
            return
        length = int.from_bytes(self._received[:HEADER_BYTES], "big")
        if self._future is None:
            self.kill("sent a message without a job")
        elif length > self._max_result:
            self.kill(f"announced an answer of {length:,} bytes")
        elif len(self._received) > HEADER_BYTES + length:
            self.kill("sent more than an answer")
        elif len(self._received) == HEADER_BYTES + length:
            self._receive()

    def _receive(self) -> None:
        """Resolve the future of the job with the received message."""
        content = memoryview(self._received)[HEADER_BYTES:]
        self._received, future = bytearray(), self._future
        self._read_output()
        if future is None:
            return
        try:
            result: Any
            if self._type is Ready:
                result = messages.decode(content, Ready)
            else:
                answer: Answer = messages.decode(content, Answer)
                self.memory = answer.memory
                result = self._result(answer)
        except MessageError as error:
            self.kill(f"sent what it may not send: {error}")
            return
        self._future = None
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def _result(self, answer: Answer) -> Any:
        if answer.stale:
            return StaleWorkerError()
        if answer.failure is not None:
            return messages.exception_of(answer.failure)
        return messages.decode(answer.result, self._type)

    def _disconnect(self) -> None:
        """Close the socket, and wait for the end of the process."""
        descriptor = self._socket.fileno()
        if descriptor < 0:
            return
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        self._socket.close()
        self._poll_exit(_FIRST_POLL, self._loop.time() + _EXIT_SECONDS)

    # --- the process ------------------------------------------------------------------------

    def _poll_exit(self, delay: float, give_up_at: float) -> None:
        """Check repeatedly whether the process has ended, without blocking."""
        self._read_output()
        code = self._process.poll()
        if code is None and not self._killed and self._loop.time() > give_up_at:
            self.kill("closed its socket and went on")
        if code is None and self._loop.time() > give_up_at:
            self._fail(Exit(None, self._kill_reason))  # a hanging disk must not block the job
        if code is None:
            next_delay = min(delay * 2, _MAX_POLL)
            self._loop.call_later(delay, self._poll_exit, next_delay, give_up_at)
            return
        found = Exit(code, self._kill_reason, self._output.decode(errors="backslashreplace"))
        if self._process.stderr is not None:
            self._process.stderr.close()
        if not self.ended.done():
            self.ended.set_result(found)
        self._fail(found)

    def _fail(self, found: Exit) -> None:
        """Fail the current job with WorkerGoneError, and call `on_end`."""
        future, self._future = self._future, None
        if future is not None:
            future.set_exception(WorkerGoneError(found, sent=self._sent))
        callback, self.on_end = self.on_end, None
        if callback is not None:
            callback(found)

    def _read_output(self) -> None:
        """Read and store the standard error of the process, at most what a pipe holds."""
        if self._process.stderr is None or self._process.stderr.closed:
            return
        try:
            data = os.read(self._process.stderr.fileno(), _OUTPUT)
        except OSError:
            return
        self._output = (self._output + data)[-_OUTPUT:]


def _block_signals() -> None:
    """Block signals in this thread, and so in new processes until they ignore the signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_SERVER)


_starter = ThreadPoolExecutor(1, "iiif-start-worker", initializer=_block_signals)
"""Thread that starts processes: that takes a millisecond or more, too long for the event loop."""


def _start_process(descriptor: int, background: bool) -> "subprocess.Popen[bytes]":  # noqa: FBT001
    reading, writing = os.pipe()
    # Output beyond the capacity of the pipe is lost, and does not block the worker.
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    try:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", _MODULE, str(descriptor), *["background"] * background],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writing,
            pass_fds=(descriptor,),
            env=worker_environment(os.environ, sys.path),
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    process.stderr = os.fdopen(reading, "rb", 0)
    return process
