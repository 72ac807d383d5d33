"""The store of derivatives on a real disk: atomic entries, limits, restarts."""

import asyncio
import os
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from iiif_server.cache.eviction import Bounds
from iiif_server.cache.options import CacheOptions
from iiif_server.cache.pending_files import PendingFile
from iiif_server.telemetry.events import EntryDropped, Evicted, StoreFailed
from support.stores import HOUR, OpenStore, content, hexadecimal, key


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def opened(tmp_path: Path) -> OpenStore:
    return OpenStore(tmp_path / "cache")


# --- there and back -------------------------------------------------------------------------


def test_what_is_committed_is_found(opened: OpenStore) -> None:
    entry = opened.put("a")
    assert opened.store.find(key("a")) == entry
    assert entry.length == 1000
    assert opened.get("a") == content("a")
    assert (opened.store.stats.files, opened.store.stats.size) == (1, 1000)
    assert opened.events == []


def test_what_was_never_committed_is_a_miss(opened: OpenStore) -> None:
    opened.put("a")
    assert opened.get("b") is None
    assert opened.get("a", group="another original") is None
    assert (opened.store.stats.hits, opened.store.stats.misses) == (0, 2)


def test_file_name_tells_length_and_checksum(opened: OpenStore) -> None:
    path = opened.put("a").path
    group = hexadecimal("an original")
    assert path.parent == opened.root / "entries" / group[:2] / group
    assert path.name == f"{hexadecimal('a')}.1000.{zlib.crc32(content('a')):08x}.jpg"


def test_committing_leaves_nothing_in_incoming(opened: OpenStore) -> None:
    draft = opened.pending_file(b"finished")
    assert opened.store.find(key("a")) is None
    assert opened.store.commit(key("a"), draft, "png")
    assert not list((opened.root / "incoming").iterdir())
    draft.close()
    assert opened.get("a") == b"finished"


def test_drafts_are_empty_files_of_their_own_until_they_are_given_up(opened: OpenStore) -> None:
    drafts = [opened.pending_file() for _ in range(50)]
    assert len({draft.path for draft in drafts}) == 50
    assert all(draft.path.stat().st_size == 0 for draft in drafts)
    for draft in drafts:
        draft.close()
    assert not list((opened.root / "incoming").iterdir())


def test_committing_again_replaces_and_counts_once(opened: OpenStore) -> None:
    opened.put("a")
    opened.put("a")
    assert (opened.store.stats.files, opened.store.stats.size) == (1, 1000)
    opened.put("a", b"made anew by another version of a library")
    assert opened.get("a") == b"made anew by another version of a library"


def test_empty_and_large_entries_are_kept(opened: OpenStore) -> None:
    opened.put("empty", b"")
    opened.put("large", bytes(range(256)) * 20_000)
    assert opened.get("empty") == b""
    assert opened.get("large") == bytes(range(256)) * 20_000


# --- after a restart ------------------------------------------------------------------------


def test_entries_are_found_by_a_new_process(opened: OpenStore) -> None:
    for number in range(20):
        opened.put(f"{number}", group=f"original {number % 3}")
    again = OpenStore(opened.root)
    assert again.store.stats.files == 20
    assert again.store.stats.size == 20_000
    for number in range(20):
        assert again.get(f"{number}", group=f"original {number % 3}") == content(f"{number}")


def test_two_processes_share_one_folder(tmp_path: Path) -> None:
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    assert other.get("a") is None
    one.put("a")
    assert other.get("a") == content("a")
    other.put("b")
    assert one.get("b") == content("b")
    assert one.store.usage() == other.store.usage() == (2, 2000)


def test_entry_that_another_process_removed_is_a_miss(tmp_path: Path) -> None:
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    one.put("a")
    entry = other.store.find(key("a"))
    assert entry is not None
    one.store.remove(entry.path)
    assert other.get("a") is None
    assert one.get("a") is None
    one.put("a")
    assert other.get("a") == content("a")
    assert one.events == other.events == []


