"""No original is fetched from an address that is not public, however it is written."""

import base64
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from iiif_server.errors import ConfigurationError, SourceUnavailableError
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.guard import check_guard
from iiif_server.sources.provenance import Validators
from support.apps import Server, assert_problem, fetch_options, picture, running_app, settings_below
from support.upstream import Upstream, redirect, running_upstream, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


def trusting() -> dict[str, dict[str, str]]:
    """A type that trusts every URL: only the address is in the way."""
    return {"any": {"source": "trusted_web", "regex": ".+"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("forbidden")
    async with running_app(settings_below(root, types=trusting())) as server:
        yield server


def path_of(url: str) -> str:
    """Where the information of the image at a URL is."""
    return f"/any:{base64.urlsafe_b64encode(url.encode()).decode()}/info.json"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "0.0.0.0",  # noqa: S104 - a host to be refused
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "１２７.0.0.1",  # noqa: RUF001 - full-width digits
        "127。0。0。1",
        "①27.0.0.1",
    ],
)
async def test_this_machine_is_not_fetched_from(
    server: Server, upstream: Upstream, host: str
) -> None:
    response = await server.get(path_of(f"http://{host}:{upstream.port}/x"))
    # Some of these are no URL for the HTTP client, and refused before any address is looked up.
    assert_problem(response, 502 if response.status_code == 502 else 400)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[::ffff:10.0.0.1]",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
async def test_networks_that_are_not_public_are_not_fetched_from(server: Server, host: str) -> None:
    response = await server.get(path_of(f"http://{host}/x"))
    assert_problem(response, 502, "may not fetch from", "fetch.allow_networks")


async def test_the_plainest_spelling_is_refused_for_its_address(
    server: Server, upstream: Upstream
) -> None:
    for host in ("127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]"):
        response = await server.get(path_of(f"http://{host}:{upstream.port}/x"))
        assert_problem(response, 502, "may not fetch from")


async def test_a_web_type_that_names_this_machine_is_refused_as_well(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    types = {
        "number": {"source": "web", "url": f"{upstream.base}/{{name}}"},
        "name": {"source": "web", "url": f"http://localhost:{upstream.port}/{{name}}"},
    }
    root = tmp_path_factory.mktemp("forbidden-web")
    async with running_app(settings_below(root, types=types)) as server:
        for type_ in types:
            response = await server.get(f"/{type_}:x/info.json")
            assert_problem(response, 502, "may not fetch from")
    assert upstream.requests == []


async def test_a_permitted_network_permits_no_other_one_not_even_by_redirect(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = settings_below(
        tmp_path_factory.mktemp("partly"),
        types=trusting(),
        fetch=fetch_options(allow_networks=("127.0.0.1/32",)),
    )
    async with running_app(settings) as server:
        assert (await server.get(path_of(f"{upstream.base}/fine"))).status_code == 200
        mapped = await server.get(path_of(f"http://[::ffff:127.0.0.1]:{upstream.port}/mapped"))
        assert mapped.status_code in {200, 502}  # permitted; there may be no IPv6 here
        for place in ("127.0.0.2", "[::1]", "10.0.0.1", "[::ffff:127.0.0.2]"):
            url = f"http://{place}:{upstream.port}/x"
            upstream.replies["/away"] = redirect(url)
            for asked in (url, f"{upstream.base}/away"):
                response = await server.get(path_of(asked))
                assert_problem(response, 502, "may not fetch from")
    assert upstream.count("/x") == 0
    upstream.requests.clear()


async def test_proxies_of_the_environment_are_not_used(
    upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_upstream() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base)
            monkeypatch.setenv(name.lower(), proxy.base)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        settings = settings_below(
            tmp_path_factory.mktemp("proxied"), types=trusting(), fetch=fetch_options()
        )
        async with running_app(settings) as server:
            assert (await server.get(path_of(f"{upstream.base}/direct"))).status_code == 200
        assert proxy.requests == []
    assert upstream.count("/direct") == 1
    upstream.requests.clear()


async def test_a_name_is_fetched_from_those_of_its_addresses_that_may_be(
    upstream: Upstream, tmp_path: Path
) -> None:
    answers = [["127.0.0.2", "10.0.0.1", "::1", "127.0.0.1"], ["127.0.0.2"]]

    async def look_up(*_: object) -> Sequence[str]:
        return answers.pop(0)

    options = fetch_options(allow_networks=("127.0.0.1/32",))
    fetcher = Fetcher(options, 1, tmp_path / ".incoming", look_up)
    url = f"http://photographs.example:{upstream.port}/by-name"
    with socket.create_server(("127.0.0.2", upstream.port)) as inside:
        inside.setblocking(False)
        await fetcher.fetch(url, tmp_path / "x", lambda _: True, Validators())
        with pytest.raises(SourceUnavailableError, match="may not fetch from"):  # it has changed
            await fetcher.fetch(url, tmp_path / "x", lambda _: True, Validators())
        with pytest.raises(BlockingIOError):  # nobody has called
            inside.accept()
    await fetcher.close()
    assert (tmp_path / "x").read_bytes() == PICTURE
    assert upstream.count("/by-name") == 1
    upstream.requests.clear()


class Unguarded(httpx.AsyncBaseTransport):
    """What a version of httpcore that takes no notice of the network backend would be."""

    def __init__(self, network: object, connections: int) -> None:
        del network, connections
        self._transport = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


async def test_a_server_starts_only_if_its_guard_works() -> None:
    await check_guard()
    with pytest.raises(ConfigurationError, match="Fetching is not safe"):
        await check_guard(Unguarded)


async def test_a_guard_that_answers_in_another_way_is_none() -> None:
    class Answering(Unguarded):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, request=request)

    with pytest.raises(ConfigurationError):
        await check_guard(Answering)
