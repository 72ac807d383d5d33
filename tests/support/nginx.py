"""Debian's nginx with the configurations of deploy/nginx."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from support import pictures
from support.servers import ServerProcess, free_port

PICTURE = pictures.jpeg(pictures.photograph(900, 700))
DEPLOY = Path(__file__).parents[2] / "deploy" / "nginx"


@contextlib.contextmanager
def running_nginx(
    folder: Path,
    config: str,
    servers: Sequence[ServerProcess],
    cache: Path,
    locations: str = "",
) -> Iterator[str]:
    """Run nginx with a file of deploy/nginx and more locations, with ports and folders of the test.

    X-Upstream of a response is the server that has answered.
    """
    (folder / "kept").mkdir(parents=True)
    port = free_port()
    text = (DEPLOY / config).read_text()
    for pattern, value in {
        r"( *server 127\.0\.0\.1:)4040(.*;\n)": "".join(
            rf"\g<1>{server.port}\g<2>" for server in servers
        ),
        r"(?=add_header X-Cache)": "add_header X-Upstream $upstream_addr always;\n",
        r"listen 80;": f"listen 127.0.0.1:{port};",
        r"(proxy_cache_path) \S+": rf"\1 {folder}/kept",
        r"/var/cache/iiif-server/": f"{cache}/",
        r"(?=    location /_derivatives/)": locations,
    }.items():
        text = re.sub(pattern, value, text)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "sites.conf").write_text(text)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        + ("user root;\n" if os.geteuid() == 0 else "")
        + f"events {{}}\nhttp {{\naccess_log off;\nsendfile on;\n{temporary}"
        + f"include {folder}/sites.conf;\n}}\n"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    popen = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code:
                    break
            assert popen.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        popen.send_signal(signal.SIGQUIT)
        popen.wait(30)


@dataclass
class Site:
    """Server with nginx in front of it."""

    server: ServerProcess
    url: str
    folder: Path

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(
            method, f"{self.url}{path}", headers=named, timeout=60, trust_env=False
        )

    def derivatives(self) -> list[Path]:
        entries = self.folder / "cache" / "derivatives" / "entries"
        return [path for path in entries.rglob("*") if path.is_file()]


@contextlib.contextmanager
def running_site(
    folder: Path, config: str, settings: str = "", locations: str = ""
) -> Iterator[Site]:
    """Run a server, and nginx with a configuration of deploy/nginx."""
    (folder / "source" / "pictures").mkdir(parents=True)
    (folder / "source" / "pictures" / "a.jpg").write_bytes(PICTURE)
    server = ServerProcess(
        folder,
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n{settings}\n'
        'root_path = "/iiif"\ntrusted_proxies = ["127.0.0.1", "::1"]\n'
        # What the proxies keep in front is what these tests are about.
        "cache.memory_bytes = 0\nimage_pool_size = 2\nsize_pool_size = 1\n"
        '[types.pictures]\nsource = "disk"\noriginal = "download"\ncache_for = 1\n',
    )
    server.start()
    try:
        with running_nginx(folder / "nginx", config, [server], folder / "cache", locations) as url:
            yield Site(server, url, folder)
        server.end()
    finally:
        if server.is_running:
            server.kill()