def test_large_groups_are_not_listed_for_each_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []
    plain = os.listdir

    def listdir(path: Path) -> list[str]:
        listed.append(path)
        return plain(path)

    monkeypatch.setattr("os.listdir", listdir)
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    for number in range(200):
        one.put(f"{number}")
    for number in range(100):
        assert other.get(f"not there {number}") is None
        other.put(f"made {number}")
    assert len(listed) < 110, "65 while there were few, 1 for all, and those of the other"
    assert all(other.get(f"{number}") == content(f"{number}") for number in range(200))
    del listed[:]
    assert all(one.get(f"made {number}") == content(f"made {number}") for number in range(100))
    assert len(listed) == 1


@pytest.mark.parametrize("group", ["an original", "another original"])
def test_what_others_do_to_a_large_group_is_noticed(group: str, tmp_path: Path) -> None:
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    for number in range(100):
        one.put(f"{number}", group=group)
    assert other.get("new", group=group) is None
    one.put("new", group=group)
    assert other.get("new", group=group) == content("new")
    one.put("new", b"of another library", group=group)
    assert other.get("new", group=group) == b"of another library"
    for path in one.store.paths(key("", group).group):
        one.store.remove(path)
    assert other.get("new", group=group) is None
    assert other.get("1", group=group) is None
    one.put("1", group=group)
    assert other.get("1", group=group) == content("1")


def test_what_is_kept_while_room_is_made_is_found(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path)
    for number in range(100):
        opened.put(f"{number}")
    assert opened.get("not there") is None
    with ThreadPoolExecutor(1) as threads:
        evicting = threads.submit(lambda: [opened.store.evict() for _ in range(20)])
        kept = 0
        while not evicting.done():
            opened.put(f"new {kept}")
            kept += 1
    assert kept > 0
    lost = [number for number in range(kept) if opened.get(f"new {number}") is None]
    assert lost == []


async def test_who_has_waited_for_a_lock_sees_what_was_made_meanwhile(tmp_path: Path) -> None:
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    for number in range(100):
        one.put(f"{number}")
    assert other.get("new") is None
    folder = one.put("0").path.parent
    before = folder.stat()
    one.put("new")
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))  # a clock of coarse steps
    async with other.store.lock(key("new")):
        assert other.get("new") == content("new")


@pytest.mark.parametrize("when", [-1e9, -1.0, 0.0, 1e9], ids=str)
def test_what_is_being_written_stays_and_what_was_left_goes(when: float, opened: OpenStore) -> None:
    """Whatever the clock said when it was begun: what has a living owner is locked by it."""
    incoming = opened.root / "incoming"
    left = [incoming / "0123456789abcdef", incoming / f"{hexadecimal('a')}.lock"]
    written = opened.pending_file()
    for path in left:
        path.write_bytes(b"written by a process that was killed")
    for path in (*left, written.path):
        os.utime(path, (time.time() + when, time.time() + when))
    again = OpenStore(opened.root)
    assert [*incoming.iterdir()] == [written.path]
    left[0].touch()
    again.store.sweep()
    assert [*incoming.iterdir()] == [written.path]
    assert opened.store.commit(key("a"), written, "jpg")
    written.close()


def test_unfinished_file_is_never_an_entry(opened: OpenStore) -> None:
    draft = opened.pending_file(content("a"))
    assert OpenStore(opened.root).store.usage() == (0, 0)
    assert opened.get("a") is None
    draft.close()


# --- damage ---------------------------------------------------------------------------------

RESTARTED: list[Callable[[OpenStore], OpenStore]] = [lambda o: o, lambda o: OpenStore(o.root)]


@pytest.mark.parametrize("restarted", RESTARTED, ids=["running", "restarted"])
@pytest.mark.parametrize("length", [0, 1, 999, 1001])
def test_file_of_another_length_is_removed(
    length: int, restarted: Callable[[OpenStore], OpenStore], opened: OpenStore
) -> None:
    path = opened.put("a").path
    opened.put("sound")
    os.truncate(path, length)
    opened = restarted(opened)
    assert opened.get("a") is None
    assert not path.exists()
    assert opened.events == [EntryDropped(path.name, "wrong length")]
    assert opened.store.stats.dropped == 1
    assert opened.get("sound") == content("sound")
    opened.put("a")
    assert opened.get("a") == content("a")


