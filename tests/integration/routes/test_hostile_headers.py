"""Headers that would take long to parse carelessly."""

import http.cookies
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from iiif_server.server.request_limits import MAX_HEADER_BYTES, MAX_HEADER_FIELDS
from support.apps import (
    LOOPBACK,
    Server,
    assert_problem,
    get_scope,
    picture,
    running_app,
    settings_below,
)

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


@pytest.mark.parametrize("memory", [0, 2_500_000])
@pytest.mark.parametrize(
    ("name", "requests"),
    [(b"accept", 20_000), (b"x-forwarded-prefix", 1000), (b"x-accel", 1000), (b"x-any", 1000)],
)
async def test_no_number_of_long_headers_takes_memory(
    name: bytes, requests: int, memory: int, tmp_path: Path
) -> None:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        cache={"memory_bytes": memory},
        trusted_proxies=LOOPBACK,
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        for target in (IMAGE, INFORMATION):
            await server.get_raw(target)
        direct, sent = server.app.state.direct, 0
        tracemalloc.start()
        try:
            for number in range(requests):
                target = IMAGE if number % 2 else INFORMATION
                headers = [(b"host", b"test"), (name, b"*/*," + b"%d" % number * 6200)]
                direct(get_scope(target.decode()) | {"headers": headers})
                sent += len(headers[1][1])
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert sent > requests * 15_000
        assert grown < 2_500_000
        assert len(server.services.responses) <= 2


async def test_the_size_that_is_counted_is_what_answers_take(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path, types={"disk": {"source": "disk"}}, cache={"memory_bytes": 100_000_000}
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        await server.get_raw(IMAGE)
        tracemalloc.start()
        try:
            for number in range(300):  # each in its own name, which is part of the key
                await server.get_raw(IMAGE, [(b"host", b"h%d.example" % number)])
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        stats = server.services.responses.stats
        assert stats.entries == 301
        assert grown <= stats.size


async def test_images_do_not_depend_on_what_is_accepted(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path, types={"disk": {"source": "disk"}}, cache={"memory_bytes": 10_000_000}
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        for accept in (b"image/avif,*/*;q=0.8", b"image/webp", b"text/html"):
            await server.get_raw(IMAGE, [(b"host", b"test"), (b"accept", accept)])
        assert server.services.responses.stats.entries == 1
        assert server.services.responses.stats.hits == 2
        for accept in (b"*/*", b"application/json", b"text/html, */*;q=0.1"):
            await server.get_raw(INFORMATION, [(b"host", b"test"), (b"accept", accept)])
        assert server.services.responses.stats.entries == 2
        assert server.services.responses.stats.hits == 4
