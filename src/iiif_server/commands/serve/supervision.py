"""Several server processes on one port: started, started again, told to reload, and ended together.

Each has a socket of its own on the port, among which the kernel spreads connections. They are
opened here, so that a process that ends can have a successor; until that one listens, the others
get all.
"""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from iiif_server.errors import ConfigurationError
from iiif_server.exits import exit_in_words
from iiif_server.telemetry.events import Observer, ServerProcessReplaced

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_END_SECONDS = 15.0
"""How long processes have to answer what they have begun, when they are to end."""
_SHORT_LIFE = 10.0
"""Seconds; a process that ends sooner is started again with a pause before."""
_PAUSE = 1.0
_SET_PDEATHSIG = 1

Command = Callable[[int, int], Sequence[str]]
"""The command line of the process of a number, which listens on a file descriptor."""


def bind(host: str, port: int, sockets: int = 1) -> list[socket.socket]:
    """Sockets that listen on one port, connections being spread among them.

    Port 0 is one that is free. Raises ConfigurationError where the address is not to be had.
    """
    found: list[socket.socket] = []
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if sockets > 1 and port:
            # Several sockets that share a port share it with any other server of the same user.
            with socket.socket(family, kind, protocol) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
        for _ in range(sockets):
            one = socket.socket(family, kind, protocol)
            found.append(one)
            address = address[0], found[0].getsockname()[1] or port, *address[2:]
            _bind(one, address, shared=sockets > 1)
    except OSError as error:
        for one in found:
            one.close()
        raise ConfigurationError(
            f"The server cannot listen on {host} port {port}: {error.strerror}. "
            "Set http_host and http_port, or end what is listening there."
        ) from error
    return found


def _bind(one: socket.socket, address: tuple[Any, ...], *, shared: bool) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(address)


def _another(former: socket.socket) -> socket.socket:
    """A socket like one that nobody listens on any more, which is closed."""
    one = socket.socket(former.family, former.type, former.proto)
    _bind(one, former.getsockname(), shared=True)
    former.close()
    return one


@dataclass(slots=True)
class _Process:
    number: int
    popen: "subprocess.Popen[bytes]"
    started: float


class Supervisor:
    """Runs a process for each socket until it is told to end."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        command: Command,
        observer: Observer,
        ended: Callable[[int], object],
    ) -> None:
        """`ended` is called with the id of each process that has ended."""
        self._ended = ended
        self._sockets = list(sockets)
        self._succeeded: set[int] = set()
        """The numbers whose first process has ended, so that successors are tried."""
        self._command = command
        self._observe = observer
        self._processes: dict[int, _Process] = {}
        self._due: dict[int, float] = {}
        """When the process of a number is started again, on the monotonic clock."""

    def __repr__(self) -> str:
        return f"<Supervisor of {len(self._sockets)} processes>"

    def run(self) -> int:
        """Return the exit code when all processes have ended.

        SIGTERM and SIGINT end them, and so does one that cannot start; SIGHUP is passed on.
        """
        with _Signals() as signals:
            try:
                for number in range(len(self._sockets)):
                    self._start(number)
                return self._watch(signals)
            finally:
                self._end()

    def _watch(self, signals: "_Signals") -> int:
        while True:
            got = signals.next(self._until_due())
            if signal.SIGTERM in got or signal.SIGINT in got:
                return 0
            if signal.SIGHUP in got:
                for process in self._processes.values():
                    process.popen.send_signal(signal.SIGHUP)
            for process in list(self._processes.values()):
                code = process.popen.poll()
                if code is not None and not self._replace(process, code):
                    return code if code > 0 else 1
            _reap_orphans({process.popen.pid for process in self._processes.values()})
            for number, due in list(self._due.items()):
                if time.monotonic() >= due:
                    self._start(number)

    def _until_due(self) -> float | None:
        """Seconds until the next process is to be started; None if none is."""
        due = min(self._due.values(), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _start(self, number: int) -> None:
        self._due.pop(number, None)
        descriptor = self._sockets[number].fileno()
        # Blocked until the new process can take them: `become_supervised`.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            popen = subprocess.Popen(  # noqa: S603 - this program itself
                self._command(number, descriptor), pass_fds=[descriptor]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        self._processes[number] = _Process(number, popen, time.monotonic())

    def _replace(self, process: _Process, code: int) -> bool:
        """Have another process started for one that has ended; not for one that said why."""
        del self._processes[process.number]
        self._ended(process.popen.pid)
        if code == CANNOT_START and process.number not in self._succeeded:
            return False  # with what a successor stumbles over, the others go on
        self._succeeded.add(process.number)
        # Whoever comes from now on goes to the others, until the successor listens.
        self._sockets[process.number] = _another(self._sockets[process.number])
        self._observe(ServerProcessReplaced(process.number, code, exit_in_words(code)))
        now = time.monotonic()
        pause = _PAUSE if now - process.started < _SHORT_LIFE else 0.0
        self._due[process.number] = now + pause
        return True

    def _end(self) -> None:
        for process in self._processes.values():
            process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _END_SECONDS
        for process in self._processes.values():
            try:
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()


class _Signals:
    """Signals as data to wait for, with a timeout, on every Unix (macOS has no sigtimedwait)."""

    def __enter__(self) -> Self:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._receiver.close()
        self._sender.close()

    def next(self, seconds: float | None) -> set[int]:
        """The signals that have come, waiting so long for one; none if there was none."""
        if not select.select([self._receiver], [], [], seconds)[0]:
            return set()
        return set(self._receiver.recv(4096))


CANNOT_START = 3
"""The exit code of a server process that could not start, and has said why."""


def _reap_orphans(own: set[int]) -> None:
    """Reap what this process did not start: as process 1 of a container it inherits orphans."""
    if os.getpid() != 1:
        return
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return  # ended since it was looked at: its signal makes the supervisor look again
            os.waitpid(ended.si_pid, 0)


def become_supervised(supervisor: int) -> None:
    """Prepare a server process that the Supervisor with this process id has started.

    It receives signals, and on Linux it ends when its supervisor does.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # Whether the supervisor ended before that. Its id is 1 where it is a container's process 1.
        if os.getppid() != supervisor:
            sys.exit(0)
