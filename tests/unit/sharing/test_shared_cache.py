"""Entries that replicas share through the bucket."""

import asyncio
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from iiif_server.cache.entries import EntryKey
from iiif_server.cache.eviction import Bounds
from iiif_server.cache.store import Store
from iiif_server.formats.pyramid_file import write_part
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.grid import Grid, Tile
from iiif_server.sharing.bucket import Bucket
from iiif_server.sharing.objects import name_of, trailer, wrapped
from iiif_server.sharing.shared_cache import SharedCache
from iiif_server.telemetry.events import Event, SharedEntryDropped

KEY = EntryKey("a" * 32, "b" * 32)
OTHER = EntryKey("a" * 32, "c" * 32)
GRID = Grid(Dimensions(600, 600), Dimensions(256, 256))
TILE = Tile(1, 0, 0)
LARGE = bytes(range(256)) * 50_000


class Site:
    """Machines with one bucket."""

    def __init__(self, folder: Path) -> None:
        self.bucket = Bucket(MemoryStore(), "p", lambda _: None, timeout=5)
        self.folder = folder
        self.events: list[Event] = []

    def machine(self, name: str) -> tuple[Store, SharedCache]:
        store = Store(self.folder / name / "derivatives", Bounds(10**9), lambda _: None)
        store.open()
        return store, SharedCache(self.bucket, store, self.events.append)

    async def put(self, content: bytes) -> None:
        """Have the first machine make an entry, and write it."""
        store, shared = self.machine("first")
        async with shared.open():
            entry = store.keep(KEY, content, "jpg")
            assert entry is not None
            shared.offer(KEY, entry)
        assert shared.stats.waiting == 0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("content", [b"an image", LARGE], ids=["small", "large"])
def test_an_entry_reaches_the_disk_of_another_machine(site: Site, content: bytes) -> None:
    async def use() -> None:
        store, shared = site.machine("second")
        assert await shared.fetch(KEY, "jpg") is None
        await site.put(content)
        entry = await shared.fetch(KEY, "jpg")
        assert entry is not None
        assert entry.path.read_bytes() == content
        assert store.find(KEY) == entry

    asyncio.run(use())
    assert site.events == []


@pytest.mark.parametrize(
    "spoilt",
    [b"", b"short", b"no trailer at all, but long enough", "cut", "changed", "longer"],
    ids=["empty", "short", "other", "cut", "changed", "longer"],
)
def test_what_was_not_written_is_removed_and_made_here(site: Site, spoilt: bytes | str) -> None:
    async def use() -> tuple[bool, bool]:
        await site.put(b"an image of some bytes")
        found = await site.bucket.get(name_of(KEY))
        assert found is not None
        named = {
            "cut": found.data[:-3],
            "changed": found.data[:-1] + b"?",
            "longer": found.data + b"?",
        }
        data = named[spoilt] if isinstance(spoilt, str) else spoilt
        await site.bucket.put(name_of(KEY), data, replace=True)
        store, shared = site.machine("second")
        kept = await shared.fetch(KEY, "jpg") is not None or store.find(KEY) is not None
        return kept, await site.bucket.has(name_of(KEY))

    assert asyncio.run(use()) == (False, False)
    assert {type(event) for event in site.events} == {SharedEntryDropped}


def test_a_trailer_that_promises_more_than_a_disk_holds_is_removed(site: Site) -> None:
    async def use() -> bool:
        data = b"an image" + trailer(name_of(KEY), 1 << 60, 0)
        await site.bucket.put(name_of(KEY), data, replace=True)
        _, shared = site.machine("second")
        assert await shared.fetch(KEY, "jpg") is None
        return await site.bucket.has(name_of(KEY))

    assert not asyncio.run(use())


@pytest.mark.parametrize("content", [b"an image", LARGE], ids=["small", "large"])
def test_an_entry_of_another_image_is_removed(site: Site, content: bytes) -> None:
    async def use() -> bool:
        await site.bucket.put(name_of(KEY), wrapped(name_of(OTHER), content), replace=True)
        _, shared = site.machine("second")
        assert await shared.fetch(KEY, "jpg") is None
        assert await shared.read(name_of(KEY)) is None
        return await site.bucket.has(name_of(KEY))

    assert not asyncio.run(use())
    assert SharedEntryDropped(name_of(KEY)) in site.events


def test_no_tile_comes_from_the_pyramid_of_another_image(site: Site) -> None:
    async def use() -> bytes | None:
        part = site.folder / "part"
        part.touch()
        write_part(part, [(TILE, b"a tile")], GRID)
        await site.bucket.put(name_of(OTHER), wrapped(name_of(OTHER), part.read_bytes()))
        await site.bucket.put(name_of(KEY), wrapped(name_of(OTHER), part.read_bytes()))
        _, shared = site.machine("second")
        assert await shared.parts.tile(OTHER, TILE, GRID) == b"a tile"
        tile = await shared.parts.tile(KEY, TILE, GRID)
        assert not await site.bucket.has(name_of(KEY))
        await shared.parts.close()
        return tile

    assert asyncio.run(use()) is None


def test_an_empty_record_is_removed_and_no_failure_of_the_store(site: Site) -> None:
    async def use() -> bool:
        await site.bucket.put("record", b"")
        _, shared = site.machine("second")
        assert await shared.read("record") is None
        assert shared.stats.failures == 0
        return await site.bucket.has("record")

    assert not asyncio.run(use())
    assert [type(event) for event in site.events] == [SharedEntryDropped]


def test_what_was_offered_before_a_purge_is_not_written(site: Site) -> None:
    async def use() -> bool:
        store, shared = site.machine("first")
        entry = store.keep(KEY, b"an image", "jpg")
        assert entry is not None
        shared.offer(KEY, entry)
        store.mark_purged()
        async with shared.open():
            pass
        return await site.bucket.has(name_of(KEY))

    assert not asyncio.run(use())