@pytest.mark.parametrize("restarted", RESTARTED, ids=["running", "restarted"])
@pytest.mark.parametrize("position", [0, 500, 999])
def test_garbled_file_of_the_same_length_is_removed(
    position: int, restarted: Callable[[OpenStore], OpenStore], opened: OpenStore
) -> None:
    path = opened.put("a").path
    assert opened.get("a") == content("a")
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\xff")
    opened = restarted(opened)
    assert opened.get("a") is None
    assert not path.exists()
    assert opened.events == [EntryDropped(path.name, "wrong checksum")]


def test_garbled_bytes_are_found_after_a_restart_even_with_an_old_time(opened: OpenStore) -> None:
    """What a failing disk does: the bytes change, and nothing else."""
    path = opened.put("a").path
    status = path.stat()
    path.write_bytes(content("b"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = OpenStore(opened.root)
    assert again.get("a") is None
    assert again.events == [EntryDropped(path.name, "wrong checksum")]


def test_last_entry_takes_its_folder_along(opened: OpenStore) -> None:
    path = opened.put("a").path
    os.truncate(path, 1)
    assert opened.get("a") is None
    assert not path.parent.exists()
    opened.put("a")
    assert opened.get("a") == content("a")


def test_foreign_files_are_left_alone(opened: OpenStore) -> None:
    folder = opened.put("a").path.parent
    junk = [
        folder / "README.txt",
        folder / f"{hexadecimal('b')}.12.jpg",
        folder / f"{hexadecimal('b')}.12.00000000.jpg.tmp",
        folder / f"{hexadecimal('b').upper()}.12.00000000.jpg",
        opened.root / "entries" / "lost+found",
        opened.root / "notes",
    ]
    for path in junk:
        path.write_bytes(b"mine")
    (folder / "folder").mkdir()
    again = OpenStore(opened.root, Bounds(max_bytes=1, ttl=0.001), ahead=HOUR)
    assert again.store.usage() == (1, 1000)
    again.store.evict()
    assert again.store.usage() == (0, 0)
    assert again.get("b") is None
    assert all(path.read_bytes() == b"mine" for path in junk)


def test_link_out_of_the_store_is_not_followed(opened: OpenStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = outside / f"{hexadecimal('x')}.7.00000000.jpg"
    precious.write_bytes(b"precious"[:7])
    (opened.root / "entries" / "zz").symlink_to(outside)
    again = OpenStore(opened.root, Bounds(max_bytes=1))
    again.store.evict()
    assert again.store.usage() == (0, 0)
    assert precious.exists()


# --- bounds ---------------------------------------------------------------------------------


async def test_least_recently_used_go_first_down_to_the_low_water_mark(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=10_000, low_water=0.5))
    for number in range(11):
        opened.put(f"{number}")
        opened.set_last_used(f"{number}", seconds_ago=100 - number)
    opened.set_last_used("0", seconds_ago=1)  # the oldest, used again
    await opened.store.make_room()
    left = [number for number in range(11) if opened.get(f"{number}") is not None]
    assert left == [0, 7, 8, 9, 10]
    assert opened.store.usage() == (5, 5000)
    assert (opened.store.stats.files, opened.store.stats.size) == (5, 5000)
    assert opened.store.stats.evicted == 6
    assert opened.events == [Evicted(6, 6000)]


async def test_nothing_goes_before_a_bound_is_passed(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=10_000, low_water=0.5))
    for number in range(10):
        opened.put(f"{number}")
    await opened.store.make_room()
    assert opened.store.usage() == (10, 10_000)
    assert opened.events == []


async def test_number_of_files_is_bounded(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_files=8, low_water=0.75))
    for number in range(9):
        opened.put(f"{number}")
        opened.set_last_used(f"{number}", seconds_ago=100 - number)
    await opened.store.make_room()
    assert opened.store.usage()[0] == 6
    assert opened.get("2") is None
    assert opened.get("3") == content("3")


async def test_hit_saves_from_eviction_across_a_restart(tmp_path: Path) -> None:
    bounds = Bounds(max_bytes=3000, low_water=0.7)
    opened = OpenStore(tmp_path, bounds)
    for name, hours in (("a", 30), ("b", 20), ("c", 10)):
        opened.put(name)
        opened.set_last_used(name, seconds_ago=hours * HOUR)
    assert opened.get("a") == content("a")
    again = OpenStore(tmp_path, bounds)
    again.put("d")
    await again.store.make_room()
    assert again.get("a") == content("a")
    assert again.get("b") is again.get("c") is None


