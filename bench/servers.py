"""Servers to compare: each is started on loopback, and stopped by its process id."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HOST = "127.0.0.1"
_DEPLOY = Path(__file__).parents[1] / "deploy" / "nginx"
_TOKEN = "the-token-of-the-bench"  # noqa: S105 - no secret: the server listens on loopback
_IIPSRV = "/usr/lib/iipimage-server/iipsrv.fcgi"
_START_SECONDS = 30.0
_MAX_RESTARTS = 100
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
_PROCESSOR = Path(__file__).parent / "peers" / "processor"
CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Server:
    """Running server."""

    name: str
    port: int
    pid: int
    prefix: str
    """What comes before an image's name."""

    def path(self, image: str, rest: str) -> str:
        """Return the path of a request for an image."""
        return f"{self.prefix}{image}{rest}"


@contextmanager
def running_iiif_server(
    source: Path,
    work: Path,
    cache: Path | None = None,
    settings: str = "",
    processes: int = 1,
    *,
    log_level: str = "warning",
    types: str = "",
    within: Sequence[str] = (),
) -> Iterator[Server]:
    """Run this server on a folder of originals; its cache is a new folder unless one is given.

    `within` is a prefix of its command.
    """
    with tempfile.TemporaryDirectory(dir=work, prefix="ours-") as name:
        folder, port = Path(name), _free_port()
        file = folder / "settings.toml"
        file.write_text(
            f"{settings}\n"
            f'source_path = "{source}"\ncache_path = "{cache or folder / "cache"}"\n'
            f'log_level = "{log_level}"\nadmin.token = "{_TOKEN}"\n[types.bench]\nsource = "disk"\n'
            f"{types}"
        )
        program = Path(sys.executable).with_name("iiif-server")
        command = [
            *within,
            str(program),
            "serve",
            "--config",
            str(file),
            "--port",
            str(port),
        ]
        command += ["--workers", str(processes)]
        with _running_command(command, folder, {}) as pid:
            _wait_until_ready(port, "/health")
            yield Server("iiif-server", port, pid, "/bench:")


@contextmanager
def running_iipimage(folder: Path, work: Path) -> Iterator[Server]:
    """Run iipimage-server on a folder of pyramidal TIFFs: one process per core, behind nginx."""
    with tempfile.TemporaryDirectory(dir=work, prefix="iipimage-") as name, ExitStack() as stack:
        environment = {
            "FILESYSTEM_PREFIX": f"{folder}/",
            "VERBOSITY": "0",
            "LOGFILE": f"{name}/iipsrv.log",
            "MAX_CVT": "5000",
        }
        upstreams = []
        for _ in range(CORES):
            bound = f"{_HOST}:{_free_port()}"
            stack.enter_context(
                _restarting_command([_IIPSRV, "--bind", bound], Path(name), environment)
            )
            upstreams.append(f"server {bound} max_fails=0;")
        location = """
            fastcgi_pass iipimage;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param QUERY_STRING IIIF=$request_uri;
            fastcgi_param HTTP_HOST $http_host;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
            fastcgi_param REQUEST_URI $request_uri;
        """
        upstream = f"upstream iipimage {{ least_conn; {' '.join(upstreams)} }}"
        port, pid = stack.enter_context(_running_nginx(Path(name), location, upstream))
        yield Server("iipimage-server", port, pid, "/")


@contextmanager
def running_nginx(folder: Path, work: Path) -> Iterator[Server]:
    """Run nginx for static files."""
    with (
        tempfile.TemporaryDirectory(dir=work, prefix="static-") as name,
        _running_nginx(Path(name), f"root {folder};", "") as (port, pid),
    ):
        yield Server("nginx", port, pid, "/")


@contextmanager
def running_proxy(
    replicas: Sequence[Server], configuration: str, cache: Path, work: Path
) -> Iterator[Server]:
    """Run nginx in front of our servers, with a file of deploy/nginx."""
    with tempfile.TemporaryDirectory(dir=work, prefix="behind-") as name:
        text = (_DEPLOY / configuration).read_text()
        for pattern, value in {
            r"( server 127\.0\.0\.1:)4040(.*;\n)": "".join(
                rf"\g<1>{server.port}\g<2>" for server in replicas
            ),
            r"(proxy_cache_path) \S+": rf"\1 {name}/kept",
            r"/var/cache/iiif-server/": f"{cache}/",
            r"keepalive_requests \d+;": "keepalive_requests 1000000;",
        }.items():
            text = re.sub(pattern, value, text)
        port = _free_port()
        text = text.replace("listen 80;", f"listen {_HOST}:{port};")
        with _running_nginx(Path(name), "return 404;", text):
            _wait_until_ready(port, "/")
            yield Server(f"nginx, {configuration}", port, replicas[0].pid, "/iiif/bench:")


