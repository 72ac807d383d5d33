"""Responses that a proxy sends itself (X-Accel-Redirect), and when it cannot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.apps import LOOPBACK, Server, decode_image, picture, running_app, settings_below

IMAGE = b"/disk:pic.jpg/full/90,/0/default.jpg"
NAMED = [(b"host", b"test"), (b"x-accel", b"on")]


@asynccontextmanager
async def serving(root: Path, **cache: Any) -> AsyncIterator[Server]:
    settings = settings_below(
        root,
        types={"disk": {"source": "disk"}},
        delivery={"accel_redirect": "/_derivatives"},
        trusted_proxies=LOOPBACK,
        cache={"memory_bytes": 0, **cache},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


def file_of(server: Server, answer: httpx.Response) -> Path:
    """The file that an answer names, as nginx would find it."""
    location: str = answer.headers["x-accel-redirect"]
    return server.services.store.entries / location.removeprefix("/_derivatives/")


async def test_the_file_that_is_named_holds_the_image(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = await server.get_raw(IMAGE, NAMED)
        assert decode_image(made).width == 90, "its bytes are in memory"
        for _ in range(2):
            answer = await server.get_raw(IMAGE, NAMED)
            assert answer.content == b""
            plain = await server.get_raw(IMAGE)
            assert "x-accel-redirect" not in plain.headers
            assert decode_image(plain).width == 90
            assert file_of(server, answer).read_bytes().endswith(plain.content)


async def test_the_cache_may_be_below_the_folder_of_originals(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path,
        cache_path=tmp_path / "source" / "cache",
        types={"disk": {"source": "disk", "original": "download"}},
        delivery={"accel_redirect": "/_derivatives", "accel_originals": "/_originals"},
        trusted_proxies=LOOPBACK,
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        await server.get_raw(IMAGE, NAMED)
        assert file_of(server, await server.get_raw(IMAGE, NAMED)).exists()
        original = await server.get_raw(b"/disk:pic.jpg/original", NAMED)
        assert original.headers["x-accel-redirect"] == "/_originals/disk/pic.jpg"


async def test_a_head_names_the_file_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.get_raw(IMAGE)
        answer = await server.get_raw(IMAGE, NAMED, method="HEAD")
        assert file_of(server, answer).exists()


@pytest.mark.parametrize("size", ["90,", "^1300,"])
async def test_where_nothing_is_cached_the_server_sends_the_bytes(
    size: str, tmp_path: Path
) -> None:
    target = IMAGE.replace(b"90,", size.encode())
    async with serving(tmp_path, min_free=1 << 60) as server:
        for _ in range(2):
            answer = await server.get_raw(target, NAMED)
            assert answer.status_code == 200
            assert "x-accel-redirect" not in answer.headers
            assert decode_image(answer).width == int(size.strip("^,"))


@pytest.mark.parametrize("rest", [b"info.json", b"full/max/0/default.jpg"])
async def test_what_is_no_file_of_the_cache_is_sent_by_the_server(
    rest: bytes, tmp_path: Path
) -> None:
    async with serving(tmp_path) as server:
        for _ in range(2):
            answer = await server.get_raw(b"/disk:pic.jpg/" + rest, NAMED)
            assert answer.status_code == 200
            assert "x-accel-redirect" not in answer.headers
            assert answer.content


async def test_nobody_but_a_trusted_proxy_is_given_the_name_of_a_file(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.get_raw(IMAGE)
        for peer in (("127.0.0.1", 1), ("192.0.2.7", 1), ("127.0.0.1", 1)):
            answer = await server.get_raw(IMAGE, NAMED, peer)
            assert ("x-accel-redirect" in answer.headers) == (peer[0] == "127.0.0.1")


async def test_a_file_that_is_evicted_is_made_again_before_it_is_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.get_raw(IMAGE)
        named = await server.get_raw(IMAGE, NAMED)
        file_of(server, named).unlink()
        again = await server.get_raw(IMAGE, NAMED)
        assert decode_image(again).width == 90
        assert file_of(server, await server.get_raw(IMAGE, NAMED)).exists()


async def test_names_and_bytes_are_not_mixed_up_in_memory(tmp_path: Path) -> None:
    async with serving(tmp_path, memory_bytes=10_000_000) as server:
        await server.get_raw(IMAGE)
        server.services.responses.clear()
        for _ in range(3):
            named = await server.get_raw(IMAGE, NAMED)
            assert file_of(server, named).exists()
            assert decode_image(await server.get_raw(IMAGE)).width == 90
