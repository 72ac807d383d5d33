"""Disks that are full, lose things or are purged, as clients and operators notice it."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server.composition.components import open_store
from iiif_server.plan.grid import Part
from iiif_server.telemetry.events import (
    EntryDropped,
    PyramidFailed,
    Rendered,
    StoreFailed,
    StoreRecovered,
)
from support import jobs, pictures
from support.apps import Server, decode_image, running_app, settings_below, sleep_until_revalidated
from support.builds import Builds
from support.disks import SmallDisk, small_disk
from support.pictures import photograph
from support.waiting import async_wait_until

TYPES = {"disk": {"source": "disk"}}
WIDTH, HEIGHT = 700, 500
REDUCED = "/disk:pic.jpg/0,0,512,500/128,125/0/default.jpg"
DETAIL = "/disk:pic.jpg/128,256,128,128/128,128/0/default.jpg"
LEVEL = "/disk:pic.jpg/64,64,300,200/150,100/0/default.png"
PHOTO = pictures.jpeg(photograph(WIDTH, HEIGHT))


def small(folder: Path, **settings: Any) -> Any:
    pyramids = {"min_pixels": 10_000, "tile_size": 128}
    return settings_below(folder, types=TYPES, pyramids=pyramids, **settings)


def engine(response: Any) -> str:
    return str(response.headers["server-timing"].partition('desc="')[2].partition('"')[0])


def parts(server: Server) -> list[Path]:
    return sorted(path for path in server.services.store.paths() if path.suffix == ".szi")


async def both_parts(server: Server) -> None:
    await async_wait_until(
        lambda: len(parts(server)) == 2 and server.services.pyramids.building == 0
    )


def incoming(server: Server) -> set[str]:
    folder = server.settings.cache_path / "derivatives" / "incoming"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def purge(server: Server) -> None:
    """What `iiif-server cache purge` does, in another process."""
    store = open_store(server.settings, lambda _: None)
    for path in store.paths():
        store.remove(path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 8) as disk:
        yield disk


# --- purging --------------------------------------------------------------------------------


async def test_a_purge_beside_the_server_takes_effect_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        good = [(await server.get(path)).content for path in (REDUCED, DETAIL)]
        await both_parts(server)
        assert engine(await server.get(LEVEL)) == "level"  # the worker has it open too
        builds = Builds(server, monkeypatch)
        purge(server)
        await sleep_until_revalidated()
        assert engine(await server.get(LEVEL)) == "raster"  # and not of what was purged
        purge(server)
        await sleep_until_revalidated()
        assert builds.parts == []
        assert (await server.get(DETAIL)).content == good[1]
        assert builds.parts == [Part.DETAIL]
        assert (await server.get(REDUCED)).content == good[0]
        assert builds.parts == [Part.DETAIL, Part.REDUCED]
        assert engine(await server.get(LEVEL)) == "level"
        assert server.events_of(EntryDropped) == []


# --- damage ---------------------------------------------------------------------------------


async def test_a_part_that_a_worker_finds_damaged_is_dropped_and_told(tmp_path: Path) -> None:
    """Whoever asks for levels only would have every one of them made of the original for ever."""
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        await server.get(REDUCED)
        await both_parts(server)
        for path in parts(server):
            data = path.read_bytes()
            with path.open("r+b") as file:
                file.write(bytes(byte ^ 1 for byte in data[:-3000]))
        assert engine(await server.get(LEVEL)) == "raster"
        await async_wait_until(lambda: len(server.events_of(EntryDropped)) == 1)


async def test_a_part_whose_table_is_lost_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a power cut leaves it: the right length, and zeros."""
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        good = (await server.get(DETAIL)).content
        (path,) = parts(server)
    path.write_bytes(bytes(path.stat().st_size))
    async with running_app(small(tmp_path)) as server:
        builds = Builds(server, monkeypatch)
        answer = await server.get(DETAIL)
        assert (answer.content, engine(answer)) == (good, "tile")
        assert builds.parts == [Part.DETAIL]
        assert len(server.events_of(EntryDropped)) == 1


async def test_the_cache_folder_may_go_at_any_time(tmp_path: Path) -> None:
    async with running_app(small(tmp_path)) as server:
        server.put("disk", "pic.jpg", PHOTO)
        good = [(await server.get(path)).content for path in (REDUCED, DETAIL)]
        await both_parts(server)
        for _ in range(2):
            shutil.rmtree(server.settings.cache_path)
            await sleep_until_revalidated()
            answers = [await server.get(path) for path in (REDUCED, DETAIL)]
            assert [answer.content for answer in answers] == good
            assert [engine(answer) for answer in answers] == ["tile", "tile"]
            await both_parts(server)
        assert server.events_of(PyramidFailed) == []


# --- full disks -----------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_costs_no_builds_and_heals(
    tmp_path: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path, cache_path=disk.folder / "cache")) as server:
        server.put("disk", "pic.jpg", PHOTO)
        builds = Builds(server, monkeypatch)
        disk.fill()
        for width in range(30, 40):
            for path in (REDUCED, DETAIL, f"/disk:pic.jpg/full/{width},/0/default.jpg"):
                assert decode_image(await server.get(path)).width > 0
        assert builds.parts == []
        assert len(server.events_of(StoreFailed)) == 1
        cache = (await server.status())["cache"]
        assert cache["failures"] >= 30
        assert "free space" in cache["refused"]
        assert cache["free"] < 100_000
        disk.empty()
        assert engine(await server.get(DETAIL)) == "tile"
        assert len(server.events_of(StoreRecovered)) == 1
        assert (await server.status())["cache"]["refused"] is None


