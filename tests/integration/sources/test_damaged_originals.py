"""A fetched original that the disk damages is fetched again, and never served."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iiif_server.telemetry.events import OriginalDamaged
from support.apps import (
    Server,
    assert_problem,
    picture,
    running_app,
    sleep_until_revalidated,
    web_settings,
)
from support.upstream import Upstream, running_upstream, send, status

GOOD = picture()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.replies["/x"] = send(GOOD)
        yield upstream


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def lose_a_block(data: bytes) -> bytes:
    return data[:100] + bytes(len(data) - 100)


def append(data: bytes) -> bytes:
    return data + b"more"


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a file, and not its modification time."""
    times = path.stat()
    path.write_bytes(how(path.read_bytes()))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


async def whole(server: Server) -> bytes:
    return (await server.get("/web:x/full/max/0/default.jpg")).content


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("how", [truncate, flip_a_bit, lose_a_block, append])
async def test_what_the_disk_has_damaged_is_fetched_again(
    tmp_path: Path, upstream: Upstream, how: Callable[[bytes], bytes], *, restarted: bool
) -> None:
    settings = web_settings(tmp_path, upstream.base)
    async with running_app(settings) as server:
        assert await whole(server) == GOOD
        kept = server.original_path("web", "x")
        if not restarted:
            damage(kept, how)
            await sleep_until_revalidated()
            assert await whole(server) == GOOD
            assert len(server.events_of(OriginalDamaged)) == 1
            assert kept.read_bytes() == GOOD
            return
    damage(kept, how)
    async with running_app(settings) as server:
        assert await whole(server) == GOOD
        assert len(server.events_of(OriginalDamaged)) == 1


async def test_damage_is_not_served_while_the_upstream_fails(
    tmp_path: Path, upstream: Upstream
) -> None:
    settings = web_settings(tmp_path, upstream.base)
    async with running_app(settings) as server:
        assert await whole(server) == GOOD
        damage(server.original_path("web", "x"), flip_a_bit)
        upstream.replies["/x"] = status(500)
        await sleep_until_revalidated()
        assert_problem(await server.get("/web:x/full/max/0/default.jpg"), 502, "500")
        upstream.replies["/x"] = send(GOOD)
        assert await whole(server) == GOOD


async def test_the_same_content_has_the_same_tag_on_another_machine(
    tmp_path: Path, upstream: Upstream
) -> None:
    tags = set()
    for machine in ("one", "two"):
        settings = web_settings(tmp_path / machine, upstream.base)
        async with running_app(settings) as server:
            answer = await server.get("/web:x/full/20,/0/default.jpg")
            tags.add(answer.headers["etag"])
            times = server.original_path("web", "x").stat()
            assert times.st_size == len(GOOD)
    assert len(tags) == 1
