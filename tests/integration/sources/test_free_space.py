"""Fetched originals leave `cache.min_free` of their disk free, whatever upstreams send."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from iiif_server.errors import NoSpaceForOriginalError
from iiif_server.sources.fetching import Fetcher
from iiif_server.telemetry.events import FetchFailed
from support.apps import Server, assert_problem, fetch_options, picture, running_app, settings_below
from support.disks import SmallDisk, small_disk
from support.upstream import Upstream, running_upstream, send, unbounded, validated

PICTURE, OTHER = picture(900, 700), picture(800, 600)
MIN_FREE = 2_000_000
CHUNK = 1 << 18
"""Bytes that are written at once."""
LARGE = PICTURE + bytes(5_000_000)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 8) as disk:
        yield disk


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def fetcher_on(disk: SmallDisk, fetches: int = 1) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(fetch_options(), fetches, disk.folder / ".incoming", min_free=MIN_FREE)
    yield fetcher
    await fetcher.close()


async def test_an_original_that_is_announced_as_too_large_for_the_disk_is_not_begun(
    disk: SmallDisk, upstream: Upstream
) -> None:
    disk.fill(leave=MIN_FREE + len(LARGE) - 10_000)
    free = disk.free
    upstream.otherwise = send(LARGE)
    async with fetcher_on(disk) as fetcher:
        with pytest.raises(NoSpaceForOriginalError, match="too little free disk space") as refusal:
            await fetcher.fetch(f"{upstream.base}/x", disk.folder / "x", lambda _: True)
    assert "cache.min_free" in str(refusal.value.__cause__)
    assert disk.free >= free - 10_000  # the folder
    assert not (disk.folder / "x").exists()


async def test_a_body_of_unknown_length_ends_before_too_little_is_free(
    disk: SmallDisk, upstream: Upstream
) -> None:
    upstream.otherwise = unbounded(PICTURE, 50_000_000)
    async with fetcher_on(disk) as fetcher:
        with pytest.raises(NoSpaceForOriginalError):
            await fetcher.fetch(f"{upstream.base}/x", disk.folder / "x", lambda _: True)
        assert files_below(disk.folder) == []
        upstream.otherwise = send(PICTURE)  # and the next one that fits is fetched
        await fetcher.fetch(f"{upstream.base}/x", disk.folder / "x", lambda _: True)
    assert (disk.folder / "x").read_bytes() == PICTURE


async def test_many_fetches_at_once_leave_enough_free(disk: SmallDisk, upstream: Upstream) -> None:
    """Each alone would fit."""
    upstream.otherwise = send(PICTURE + bytes(1_000_000))
    lowest = disk.free
    async with fetcher_on(disk, 8) as fetcher:

        async def fetch(number: int) -> None:
            nonlocal lowest
            target = disk.folder / f"{number}"
            await fetcher.fetch(f"{upstream.base}/{number}", target, lambda _: True)
            lowest = min(lowest, disk.free)

        results = await asyncio.gather(*(fetch(n) for n in range(40)), return_exceptions=True)
    refused = [result for result in results if result is not None]
    assert 0 < len(refused) < 40
    assert {type(result) for result in refused} == {NoSpaceForOriginalError}
    assert min(lowest, disk.free) > MIN_FREE - 8 * CHUNK
    assert len(files_below(disk.folder)) == 40 - len(refused)


async def test_no_upstream_is_asked_for_what_there_is_no_space_for(
    disk: SmallDisk, upstream: Upstream
) -> None:
    disk.fill(leave=MIN_FREE - 100_000)
    async with fetcher_on(disk) as fetcher:
        for _ in range(3):
            with pytest.raises(NoSpaceForOriginalError):
                await fetcher.fetch(f"{upstream.base}/x", disk.folder / "x", lambda _: True)
    assert upstream.requests == []


async def test_background_tasks_that_have_ended_take_no_memory(tmp_path: Path) -> None:
    fetcher = Fetcher(fetch_options(), 1, tmp_path)

    async def work(number: int) -> int:
        if number % 2:
            raise LookupError(number)
        return number

    tasks = [fetcher.start(work(number)) for number in range(100)]
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert len(fetcher._background) == 0
    await fetcher.close()


def server_settings(disk: SmallDisk, upstream: Upstream, **fetch: float) -> object:
    return settings_below(
        disk.folder,
        fetch=fetch_options(**fetch),
        cache={"min_free": MIN_FREE},
        types={"web": {"source": "web", "url": f"{upstream.base}/{{name}}"}},
    )


async def test_a_refusal_says_why_to_clients_and_to_operators(
    disk: SmallDisk, upstream: Upstream
) -> None:
    upstream.otherwise = send(PICTURE)
    async with running_app(server_settings(disk, upstream)) as server:  # type: ignore[arg-type]
        await assert_served(server, "before")
        disk.fill(leave=MIN_FREE - 100_000)
        response = await server.get("/web:after/info.json")
        assert_problem(response, 503, "too little free disk space")
        assert int(response.headers["retry-after"]) > 0
        reason = server.events_of(FetchFailed)[-1].reason
        assert "cache.min_free" in reason
        assert f"{disk.free // 1_000_000:,}" in reason
        await assert_served(server, "before")  # what is there is served
        disk.empty()
        await assert_served(server, "after")


async def test_a_changed_original_that_has_no_room_leaves_the_former_one_in_use(
    disk: SmallDisk, upstream: Upstream
) -> None:
    upstream.otherwise = validated(PICTURE, ETag='"1"')
    settings = server_settings(disk, upstream, refresh_after=0.001, refresh_wait=30)
    async with running_app(settings) as server:  # type: ignore[arg-type]
        await assert_served(server, "x")
        disk.fill(leave=MIN_FREE - 100_000)
        before = len(upstream.requests)
        await assert_served(server, "x")  # 304: that needs no space
        assert len(upstream.requests) > before
        assert server.events_of(FetchFailed) == []
        upstream.otherwise = validated(OTHER, ETag='"2"')
        await assert_served(server, "x")
        assert "cache.min_free" in server.events_of(FetchFailed)[-1].reason
        assert os.stat(server.original_path("web", "x")).st_size == len(PICTURE)  # noqa: PTH116


async def assert_served(server: Server, name: str) -> None:
    response = await server.get(f"/web:{name}/info.json")
    assert (response.status_code, response.json().get("width")) == (200, 900)
