"""Supervisor of several server processes on one port: start, restart, reload and shutdown.

Each process has its own socket on the port (SO_REUSEPORT), and the kernel distributes the
connections. The supervisor opens the sockets, so that it can replace a process. Until the new
process listens, the others get all connections.
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
_MIN_UPTIME = 10.0
"""Seconds; a process that ends sooner is restarted after `_RESTART_DELAY`."""
_RESTART_DELAY = 1.0
_SET_PDEATHSIG = 1

Command = Callable[[int, int], Sequence[str]]
"""Function that returns the command line of a process: of its number and its descriptor."""


def bind(host: str, port: int, sockets: int = 1) -> list[socket.socket]:
    """Open sockets on one port, among which the kernel distributes connections.

    Port 0 is any free port. Raises ConfigurationError if the address cannot be used.
    """
    found: list[socket.socket] = []
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if sockets > 1 and port:
            # With SO_REUSEPORT, a second server of the same user could share the port unnoticed.
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        for _ in range(sockets):
            opened = socket.socket(family, kind, protocol)
            found.append(opened)
            address = address[0], found[0].getsockname()[1] or port, *address[2:]
            _bind(opened, address, shared=sockets > 1)
    except OSError as error:
        for opened in found:
            opened.close()
        raise ConfigurationError(
            f"The server cannot listen on {host} port {port}: {error.strerror}. "
            "Set http_host and http_port, or end what is listening there."
        ) from error
    return found


def _bind(opened: socket.socket, address: tuple[Any, ...], *, shared: bool) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    opened.bind(address)


def _rebound(former: socket.socket) -> socket.socket:
    """Close a socket and bind a new one to its address."""
    opened = socket.socket(former.family, former.type, former.proto)
    _bind(opened, former.getsockname(), shared=True)
    former.close()
    return opened


@dataclass(slots=True)
class _Process:
    number: int
    popen: "subprocess.Popen[bytes]"
    started: float


class Supervisor:
    """Runs a server process for each socket until it receives SIGTERM or SIGINT."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        command: Command,
        observer: Observer,
        ended: Callable[[int], object],
        end_seconds: float,
    ) -> None:
        """`ended` is called with the process id of each process that has ended.

        Processes that run longer than `end_seconds` after the signal to end are killed.
        """
        self._end_seconds = end_seconds
        self._end_signal = signal.SIGINT
        """Signal that ends the processes: SIGTERM to drain first, else SIGINT."""
        self._ended = ended
        self._sockets = list(sockets)
        self._succeeded: set[int] = set()
        """Numbers of processes that were replaced before."""
        self._command = command
        self._observe = observer
        self._processes: dict[int, _Process] = {}
        self._due: dict[int, float] = {}
        """Time of the restart of a process, by its number, on the monotonic clock."""

    def __repr__(self) -> str:
        return f"<Supervisor of {len(self._sockets)} processes>"

    def run(self) -> int:
        """Run until all processes have ended; return the exit code.

        SIGTERM, SIGINT, or a process that cannot start, end the processes. SIGHUP is forwarded to
        them.
        """
        with _Signals() as signals:
            try:
                for number in range(len(self._sockets)):
                    self._start(number)
                return self._watch(signals)
            finally:
                self._end(signals)

    def _watch(self, signals: "_Signals") -> int:
        while True:
            received = signals.next(self._until_due())
            if signal.SIGTERM in received or signal.SIGINT in received:
                if signal.SIGINT not in received:
                    self._end_signal = signal.SIGTERM
                return 0
            if signal.SIGHUP in received:
                self._signal(signal.SIGHUP)
            for process in list(self._processes.values()):
                code = process.popen.poll()
                if code is not None and not self._replace(process, code):
                    return code if code > 0 else 1
            _reap_orphans({process.popen.pid for process in self._processes.values()})
            for number, due in list(self._due.items()):
                if time.monotonic() >= due:
                    self._start(number)

    def _until_due(self) -> float | None:
        """Return the seconds until the next restart; None without a restart."""
        due = min(self._due.values(), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _start(self, number: int) -> None:
        self._due.pop(number, None)
        descriptor = self._sockets[number].fileno()
        # Blocked until the new process has its handlers: `become_supervised`.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            popen = subprocess.Popen(  # noqa: S603 - this program itself
                self._command(number, descriptor),
                pass_fds=[descriptor],
                process_group=0,  # Ctrl-C reaches only the supervisor, which forwards it
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        self._processes[number] = _Process(number, popen, time.monotonic())

    def _replace(self, process: _Process, code: int) -> bool:
        """Schedule the restart of a process; False if it reported that it cannot start."""
        del self._processes[process.number]
        self._ended(process.popen.pid)
        if code == CANNOT_START and process.number not in self._succeeded:
            return False  # only at the first start: later, the others continue
        self._succeeded.add(process.number)
        # New connections go to the other processes until the new one listens.
        self._sockets[process.number] = _rebound(self._sockets[process.number])
        self._observe(ServerProcessReplaced(process.number, code, exit_in_words(code)))
        now = time.monotonic()
        pause = _RESTART_DELAY if now - process.started < _MIN_UPTIME else 0.0
        self._due[process.number] = now + pause
        return True

    def _end(self, signals: "_Signals") -> None:
        """End all processes; SIGINT after SIGTERM ends the draining."""
        self._signal(self._end_signal)
        deadline = time.monotonic() + self._end_seconds
        while any(process.popen.poll() is None for process in self._processes.values()):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self._signal(signal.SIGKILL)
                signals.next(_RESTART_DELAY)
            elif signal.SIGINT in signals.next(remaining) and self._end_signal != signal.SIGINT:
                self._end_signal = signal.SIGINT  # sent once: a second would cancel requests
                self._signal(signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            process.popen.send_signal(number)


class _Signals:
    """Waits for signals with a timeout on every Unix (macOS has no sigtimedwait)."""

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
        """Wait for signals, for at most `seconds`, and return them; None waits forever."""
        if not select.select([self._receiver], [], [], seconds)[0]:
            return set()
        return set(self._receiver.recv(4096))


CANNOT_START = 3
"""Exit code of a server process that could not start and has reported why."""


def _reap_orphans(own: set[int]) -> None:
    """Reap orphans that this process inherits if it is process 1 of a container."""
    if os.getpid() != 1:
        return
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return  # it has just ended, and its signal wakes the supervisor
            os.waitpid(ended.si_pid, 0)


def become_supervised(supervisor: int) -> None:
    """Prepare a server process that the supervisor with this process id has started.

    Unblocks signals. On Linux the process ends with its supervisor, without draining, because the
    next supervisor needs the port.
    """
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))  # until uvicorn replaces the handler
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        # The supervisor may have ended before that. (It may itself be process 1 of a container.)
        if os.getppid() != supervisor:
            sys.exit(0)
