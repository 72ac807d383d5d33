"""Which address of the server stands in its answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest
import pytest_asyncio

from support.apps import Server, assert_problem, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROXY = ("10.1.2.3", 40_000)
STRANGER = ("192.0.2.7", 40_000)
Headers = list[tuple[bytes, bytes]]
FORWARDED: Headers = [
    (b"host", b"inside:4040"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"images.example.org"),
    (b"x-forwarded-prefix", b"/iiif-images"),
]


@asynccontextmanager
async def serving(
    tmp_path_factory: pytest.TempPathFactory, **settings: Any
) -> AsyncIterator[Server]:
    types = {"disk": {"source": "disk"}}
    root = tmp_path_factory.mktemp("address")
    async with running_app(settings_below(root, types=types, **settings)) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    networks = (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))
    async with serving(tmp_path_factory, trusted_proxies=networks) as server:
        yield server


async def id_of(server: Server, headers: Headers, peer: tuple[str, int] = STRANGER) -> str:
    """The id in the information of an image, which also stands in all other answers."""
    response = await server.get_raw(b"/disk:pic.jpg/info.json", headers, peer)
    assert response.status_code == 200, response.text
    id_: str = response.json()["id"]
    image = await server.get_raw(b"/disk:pic.jpg/full/max/0/default.jpg", headers, peer)
    assert f"<{id_}/full/max/0/default.jpg>" in image.headers["link"]
    redirect = await server.get_raw(b"/disk:pic.jpg", headers, peer)
    assert redirect.headers["location"] == f"{id_}/info.json"
    return id_


@pytest.mark.parametrize(
    "host",
    ["example.org", "example.org:8080", "127.0.0.1:4040", "[2001:db8::1]:4040", "images_1.local"],
)
async def test_the_host_of_the_request(server: Server, host: str) -> None:
    assert await id_of(server, [(b"host", host.encode())]) == f"http://{host}/disk:pic.jpg"


async def test_the_host_is_that_of_each_request_and_of_no_earlier_one(server: Server) -> None:
    tags = set()
    for host in (b"one.example", b"two.example", b"one.example"):
        headers = [(b"host", host)]
        assert await id_of(server, headers) == f"http://{host.decode()}/disk:pic.jpg"
        response = await server.get_raw(b"/disk:pic.jpg/info.json", headers)
        tags.add(response.headers["etag"])
    assert len(tags) == 2


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example/path",
        b"evil.example?",
        b"evil.example#",
        b"user@evil.example",
        b"evil.example:port",
        b"evil.example:123456",
        b'evil"example',
        b"evil example",
        b"evil.example\r\nSet-Cookie: a=b",
        b"<script>",
        b"\xfc.example",
        b"a" * 300,
        b"[::1",
        b"::1",
    ],
)
async def test_a_host_that_is_none_is_refused(server: Server, host: bytes) -> None:
    for path in (b"info.json", b"full/max/0/default.jpg", b""):
        target = b"/".join(part for part in (b"/disk:pic.jpg", path) if part)
        assert_problem(await server.get_raw(target, [(b"host", host)]), 400, "Host")


async def test_a_request_without_a_host_is_refused(server: Server) -> None:
    assert_problem(await server.get_raw(b"/disk:pic.jpg/info.json", []), 400, "Host")


async def test_a_trusted_proxy_says_what_the_client_asked(server: Server) -> None:
    expected = "https://images.example.org/iiif-images/disk:pic.jpg"
    assert await id_of(server, FORWARDED, PROXY) == expected
    assert await id_of(server, FORWARDED, ("fd00::7", 40_000)) == expected


async def test_a_proxy_that_is_reached_over_both_kinds_of_address_is_the_same(
    server: Server,
) -> None:
    expected = "https://images.example.org/iiif-images/disk:pic.jpg"
    assert await id_of(server, FORWARDED, ("::ffff:10.1.2.3", 40_000)) == expected


@pytest.mark.parametrize("peer", [STRANGER, ("127.0.0.1", 1), ("2001:db8::1", 1), ("", 0)])
async def test_nobody_else_is_believed(server: Server, peer: tuple[str, int]) -> None:
    assert await id_of(server, FORWARDED, peer) == "http://inside:4040/disk:pic.jpg"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"x-forwarded-proto", b"https", "https://inside/disk:pic.jpg"),
        (b"x-forwarded-proto", b"gopher", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-proto", b"javascript:alert(1)//", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-host", b"out.example:8443", "http://out.example:8443/disk:pic.jpg"),
        (b"x-forwarded-host", b"evil.example/x", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-host", b"evil.example, out.example", "http://out.example/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a/b/", "http://inside/a/b/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"//evil.example", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a?b", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"a", "http://inside/disk:pic.jpg"),
    ],
)
async def test_each_forwarded_header_counts_if_it_makes_sense(
    server: Server, name: bytes, value: bytes, expected: str
) -> None:
    assert await id_of(server, [(b"host", b"inside"), (name, value)], PROXY) == expected


async def test_the_last_proxys_word_counts_on_whatever_line_it_stands(server: Server) -> None:
    headers = [
        (b"host", b"inside"),
        (b"x-forwarded-host", b"evil.example"),
        (b"x-forwarded-host", b"out.example"),
    ]
    assert await id_of(server, headers, PROXY) == "http://out.example/disk:pic.jpg"


async def test_loopback_is_trusted_unless_said_otherwise(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory) as server:
        expected = "https://images.example.org/iiif-images/disk:pic.jpg"
        assert await id_of(server, FORWARDED, ("127.0.0.1", 1)) == expected
        assert await id_of(server, FORWARDED, ("::1", 1)) == expected
        assert await id_of(server, FORWARDED, PROXY) == "http://inside:4040/disk:pic.jpg"


async def test_a_configured_base_url_is_the_only_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory, base_url="https://museum.example/iiif/") as server:
        expected = "https://museum.example/iiif/disk:pic.jpg"
        assert await id_of(server, FORWARDED, ("127.0.0.1", 1)) == expected
        assert await id_of(server, [(b"host", b"not a host")]) == expected
        version_2 = await server.get("/iiif/2/disk:pic.jpg/info.json")
        assert version_2.json()["@id"] == "https://museum.example/iiif/iiif/2/disk:pic.jpg"
