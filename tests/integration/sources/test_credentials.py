"""Requests to an upstream have no data of clients or credentials of other upstreams."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from support.apps import Server, assert_problem, fetch_options, picture, running_app, settings_below
from support.upstream import ReceivedRequest, Upstream, redirect, running_upstream, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
TOLD = {"host", "user-agent", "accept", "accept-encoding", "connection"}
"""The headers that an upstream gets, and no others."""
BASIC = "Basic bXVzZXVtOnNlc2FtZQ=="
"""`museum` and `sesame`."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


@pytest.fixture(scope="module")
def other() -> Iterator[Upstream]:
    with running_upstream() as other:
        other.otherwise = send(PICTURE)
        yield other


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    private = upstream.base.replace("//", "//museum:sesame@")
    settings = settings_below(
        tmp_path_factory.mktemp("credentials"),
        fetch=fetch_options(),
        types={
            "open": {"source": "web", "url": f"{upstream.base}/{{name}}"},
            "private": {"source": "web", "url": f"{private}/{{name}}"},
            "trusted": {"source": "trusted_web", "regex": ".*"},
        },
    )
    async with running_app(settings) as server:
        yield server


def question(upstream: Upstream, target: str) -> ReceivedRequest:
    """The only time that a target was asked for."""
    (asked,) = (item for item in upstream.requests if item.target == target)
    return asked


def names(asked: ReceivedRequest) -> set[str]:
    return {name.lower() for name in asked.headers}


async def test_nothing_of_the_client_is_told(server: Server, upstream: Upstream) -> None:
    response = await server.get(
        "/open:client/full/max/0/default.jpg?token=mine",
        Authorization="Bearer mine",
        Proxy_Authorization="Basic mine",
        Cookie="session=mine",
        Referer="http://reader.example/mine",
        Origin="http://reader.example",
        User_Agent="mine",
        Accept_Language="mine",
        X_Api_Key="mine",
        X_Forwarded_For="192.0.2.7",
        Forwarded="for=192.0.2.7",
        If_None_Match='"mine"',
        Range="bytes=0-10",
    )
    assert response.status_code == 200
    asked = question(upstream, "/client")
    assert names(asked) == TOLD
    assert "mine" not in str(asked.headers)
    assert "192.0.2.7" not in str(asked.headers)


async def test_a_redirect_tells_the_next_place_nothing_of_the_last_one(
    server: Server, upstream: Upstream, other: Upstream
) -> None:
    upstream.replies["/cross"] = send(
        b"", code=302, Location=f"{other.base}/here", Set_Cookie="session=secret; Path=/"
    )
    assert (await server.get("/open:cross/info.json")).status_code == 200
    assert names(question(other, "/here")) == TOLD


async def test_a_redirect_to_the_same_place_gets_no_cookie(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/same"] = send(
        b"", code=302, Location="/biscuit", Set_Cookie="session=secret; Path=/"
    )
    assert (await server.get("/open:same/info.json")).status_code == 200
    assert names(question(upstream, "/biscuit")) == TOLD


async def test_the_operators_own_name_and_password_go_to_the_place_that_they_are_for(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/moved"] = redirect("/moved/here")
    assert (await server.get("/private:moved/info.json")).status_code == 200
    for target in ("/moved", "/moved/here"):
        assert question(upstream, target).headers["Authorization"] == BASIC


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_they_go_nowhere_else(
    server: Server, upstream: Upstream, other: Upstream, code: int
) -> None:
    upstream.replies[f"/away/{code}"] = redirect(f"{other.base}/away/{code}", code)
    assert (await server.get(f"/private:away/{code}/info.json")).status_code == 200
    assert names(question(other, f"/away/{code}")) == TOLD


@pytest.mark.parametrize("type_", ["open", "private"])
@pytest.mark.parametrize("user", ["museum:sesame", "museum", ":sesame", "museum%3Asesame"])
async def test_no_redirect_has_us_log_in_elsewhere(
    server: Server, upstream: Upstream, other: Upstream, type_: str, user: str
) -> None:
    upstream.replies["/log-in"] = redirect(other.base.replace("//", f"//{user}@") + "/log-in")
    assert_problem(await server.get(f"/{type_}:log-in/info.json"), 502, "not trusted")
    assert other.count("/log-in") == 0


async def test_a_refusal_to_let_us_in_is_final(server: Server, upstream: Upstream) -> None:
    upstream.replies["/closed"] = send(
        b"", "text/plain", 401, WWW_Authenticate='Basic realm="museum"'
    )
    for type_ in ("open", "private"):
        assert_problem(await server.get(f"/{type_}:closed/info.json"), 502, "401")
    assert upstream.count("/closed") == 2