def test_hits_soon_after_each_other_write_nothing(opened: OpenStore) -> None:
    path = opened.put("a").path
    before = path.stat().st_mtime_ns
    for _ in range(5):
        assert opened.get("a")
    assert path.stat().st_mtime_ns == before
    opened.ahead = HOUR
    assert opened.get("a")
    assert path.stat().st_mtime == pytest.approx(opened.clock(), abs=60)


def test_entry_not_used_for_its_time_to_live_is_gone(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(ttl=2 * HOUR))
    path = opened.put("a").path
    opened.ahead = 1.9 * HOUR
    assert opened.get("a") == content("a")  # and used now
    opened.ahead = 3.7 * HOUR
    assert opened.get("a") == content("a")
    opened.ahead = 5.8 * HOUR
    assert opened.get("a") is None
    assert not path.exists()


def test_eviction_removes_what_has_outlived_its_time(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(ttl=2 * HOUR))
    for name in ("old", "older"):
        opened.put(name)
        opened.set_last_used(name, seconds_ago=1.5 * HOUR)
    opened.put("new")
    opened.ahead = HOUR
    opened.store.evict()
    assert opened.store.usage() == (1, 1000)
    assert opened.get("new") == content("new")
    assert opened.events == [Evicted(2, 2000)]


async def test_what_other_processes_wrote_is_bounded_too(tmp_path: Path) -> None:
    bounds = Bounds(max_bytes=5000, low_water=0.5)
    one, other = OpenStore(tmp_path, bounds), OpenStore(tmp_path, bounds)
    for number in range(8):
        other.put(f"{number}")
    one.store.evict()
    assert one.store.usage()[1] <= 2500
    assert other.get("0") is None or other.get("7") is None


def test_options_become_bounds() -> None:
    options = CacheOptions.model_validate({"max_bytes": "20MB", "max_files": 7, "ttl": 60})
    assert options.bounds == Bounds(20_000_000, 7, 60, 0.9)


# --- disks that refuse ----------------------------------------------------------------------


def test_store_without_a_folder_misses_and_says_so(tmp_path: Path) -> None:
    """A file stands where the folder should be: nothing can be made, whoever one is."""
    root = tmp_path / "cache"
    root.write_bytes(b"in the way")
    opened = OpenStore(root)
    assert opened.store.stats.failures == 2
    assert opened.get("a") is None
    assert opened.store.reserve() is None
    draft = PendingFile(tmp_path / "elsewhere")
    draft.path.write_bytes(b"data")
    assert opened.store.commit(key("a"), draft, "jpg") is None
    assert draft.read() == draft.path.read_bytes() == b"data"
    draft.close()
    assert opened.events == [StoreFailed("NotADirectoryError: Not a directory")]
    assert opened.store.stats.failures > 3
    assert opened.store.stats.refused == "NotADirectoryError: Not a directory"
    opened.store.evict()
    assert opened.store.usage() == (0, 0)
    assert opened.store.paths() == []


def test_commit_that_fails_leaves_the_file_where_it_is(opened: OpenStore) -> None:
    opened.put("sound")
    blocked = opened.root / "entries" / hexadecimal("another")[:2]
    blocked.write_bytes(b"in the way")
    draft = opened.pending_file(b"data")
    assert opened.store.commit(key("a", "another"), draft, "jpg") is None
    assert draft.path.read_bytes() == b"data"
    draft.close()
    assert opened.store.stats.failures == 1
    (event,) = opened.events
    assert isinstance(event, StoreFailed)
    assert str(opened.root) not in event.reason
    assert opened.get("a", "another") is None
    assert opened.get("sound") == content("sound")
    assert opened.store.stats.files == 1


def test_commit_of_a_file_that_is_gone_fails(opened: OpenStore) -> None:
    draft = opened.pending_file(b"data")
    draft.path.unlink()
    assert opened.store.commit(key("a"), draft, "jpg") is None
    assert draft.read() == b"data"  # it can be served all the same
    draft.close()
    assert opened.get("a") is None
    opened.put("a")  # and the next one is kept


