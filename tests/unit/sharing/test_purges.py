"""Purges that replicas share through markers in the bucket."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from iiif_server.cache.entries import EntryKey
from iiif_server.errors import SharedCacheUnavailableError
from iiif_server.sharing.bucket import Bucket
from iiif_server.sharing.objects import PURGES, name_of
from iiif_server.sharing.purges import SharedPurges
from iiif_server.telemetry.events import Event, SharedPurgeSeen, SharedPurgesUnseen

A, B = "a" * 32, "b" * 32


@dataclass
class Replica:
    """One machine."""

    purges: SharedPurges
    purged: list[Sequence[str] | None] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    async def here(self, groups: Sequence[str] | None) -> int:
        self.purged.append(groups)
        return 1

    async def poll(self) -> None:
        await self.purges.poll(self.here)


class Site:
    """Replicas with one bucket."""

    def __init__(self, folder: Path) -> None:
        self.bucket = Bucket(MemoryStore(), "p", lambda _: None, timeout=5)
        self.folder = folder
        self.now = time.time()
        self.count = 0

    def replica(self) -> Replica:
        self.count += 1
        events: list[Event] = []
        state = self.folder / str(self.count)
        purges = SharedPurges(self.bucket, state, events.append, clock=lambda: self.now)
        return Replica(purges, events=events)

    async def fill(self) -> None:
        for group in (A, B):
            await self.bucket.put(name_of(EntryKey(group, "d" * 32)), b"data")

    async def groups(self) -> set[str]:
        return {item.name.split("/")[2] for item in await self.bucket.listed("entries")}


def test_a_purge_reaches_each_replica_once_and_the_bucket_twice(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        first, second = site.replica(), site.replica()
        await site.fill()
        await second.poll()
        await first.purges.purge([A])
        assert await site.groups() == {B}
        await second.poll()
        await second.poll()
        assert second.purged == [[A]]
        assert [type(event) for event in second.events] == [SharedPurgeSeen]
        await site.fill()  # by somebody who was making it
        site.now += 61
        await second.poll()
        assert await site.groups() == {B}
        assert second.purged == [[A], [A]]
        await site.fill()
        site.now += 61
        await second.poll()
        assert await site.groups() == {A, B}

    asyncio.run(use())


def test_who_purges_does_not_obey_its_own_marker_until_it_is_repeated(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        replica = site.replica()
        await replica.poll()
        await replica.purges.purge([A])
        await site.fill()  # for those who ask after the purge
        await replica.poll()
        assert replica.purged == []
        assert await site.groups() == {A, B}
        site.now += 61
        await replica.poll()
        assert replica.purged == [[A]]
        assert await site.groups() == {B}

    asyncio.run(use())


def test_a_purge_that_has_failed_in_the_bucket_is_done_at_the_next_look(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        replica = site.replica()
        await replica.poll()
        await site.fill()
        remove_below = site.bucket.remove_below

        async def fails(name: str) -> None:
            raise SharedCacheUnavailableError(name)

        site.bucket.remove_below = fails  # type: ignore[method-assign,assignment]
        with pytest.raises(SharedCacheUnavailableError):
            await replica.purges.purge([A])
        site.bucket.remove_below = remove_below  # type: ignore[method-assign]
        await replica.poll()
        assert replica.purged == [[A]]
        assert await site.groups() == {B}

    asyncio.run(use())


@pytest.mark.parametrize("groups", [[A], None])
def test_a_purge_that_no_bucket_has_seen_is_repeated_by_another_process(
    tmp_path: Path, groups: list[str] | None
) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        other, replica = site.replica(), site.replica()
        for one in (other, replica):
            await one.poll()
        await site.fill()
        write = site.bucket.write

        async def fails(name: str, _: bytes) -> None:
            raise SharedCacheUnavailableError(name, "down")

        site.bucket.write = fails  # type: ignore[method-assign,assignment]
        with pytest.raises(SharedCacheUnavailableError, match=r"repeated .* until it succeeds"):
            await replica.purges.purge(groups)
        site.count -= 1
        successor = site.replica()  # of the same machine
        await successor.poll()
        assert [type(event) for event in successor.events] == [SharedPurgesUnseen]
        assert await site.groups() == {A, B}
        site.bucket.write = write  # type: ignore[method-assign]
        await successor.poll()
        left = {B} if groups else set()
        assert await site.groups() == left
        assert successor.purged == [groups]  # what has come from the bucket meanwhile
        await other.poll()
        assert other.purged == [groups]
        await successor.poll()
        assert len(await site.bucket.listed(PURGES)) == 1

    asyncio.run(use())


def test_a_purge_that_can_be_stored_nowhere_has_to_be_repeated(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path / "file")
        (tmp_path / "file").write_bytes(b"")

        async def fails(name: str, _: bytes) -> None:
            raise SharedCacheUnavailableError(name)

        site.bucket.write = fails  # type: ignore[method-assign,assignment]
        with pytest.raises(SharedCacheUnavailableError) as caught:
            await site.replica().purges.purge([A])
        assert "repeated" not in str(caught.value)

    asyncio.run(use())


def test_a_purge_is_repeated_in_the_bucket_though_clocks_differ(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        replica = site.replica()
        site.now += 14 * 60  # S3 accepts 15 minutes
        await replica.poll()
        await replica.purges.purge([A])
        await replica.poll()
        await site.fill()
        site.now += 61
        await replica.poll()
        assert await site.groups() == {B}

    asyncio.run(use())


def test_a_purge_of_everything(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        first, second = site.replica(), site.replica()
        await site.fill()
        await second.poll()
        await first.purges.purge(None)
        assert await site.groups() == set()
        await second.poll()
        assert second.purged == [None]

    asyncio.run(use())


def test_a_replica_that_was_away_purges_its_disk_and_not_the_bucket(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        first, second = site.replica(), site.replica()
        await second.poll()
        await first.purges.purge([A])
        await site.fill()
        site.now += 86_400
        await second.poll()
        assert second.purged == [[A]]
        assert await site.groups() == {A, B}
        new = site.replica()
        await new.poll()
        assert new.purged == []

    asyncio.run(use())


def test_markers_that_are_none_and_old_ones(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        second = site.replica()
        await second.poll()
        await site.bucket.write(f"{PURGES}/x", b"../../etc \xff " + A.encode())
        await second.poll()
        assert second.purged == [[A]]
        site.now += 31 * 86_400
        await second.poll()
        assert await site.bucket.listed(PURGES) == []
        (tmp_path / "1").write_text("no JSON")
        await second.poll()

    asyncio.run(use())


def test_a_marker_that_cannot_be_read_is_obeyed_later(tmp_path: Path) -> None:
    """Purges must not be lost, and the log is told once."""

    async def use() -> None:
        site = Site(tmp_path)
        first, second = site.replica(), site.replica()
        await second.poll()
        await first.purges.purge([A])
        read = site.bucket.content

        async def fails(name: str) -> bytes:
            raise SharedCacheUnavailableError(reason=f"{name} times out")

        site.bucket.content = fails  # type: ignore[method-assign]
        await second.poll()
        await second.poll()
        assert second.purged == []
        assert [type(event) for event in second.events] == [SharedPurgesUnseen]
        site.bucket.content = read  # type: ignore[method-assign]
        await second.poll()
        assert second.purged == [[A]]

    asyncio.run(use())


def test_a_marker_that_can_never_be_read_stops_no_other(tmp_path: Path) -> None:
    """And what the others ask for is done once, not at each look."""

    async def use() -> None:
        site = Site(tmp_path)
        second = site.replica()
        await second.poll()
        await site.fill()
        for name, group in (("a", A), ("b", "f" * 32), ("c", B)):
            await site.bucket.write(f"{PURGES}/{name}", group.encode())
        read = site.bucket.content

        async def fails(name: str) -> bytes:
            if name.endswith("b"):
                raise SharedCacheUnavailableError(reason="403")
            return await read(name)

        site.bucket.content = fails  # type: ignore[method-assign]
        await second.poll()
        await second.poll()
        assert second.purged == [[A], [B]]
        assert await site.groups() == set()
        assert SharedPurgesUnseen in map(type, second.events)

    asyncio.run(use())


def test_an_object_that_is_too_large_for_a_marker_is_not_read(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        second = site.replica()
        await second.poll()
        await site.bucket.write(f"{PURGES}/x", A.encode() + b" " * (1 << 20))
        await second.poll()
        assert second.purged == []
        assert second.events == []

    asyncio.run(use())


def test_many_originals_are_purged_by_several_markers(tmp_path: Path) -> None:
    async def use() -> None:
        site = Site(tmp_path)
        first, second = site.replica(), site.replica()
        await second.poll()
        await site.fill()
        groups = [f"{number:032x}" for number in range(10_500)]
        await first.purges.purge([*groups, A])
        assert await site.groups() == {B}
        await second.poll()
        assert sorted(len(purged or ()) for purged in second.purged) == [501, 10_000]

    asyncio.run(use())
