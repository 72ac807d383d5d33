"""The HTTP edge: uvicorn, with bounds on what a connection may cost before it has asked anything.

uvicorn's own protocol reads a request's head for as long, and as much of it, as a client cares to
send; and where connections are limited, those that are open suffer from those that come.
"""

import asyncio
import re
import resource
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, cast

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from iiif_server.errors import ClientDisconnectedError, ResponseIncompleteError
from iiif_server.server.readiness import Draining

KEEP_ALIVE_SECONDS = 15
"""A connection that has answered is closed when it has been quiet for so long."""
_FILES = 65_536
_METHOD_CHARACTERS = 256
_KNOWN = b"GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE|CONNECT|TRACE|PRI"
_UNKNOWN_METHOD = re.compile(
    rb"(?!(?:%b) )[A-Z][A-Z-]{0,31} /[!-~]* ?(?:HTTP/1\.[01]\r\n|$)" % _KNOWN
)
"""A request that is well-formed so far but for its method."""

Direct = Callable[[Scope], Sequence[bytes] | None]
"""All of an answer with status 200, in pieces, but its status line and the fields of the server;
None where the application is to be asked."""


class State(ServerState):
    """What all connections share: that of uvicorn, and whether the process drains."""

    def __init__(self, draining: Draining) -> None:
        super().__init__()
        self.draining = draining


class Listener(HttpToolsProtocol):
    """One connection; uvicorn's `limit_concurrency` is how many there may be."""

    head_seconds: ClassVar[float] = 15.0
    """For the head of a request to be complete: from the connection, or from its first byte on."""
    head_bytes: ClassVar[int] = 98_304
    """Most bytes read of a head that is not complete; `routes/limits.py` says what one may be."""
    last_head_seconds: ClassVar[float] = 1.0
    """The same once the server accepts no more connections."""
    probe_seconds: ClassVar[float] = 1.0
    """Between looks whether a client that sends nothing more is there at all."""
    stalled_seconds: ClassVar[float] = 60.0
    """For a client to take something of what is sent: it may be slow, but not stand still."""

    most_pipelined: ClassVar[int] = 100
    """Requests that wait for the one before them; those that come after are not answered."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        state = self.server_state
        self._draining = state.draining if isinstance(state, State) else Draining()
        self._most = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn would refuse requests on all connections
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_size = 0
        self._direct: Direct | None = getattr(self.config.app, "direct", None)
        self._first_line = b""
        self._probe: asyncio.TimerHandle | None = None
        self._starting = False
        self._pipeline_full = False
        self._next: tuple[RequestResponseCycle, Any] | None = None
        """The request that waited behind the one that is being started."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or turn the client away if there are too many."""
        super().connection_made(transport)
        _give_up_after(transport, self.stalled_seconds)
        if self._most is not None and len(self.connections) > self._most:
            self._turn_away(503, "Service Unavailable")
        else:
            self._start_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        if self._probe is not None:
            self._probe.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection if it is idle; one on which a request begins ends with its answer.

        On a new connection a request is on its way.
        """
        last: RequestResponseCycle | None = self.cycle
        if last is None or (self._in_head and last.response_complete):
            self._stop_waiting()
            self._deadline = self.loop.call_later(self.last_head_seconds, self._too_slow)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._pipeline_full:
            return
        self._first_line = data[:_METHOD_CHARACTERS]
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > self.head_bytes:
                self._turn_away(431, "Request Header Fields Too Large")
            elif self._deadline is None:
                self._start_waiting()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; a request with a method that nobody knows is told which are."""
        if not _UNKNOWN_METHOD.match(self._first_line):
            super().send_400_response(msg)
            return
        self.transport.write(
            b"HTTP/1.1 405 Method Not Allowed\r\nallow: GET, HEAD, OPTIONS\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that sends nothing more and still reads.

        A client that has left looks the same until something is sent to it: that is an interim
        response now and then, which clients ignore, so that nobody works for those who are gone.
        """
        under_way: RequestResponseCycle | None = self.cycle
        if under_way is None or under_way.response_complete:
            return False
        under_way.keep_alive = False
        self._probe = self.loop.call_later(self.probe_seconds, self._probe_client)
        return True

    def _probe_client(self) -> None:
        cycle = self.cycle
        if self.pipeline or cycle.response_started or self.transport.is_closing():
            return  # what is sent tells
        if cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._probe = self.loop.call_later(self.probe_seconds, self._probe_client)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head_size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head of a request is complete."""
        self._in_head = False
        self._stop_waiting()
        if self._pipeline_full:
            return
        super().on_headers_complete()
        if len(self.pipeline) >= self.most_pipelined:
            self._pipeline_full = True
            self.cycle.keep_alive = False  # the connection ends with the last one that is answered

    def on_body(self, body: bytes) -> None:
        """Take a part of a request's content, unless the request is not answered."""
        if not self._pipeline_full:
            super().on_body(body)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: to ignore an upgrade is normal (RFC 9110, 7.8), and any client can ask."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer at once where the answer is at hand, which spares a task; else ask the app."""
        self._next = (cycle, app)
        if self._starting:
            return  # a call within the loop below: thousands that wait are answered one by one
        self._starting = True
        try:
            while self._next is not None:
                (cycle, app), self._next = self._next, None
                if not self._answer_directly(cycle, app):
                    super()._start_asgi_task(cycle, partial(self._run_app, cycle, app))
        finally:
            self._starting = False

    async def _run_app(
        self, cycle: RequestResponseCycle, app: Any, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Ask the app; close the connection if its answer ends too soon, which has been logged."""

        async def sending(message: Message) -> None:
            if cycle.disconnected or self.transport.is_closing():
                raise ClientDisconnectedError  # uvicorn would let the app send on to nobody
            if self._draining.begun and not self.pipeline:
                cycle.keep_alive = False  # uvicorn tells the client: `Connection: close`
            if cycle.scope["http_version"] == "1.0":
                # Content ends with the connection: HTTP/1.0 knows no chunks (RFC 9112, 6.1).
                cycle.chunked_encoding = False
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        try:
            await app(scope, receive, sending)
        except (ClientDisconnectedError, ResponseIncompleteError):
            cycle.disconnected = True  # so that uvicorn does not log it once more
            self.transport.close()

    def _answer_directly(self, cycle: RequestResponseCycle, app: Any) -> bool:
        """Whether the answer was at hand; the request behind it is the next one then."""
        busy = self.flow.write_paused or cycle.waiting_for_100_continue
        ends = self._draining.begun or not cycle.keep_alive
        if self._direct is None or app is not self.app or ends or busy:
            return False
        answer = self._direct(cast("Scope", cycle.scope))
        if answer is None:
            return False
        cycle.response_started = cycle.response_complete = True
        dated = [b"%b: %b\r\n" % pair for pair in self.server_state.default_headers]
        self.transport.writelines([b"HTTP/1.1 200 OK\r\n", *dated, *answer])
        cycle.on_response()
        return True

    def _start_waiting(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._turn_away(408, "Request Timeout")

    def _turn_away(self, status: int, phrase: str) -> None:
        """Read nothing more, and close: at once, or when the answer under way is complete."""
        self._stop_waiting()
        under_way: RequestResponseCycle | None = self.cycle
        if under_way is not None and not under_way.response_complete:
            under_way.keep_alive = False
            self.flow.pause_reading()
            return
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        self.transport.close()


def _give_up_after(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Have the kernel end a connection whose peer takes nothing of what was sent to it."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
    if connection is not None and option is not None:
        with suppress(OSError):  # no TCP
            connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def allow_many_files() -> None:
    """Let this process have as many files and connections open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