@contextmanager
def running_processor(folder: Path, work: Path) -> Iterator[Server]:
    """Run iiif-processor on a folder of plain originals."""
    port = _free_port()
    command = ["node", str(_PROCESSOR / "server.mjs"), str(port), str(folder)]
    with _running_command(command, work, {}) as pid:
        _wait_until_ready(port, "/")
        yield Server("iiif-processor", port, pid, "/")


@contextmanager
def running_program(code: str, *arguments: str, work: Path) -> Iterator[Server]:
    """Run Python code that listens on the port of its first argument."""
    port = _free_port()
    with _running_command([sys.executable, "-c", code, str(port), *arguments], work, {}) as pid:
        _wait_until_ready(port, "/")
        yield Server("plain", port, pid, "/")


def fetch_status(server: Server) -> dict[str, Any]:
    """Return /admin/status of our server."""
    connection = http.client.HTTPConnection(_HOST, server.port, timeout=30)
    connection.request("GET", "/admin/status", headers={"Authorization": f"Bearer {_TOKEN}"})
    document: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    return document


def wait_until_idle(server: Server, seconds: float = 120.0) -> None:
    """Wait until our server renders and builds nothing."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = fetch_status(server)
        pool = now["pools"]["image"]
        if not (now["pyramids"]["building"] or pool["busy"] or pool["waiting"]):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{server.name} is still at work after {seconds:g} seconds")


def peer_versions() -> dict[str, str]:
    """Return the versions of all software of the comparison."""
    import pyvips  # noqa: PLC0415

    from iiif_server import __version__  # noqa: PLC0415

    peers = {
        name: json.loads((_PROCESSOR / "node_modules" / name / "package.json").read_text())[
            "version"
        ]
        for name in ("iiif-processor", "sharp")
    }
    vips = ".".join(str(pyvips.version(part)) for part in range(3))
    return {
        "iiif-server": f"{__version__} (Python {sys.version.split()[0]}, libvips {vips})",
        "iipimage-server": _package_version("iipimage-server"),
        "iiif-processor": (
            f"{peers['iiif-processor']} (sharp {peers['sharp']}, "
            f"node {_command_output('node', '--version')})"
        ),
        "vips, vipsthumbnail": _package_version("libvips-tools"),
        "djpeg": _package_version("libjpeg-turbo-progs"),
        "nginx": _package_version("nginx"),
        "wrk": _package_version("wrk"),
    }


def _package_version(name: str) -> str:
    return _command_output("dpkg-query", "-W", "-f", "${Version}", name)


def _command_output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def _running_nginx(folder: Path, location: str, extra: str) -> Iterator[tuple[int, int]]:
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        {user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{ worker_connections 1024; }}
        http {{
            {temporary}
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
            types {{ image/jpeg jpg; }}
            open_file_cache max=10000; open_file_cache_valid 60s;
            fastcgi_buffers 16 64k; fastcgi_buffer_size 64k;
            {extra}
            server {{ listen {_HOST}:{port}; location / {{ {location} }} }}
        }}
    """)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [nginx, "-p", str(folder), "-c", str(configuration), "-e", f"{folder}/error.log"]
    with _running_command(command, folder, {}) as pid:
        _wait_until_ready(port, "/")
        yield port, pid


@contextmanager
def _running_command(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[int]:
    """Run a process while the context is open; yield its id."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("IIIF_")}
    plain["IIIF_HTTP_DRAIN"] = "0"  # no load balancer has to notice its end
    with subprocess.Popen(
        command, cwd=folder, env={**plain, **environment}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _restarting_command(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[None]:
    """Run a process that is restarted when it dies, as iipsrv does over some regions."""
    ended = threading.Event()

    def supervise() -> None:
        for _ in range(_MAX_RESTARTS):
            with _running_command(command, folder, environment) as pid:
                while not ended.wait(0.02) and os.waitid(os.P_PID, pid, _ENDED) is None:
                    pass
            if ended.is_set():
                return

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(port: int, path: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(_HOST, port, timeout=10)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(f"nothing answers on port {port}")
