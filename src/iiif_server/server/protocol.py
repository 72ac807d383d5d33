"""HTTP protocol of uvicorn, with limits for connections and request heads, and the fast path.

uvicorn itself limits neither the duration nor the size of a request head. Its limit of connections
refuses requests on connections that are already open.
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
"""Timeout of idle connections after a response, in seconds."""
_FILES = 65_536
_METHOD_CHARACTERS = 256
_KNOWN = b"GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE|CONNECT|TRACE|PRI"
_UNKNOWN_METHOD = re.compile(
    rb"(?!(?:%b) )[A-Z][A-Z-]{0,31} /[!-~]* ?(?:HTTP/1\.[01]\r\n|$)" % _KNOWN
)
"""Request line that is well-formed but has an unknown method; it may be incomplete."""

Direct = Callable[[Scope], Sequence[bytes] | None]
"""Function that returns the chunks of a 200 response, without the status line and the server's own
header fields; None if the application has to respond."""


class State(ServerState):
    """State that all connections share: that of uvicorn, and whether the process drains."""

    def __init__(self, draining: Draining) -> None:
        super().__init__()
        self.draining = draining


class Listener(HttpToolsProtocol):
    """One connection; uvicorn's `limit_concurrency` is the maximum number of connections."""

    head_seconds: ClassVar[float] = 15.0
    """Timeout for a request head: from the start of the connection, or from its first byte."""
    head_bytes: ClassVar[int] = 98_304
    """Maximum bytes read of an incomplete head; `request_limits.py` limits complete heads."""
    last_head_seconds: ClassVar[float] = 1.0
    """Timeout for a request head, in seconds, once the server accepts no more connections."""
    probe_seconds: ClassVar[float] = 1.0
    """Interval of the interim responses to a client that has closed its sending side."""
    stalled_seconds: ClassVar[float] = 60.0
    """Timeout for a client that reads nothing of the response; slow clients are accepted."""

    max_pipelined: ClassVar[int] = 100
    """Maximum pipelined requests that wait for a response; later ones are ignored."""

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
        """Pipelined request that starts next."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the connection, or refuse it if there are too many (503)."""
        super().connection_made(transport)
        _reset_after(transport, self.stalled_seconds)
        if self._most is not None and len(self.connections) > self._most:
            self._reject(503, "Service Unavailable")
        else:
            self._start_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers of the connection."""
        self._stop_waiting()
        if self._probe is not None:
            self._probe.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close an idle connection at once, and others after their response.

        A client that has just connected, or sent a part of a head, has `last_head_seconds` for it.
        """
        last: RequestResponseCycle | None = self.cycle
        if last is None or (self._in_head and last.response_complete):
            self._stop_waiting()
            self._deadline = self.loop.call_later(self.last_head_seconds, self._on_head_timeout)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; refuse a head that is too large (431)."""
        if self._pipeline_full:
            return
        self._first_line = data[:_METHOD_CHARACTERS]
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > self.head_bytes:
                self._reject(431, "Request Header Fields Too Large")
            elif self._deadline is None:
                self._start_waiting()

    def send_400_response(self, msg: str) -> None:
        """Respond with 400 to a malformed request, and with 405 to an unknown method."""
        if not _UNKNOWN_METHOD.match(self._first_line):
            super().send_400_response(msg)
            return
        self.transport.write(
            b"HTTP/1.1 405 Method Not Allowed\r\nallow: GET, HEAD, OPTIONS\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for a client that has closed its sending side and still reads.

        A client that has disconnected looks the same until the server sends something. So the
        server sends interim responses, which clients ignore, to notice disconnected clients.
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
            return  # sending the response will show whether the client is connected
        if cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._probe = self.loop.call_later(self.probe_seconds, self._probe_client)

    def on_message_begin(self) -> None:
        """Start to count the bytes of a request head."""
        self._in_head, self._head_size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the timeout of the head, and start the request."""
        self._in_head = False
        self._stop_waiting()
        if self._pipeline_full:
            return
        super().on_headers_complete()
        if len(self.pipeline) >= self.max_pipelined:
            self._pipeline_full = True
            self.cycle.keep_alive = False  # close after the last request that gets a response

    def on_body(self, body: bytes) -> None:
        """Pass on request content, unless the request is one that is ignored."""
        if not self._pipeline_full:
            super().on_body(body)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a server may ignore upgrades (RFC 9110, 7.8), and any client can ask."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Respond through the fast path, without a task, if possible; else call the app."""
        self._next = (cycle, app)
        if self._starting:
            return  # called by the loop below, which avoids recursion for pipelined requests
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
        """Call the app; close the connection if the response is incomplete, which is logged."""

        async def sending(message: Message) -> None:
            if cycle.disconnected or self.transport.is_closing():
                raise ClientDisconnectedError  # uvicorn would ignore what the app sends
            if self._draining.begun and not self.pipeline:
                cycle.keep_alive = False  # uvicorn tells the client: `Connection: close`
            if cycle.scope["http_version"] == "1.0":
                # HTTP/1.0 has no chunked encoding: closing ends the content (RFC 9112, 6.1).
                cycle.chunked_encoding = False
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        try:
            await app(scope, receive, sending)
        except (ClientDisconnectedError, ResponseIncompleteError):
            cycle.disconnected = True  # so that uvicorn does not log it again
            self.transport.close()

    def _answer_directly(self, cycle: RequestResponseCycle, app: Any) -> bool:
        """Send the response of the fast path; return whether it had one."""
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
        self._deadline = self.loop.call_later(self.head_seconds, self._on_head_timeout)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_head_timeout(self) -> None:
        self._reject(408, "Request Timeout")

    def _reject(self, status: int, phrase: str) -> None:
        """Stop reading, and close: at once, or after the response in progress."""
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


def _reset_after(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Have the kernel close a connection whose peer has accepted no data for so many seconds."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # only Linux has it
    if connection is not None and option is not None:
        with suppress(OSError):  # not a TCP socket
            connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def allow_many_files() -> None:
    """Raise the limit of open files of this process (RLIMIT_NOFILE), to 65,536 if allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
