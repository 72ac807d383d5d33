"""Source `web`: originals whose URL follows from their name, fetched once and stored."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from support.apps import Server, assert_problem, fetch_options, picture, running_app, settings_below
from support.upstream import Upstream, delayed, running_upstream, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
MAX_FETCHES = 3
PER_HOST = 2
"""Half of them, rounded up."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("web"),
        max_http_fetches=MAX_FETCHES,
        fetch=fetch_options(),
        types={
            "path": {"source": "web", "url": f"{upstream.base}/images/{{name}}.jpg"},
            "query": {"source": "web", "url": f"{upstream.base}/image?a=1&id={{name}}&b=2"},
            "both": {"source": "web", "url": f"{upstream.base}/b/{{name}}?id={{name}}"},
            "other": {"source": "web", "url": f"{upstream.base}/other/{{name}}"},
            "slow": {"source": "web", "url": f"{upstream.base}/slow/{{name}}"},
            "host": {"source": "web", "url": f"http://localhost:{upstream.port}/host/{{name}}"},
        },
    )
    async with running_app(settings) as server:
        yield server


async def information(server: Server, identifier: str) -> None:
    """Ask for an image's information, and get it."""
    response = await server.get(f"/{identifier}/info.json")
    assert response.status_code == 200, response.text
    assert (response.json()["width"], response.json()["height"]) == (200, 150)


async def test_an_original_is_fetched_once_and_kept_under_its_name(
    server: Server, upstream: Upstream
) -> None:
    for _ in range(3):
        await information(server, "path:banana")
        assert (await server.get("/path:banana/full/50,/0/default.jpg")).status_code == 200
    assert upstream.count("/images/banana.jpg") == 1
    assert server.original_path("path", "banana").read_bytes() == PICTURE


async def test_what_is_kept_already_is_never_fetched(server: Server, upstream: Upstream) -> None:
    server.put("path", "here/already", PICTURE)
    await information(server, "path:here/already")
    assert upstream.count("/images/here/already.jpg") == 0


async def test_fifty_requests_at_once_cause_one_fetch(server: Server, upstream: Upstream) -> None:
    upstream.replies["/slow/crowd"] = delayed(0.2, send(PICTURE))
    tiles = [
        f"{x},{y},20,20/max/0/default.jpg" for x in range(0, 100, 20) for y in range(0, 80, 20)
    ]
    paths = [*tiles, *(["info.json"] * 20), *tiles[:10]]
    responses = await asyncio.gather(*(server.get(f"/slow:crowd/{path}") for path in paths))
    assert len(responses) == 50
    assert {response.status_code for response in responses} == {200}
    assert upstream.count("/slow/crowd") == 1


@pytest.mark.parametrize(
    ("types", "most"), [(("slow", "other"), PER_HOST), (("slow", "host"), MAX_FETCHES)]
)
async def test_no_more_originals_are_fetched_at_once_than_configured(
    server: Server, upstream: Upstream, types: tuple[str, str], most: int
) -> None:
    names = [f"one-of-{number}-{most}" for number in range(9)]
    for type_, name in product(types, names):
        upstream.replies[f"/{type_}/{name}"] = delayed(0.1, send(PICTURE))
    upstream.peak = 0
    asked = product(types, names)
    await asyncio.gather(*(information(server, f"{type_}:{name}") for type_, name in asked))
    assert upstream.peak == most


