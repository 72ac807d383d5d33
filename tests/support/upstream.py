"""Web server of originals on loopback, with replies that tests choose; it records its requests."""

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler"], None]
"""What the upstream does with one request."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """Request as it was received."""

    target: str
    """Path and query, letter by letter."""
    headers: Message


class Upstream:
    """Web server with a reply for each target. All members are safe to use from any thread."""

    def __init__(self, encryption: ssl.SSLContext | None = None) -> None:
        self.replies: dict[str, Reply] = {}
        """By target; whatever is not here gets `otherwise`."""
        self.otherwise: Reply = status(404)
        self.requests: list[ReceivedRequest] = []
        self.active = self.peak = 0
        self.sent_endlessly = 0
        """How many bytes `endless` got rid of."""
        self.ending = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.upstream = self
        if encryption is not None:
            self._server.socket = encryption.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def targets(self) -> list[str]:
        """Return the targets of all requests, in order."""
        return [item.target for item in self.requests]

    def count(self, target: str) -> int:
        """Return the number of requests for a target."""
        return self.targets().count(target)

    def answer(self, handler: "Handler") -> None:
        """Answer one request."""
        with self._lock:
            self.requests.append(ReceivedRequest(handler.path, handler.headers))
            self.active += 1
            self.peak = max(self.peak, self.active)
        try:
            self.replies.get(handler.path, self.otherwise)(handler)
        finally:
            with self._lock:
                self.active -= 1

    @contextmanager
    def running(self) -> Iterator["Upstream"]:
        """Answer requests while the context is open."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Connection to the upstream."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self.server.upstream.answer(self)

    do_HEAD = do_GET  # noqa: N815 - http.server's name; `command` tells which it is

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing."""

    def start(self, code: int, headers: dict[str, str]) -> None:
        """Send status and header fields."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def wait(self, seconds: float) -> None:
        """Wait so many seconds, or until the upstream is stopped."""
        self.server.upstream.ending.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    upstream: Upstream

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: some tests hang up."""


def send(data: bytes, media_type: str = "image/jpeg", code: int = 200, **headers: str) -> Reply:
    """Return a reply with this content; `Set_Cookie="..."` and the like add header fields."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}

    def reply(handler: Handler) -> None:
        length = str(len(data))
        handler.start(code, {"Content-Type": media_type, "Content-Length": length, **fields})
        handler.wfile.write(data)

    return reply


def status(code: int) -> Reply:
    """Return a reply of an error with a short text, which no response of ours may repeat."""
    return send(b"upstream says no", "text/plain", code)


def page() -> Reply:
    """Return a reply with a page in HTML and status 200, as many login pages have."""
    return send(b"<!DOCTYPE html><title>Please log in</title>" * 20, "text/html")


def redirect(location: str, code: int = 302) -> Reply:
    """Return a reply that redirects to a location."""
    return send(b"", code=code, Location=location)


def compressed(data: bytes) -> Reply:
    """Return a reply with the data in gzip, whatever the client accepts."""
    return send(gzip.compress(data), Content_Encoding="gzip")


def delayed(seconds: float, then: Reply) -> Reply:
    """Return a reply that sends another one after a delay."""

    def reply(handler: Handler) -> None:
        handler.wait(seconds)
        then(handler)

    return reply


def gated(gate: threading.Event, then: Reply) -> Reply:
    """Return a reply that sends another one once the gate is open."""

    def reply(handler: Handler) -> None:
        gate.wait(60)
        then(handler)

    return reply


def dripping(data: bytes, pause: float, pieces: int = 10) -> Reply:
    """Return a reply that sends the data in pieces, with a pause before each."""

    def reply(handler: Handler) -> None:
        handler.start(200, {"Content-Type": "image/jpeg", "Content-Length": str(len(data))})
        step = len(data) // pieces + 1
        for start in range(0, len(data), step):
            handler.wait(pause)
            handler.wfile.write(data[start : start + step])

    return reply


def cut(data: bytes) -> Reply:
    """Return a reply that declares the whole length, but sends half of the data."""

    def reply(handler: Handler) -> None:
        handler.start(200, {"Content-Type": "image/jpeg", "Content-Length": str(len(data))})
        handler.wfile.write(data[: len(data) // 2])
        handler.close_connection = True

    return reply


def unbounded(start: bytes, size: int) -> Reply:
    """Return a reply of so many bytes without Content-Length."""

    def reply(handler: Handler) -> None:
        handler.start(200, {"Content-Type": "image/jpeg", "Connection": "close"})
        handler.wfile.write(start)
        chunk, sent = bytes(65_536), len(start)
        while sent < size:
            handler.wfile.write(chunk)
            sent += len(chunk)

    return reply


def raw(*pieces: bytes, pause: float = 0.0, stay: bool = False) -> Reply:
    """Return a reply of raw bytes, status line included, with a pause before each further piece.

    The connection is closed then, unless the upstream is to keep it open.
    """

    def reply(handler: Handler) -> None:
        handler.close_connection = not stay
        for number, piece in enumerate(pieces):
            if number:
                handler.wait(pause)
            handler.wfile.write(piece)

    return reply


def endless(start: bytes, unit: bytes) -> Reply:
    """Return a reply of these raw bytes, then a unit repeated until the client closes."""

    def reply(handler: Handler) -> None:
        upstream = handler.server.upstream
        handler.close_connection = True
        handler.wfile.write(start)
        block = unit * (65_536 // len(unit) + 1)
        upstream.sent_endlessly = 0
        while not upstream.ending.is_set():
            handler.wfile.write(block)
            upstream.sent_endlessly += len(block)

    return reply


def reset(*pieces: bytes) -> Reply:
    """Return a reply of these raw bytes, then a reset of the connection."""

    def reply(handler: Handler) -> None:
        raw(*pieces)(handler)
        handler.wait(0.05)  # for a reset overtakes what has not been read yet
        at_once = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        for file in (handler.rfile, handler.wfile, handler.connection):
            file.close()

    return reply


def silent() -> Reply:
    """Return a reply that sends nothing, on a connection that stays open."""

    def reply(handler: Handler) -> None:
        handler.close_connection = True
        handler.wait(60)

    return reply


def validated(data: bytes, **validators: str) -> Reply:
    """Return a reply with `ETag` or `Last_Modified`, and 304 for a request with that validator."""

    def reply(handler: Handler) -> None:
        tag = handler.headers["If-None-Match"]
        date = handler.headers["If-Modified-Since"]
        same = tag == validators.get("ETag") if tag else date == validators.get("Last_Modified")
        if (tag or date) and same:
            handler.start(304, {})
        else:
            send(data, "image/jpeg", 200, **validators)(handler)

    return reply


@contextmanager
def running_upstream(encryption: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """Run an upstream while the context is open, over HTTPS with an `encryption` context."""
    with Upstream(encryption).running() as upstream:
        yield upstream


def ranged(data: bytes, tag: str = '"one"', **headers: str) -> Reply:
    """Return a reply with the data or a range of it, for the version of an ETag (RFC 9110, 14)."""

    def reply(handler: Handler) -> None:
        range_header = handler.headers["Range"]
        if handler.headers["If-Match"] not in {None, tag}:
            status(412)(handler)
        elif range_header is None:
            send(data, "image/tiff", 200, ETag=tag, **headers)(handler)
        else:
            first, _, last = range_header.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(data))
            content_range = f"bytes {start}-{stop - 1}/{len(data)}"
            part = send(
                data[start:stop],
                "image/tiff",
                206,
                ETag=tag,
                Content_Range=content_range,
                **headers,
            )
            part(handler)

    return reply
