"""Two replicas with one bucket, behind Debian's nginx with the configuration of deploy/nginx."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Self

import httpx
import pytest

from support.nginx import running_nginx
from support.replicas import running_site
from support.servers import TRUST, ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

LONG = 120
NUMBERS = count()
NAMES = [f"{number}.jpg" for number in range(12)]
SETTINGS = 'root_path = "/iiif"\ntrusted_proxies = ["127.0.0.1"]\n'


@dataclass
class Replicas:
    """Two servers, and nginx in front of them."""

    servers: list[ServerProcess]
    url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=LONG, trust_env=False, verify=TRUST)

    def upstream_of(self, path: str) -> str:
        """Return the address of the replica to which nginx sends this request."""
        answer = self.get(path)
        assert answer.status_code < 500, (path, answer.text)
        upstream: str = answer.headers["x-upstream"]
        return upstream


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    with running_site(folder) as site, ExitStack() as stack:
        for seed, name in enumerate([*NAMES, "folder/a.jpg"]):
            site.original(name, seed, 900, 700)
        servers = [site.replica(top=SETTINGS) for _ in range(2)]
        url = stack.enter_context(
            running_nginx(folder / "nginx", "iiif-server.conf", servers, folder)
        )
        yield Replicas(servers, url)


@dataclass
class Load:
    """Clients that send requests for all originals on kept-alive connections.

    No two URLs are equal, so nginx has to send each request to a replica.
    """

    url: str
    statuses: Counter[int] = field(default_factory=Counter)
    upstreams: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[float, str]] = field(default_factory=list)
    """When a request that failed had begun, on the monotonic clock, and what happened."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._read_until_stopped) for _ in range(6)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_responses(self, server: ServerProcess, number: int = 50) -> None:
        """Wait until so many more responses have come from a server."""
        name = f"127.0.0.1:{server.port}"
        wanted = self.upstreams[name] + number
        wait_until(lambda: self.upstreams[name] >= wanted, LONG)

    def _read_until_stopped(self) -> None:
        with httpx.Client(timeout=LONG, trust_env=False, verify=TRUST) as client:
            while not self._stop.is_set():
                number = next(NUMBERS)
                name, width = NAMES[number % len(NAMES)], 100 + number % 7
                path = f"/iiif/web:{name}/full/{width},/0/default.jpg?{number}"
                began = time.monotonic()
                try:
                    answer = client.get(f"{self.url}{path}")
                except httpx.TransportError as error:
                    self.failed.append((began, repr(error)))
                    continue
                self.statuses[answer.status_code] += 1
                self.upstreams[answer.headers["x-upstream"].rpartition(", ")[2]] += 1
                if answer.status_code != 200:
                    self.failed.append((began, answer.text))


def test_nginx_sends_all_requests_for_an_image_to_one_replica(
    replicas: Replicas,
) -> None:
    found = set()
    in_folder = ("web:folder%2Fa.jpg", "web:folder/a.jpg", "web%3Afolder%2fa.jp%67")
    for names in [*([f"web:{name}"] for name in NAMES), in_folder]:
        forms = [
            "info.json",
            "manifest.json",
            "view",
            "full/90,/0/default.jpg",
            "0,0,300,300/!90,90/!90.5/gray.png?a/b/c.d",
        ]
        paths = [
            f"/iiif/{prefix}{name}{page}/{form}"
            for prefix in ("", "2/", "3/", "signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/")
            for name in names
            for page in ("", ";2", "%3B2")
            for form in forms
        ]
        upstreams = {replicas.upstream_of(path) for path in paths}
        assert len(upstreams) == 1, (names, upstreams)
        found |= upstreams
    assert found == {f"127.0.0.1:{server.port}" for server in replicas.servers}


def test_killed_replica_loses_only_its_open_requests(
    replicas: Replicas,
) -> None:
    victim, other = replicas.servers
    with Load(replicas.url) as load:
        load.wait_for_responses(victim)
        victim.kill()
        killed = time.monotonic()
        load.wait_for_responses(other, 300)
        victim.start()
        load.wait_for_responses(victim)
    assert not [what for began, what in load.failed if began >= killed]
    assert len(load.failed) <= 6
    assert set(load.statuses) <= {200, 502}


def test_rolling_restart_loses_no_request(replicas: Replicas) -> None:
    with Load(replicas.url) as load:
        for server in replicas.servers:
            load.wait_for_responses(server)
            server.popen.send_signal(signal.SIGTERM)
            assert server.popen.wait(LONG) == 0
            server.start()
            load.wait_for_responses(server)
    assert not load.failed
    assert set(load.statuses) == {200}