async def test_the_clients_who_leave_do_not_spoil_it_for_the_one_who_waits(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/slow/patience"] = delayed(0.3, send(PICTURE))
    first = asyncio.create_task(server.get("/slow:patience/info.json"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(server.get("/slow:patience/info.json"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).status_code == 200
    assert upstream.count("/slow/patience") == 1


async def test_a_fetch_that_nobody_waits_for_leaves_nothing_and_is_started_anew(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/slow/left"] = delayed(0.3, send(PICTURE))
    asking = asyncio.create_task(server.get("/slow:left/info.json"))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait([asking])
    await asyncio.sleep(0.05)
    assert not server.original_path("slow", "left").exists()
    assert not [*server.settings.source_path.glob(".incoming/*")]
    await information(server, "slow:left")
    assert upstream.count("/slow/left") == 2


NAMES = [
    "plain.tif",
    "in/folders/below",
    "with space",
    "Ænigma/日本 — ü",
    "100% sure",
    "a+b&c=d;e,f",
    "question?mark#hash",
    "colon:in:it",
    "back\\slash",
    "%2e%2e",
    "quo'te\"s",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_in_the_path_is_encoded_and_kept_as_it_is(
    server: Server, upstream: Upstream, name: str
) -> None:
    await information(server, f"path:{quote(name, safe='')}")
    assert upstream.count(f"/images/{quote(name, safe='/')}.jpg") == 1
    assert server.original_path("path", name).read_bytes() == PICTURE


@pytest.mark.parametrize("name", [name for name in NAMES if name != "%2e%2e"])
async def test_a_name_in_the_query_is_encoded_slashes_and_all(
    server: Server, upstream: Upstream, name: str
) -> None:
    await information(server, f"query:{quote(name, safe='')}")
    assert upstream.count(f"/image?a=1&id={quote(name, safe='')}&b=2") == 1
    assert server.original_path("query", name).read_bytes() == PICTURE


async def test_a_name_in_path_and_query_is_encoded_for_each(
    server: Server, upstream: Upstream
) -> None:
    await information(server, "both:a%2Fb%20c")
    assert upstream.count("/b/a/b%20c?id=a%2Fb%20c") == 1


def hashed(server: Server, type_: str, name: str) -> Path:
    """Where an original is kept whose name can be no path."""
    return server.original_path(type_, f".hashed/{sha256(name.encode()).hexdigest()}")


@pytest.mark.parametrize(
    "name",
    ["n" * 241, "ü" * 121, "/".join(["part"] * 400), ".hidden", "a/.b", "..." * 10],
    ids=["241 bytes", "242 bytes", "2 kB in parts", "dot", "dot below", "dots"],
)
async def test_a_name_that_no_file_may_have_is_kept_all_the_same(
    server: Server, upstream: Upstream, name: str
) -> None:
    for _ in range(2):
        await information(server, f"path:{quote(name)}")
    assert upstream.count(f"/images/{quote(name)}.jpg") == 1
    assert hashed(server, "path", name).read_bytes() == PICTURE


async def test_a_name_below_another_name_is_kept_beside_it(
    server: Server, upstream: Upstream
) -> None:
    for name in ("file", "file/below", "folder/file", "folder"):
        for _ in range(2):
            await information(server, f"path:{name}")
        assert upstream.count(f"/images/{name}.jpg") == 1
    assert hashed(server, "path", "file/below").is_file()
    assert hashed(server, "path", "folder").is_file()


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "a/../b", "a/./b", "/etc/passwd", "a//b", "a/", "..%2F..%2Fx", "..%5Cx"),
        *("%252e%252e%252fx", "%252e%252e%255cx", "..%255Cx", "x%2500"),
    ],
)
@pytest.mark.parametrize("type_", ["path", "both"])
async def test_a_name_that_climbs_out_of_the_path_is_not_asked_for(
    server: Server, upstream: Upstream, type_: str, name: str
) -> None:
    before = len(upstream.requests)
    response = await server.get_raw(f"/{type_}:{name}/info.json".encode())
    assert_problem(response, 404)
    assert len(upstream.requests) == before


@pytest.mark.parametrize("name", ["../other/secret", "..", "a/../../b", "..\\x", "%2e%2e/x"])
async def test_a_name_does_not_climb_in_the_query_either(
    server: Server, upstream: Upstream, name: str
) -> None:
    before = len(upstream.requests)
    response = await server.get_raw(f"/query:{quote(name, safe='')}/info.json".encode())
    assert_problem(response, 404)
    assert len(upstream.requests) == before


@pytest.mark.parametrize("name", ["/etc/passwd", "//x/"])
async def test_a_name_in_the_query_may_look_like_a_path_and_is_kept_inside_the_folder(
    server: Server, upstream: Upstream, name: str
) -> None:
    response = await server.get_raw(f"/query:{quote(name, safe='')}/info.json".encode())
    assert response.status_code == 200
    assert upstream.count(f"/image?a=1&id={quote(name, safe='')}&b=2") == 1
    assert hashed(server, "query", name).read_bytes() == PICTURE


async def test_equal_names_of_two_types_are_two_originals(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/other/twin"] = send(picture(64, 32))
    await information(server, "path:twin")
    other = await server.get("/other:twin/info.json")
    assert (other.json()["width"], other.json()["height"]) == (64, 32)


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/other/biscuit"] = send(PICTURE, Set_Cookie="session=secret; Path=/")
    await information(server, "other:biscuit")
    await information(server, "other:after-biscuit")
    assert [item.headers["Cookie"] for item in upstream.requests if item.headers["Cookie"]] == []


async def test_the_upstream_is_told_who_asks_and_nothing_of_the_client(
    server: Server, upstream: Upstream
) -> None:
    await server.get("/other:polite/info.json", Cookie="mine=1", Authorization="Basic abc")
    asked = next(item for item in upstream.requests if item.target == "/other/polite")
    assert asked.headers["User-Agent"].startswith("iiif-server/")
    assert asked.headers["Accept-Encoding"] == "identity"
    assert asked.headers["Cookie"] is None
    assert asked.headers["Authorization"] is None


async def test_nothing_is_left_among_the_incoming_files(server: Server) -> None:
    await information(server, "path:last")
    assert not [*server.settings.source_path.glob(".incoming/*")]
