"""Outbound HTTP proxy on loopback: forwards requests, opens tunnels, records both."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Proxy(ThreadingHTTPServer):
    """Proxy that resolves names by `hosts`, as a proxy with its own DNS does."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, Message]] = []
        """Method, target and headers of each request."""
        self.hosts: dict[str, str] = {}
        self.refuses = False

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self.server.seen.append(("GET", self.path, self.headers))
        if self.server.refuses:
            self.send_error(407)
            return
        parts = urlsplit(self.path)
        host = self.server.hosts.get(str(parts.hostname), str(parts.hostname))
        connection = HTTPConnection(host, parts.port or 80, timeout=10)
        headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
        connection.request("GET", f"{parts.path}?{parts.query}".rstrip("?"), headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        self.send_response(response.status)
        for name, value in response.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.server.seen.append(("CONNECT", self.path, self.headers))
        if self.server.refuses:
            self.send_error(407)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((self.server.hosts.get(host, host), int(port))) as far:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            near = self.connection
            other = {near: far, far: near}
            with suppress(OSError):
                while True:
                    for side in select.select([near, far], [], [], 10)[0]:
                        data = side.recv(65_536)
                        if not data:
                            return
                        other[side].sendall(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing."""


@contextmanager
def running_proxy() -> Iterator[Proxy]:
    """Run a proxy while the context is open."""
    with Proxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
