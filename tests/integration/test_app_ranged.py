"""Tiled TIFFs of web servers in the whole application: in parts, replaced, evicted, hostile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import pictures, tiffs
from support.apps import fetch_options, running_app, settings_below
from support.hostile import tiff_directory, tiff_tags
from support.upstream import Reply, Upstream, ranged, running_upstream, send

PIXELS = pictures.photograph(1200, 900)
APART = 400_000


@pytest.fixture(scope="module")
def pyramid() -> bytes:
    return tiffs.tiled(PIXELS)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def settings(root: Path, upstream: Upstream, *, original: str = "no", **options: Any) -> Any:
    types = {"web": {"source": "web", "url": f"{upstream.base}/{{name}}", "original": original}}
    return settings_below(root, fetch=fetch_options(**options), types=types)


@pytest.mark.parametrize("reply", [ranged, send], ids=["in parts", "whole"])
async def test_tiled_originals_that_are_open_do_not_keep_others_out(
    tmp_path: Path, upstream: Upstream, pyramid: bytes, reply: Any
) -> None:
    for number in range(3):
        upstream.replies[f"/{number}.tif"] = reply(pyramid)
    async with running_app(settings(tmp_path, upstream, keep_files=1)) as server:
        for number in (0, 1, 2, 0):
            response = await server.get(f"/web:{number}.tif/128,128,128,128/128,/0/default.jpg")
            assert response.status_code == 200, response.text


async def test_a_replaced_original_is_503_once_and_then_the_new_one(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.replies["/a.tif"] = ranged(tiffs.tiled(PIXELS, compression="none"))
    async with running_app(settings(tmp_path, upstream)) as server:
        assert (await server.get("/web:a.tif/info.json")).json()["width"] == 1200
        upstream.replies["/a.tif"] = ranged(tiffs.tiled(pictures.photograph(640, 480)), '"two"')
        response = await server.get("/web:a.tif/512,512,128,128/128,/0/default.png")
        assert response.status_code == 503
        response = await server.get("/web:a.tif/full/max/0/default.png")
        assert response.status_code == 200
        assert (await server.get("/web:a.tif/info.json")).json()["width"] == 640


async def test_of_an_original_that_is_downloaded_only_what_is_sent_is_fetched(
    tmp_path: Path, upstream: Upstream
) -> None:
    data = tiffs.tiled(PIXELS, compression="none")
    upstream.replies["/a.tif"] = ranged(data)
    async with running_app(settings(tmp_path, upstream, original="download")) as server:
        assert (await server.get("/web:a.tif/info.json")).status_code == 200
        asked = len(upstream.requests)
        head = await server.client.head("/web:a.tif/original")
        assert head.headers["content-length"] == str(len(data))
        assert len(upstream.requests) == asked
        begin = len(data) // 2
        wanted = f"bytes={begin}-{begin + 9}"
        assert (await server.get("/web:a.tif/original", Range=wanted)).content == (
            data[begin : begin + 10]
        )
        (fetched,) = upstream.requests[asked:]
        first, _, last = fetched.headers["Range"].removeprefix("bytes=").partition("-")
        assert int(last) - int(first) < len(data) // 4
        assert (await server.get("/web:a.tif/original")).content == data


def scattered(directories: int) -> bytes:
    """A TIFF whose directories are far from each other, each found by the one before only."""
    data = bytearray(directories * APART)
    data[:8] = b"II*\0" + APART.to_bytes(4, "little")
    tags = list(tiff_tags(8, 8).values())
    for number in range(1, directories):
        following = (number + 1) * APART if number + 1 < directories else 0
        directory = tiff_directory(tags, following)
        data[number * APART : number * APART + len(directory)] = directory
    return bytes(data)


async def test_a_chain_of_directories_ends_after_a_few_requests(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.replies["/a.tif"] = ranged(scattered(40))
    async with running_app(settings(tmp_path, upstream, max_bytes=2_000_000)) as server:
        response = await server.get("/web:a.tif/info.json")
    assert response.status_code == 413, response.text
    assert len(upstream.requests) == 1 + 8


def forged(pyramid: bytes) -> Iterator[bytes]:
    """The pyramid with tables that lead elsewhere."""
    (level, *_) = tiffs.levels(pyramid)
    offsets, counts = level.tags[tiffs.OFFSETS], level.tags[tiffs.COUNTS]
    for values, wrong in (
        (offsets, [0xFFFF_FFFF] * len(offsets)),
        (counts, [0xFFFF_FFFF] * len(counts)),
        (counts, [len(pyramid) // 2] * len(counts)),
        (offsets, [0] * len(offsets)),
    ):
        old = b"".join(value.to_bytes(4, "little") for value in values)
        assert old in pyramid
        yield pyramid.replace(old, b"".join(value.to_bytes(4, "little") for value in wrong))


@pytest.mark.parametrize("number", range(4))
async def test_forged_tile_tables_have_no_more_fetched_than_the_file(
    tmp_path: Path, upstream: Upstream, pyramid: bytes, number: int
) -> None:
    data = list(forged(pyramid))[number]
    sent: list[int] = []

    def counted(then: Reply) -> Reply:
        def reply(handler: Any) -> None:
            first, _, last = handler.headers["Range"].removeprefix("bytes=").partition("-")
            sent.append(min(int(last) + 1, len(data)) - int(first))
            then(handler)

        return reply

    upstream.replies["/a.tif"] = counted(ranged(data))
    async with running_app(settings(tmp_path, upstream)) as server:
        for request in ("128,128,128,128/128,/0/default.jpg", "full/max/0/default.png"):
            response = await server.get(f"/web:a.tif/{request}")
            assert response.status_code in {200, 413, 422, 500}
    assert sum(sent) <= len(data) + 9 * (1 << 14)  # gaps between extents are fetched, too
