"""TCP relay in front of a web server, which counts requests and bytes."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_REQUEST = re.compile(rb"^(?:GET|HEAD|PUT|POST) [^\r\n]* HTTP/1\.1\r\n", re.MULTILINE)


@dataclass
class Relay:
    """Relay of connections to a port, byte for byte."""

    target: int
    requests: list[str] = field(default_factory=list)
    """The request lines, in the order in which they came."""
    heads: list[str] = field(default_factory=list)
    received: int = 0
    """Bytes that the server has sent, heads included."""
    last: int | None = None
    """Number of received bytes after which each connection is closed; None: no limit."""
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        self.requests.clear()
        self.heads.clear()
        self.received = 0

    @contextmanager
    def running(self) -> Iterator["Relay"]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            down = threading.Thread(target=self._forward, args=(server, client), daemon=True)
            down.start()
            self._forward(client, server)
            down.join()

    def _forward(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if to.getpeername()[1] == self.target:
                    lines = [line.decode().strip() for line in _REQUEST.findall(data)]
                    self.requests += lines
                    self.heads += [data.decode("latin-1")] if lines else []
                else:
                    self.received += len(data)
                    if self.last is not None and self.received > self.last:
                        break
                to.sendall(data)
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)