async def test_a_disk_that_becomes_full_under_way_ends_one_build_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The job that stands in for a build is not part of the program, which is all a fence lets in.
    settings = small(tmp_path, workers={"confinement": "off"})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", PHOTO)
        builds = Builds(server, monkeypatch)
        builds.instead = jobs.find_the_disk_full
        for _ in range(5):
            assert decode_image(await server.get(DETAIL)).size == (128, 128)
        assert builds.parts == [Part.DETAIL]
        assert [event.reason for event in server.events_of(StoreFailed)] == [
            "OSError: No space left on device"
        ]


async def test_a_full_disk_does_not_keep_images_from_being_served(
    tmp_path: Path, disk: SmallDisk
) -> None:
    """Where nothing is to be left free, it is the worker that finds out."""
    settings = small(
        tmp_path, cache_path=disk.folder / "cache", cache={"min_free": 0}, image_pool_size=2
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.png", pictures.saved(Image.fromarray(photograph(100, 80)), "PNG"))
        paths = [f"/disk:pic.png/full/{width},/0/default.png" for width in range(40, 60)]
        good = [(await server.get(path)).content for path in paths]
        purge(server)
        disk.fill()
        for _ in range(2):
            answers = await asyncio.gather(*(server.get(path) for path in paths))
            assert [answer.content for answer in answers] == good
        assert len(server.events_of(StoreFailed)) == 1


# --- stores that are too small --------------------------------------------------------------


async def test_a_store_smaller_than_a_pyramid_serves_without_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(small(tmp_path, cache={"max_bytes": 10_000})) as server:
        server.put("disk", "pic.jpg", PHOTO)
        builds = Builds(server, monkeypatch)
        for _ in range(3):
            for path in (REDUCED, DETAIL):
                assert decode_image(await server.get(path)).width == 128
        assert builds.parts == []
        failed = server.events_of(PyramidFailed)
        assert [event.part for event in failed] == ["reduced", "detail"]
        assert all("store" in event.reason for event in failed)


async def test_a_store_too_small_for_what_is_looked_at_does_not_build_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part pushes out the one before; after a few times tiles are made one by one."""
    settings = small(tmp_path, cache={"max_files": 1, "low_water": 0.99})
    # Parts that were removed are noticed with each request, and not once a second.
    monkeypatch.setattr("iiif_server.images.open_parts._LOOK_AFTER", 0.0)
    async with running_app(settings) as server:
        names = ["a.jpg", "b.jpg", "c.jpg"]
        for name in names:
            server.put("disk", name, PHOTO)
        builds = Builds(server, monkeypatch)
        tiles = set()
        for _ in range(8):
            for name in names:
                answer = await server.get(DETAIL.replace("pic.jpg", name))
                assert answer.status_code == 200
                tiles.add(engine(answer))
                purge(server)
        assert "tile" in tiles
        assert builds.parts.count(Part.DETAIL) <= 3 * len(names)
        assert len(server.events_of(PyramidFailed)) == len(names)
        assert "after each build" in server.events_of(PyramidFailed)[0].reason


async def test_large_images_are_served_by_a_store_that_holds_one_of_them(tmp_path: Path) -> None:
    """Though two servers evict what the other has just kept."""
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), np.uint8)
    original = pictures.saved(Image.fromarray(noise), "PNG")
    settings = settings_below(
        tmp_path,
        types=TYPES,
        pyramids={"enabled": False},
        cache={"max_bytes": 2_000_000},
        image_pool_size=2,
    )
    async with running_app(settings) as one, running_app(settings) as other:
        one.put("disk", "pic.png", original)
        paths = [f"/disk:pic.png/{x},0,690,690/max/0/default.png" for x in range(3)] * 4
        answers = await asyncio.gather(
            *(server.get(path) for path in paths for server in (one, other))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert all(len(answer.content) > 1 << 20 for answer in answers)
        by_path: dict[str, set[bytes]] = {}
        for path, answer in zip([p for p in paths for _ in range(2)], answers, strict=True):
            by_path.setdefault(path, set()).add(answer.content)
        assert [len(contents) for contents in by_path.values()] == [1, 1, 1]
        assert one.events_of(Rendered) != []
        assert one.events_of(StoreFailed) == other.events_of(StoreFailed) == []


# --- what is given up -----------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before it begins", "while it is made"])
async def test_a_build_that_everybody_gave_up_leaves_nothing(moment: str, tmp_path: Path) -> None:
    async with running_app(small(tmp_path)) as server:
        path = server.put("disk", "pic.png", b"")
        Image.effect_noise((2400, 1800), 60).convert("RGB").save(path, compress_level=1)
        server.put("disk", "pic.jpg", PHOTO)
        pool = server.services.image_pool
        tile = "/disk:pic.png/0,0,128,128/128,128/0/default.jpg"
        asking = asyncio.create_task(server.get(tile))
        if moment == "while it is made":
            await async_wait_until(lambda: pool.stats.busy == 1)
        else:
            await async_wait_until(lambda: server.services.pyramids.building == 1)
        asking.cancel()
        await async_wait_until(lambda: pool.stats.busy == 0 and incoming(server) == set(), 60)
        assert (await server.get(REDUCED)).status_code == 200
        await both_parts(server)
        await async_wait_until(lambda: incoming(server) == set())
