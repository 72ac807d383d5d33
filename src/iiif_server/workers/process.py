"""Worker process: runs its set-up function, enters its sandbox, and does one job after another.

Started as `python -m iiif_server.workers.process DESCRIPTOR [background]`, with one end of a pair
of connected sockets. It ends when the other end is closed, even in the middle of a job. A
background worker runs at a low priority, and the server may suspend it.
"""

import ctypes
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Raw

from iiif_server.workers import messages
from iiif_server.workers.environment import SIGNALS_OF_SERVER, release_threads
from iiif_server.workers.lifetime import read_memory
from iiif_server.workers.messages import (
    HEADER_BYTES,
    MAX_DESCRIPTORS,
    Answer,
    Job,
    MessageError,
    Ready,
    Start,
)
from iiif_server.workers.sandbox.confinement import StaleError, begin_job, confine, sandbox_status

_NICENESS = 10
"""Nice value of background workers; on busy CPUs they get a tenth of another process's time."""
_PR_SET_PDEATHSIG = 1
_FIRST_READ = 1 << 16
"""Bytes of the first read of a message; nearly all messages are shorter."""


class Connection:
    """Worker's end of the socket: blocking, one message at a time in each direction."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        self.descriptor = descriptor

    def receive(self) -> tuple[bytes, list[int]]:
        """Receive the next message with its descriptors; EOFError if the server has closed."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, _FIRST_READ, MAX_DESCRIPTORS)
        while len(data) < HEADER_BYTES:
            data += self._receive_bytes(HEADER_BYTES - len(data)) if data else b""
            if not data:
                raise EOFError
        length = int.from_bytes(data[:HEADER_BYTES], "big")
        content = bytearray(data[HEADER_BYTES:])
        while len(content) < length:
            content += self._receive_bytes(length - len(content))
        return bytes(content), descriptors

    def send(self, message: object) -> None:
        """Send a message, with `write`: the sandbox allows no call that can send descriptors."""
        frame = memoryview(messages.framed(messages.encode(message)))
        while frame:
            frame = frame[os.write(self.descriptor, frame) :]

    def _receive_bytes(self, size: int) -> bytes:
        data, *_ = self._socket.recvmsg(size)  # the only receiving call that the sandbox allows
        if not data:
            raise EOFError
        return data


def main() -> None:
    """Do the jobs of the server at the other end of the socket, until it closes."""
    if sys.argv[2:] == ["background"]:
        _lower_priority()
    connection = Connection(int(sys.argv[1]))
    for number in SIGNALS_OF_SERVER:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    try:
        memory = _open_memory()  # the sandbox would forbid it
        _set_up(connection)
        while True:
            content, descriptors = connection.receive()
            connection.send(_run_job(content, descriptors, memory))
    except (EOFError, ConnectionError, BrokenPipeError):
        os._exit(0)  # the server has ended


def _open_memory() -> int:
    """Descriptor of `/proc/self/statm`, for the memory of this process; -1 without /proc."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return -1


def _lower_priority() -> None:
    """Give this process a low priority, which its later threads inherit.

    A suspended process does not notice that the server has ended, so the kernel has to kill it.
    """
    os.nice(_NICENESS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _set_up(connection: Connection) -> None:
    content, _ = connection.receive()
    start: Start = messages.decode(content, Start)
    function = messages.function_of(start.function)
    result = function(*_decoded_arguments(function, start.arguments))
    problems: Sequence[str] = ()
    if start.confinement is not None:
        problems = confine(start.confinement)
    release_threads()
    threading.Thread(target=_end_with_server, args=(connection.descriptor,), daemon=True).start()
    encoded = Raw(messages.encode(result))
    connection.send(Ready(os.getpid(), sandbox_status(), tuple(problems), encoded))


def _run_job(content: bytes, descriptors: list[int], memory: int) -> Answer:
    try:
        result = Raw(messages.encode(_call_function(content, descriptors)))
    except StaleError:
        return Answer(stale=True)
    except Exception as error:  # noqa: BLE001 - the caller of the job gets every exception
        return Answer(failure=messages.failure_of(error), memory=read_memory(memory))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return Answer(result, memory=read_memory(memory))


def _call_function(content: bytes, descriptors: list[int]) -> object:
    job: Job = messages.decode(content, Job)
    if len(descriptors) != job.descriptors:
        raise MessageError("the files of this job did not come with it")
    function = messages.function_of(job.function)
    hints = messages.signature(function)
    _paths.clear()
    arguments = _decoded_arguments(function, job.arguments)
    keywords = {
        name: messages.decode(value, hints.get(name, Any)) for name, value in job.keywords.items()
    }
    begin_job(_paths)
    return function(*arguments, *descriptors, **keywords)


def _decoded_arguments(function: Any, arguments: Sequence[Raw]) -> list[Any]:
    types = list(messages.signature(function).values())
    return [
        messages.decode(argument, types[index], _decode_other)
        for index, argument in enumerate(arguments)
    ]


_paths: list[Path] = []
"""Paths in the arguments of the current job."""


def _decode_other(type_: Any, value: Any) -> Any:
    decoded = messages.decode_other(type_, value)
    if isinstance(decoded, Path):
        _paths.append(decoded)
    return decoded


def _end_with_server(descriptor: int) -> None:
    """End this process when the other end of its socket is closed, also in the middle of a job."""
    poll = select.poll()
    poll.register(descriptor, 0)  # only for POLLHUP
    while not poll.poll():
        continue
    os._exit(0)


if __name__ == "__main__":
    main()
