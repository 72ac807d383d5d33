"""Server processes."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ADMIN_TOKEN = "the-token-of-these-tests"
"""For `admin.token`; no secret."""

_STARTUP_SECONDS = 60
TRUST = ssl.create_default_context()
"""Read once: httpx would read all certificates anew for each request, for longer than it takes."""


def server_environment() -> dict[str, str]:
    """Return the environment of server processes: without settings, except the JPEG library.

    Servers end without draining.
    """
    inherited_settings = {"IIIF_WORKERS__TURBOJPEG"}
    environment = {
        k: v for k, v in os.environ.items() if k in inherited_settings or not k.startswith("IIIF_")
    }
    return {"IIIF_HTTP_DRAIN": "0", **environment}


@dataclass(frozen=True)
class Server:
    """Running `iiif-server serve`."""

    url: str
    source: Path
    """The folder of the type `pictures`."""
    log: Path
    pid: int


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class ServerProcess:
    """`iiif-server serve` that can be killed and started again on the same folders."""

    folder: Path
    settings: str
    port: int = field(default_factory=free_port)
    _popen: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def popen(self) -> "subprocess.Popen[bytes]":
        assert self._popen is not None
        return self._popen

    @property
    def is_running(self) -> bool:
        """Whether the process exists and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def configure(self, settings: str) -> None:
        """Write other settings, for the next start or reload."""
        self.settings = settings
        admin = f"admin.token = '{ADMIN_TOKEN}'"
        config = self.folder / "settings.toml"
        config.write_text(f"http_port = {self.port}\n{admin}\n{self.settings}")

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.configure(self.settings)
        environment = server_environment()
        config = str(self.folder / "settings.toml")
        with (self.folder / "log").open("a") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "iiif_server", "serve", "--config", config],
                stdout=log,
                stderr=log,
                env=environment,
            )
        deadline = time.monotonic() + 2 * _STARTUP_SECONDS
        while time.monotonic() < deadline:
            assert self.popen.poll() is None, self.log
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", trust_env=False, verify=TRUST).is_success:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log)

    def end(self) -> None:
        """Stop it by SIGTERM; its exit status must be 0."""
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(30) == 0, self.log

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=120, trust_env=False, verify=TRUST)

    def status(self) -> Any:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        url = f"{self.url}/admin/status"
        answer = httpx.get(url, timeout=120, trust_env=False, verify=TRUST, headers=headers)
        return answer.json()


@contextlib.contextmanager
def running_server(
    folder: Path,
    settings: str,
    environment: Mapping[str, str] | None = None,
    *,
    program: Sequence[str] = (sys.executable, "-m", "iiif_server"),
    arguments: Sequence[str] = (),
    startup_seconds: float = _STARTUP_SECONDS,
) -> Iterator[Server]:
    """Run a server with these settings and a type `pictures` on disk, until the context closes."""
    port = free_port()
    source = folder / "source" / "pictures"
    source.mkdir(parents=True, exist_ok=True)
    config = folder / "settings.toml"
    config.write_text(
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n'
        f'http_port = {port}\n{settings}\n[types.pictures]\nsource = "disk"\n'
    )
    command = [*program, "serve", "--config", str(config), *arguments]
    with started_process(
        command, port, folder / "log", environment, startup_seconds=startup_seconds
    ) as pid:
        yield Server(f"http://127.0.0.1:{port}", source, folder / "log", pid)


@contextlib.contextmanager
def started_process(
    command: Sequence[str],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    startup_seconds: float = _STARTUP_SECONDS,
    folder: Path | None = None,
) -> Iterator[int]:
    """Start a server process, in a working directory; stop it when the context closes."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**server_environment(), **(environment or {})},
            cwd=folder,
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, log, startup_seconds)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(30) == 0, log.read_text()
            finally:
                process.kill()


def _wait_until_ready(
    url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", verify=TRUST).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