def test_incoming_folder_is_made_again(opened: OpenStore) -> None:
    (opened.root / "incoming").rmdir()
    opened.put("a")
    assert opened.get("a") == content("a")


def test_removed_root_is_made_again(opened: OpenStore) -> None:
    path = opened.put("a").path
    for folder in (path, *path.parents):
        if folder == opened.root.parent:
            break
        folder.unlink() if folder == path else _empty_out(folder)
    assert not opened.root.exists()
    assert opened.get("a") is None
    opened.put("a")
    assert opened.get("a") == content("a")


def _empty_out(folder: Path) -> None:
    for item in folder.iterdir():
        item.rmdir() if item.is_dir() else item.unlink()
    folder.rmdir()


# --- purging --------------------------------------------------------------------------------


def test_group_is_purged_and_no_other(opened: OpenStore) -> None:
    for number in range(6):
        opened.put(f"{number}", group=f"original {number % 2}")
    paths = opened.store.paths(hexadecimal("original 0"))
    assert len(paths) == 3
    for path in paths:
        opened.store.remove(path)
    assert opened.store.paths(hexadecimal("original 0")) == []
    assert len(opened.store.paths()) == 3
    for number in range(6):
        expected = content(f"{number}") if number % 2 else None
        assert opened.get(f"{number}", group=f"original {number % 2}") == expected
    assert not (
        opened.root / "entries" / hexadecimal("original 0")[:2] / hexadecimal("original 0")
    ).exists()
    assert opened.store.paths(hexadecimal("never seen")) == []


# --- many at once ---------------------------------------------------------------------------


def test_threads_commit_find_and_evict_at_once(tmp_path: Path) -> None:
    """Whatever is found is whole, nothing raises, and the folder agrees with its count after."""
    bounds = Bounds(max_bytes=60_000, low_water=0.5)
    stores = [OpenStore(tmp_path, bounds), OpenStore(tmp_path, bounds)]
    found = [0] * 8
    stop = threading.Event()

    def work(thread: int) -> None:
        opened = stores[thread % 2]
        for round_ in range(150):
            name = f"{(thread * 7 + round_ * 13) % 90}"
            group = f"original {int(name) % 40}"
            data = opened.get(name, group)
            if data is None:
                opened.put(name, group=group)
            else:
                found[thread] += 1
                assert data == content(name)

    def evict() -> None:
        while not stop.is_set():
            stores[0].store.evict()

    with ThreadPoolExecutor(9) as threads:
        evicting = threads.submit(evict)
        working = [threads.submit(work, thread) for thread in range(8)]
        try:
            for future in working:
                future.result(timeout=60)
        finally:
            stop.set()
        evicting.result(timeout=60)
    assert sum(found) > 0
    for opened in stores:
        assert opened.store.stats.failures == opened.store.stats.dropped == 0
        opened.store.evict()
        assert opened.store.usage() == (opened.store.stats.files, opened.store.stats.size)
    assert stores[0].store.usage()[1] <= 60_000
    assert not list((tmp_path / "incoming").iterdir())
    for path in files_below(tmp_path / "entries"):
        _, length, checksum, _ = path.name.split(".")
        assert (path.stat().st_size, zlib.crc32(path.read_bytes())) == (
            int(length),
            int(checksum, 16),
        )


def test_folder_removed_under_a_commit_is_made_again(tmp_path: Path) -> None:
    """Whoever removes the last entry of a group removes its folder, between any two steps."""
    opened, other = OpenStore(tmp_path), OpenStore(tmp_path, Bounds(max_bytes=0))
    stop = threading.Event()

    def evict() -> None:
        while not stop.is_set():
            other.store.evict()

    with ThreadPoolExecutor(2) as threads:
        evicting = [threads.submit(evict) for _ in range(2)]
        try:
            for number in range(1000):
                opened.put(f"{number}")
        finally:
            stop.set()
        for future in evicting:
            future.result(timeout=60)
    assert opened.store.stats.failures == 0


async def test_room_is_made_once_for_many_who_ask(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=5000, low_water=0.5))
    for number in range(20):
        opened.put(f"{number}")
    await asyncio.gather(*(opened.store.make_room() for _ in range(10)))
    assert len(opened.events) == 1
    assert opened.store.usage() == (2, 2000)
