"""Load generators for servers, and timing of commands; all durations are in seconds."""

import http.client
import json
import os
import queue
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server

_LUA = Path(__file__).with_name("load.lua")
_TIMEOUT = 120


class RefusedError(Exception):
    """Error response of a server."""


@dataclass(frozen=True, slots=True)
class Load:
    """Result of wrk."""

    requests: int
    seconds: float
    bytes: int
    failed: int
    p50: float
    p95: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class Client:
    """Kept-alive connection; every response must be 200."""

    def __init__(self, server: Server) -> None:
        self._name = server.name
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __repr__(self) -> str:
        return f"<Client of {self._name}>"

    def get(self, path: str) -> bytes:
        """Return the body of the response."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK or not body:
            raise RefusedError(f"{self._name} answers {response.status} to {path}: {body[:200]!r}")
        return body

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def request_one_by_one(server: Server, paths: Sequence[str], *, may_fail: int = 0) -> list[float]:
    """Return the duration of each response; `may_fail` of them may fail, and do not count."""
    client = Client(server)
    durations = []
    for path in paths:
        started = time.perf_counter()
        try:
            client.get(path)
        except RefusedError:
            may_fail -= 1
            if may_fail < 0:
                raise
            time.sleep(0.2)  # until it runs again
        else:
            durations.append(time.perf_counter() - started)
    client.close()
    return durations


def fetch_bodies(server: Server, paths: Sequence[str]) -> list[bytes]:
    """Return the bodies of the responses."""
    client = Client(server)
    found = [client.get(path) for path in paths]
    client.close()
    return found


def request_concurrently(server: Server, paths: Sequence[str], connections: int) -> float:
    """Return the duration of all responses together, requested in order on some connections."""
    pending: queue.SimpleQueue[str] = queue.SimpleQueue()
    for path in paths:
        pending.put(path)
    failures: list[Exception] = []
    clients = [Client(server) for _ in range(min(connections, len(paths)))]

    def work(client: Client) -> None:
        try:
            while True:
                client.get(pending.get_nowait())
        except queue.Empty:
            return
        except (OSError, RefusedError, http.client.HTTPException) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    duration = time.perf_counter() - started
    for client in clients:
        client.close()
    if failures:
        raise failures[0]
    return duration


def run_wrk(
    server: Server, paths: Sequence[str], connections: int, seconds: float, *, once: bool = False
) -> Load:
    """Run wrk on these paths; `once`: until each was requested, or the time is over."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        listing, result = Path(name, "paths"), Path(name, "result")
        listing.write_text("\n".join(paths) + "\n")
        environment = {
            **os.environ,
            "BENCH_PATHS": str(listing),
            "BENCH_RESULT": str(result),
            "BENCH_ONCE": "1" if once else "0",
        }
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", f"{_TIMEOUT}s", "-s", str(_LUA)]
        command += [f"http://127.0.0.1:{server.port}/"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        load = Load(**json.loads(result.read_text()))
    if load.failed:
        raise RefusedError(f"{server.name} failed {load.failed} of {load.requests} requests")
    return load


def time_command(command: Sequence[str], repeats: int) -> float:
    """Return the median duration of a command."""
    durations = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)
