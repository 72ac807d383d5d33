"""Failed fetches: status, no stored file, no detail of the upstream in the response."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ByteSize

from iiif_server.settings import Settings
from iiif_server.telemetry.events import Fetched, FetchFailed
from support.apps import (
    Server,
    assert_problem,
    fetch_options,
    picture,
    running_app,
    settings_below,
    web_settings,
)
from support.servers import free_port
from support.upstream import (
    Reply,
    Upstream,
    cut,
    delayed,
    dripping,
    page,
    raw,
    redirect,
    running_upstream,
    send,
    status,
    unbounded,
)
from support.waiting import async_wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
MAX_BYTES = 200_000
TIMEOUT = 0.5
TOTAL_TIMEOUT = 1.2


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """A server that waits long: on a busy machine anything may take seconds."""
    async with running_app(settings(tmp_path_factory.mktemp("failing"), upstream)) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """A server whose fetches time out soon."""
    timeouts = {"connect_timeout": TIMEOUT, "total_timeout": TOTAL_TIMEOUT}
    root = tmp_path_factory.mktemp("hasty")
    async with running_app(settings(root, upstream, **timeouts)) as server:
        yield server


def settings(root: Path, upstream: Upstream, **options: float) -> Settings:
    return settings_below(
        root,
        fetch=fetch_options(max_bytes=ByteSize(MAX_BYTES), max_redirects=2, **options),
        types={
            "web": {"source": "web", "url": f"{upstream.base}/{{name}}"},
            "dead": {"source": "web", "url": f"http://127.0.0.1:{free_port()}/{{name}}"},
            "nowhere": {"source": "web", "url": "http://no-such-host.invalid/{name}"},
        },
    )


def kept(server: Server) -> list[str]:
    """Every file below `source_path` but the records of what once was kept there."""
    root = server.settings.source_path
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return [str(path) for path in files if ".provenance" not in path.parts]


async def assert_refused(server: Server, code: int, *words: str) -> None:
    """That the name `x` cannot be had, is refused so, and leaves nothing."""
    for path in ("info.json", "full/max/0/default.jpg"):
        assert_problem(await server.get(f"/web:x/{path}"), code, *words)
    assert kept(server) == []


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (status(404), 404, "no image"),
        (status(410), 404, "no image"),
        (status(500), 502, "500"),
        (status(503), 502, "503"),
        (status(403), 502, "403"),
        (send(PICTURE, code=206), 502, "206"),
        (status(204), 502, "204"),
        (send(b"", code=302), 502, "302"),
        (page(), 415, "not an image"),
        (send(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), 415, "not an image"),
        (send(b""), 415, "not an image"),
        (send(b"\xff"), 415, "not an image"),
        (send(PICTURE, Content_Encoding="gzip"), 502, "compressed"),
        (cut(PICTURE), 502, "cannot be reached"),
        (send(PICTURE + bytes(MAX_BYTES)), 413, "200 kB"),
        (dripping(PICTURE + bytes(MAX_BYTES), 2 * TIMEOUT), 413, "200 kB"),
        (unbounded(PICTURE, 3 * MAX_BYTES), 413, "200 kB"),
        (delayed(2 * TIMEOUT, send(PICTURE)), 504, "in time"),
        (dripping(PICTURE, 2 * TIMEOUT), 504, "in time"),
        (dripping(PICTURE, TIMEOUT / 2, 12), 504, "in time"),
    ],
    ids=[
        "404",
        "410",
        "500",
        "503",
        "403",
        "206",
        "204",
        "redirect to nowhere",
        "HTML",
        "SVG",
        "empty",
        "one byte",
        "compressed",
        "cut",
        "too large as announced",
        "too large, and not waited for",
        "too large unannounced",
        "slow headers",
        "stalled body",
        "slow body",
    ],
)
async def test_an_upstream_that_fails(  # noqa: PLR0917 - fixtures and parameters
    server: Server, hasty: Server, upstream: Upstream, reply: Reply, code: int, words: str
) -> None:
    upstream.replies["/x"] = reply
    server = hasty if code == 504 else server
    await assert_refused(server, code, words)
    upstream.replies["/x"] = send(PICTURE)
    assert (await server.get("/web:x/info.json")).status_code == 200  # nothing is broken for good
    server.remove("web", "x")


async def test_a_body_that_comes_in_pieces_in_time_is_whole(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/pieces"] = dripping(PICTURE, 0.01)
    assert (await server.get("/web:pieces/info.json")).status_code == 200
    assert server.original_path("web", "pieces").read_bytes() == PICTURE
    server.remove("web", "pieces")


@pytest.mark.parametrize("type_", ["dead", "nowhere"])
async def test_an_upstream_that_is_not_there(server: Server, type_: str) -> None:
    assert_problem(await server.get(f"/{type_}:x/info.json"), 502, "cannot be reached")


async def test_a_redirect_is_followed(server: Server, upstream: Upstream) -> None:
    upstream.replies["/moved"] = redirect("/here")
    upstream.replies["/moved-far"] = redirect(f"{upstream.base}/here", 308)
    upstream.replies["/here"] = send(PICTURE)
    for name in ("moved", "moved-far"):
        assert (await server.get(f"/web:{name}/info.json")).status_code == 200
        server.remove("web", name)


async def test_a_redirect_to_another_port_is_followed_where_no_regex_forbids_it(
    server: Server, upstream: Upstream
) -> None:
    with running_upstream() as other:
        other.replies["/here"] = send(PICTURE)
        upstream.replies["/other-port"] = redirect(f"{other.base}/here")
        assert (await server.get("/web:other-port/info.json")).status_code == 200
        assert other.count("/here") == 1
    server.remove("web", "other-port")


async def test_redirects_are_followed_as_often_as_configured(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/2"] = redirect("/1")
    upstream.replies["/1"] = redirect("/0")
    upstream.replies["/0"] = send(PICTURE)
    assert (await server.get("/web:2/info.json")).status_code == 200
    server.remove("web", "2")
    upstream.replies["/x"] = redirect("/2")
    await assert_refused(server, 502, "too many times")


async def test_a_loop_of_redirects_ends(server: Server, upstream: Upstream) -> None:
    upstream.replies["/x"] = redirect("/x")
    before = upstream.count("/x")
    assert_problem(await server.get("/web:x/info.json"), 502, "too many times")
    assert upstream.count("/x") - before == 3


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:70/x",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "//[",
        "http://[::1",
        "http://",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:port/x",
        "http://a..b/x",
        f"http://{'a' * 70}.example/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/x",
        "http://[fe80::1%25lo]/x",
    ],
)
async def test_a_redirect_to_where_nothing_is_fetched_from(
    server: Server, upstream: Upstream, location: str
) -> None:
    upstream.replies["/x"] = redirect(location)
    await assert_refused(server, 502)


async def test_header_lines_of_an_upstream_do_not_reach_the_client(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/headers"] = send(PICTURE, X_Powered_By="secrets", Set_Cookie="a=b")
    response = await server.get("/web:headers/full/max/0/default.jpg")
    assert response.status_code == 200
    assert "x-powered-by" not in response.headers
    assert "set-cookie" not in response.headers
    server.remove("web", "headers")


async def test_a_folder_that_takes_no_file_is_no_fault_of_the_client(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("unwritable")
    (root / "source").write_bytes(b"a file where a folder should be")
    upstream.replies["/kept"] = send(PICTURE)
    async with running_app(web_settings(root, upstream.base)) as server:
        assert_problem(await server.get("/web:kept/info.json"), 502, "stored on disk")


async def test_a_failure_is_remembered_for_some_seconds_and_then_forgotten(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = web_settings(tmp_path_factory.mktemp("ttl"), upstream.base, failure_ttl=0.6)
    upstream.replies["/flaky"] = delayed(0.05, status(500))
    async with running_app(settings) as server:
        crowd = await asyncio.gather(*(server.get("/web:flaky/info.json") for _ in range(10)))
        first = asyncio.get_running_loop().time()
        sentences = {assert_problem(response, 502) for response in crowd}
        upstream.replies["/flaky"] = send(PICTURE)
        again = await server.get("/web:flaky/full/max/0/default.jpg")
        assert asyncio.get_running_loop().time() - first < 0.5, "too slow to tell"
        assert sentences == {assert_problem(again, 502)}
        assert upstream.count("/flaky") == 1
        assert (await server.get("/web:other/info.json")).status_code == 404  # only that name
        await asyncio.sleep(0.6)
        assert (await server.get("/web:flaky/info.json")).status_code == 200
        assert upstream.count("/flaky") == 2


async def test_waiting_for_a_turn_is_not_counted_as_waiting_for_the_upstream(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = settings_below(
        tmp_path_factory.mktemp("turns"),
        types={"web": {"source": "web", "url": f"{upstream.base}/{{name}}"}},
        max_http_fetches=1,
        fetch=fetch_options(connect_timeout=TIMEOUT, total_timeout=TIMEOUT),
    )
    async with running_app(settings) as server:
        names = [f"turn-{number}" for number in range(5)]
        for name in names:
            upstream.replies[f"/{name}"] = delayed(TIMEOUT / 2, send(PICTURE))
        responses = await asyncio.gather(*(server.get(f"/web:{name}/info.json") for name in names))
        assert [response.status_code for response in responses] == [200] * 5


async def test_an_original_that_an_operator_puts_there_is_served_despite_the_failure(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = web_settings(tmp_path_factory.mktemp("mended"), upstream.base, failure_ttl=60)
    async with running_app(settings) as server:
        assert_problem(await server.get("/web:mended/info.json"), 404)
        server.put("web", "mended", PICTURE)
        assert (await server.get("/web:mended/info.json")).status_code == 200


async def test_status_says_how_many_fetches_are_under_way(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/watched"] = delayed(TIMEOUT / 2, send(PICTURE))
    asking = asyncio.create_task(server.get("/web:watched/info.json"))
    await async_wait_until(lambda: server.services.fetcher.active == 1)
    assert (await server.status())["fetching"] == 1
    assert (await asking).status_code == 200
    assert (await server.status())["fetching"] == 0
    server.remove("web", "watched")


async def test_whoever_watches_is_told_of_every_fetch_and_why_it_failed(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/told"] = send(PICTURE)
    upstream.replies["/not-told"] = status(500)
    assert (await server.get("/web:told/info.json")).status_code == 200
    assert_problem(await server.get("/web:not-told/info.json"), 502)
    assert [(event.identifier, event.size) for event in server.events_of(Fetched)][-1:] == [
        ("web:told", len(PICTURE))
    ]
    failed = server.events_of(FetchFailed)[-1:]
    assert [event.identifier for event in failed] == ["web:not-told"]
    assert "500" in failed[0].reason
    server.remove("web", "told")


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
@pytest.mark.parametrize(("length", "code"), [(MAX_BYTES, 200), (MAX_BYTES + 1, 413)])
async def test_the_largest_original_that_is_fetched_has_max_bytes_exactly(
    server: Server, upstream: Upstream, length: int, code: int, *, announced: bool
) -> None:
    data = PICTURE[:-2] + bytes(length - len(PICTURE)) + PICTURE[-2:]
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    upstream.replies["/exact"] = send(data) if announced else raw(chunked % (length, data))
    assert (await server.get("/web:exact/info.json")).status_code == code
    if code == 200:
        assert server.original_path("web", "exact").stat().st_size == MAX_BYTES
        server.remove("web", "exact")
