"""Public URL of the server in its responses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import httpx
import pytest
import pytest_asyncio

from iiif_server.telemetry.events import ForwardedHeaderIgnored
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


RFC_7239: Headers = [
    (b"host", b"inside:4040"),
    (b"forwarded", b'for=192.0.2.1;proto=https;host="rfc.example.org"'),
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
        (b"x-forwarded-proto", b"HTTPS", "https://inside/disk:pic.jpg"),
        (b"x-forwarded-port", b"8443", "http://inside:8443/disk:pic.jpg"),
        (b"x-forwarded-port", b"80", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-port", b"65535", "http://inside:65535/disk:pic.jpg"),
        (b"x-forwarded-port", b"65536", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-port", b"0", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-port", b"80a", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-host", b"out.example:65535", "http://out.example:65535/disk:pic.jpg"),
        (b"x-forwarded-host", b"out.example:65536", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-proto", b"gopher", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-proto", b"javascript:alert(1)//", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-host", b"out.example:8443", "http://out.example:8443/disk:pic.jpg"),
        (b"x-forwarded-host", b"evil.example/x", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-host", b"evil.example, out.example", "http://out.example/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a/b/", "http://inside/a/b/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"//evil.example", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a?b", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"a", "http://inside/a/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/my%20iiif", "http://inside/my%20iiif/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a/../b", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a/%2e%2E", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/a%zz", "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b'/a">', "http://inside/disk:pic.jpg"),
        (b"x-forwarded-prefix", b"/" + b"a" * 2000, "http://inside/disk:pic.jpg"),
        (b"x-forwarded-basepath", b"/a", "http://inside/a/disk:pic.jpg"),
        (b"x-forwarded-path", b"/a", "http://inside/a/disk:pic.jpg"),
        (b"x-forwarded-path", b"a/b/", "http://inside/a/b/disk:pic.jpg"),
        (b"forwarded", b"proto=https;host=out.example", "https://out.example/disk:pic.jpg"),
        (b"forwarded", b'for=_x; Host="out.example:81"', "http://out.example:81/disk:pic.jpg"),
        (b"forwarded", b'host=evil, for="[::1]";proto=HTTPS', "https://inside/disk:pic.jpg"),
        (b"forwarded", b'host="evil/x";proto=gopher', "http://inside/disk:pic.jpg"),
        (b"forwarded", b'host="a, host=evil', "http://inside/disk:pic.jpg"),
        (b"forwarded", b"", "http://inside/disk:pic.jpg"),
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


async def test_nobody_is_believed_unless_settings_name_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory) as server:
        for peer in (("127.0.0.1", 1), ("::1", 1), PROXY):
            assert await id_of(server, FORWARDED, peer) == "http://inside:4040/disk:pic.jpg"
            assert await id_of(server, RFC_7239, peer) == "http://inside:4040/disk:pic.jpg"
            answer = await server.get_raw(
                b"/health", [*FORWARDED, (b"x-request-id", b"mine")], peer
            )
            assert answer.headers["x-request-id"] != "mine"


async def test_x_forwarded_counts_before_forwarded(server: Server) -> None:
    headers = [*FORWARDED, *RFC_7239[1:]]
    assert (await id_of(server, headers, PROXY)).startswith("https://images.example.org/")


async def test_a_port_is_added_to_a_host_without_one(server: Server) -> None:
    port = (b"x-forwarded-port", b"8443")
    for host, expected in (
        (b"out.example", "https://out.example:8443/disk:pic.jpg"),
        (b"out.example:9", "https://out.example:9/disk:pic.jpg"),
        (b"[2001:db8::1]", "https://[2001:db8::1]:8443/disk:pic.jpg"),
        (b"[2001:db8::1]:9", "https://[2001:db8::1]:9/disk:pic.jpg"),
    ):
        headers = [(b"host", b"inside"), *FORWARDED[1:2], (b"x-forwarded-host", host), port]
        assert await id_of(server, headers, PROXY) == expected
    headers = [(b"host", b"out.example"), *FORWARDED[1:2], (b"x-forwarded-port", b"443")]
    assert await id_of(server, headers, PROXY) == "https://out.example/disk:pic.jpg"


@pytest.mark.parametrize(
    "sent", [b"/my%20iiif/disk:pic.jpg/info.json", b"/my%20iiif", b"my%20iiif"]
)
async def test_a_forwarded_path_is_a_prefix_or_the_whole_path(server: Server, sent: bytes) -> None:
    headers = [(b"host", b"out.example"), (b"x-forwarded-path", sent)]
    answer = await server.get_raw(b"/disk:pic.jpg/info.json", headers, PROXY)
    assert answer.json()["id"] == "http://out.example/my%20iiif/disk:pic.jpg"


async def test_a_malformed_header_is_logged_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with serving(tmp_path_factory, trusted_proxies=(IPv4Network("10.0.0.0/8"),)) as server:
        for _ in range(3):
            for name, value in (
                (b"x-forwarded-prefix", b"//evil"),
                (b"x-forwarded-host", b"a b"),
                (b"forwarded", b"proto=gopher"),
                (b"x-forwarded-proto", b"https"),
            ):
                for peer in (PROXY, STRANGER):
                    await id_of(server, [(b"host", b"inside"), (name, value)], peer)
        reported = [event.header for event in server.events_of(ForwardedHeaderIgnored)]
        assert reported == ["x-forwarded-prefix", "x-forwarded-host", "forwarded"]


async def test_a_configured_base_url_is_the_only_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory, base_url="https://museum.example/iiif/") as server:
        expected = "https://museum.example/iiif/disk:pic.jpg"
        assert await id_of(server, FORWARDED, ("127.0.0.1", 1)) == expected
        assert await id_of(server, [(b"host", b"not a host")]) == expected
        version_2 = await server.get("/iiif/2/disk:pic.jpg/info.json")
        assert version_2.json()["@id"] == "https://museum.example/iiif/iiif/2/disk:pic.jpg"


# --- below a root_path that ends with /iiif -------------------------------------------------------


@pytest.mark.parametrize("root", ["/iiif", "/images/iiif", "/images"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_path_without_a_slash_leads_to_the_front_page(
    tmp_path_factory: pytest.TempPathFactory, root: str, method: str
) -> None:
    async with serving(tmp_path_factory, root_path=root) as server:
        for query in ("", "?folder=disk", "?open=a%2Fb%26c"):
            redirect = await server.get_raw(f"{root}{query}".encode(), method=method)
            assert redirect.status_code == 307
            assert redirect.headers["location"] == f"http://test{root}/{query}"
        front = await server.get_raw(f"{root}/".encode(), method=method)
        assert front.status_code == 200
        for other in (f"{root}x", root[:-1], f"{root}//", f"{root}/disk"):
            assert (await server.get_raw(other.encode(), method=method)).status_code in {400, 404}


async def test_behind_a_proxy_the_front_page_is_found_at_its_public_address(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    trusted = (IPv4Network("127.0.0.1"),)
    headers = [
        (b"host", b"test"),
        (b"x-forwarded-prefix", b"/outer"),
        (b"x-forwarded-proto", b"https"),
    ]
    async with serving(tmp_path_factory, root_path="/iiif", trusted_proxies=trusted) as server:
        redirect = await server.get_raw(b"/iiif", headers)
        assert redirect.headers["location"] == "https://test/outer/"
        assert (await server.get_raw(b"/iiif", [(b"host", b"not a host")])).status_code == 400


BELOW = [
    # settings, headers, what the base of the identifiers is in public
    ({"root_path": "/iiif"}, [], "http://test"),
    ({"root_path": "/images/iiif"}, [], "http://test/images"),
    (
        {"root_path": "/iiif", "base_url": "https://museum.example/iiif/"},
        [],
        "https://museum.example",
    ),
    (
        {"root_path": "/iiif", "trusted_proxies": (IPv4Network("127.0.0.1"),)},
        [(b"x-forwarded-prefix", b"/outer/iiif"), (b"x-forwarded-proto", b"https")],
        "https://test/outer",
    ),
]


@pytest.mark.parametrize(("settings", "headers", "base"), BELOW)
async def test_below_iiif_the_versions_have_their_usual_paths(
    settings: dict[str, Any],
    headers: Headers,
    base: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory, **settings) as server:
        root = settings["root_path"].removesuffix("/iiif")
        headers = [(b"host", b"test"), *headers]

        async def get(path: str, *more: tuple[bytes, bytes]) -> httpx.Response:
            return await server.get_raw(f"{root}{path}".encode(), [*headers, *more])

        for _ in range(2):  # by the routes, and without them
            for version, key in (("/iiif/3", "id"), ("/iiif/2", "@id"), ("/iiif", "id")):
                id_ = f"{base}{version}/disk:pic.jpg"
                document = await get(f"{version}/disk:pic.jpg/info.json")
                assert document.json()[key] == id_
                for parameters in ("full/90,/0/default.jpg", "0,0,50,50/25,/0/gray.png"):
                    image = await get(f"{version}/disk:pic.jpg/{parameters}")
                    assert image.status_code == 200
                    assert image.headers["link"].startswith(f"<{id_}/")
                redirect = await get(f"{version}/disk:pic.jpg")
                assert redirect.headers["location"] == f"{id_}/info.json"
        linked = await get(
            "/iiif/disk:pic.jpg/info.json",
            (b"accept", b'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'),
        )
        assert linked.json()["@id"] == f"{base}/iiif/2/disk:pic.jpg"
        manifest = await get("/iiif/disk:pic.jpg/manifest.json")
        assert f'"{base}/iiif/2/disk:pic.jpg"' in manifest.text
        viewer = await get("/iiif/2/disk:pic.jpg/view")
        assert viewer.headers["location"] == f"{base}/iiif/3/disk:pic.jpg/view"


async def test_the_long_form_of_a_versions_path_is_the_same_thing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory, root_path="/iiif") as server:
        for path in ("/iiif/2/disk:pic.jpg/info.json", "/iiif/iiif/2/disk:pic.jpg/info.json"):
            document = (await server.get_raw(path.encode())).json()
            assert document["@id"] == "http://test/iiif/2/disk:pic.jpg"


async def test_pages_below_a_versions_path_lead_back_to_the_front_page(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory, root_path="/iiif") as server:
        page = await server.get_raw(b"/iiif/3/disk:pic.jpg/view")
        assert page.status_code == 200
        assert 'href="../../"' in page.text
        assert "../../../" not in page.text


async def test_other_paths_in_front_do_not_change_the_versions(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with serving(tmp_path_factory, root_path="/notiiif") as server:
        document = await server.get_raw(b"/notiiif/iiif/2/disk:pic.jpg/info.json")
        assert document.json()["@id"] == "http://test/notiiif/iiif/2/disk:pic.jpg"
        assert_problem(await server.get_raw(b"/notiiif/2/disk:pic.jpg/info.json"), 404)


@pytest.mark.parametrize("path", ["admin", "admin/status", "metrics", "2/../admin/status"])
async def test_what_is_administrative_stays_so_below_iiif(
    path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with serving(tmp_path_factory, root_path="/iiif") as server:
        answer = await server.get_raw(f"/iiif/{path}".encode())
        assert answer.status_code in {401, 404}
        for version in ("2", "3"):
            answer = await server.get_raw(f"/iiif/{version}/{path}".encode())
            assert answer.status_code in {303, 404, 400}
