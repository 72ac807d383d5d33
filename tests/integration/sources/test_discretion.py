"""Errors of an upstream: the log has its URL, responses do not."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from pydantic import ByteSize

from iiif_server.settings import Settings
from iiif_server.telemetry.events import FetchFailed, OriginalMissing
from support.apps import (
    Server,
    assert_problem,
    fetch_options,
    picture,
    running_app,
    settings_below,
)
from support.servers import free_port
from support.upstream import (
    Reply,
    Upstream,
    cut,
    gated,
    raw,
    redirect,
    running_upstream,
    send,
    silent,
)
from support.waiting import async_wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
SECRET = "vault"
"""In everything that an upstream is, says and does."""


def told(data: bytes, code: int = 200, **headers: str) -> Reply:
    """An answer that names the upstream wherever it can."""
    return send(data, f"text/{SECRET}", code, Server=SECRET, Via=SECRET, **headers)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("discretion")
    async with running_app(settings(root / SECRET, upstream)) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """A server whose fetches time out soon."""
    root = tmp_path_factory.mktemp("hasty")
    timeouts = {"connect_timeout": 0.5, "total_timeout": 0.5}
    async with running_app(settings(root / SECRET, upstream, **timeouts)) as server:
        yield server


def settings(root: Path, upstream: Upstream, **options: float) -> Settings:
    (root / "source" / "unwritable").mkdir(parents=True)
    (root / "source" / "unwritable" / ".hashed").write_bytes(b"a file where a folder should be")
    return settings_below(
        root,
        max_http_fetches=1,
        fetch=fetch_options(
            queue_timeout=0.2, max_redirects=1, max_bytes=ByteSize(100_000), **options
        ),
        types={
            "web": {"source": "web", "url": f"{upstream.base}/{SECRET}/{{name}}"},
            "unwritable": {"source": "web", "url": f"{upstream.base}/{SECRET}/{{name}}"},
            "dead": {"source": "web", "url": f"http://127.0.0.1:{free_port()}/{SECRET}/{{name}}"},
            "nowhere": {"source": "web", "url": f"http://{SECRET}.invalid/{{name}}"},
            "private": {"source": "web", "url": f"http://10.0.0.1/{SECRET}/{{name}}"},
            "tls": {"source": "web", "url": f"https://127.0.0.1:{upstream.port}/{SECRET}/{{name}}"},
            "trusted": {"source": "trusted_web", "regex": f".*/{SECRET}/.*"},
        },
    )


def assert_discreet(response: httpx.Response, code: int) -> None:
    assert_problem(response, code)
    shown = f"{response.headers} {response.text}"
    for word in (SECRET, "10.0.0.1", "gzip", "Errno", "httpx", "Error", "source_path"):
        assert word not in shown


FAILURES: dict[str, tuple[Reply, int]] = {
    "not found": (told(SECRET.encode(), 404), 404),
    "gone": (told(SECRET.encode(), 410), 404),
    "failing": (told(SECRET.encode(), 500), 502),
    "words of its own": (raw(f"HTTP/1.1 500 {SECRET}\r\n\r\n{SECRET}".encode()), 502),
    "no HTTP": (raw(SECRET.encode()), 502),
    "cut": (cut(PICTURE), 502),
    "compressed": (send(PICTURE, Content_Encoding="gzip"), 502),
    "without length": (raw(b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE[:-1]), 502),
    "crumbs": (
        raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\xff\xd8\xff\xe0\r\n"
            + b"1\r\na\r\n" * 2000
        ),
        502,
    ),
    "redirect to nowhere": (redirect(f"ftp://{SECRET}.example/"), 502),
    "redirect to the inside": (redirect(f"http://10.0.0.1/{SECRET}"), 502),
    "redirect to a user": (redirect(f"http://{SECRET}@example.org/"), 502),
    "redirect in a loop": (redirect(f"/{SECRET}/x"), 502),
    "redirect to no URL": (redirect(f"http://[{SECRET}"), 502),
    "silent": (silent(), 504),
    "page": (told(SECRET.encode()), 415),
    "too large": (told(PICTURE + bytes(100_000)), 413),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_an_answer_does_not_say_where_it_went_wrong(
    server: Server, hasty: Server, upstream: Upstream, failure: str
) -> None:
    reply, code = FAILURES[failure]
    server = hasty if code == 504 else server
    upstream.replies[f"/{SECRET}/x"] = reply
    url = base64.urlsafe_b64encode(f"{upstream.base}/{SECRET}/x".encode()).decode()
    for identifier in ("web:x", f"trusted:{url}"):
        assert_discreet(await server.get(f"/{identifier}/info.json"), code)
        event: type[OriginalMissing | FetchFailed] = OriginalMissing if code == 404 else FetchFailed
        assert server.events_of(event)[-1].identifier == identifier


@pytest.mark.parametrize("type_", ["dead", "nowhere", "private", "tls"])
async def test_nor_where_nobody_answered(server: Server, type_: str) -> None:
    assert_discreet(await server.get(f"/{type_}:x/info.json"), 502)


async def test_nor_where_it_could_not_be_kept(server: Server, upstream: Upstream) -> None:
    upstream.replies[f"/{SECRET}/.x"] = send(PICTURE)
    assert_discreet(await server.get("/unwritable:.x/info.json"), 502)


async def test_nor_what_others_are_waiting_for(server: Server, upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.replies[f"/{SECRET}/slow"] = gated(gate, send(PICTURE))
    slow = asyncio.create_task(server.get("/web:slow/info.json"))
    await async_wait_until(lambda: server.services.fetcher.active == 1)
    response = await server.get("/web:busy/info.json")
    gate.set()
    await slow
    assert_discreet(response, 503)
    assert int(response.headers["retry-after"]) > 0


async def test_nor_which_urls_are_trusted(server: Server) -> None:
    url = base64.urlsafe_b64encode(b"http://example.org/x").decode()
    assert_discreet(await server.get(f"/trusted:{url}/info.json"), 400)


async def test_the_log_says_it(server: Server, hasty: Server, upstream: Upstream) -> None:
    await server.get("/nowhere:x/info.json")
    assert "ConnectError" in server.events_of(FetchFailed)[-1].reason
    await server.get("/private:x/info.json")
    assert "10.0.0.1" in server.events_of(FetchFailed)[-1].reason
    upstream.replies[f"/{SECRET}/log"] = silent()
    await hasty.get("/web:log/info.json")
    assert "Timeout" in hasty.events_of(FetchFailed)[-1].reason
