"""Slow clients behind nginx: they hold no connection of the server."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from support import pictures
from support.nginx import Site, running_site
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

CLIENTS = 12
"""More than the server accepts connections."""
HEAD = "GET /iiif/pictures:{} HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module", params=["iiif-server.conf", "iiif-server-accel.conf"])
def site(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Site]:
    settings = "http_connections = 6\nmetrics.allow_networks = ['127.0.0.1']\n"
    with running_site(tmp_path_factory.mktemp("slow"), request.param, settings) as site:
        large = pictures.jpeg(pictures.photograph(6000, 5000, seed=3))  # more than sockets buffer
        (site.folder / "source" / "pictures" / "large.jpg").write_bytes(large)
        yield site


def send(site: Site, stack: ExitStack, text: str) -> socket.socket:
    """Send the beginning of a request, and read nothing."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = site.url.removeprefix("http://").partition(":")
    client.connect((host, int(port)))
    client.sendall(text.encode())
    return client


def is_idle(site: Site) -> bool:
    """Whether the server answers no request but that for its metrics."""
    text = httpx.get(f"{site.server.url}/iiif/metrics", trust_env=False).text
    found = re.search(r"^iiif_requests_in_progress (\S+)$", text, re.MULTILINE)
    return found is not None and float(found[1]) == 1


@pytest.mark.parametrize("path", ["a.jpg/full/^{},/0/default.png", "large.jpg/original?{}"])
def test_clients_that_read_nothing(site: Site, path: str) -> None:
    with ExitStack() as stack:
        for number in range(CLIENTS):
            client = send(site, stack, f"{HEAD.format(path.format(1500 + number))}\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
            wait_until(lambda: is_idle(site), 60)
        assert site.get("/iiif/pictures:a.jpg/info.json").status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        HEAD.format("a.jpg/info.json"),
        HEAD.format("a.jpg/info.json") + "Content-Length: 9\r\n\r\n1",
        HEAD.format("a.jpg/info.json") + "Transfer-Encoding: chunked\r\n\r\n9\r\n1",
    ],
)
def test_clients_that_send_no_end(site: Site, text: str) -> None:
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            send(site, stack, text)
        assert site.get("/iiif/pictures:a.jpg/info.json").status_code == 200
        assert is_idle(site)
