"""Real server processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

_STARTUP_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running `iiif-server serve`."""

    url: str
    source: Path
    """The folder of the type `pictures`."""
    log: Path
    pid: int


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running_server(
    folder: Path,
    settings: str,
    environment: Mapping[str, str] | None = None,
    *,
    arguments: Sequence[str] = (),
    startup_seconds: float = _STARTUP_SECONDS,
) -> Iterator[Server]:
    """A server with these settings and a type `pictures` on disk, until the context closes."""
    port = free_port()
    source = folder / "source" / "pictures"
    source.mkdir(parents=True, exist_ok=True)
    config = folder / "settings.toml"
    config.write_text(
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n'
        f'http_port = {port}\n{settings}\n[types.pictures]\nsource = "disk"\n'
    )
    log = folder / "log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("IIIF_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "iiif_server", "serve", "--config", str(config), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **(environment or {})},
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, log, startup_seconds)
            yield Server(f"http://127.0.0.1:{port}", source, log, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()


def _wait_until_ready(
    url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
