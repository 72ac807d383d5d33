"""Damaged disks and wrong clocks: the store returns only what was committed."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iiif_server.cache.eviction import Bounds
from iiif_server.telemetry.events import EntryDropped, Evicted, StoreFailed, StoreRecovered
from support.disks import SmallDisk, small_disk
from support.stores import HOUR, IN_MEMORY, OpenStore, content, key

YEAR = 365 * 24 * HOUR
LARGE = bytes(range(256)) * 1000
"""What comes as a file."""


@pytest.fixture
def opened(tmp_path: Path) -> OpenStore:
    return OpenStore(tmp_path / "cache")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 4) as disk:
        yield disk


# --- garbled files --------------------------------------------------------------------------


def replaced(path: Path, make: Callable[[], object]) -> None:
    path.unlink()
    make()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "zeros, as after a power cut": lambda p: p.write_bytes(bytes(p.stat().st_size)),
    "its beginning is lost": lambda p: p.write_bytes(b"\0" * 100 + p.read_bytes()[100:]),
    "its end is lost": lambda p: p.write_bytes(p.read_bytes()[:-100] + b"\0" * 100),
    "empty": lambda p: p.write_bytes(b""),
    "a byte short": lambda p: os.truncate(p, p.stat().st_size - 1),
    "a byte long": lambda p: os.truncate(p, p.stat().st_size + 1),
    "a folder": lambda p: replaced(p, p.mkdir),
    "a pipe that nobody writes to": lambda p: replaced(p, lambda: os.mkfifo(p)),
    "a link to elsewhere": lambda p: replaced(p, lambda: p.symlink_to("/etc/hostname")),
    "a link to nowhere": lambda p: replaced(p, lambda: p.symlink_to("nowhere")),
    "a link to itself": lambda p: replaced(p, lambda: p.symlink_to(p)),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("data", [content("a"), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_never_given(
    damage: str, data: bytes, opened: OpenStore, *, restarted: bool
) -> None:
    path = opened.put("a", data).path
    assert opened.get("a") == data  # and is known to be right
    status = path.stat()
    DAMAGE[damage](path)
    if path.is_file() and not path.is_symlink():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # nothing else tells of it
    again = OpenStore(opened.root) if restarted else opened
    assert again.get("a") is None
    assert [type(event) for event in again.events] == [EntryDropped]
    assert again.get("a") is None
    if path.is_dir():
        path.rmdir()  # nothing of ours: it stays, and is told once
    assert len(again.events) == 1
    again.put("a", data)
    assert again.get("a") == data


def test_what_is_open_is_what_was_checked(opened: OpenStore) -> None:
    """A file that is exchanged after it was opened is not what is sent."""
    entry = opened.put("a", LARGE)
    file = opened.store.read(entry, IN_MEMORY)
    assert isinstance(file, io.BufferedReader)
    replaced(entry.path, lambda: entry.path.write_bytes(bytes(len(LARGE))))
    with file:
        assert file.read() == LARGE


def test_large_entries_are_read_once_a_process_and_whenever_they_changed(opened: OpenStore) -> None:
    entry = opened.put("a", LARGE)
    for _ in range(3):
        assert opened.get("a") == LARGE
    before = entry.path.stat()
    os.utime(entry.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert opened.get("a") == LARGE
    with entry.path.open("r+b") as file:
        file.write(b"X")
    os.utime(entry.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert opened.get("a") is None


def test_check_finds_what_was_right_before(opened: OpenStore) -> None:
    entry = opened.put("a", LARGE)
    assert opened.store.check(entry)
    entry.path.write_bytes(bytes(len(LARGE)))
    assert not opened.store.check(entry)
    assert not entry.path.exists()
    assert not opened.store.check(entry)
    assert len(opened.events) == 1


def test_entry_made_anew_by_another_process_is_found(tmp_path: Path) -> None:
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    entry = one.put("a", b"by one version of a library")
    one.store.remove(entry.path)
    other.put("a", b"by another version")
    assert one.get("a") == b"by another version"
    one.put("a", b"by one version of a library")
    assert one.store.usage()[0] == 1


def test_folder_removed_and_replaced_while_running(opened: OpenStore) -> None:
    opened.put("a")
    opened.root.rename(opened.root.with_name("moved away"))
    assert opened.get("a") is None
    draft = opened.pending_file(b"data")
    opened.root.rename(opened.root.with_name("moved away too"))
    opened.root.mkdir()
    assert opened.store.commit(key("b"), draft, "jpg") is None
    assert draft.read() == b"data"
    draft.close()
    opened.put("c")
    assert opened.get("c") == content("c")


# --- clocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [None, 24 * HOUR], ids=["no ttl", "a day"])
@pytest.mark.parametrize("jump", [-30 * YEAR, -2 * HOUR, 2 * HOUR, 30 * YEAR], ids=str)
def test_clock_jumps_give_nothing_wrong_and_what_is_used_stays(
    jump: float, ttl: float | None, tmp_path: Path
) -> None:
    opened = OpenStore(tmp_path, Bounds(max_files=20, low_water=0.5, ttl=ttl))
    for number in range(10):
        opened.put(f"old {number}")
    opened.ahead = jump
    for number in range(10):
        assert opened.get(f"old {number}") in {content(f"old {number}"), None}
    for number in range(10):
        assert opened.get(f"old {number}") is None or jump < 24 * HOUR or ttl is None
    for number in range(11):
        opened.put(f"new {number}")
        opened.set_last_used_now(f"new {number}")
    opened.store.evict()
    assert opened.store.usage()[0] <= 20
    assert opened.get("new 10") == content("new 10")
    assert {type(event) for event in opened.events} <= {Evicted}


def test_what_was_used_before_the_clock_was_set_back_does_not_push_out_what_is_new(
    tmp_path: Path,
) -> None:
    """Its time of use is in the future for years: it would be the last to go."""
    opened = OpenStore(tmp_path, Bounds(max_files=10, low_water=0.5))
    opened.ahead = -30 * YEAR
    for number in range(10):
        opened.put(f"old {number}")  # the disk's time is the true one
    for number in range(3):
        assert opened.get(f"old {number}") is not None  # used: its time is mended
    for number in range(2):
        opened.put(f"new {number}")
        opened.set_last_used_now(f"new {number}")
    opened.store.evict()
    left = {path.name[:32] for path in opened.store.paths()}
    names = [*(f"old {number}" for number in range(3)), "new 0", "new 1"]
    assert left == {key(name).digest for name in names}


def test_times_of_use_are_known_finely_where_the_store_turns_over_fast(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_files=10, low_water=0.9))
    for number in range(10):
        opened.put(f"{number}")
        opened.set_last_used(f"{number}", seconds_ago=100 - number)
    opened.put("more")
    opened.store.evict()  # of what was used 100 seconds ago: the reach of this store
    assert opened.get("2") is not None  # used now, and said so, though ten minutes have not passed
    for name in ("yet more", "and more"):
        opened.put(name)
        opened.store.evict()
    assert opened.get("2") is not None
    assert opened.get("3") is None


# --- what is held ---------------------------------------------------------------------------


def test_what_is_held_is_not_evicted(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=1000, low_water=0.9))
    opened.put("a", content("a", 500))
    opened.set_last_used("a", seconds_ago=HOUR)
    with opened.store.pin(key("a")), opened.store.pin(key("a")):
        for number in range(5):
            opened.put(f"{number}", content(f"{number}", 500))
            opened.store.evict()
        assert opened.get("a") is not None
    opened.set_last_used("a", seconds_ago=HOUR)
    opened.put("b", content("b", 700))
    opened.store.evict()
    assert opened.get("a") is None


def test_what_is_larger_than_the_store_does_not_push_out_the_rest(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=5000, low_water=0.8))
    opened.put("a")
    draft = opened.pending_file(content("large", 4001))
    assert opened.store.commit(key("large"), draft, "jpg") is None
    draft.close()
    opened.store.evict()
    assert opened.get("a") == content("a")
    assert opened.events == []


async def test_eviction_that_cannot_help_is_not_repeated_at_once(tmp_path: Path) -> None:
    looks = 0

    class Counting(OpenStore):
        def clock(self) -> float:
            nonlocal looks
            looks += 1
            return 0.0

    opened = Counting(tmp_path, Bounds(max_files=1))
    opened.put("a")
    opened.put("b")
    looks = 0
    with opened.store.pin(key("a")), opened.store.pin(key("b")):
        for _ in range(10):
            await opened.store.make_room()
        assert looks == 1
    opened.later = 61
    await opened.store.make_room()
    assert opened.store.usage()[0] <= 1


# --- full and read-only disks ---------------------------------------------------------------


def try_putting(opened: OpenStore, name: str, data: bytes, expected: int = 0) -> bool:
    """Whether what stands for a derivative could be kept."""
    draft = opened.store.reserve(expected)
    if draft is None:
        return False
    try:
        draft.path.write_bytes(data)
    except OSError as error:
        opened.store.refused(error)
        return False
    finally:
        kept = opened.store.commit(key(name), draft, "jpg") if draft.status.st_size else None
        draft.close()
    return kept is not None


async def test_nothing_is_written_where_less_is_free_than_is_to_be(disk: SmallDisk) -> None:
    opened = OpenStore(disk.folder / "cache", Bounds(min_free=1_000_000))
    opened.put("a")
    disk.fill(leave=900_000)
    free = disk.free
    for _ in range(100):
        assert not try_putting(opened, "b", bytes(1000))
    assert disk.free == free
    assert opened.get("a") == content("a")
    (event,) = opened.events  # and not a hundred
    assert isinstance(event, StoreFailed)
    assert opened.store.stats.failures == 100
    assert opened.store.stats.refused is not None
    assert opened.store.stats.free == free
    disk.empty()
    opened.put("b")  # at once
    assert isinstance(opened.events[-1], StoreRecovered)
    assert opened.store.stats.refused is None


async def test_entries_make_room_for_others_on_the_disk(disk: SmallDisk) -> None:
    opened = OpenStore(disk.folder / "cache", Bounds(min_free=1_000_000))
    for number in range(50):
        opened.put(f"{number}", bytes(40_000))
        opened.set_last_used(f"{number}", seconds_ago=100 - number)
    disk.fill(leave=500_000)
    assert not try_putting(opened, "new", content("new"))
    await opened.store.make_room()
    assert disk.free > 1_000_000
    opened.put("new")
    assert opened.get("0") is None
    assert opened.get("49") is not None


async def test_entries_stay_where_nothing_that_goes_would_help(disk: SmallDisk) -> None:
    opened = OpenStore(disk.folder / "cache", Bounds(min_free=1_000_000))
    opened.put("a")
    disk.fill()
    assert not try_putting(opened, "b", b"data")
    for _ in range(3):
        await opened.store.make_room()
        opened.store.evict()
    assert opened.get("a") == content("a")


def test_room_is_asked_for_what_will_be_written(disk: SmallDisk) -> None:
    opened = OpenStore(disk.folder / "cache", Bounds(min_free=1_000_000))
    assert opened.store.reserve(3_500_000) is None
    draft = opened.store.reserve(1_000_000)
    assert draft is not None
    draft.close()


async def test_disk_that_is_full_is_not_written_at_full_cost(disk: SmallDisk) -> None:
    """Without anything to be left free: the first write fails, and others are not begun."""
    opened = OpenStore(disk.folder / "cache", Bounds(min_free=0))
    opened.put("a")
    disk.fill()
    begun = [opened.store.reserve() is not None]
    assert not try_putting(opened, "b", bytes(100_000)) or not begun[0]
    for _ in range(100):
        draft = opened.store.reserve()
        begun.append(draft is not None)
        if draft is not None:
            draft.close()
    assert sum(begun) <= 1
    assert len([event for event in opened.events if isinstance(event, StoreFailed)]) == 1
    assert opened.get("a") == content("a")
    disk.empty()
    opened.later = 3  # when the rest is over
    opened.put("b")
    opened.put("c")
    assert isinstance(opened.events[-1], StoreRecovered)


def test_read_only_disk_is_read_and_not_written(disk: SmallDisk) -> None:
    opened = OpenStore(disk.folder / "cache", Bounds(ttl=1000 * HOUR))
    path = opened.put("a").path
    spoilt = opened.put("spoilt").path
    spoilt.write_bytes(bytes(1000))
    disk.make_read_only()
    opened.ahead = HOUR
    for _ in range(20):
        assert opened.get("a") == content("a")
        assert opened.get("spoilt") is None
        assert not try_putting(opened, "b", b"data")
    again = OpenStore(opened.root)
    assert again.get("a") == content("a")
    kinds = [type(event) for event in opened.events]
    assert sorted(kinds, key=str) == [EntryDropped, StoreFailed]
    opened.ahead = 1001 * HOUR
    opened.store.evict()
    assert opened.store.stats.evicted == 0  # it cannot be, and is not said to be
    assert path.exists()
    assert opened.get("a") is None  # its time is over all the same
    disk.make_writable()
    opened.ahead, opened.later = 0, 3
    opened.put("b")
    opened.put("spoilt")
    assert opened.get("spoilt") == content("spoilt")
