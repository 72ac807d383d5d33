"""Headers that cost much where they are read carelessly."""

import http.cookies
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from iiif_server.routes.limits import MAX_HEADER_BYTES, MAX_HEADER_FIELDS
from support.apps import Server, assert_problem, picture, running_app, settings_below

IMAGE = b"/disk:pic.jpg/full/90,/0/default.jpg"
INFORMATION = b"/disk:pic.jpg/info.json"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


@pytest.mark.parametrize("target", [IMAGE, INFORMATION, b"/", b"/disk:pic.jpg/view", b"/status"])
async def test_cookies_are_never_parsed(
    server: Server, target: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = list[str]()
    monkeypatch.setattr(http.cookies, "_unquote", parsed.append)
    cookie = b'a="' + b"\\" * 30_000 + b'"'
    answer = await server.get_raw(target, [(b"host", b"test"), (b"cookie", cookie)])
    assert answer.status_code == 200
    assert parsed == []


@pytest.mark.parametrize("target", [IMAGE, INFORMATION])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"accept", b'a;b="' + b";" * 31_000),
        (b"accept-language", b"de," * 10_000),
        (b"authorization", b"Bearer " + b" " * 31_000),
        (b"if-none-match", b'"",' * 10_000),
        (b"if-modified-since", b"Mon, " * 6_000),
        (b"if-modified-since", b"1" * 31_000),
        (b"range", b"bytes=" + b"0-," * 10_000),
        (b"traceparent", b"00-" + b"0" * 31_000),
        (b"x-request-id", b"a" * 31_000),
    ],
)
async def test_long_values_change_nothing(
    server: Server, target: bytes, name: bytes, value: bytes
) -> None:
    answer = await server.get_raw(target, [(b"host", b"test"), (name, value)])
    assert answer.status_code == (406 if (name, target) == (b"accept", INFORMATION) else 200)


@pytest.mark.parametrize("target", [IMAGE, INFORMATION])
async def test_the_bounds_of_a_request_are_exact(server: Server, target: bytes) -> None:
    host = [(b"host", b"test")]
    room = MAX_HEADER_BYTES - len(b"hosttest")
    for headers, status in (
        ([*host, (b"x", b"y" * (room - 1))], 200),
        ([*host, (b"x", b"y" * room)], 431),
        ([*host, *[(b"x", b"")] * (MAX_HEADER_FIELDS - 1)], 200),
        ([*host, *[(b"x", b"")] * MAX_HEADER_FIELDS], 431),
    ):
        answer = await server.get_raw(target, headers)
        if status == 200:
            assert answer.status_code == status
        else:
            assert_problem(answer, status)
