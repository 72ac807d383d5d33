"""Limits of the store under sustained writes."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iiif_server.cache.entries import Entry
from iiif_server.cache.eviction import Bounds, Candidate, Selection
from iiif_server.cache.pending_files import locked_in_thread
from iiif_server.cache.store import Store
from iiif_server.telemetry.events import Evicted, StoreFailed, StoreRecovered
from support.stores import OpenStore, content, key

LENGTH = 1000
WRITERS = 8
IN_FLIGHT = 2 * WRITERS
"""Entries: each writer's last one, of which eviction does not know yet, and its next one."""


class SlowScan(Store):
    """A store whose scan takes as long as others need for so many attempts to write."""

    attempts = 0
    pause = 100

    def __init__(self, opened: OpenStore) -> None:
        super().__init__(opened.root, opened.bounds, opened.events.append)
        self.scanned = threading.Event()
        self._scan = self._evictor.candidates
        self._evictor.candidates = self._slow_scan  # type: ignore[method-assign]

    def _slow_scan(self) -> Iterator[Candidate]:
        found = list(self._scan())
        enough, still = self.attempts + self.pause, threading.Event()
        self.scanned.set()
        for _ in range(2000):
            if self.attempts >= enough:
                break
            still.wait(0.001)
        return iter(found)


def slow(opened: OpenStore) -> SlowScan:
    """The same store with a slow scan."""
    opened.store = store = SlowScan(opened)
    return store


async def write_at_once(store: SlowScan, writes: int, most: tuple[int, int]) -> int:
    """Have writers try to cache entries all the time; how many were cached.

    The disk is looked at after each: files and bytes are never above `most`.
    """
    numbers = iter(range(writes))
    cached = 0
    tidying: set[asyncio.Task[None]] = set()

    async def write() -> None:
        nonlocal cached
        for number in numbers:
            name = f"{number}"
            data = content(name, LENGTH)
            entry = await asyncio.to_thread(store.keep, key(name, name), data, "jpg")
            store.attempts += 1
            cached += entry is not None
            tidying.add(asyncio.create_task(store.make_room()))
            if number % 20 == 0:
                files, size = await asyncio.to_thread(Store.usage, PlainView(store.root))
                assert files <= most[0]
                assert size <= most[1]

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    store.pause = 0
    await asyncio.gather(*tidying)
    return cached


def PlainView(root: Path) -> Store:  # noqa: N802 - stands for a class
    """Another look at the same folder."""
    return Store(root, Bounds(), lambda _: None)


@pytest.mark.parametrize(
    ("bounds", "most"),
    [
        (Bounds(max_bytes=40 * LENGTH), (1000, (40 + IN_FLIGHT) * LENGTH)),
        (Bounds(max_files=40), (40 + IN_FLIGHT, 1000 * LENGTH)),
        (Bounds(max_bytes=40 * LENGTH, max_files=20), (20 + IN_FLIGHT, 1000 * LENGTH)),
    ],
    ids=["bytes", "files", "both"],
)
async def test_a_storm_of_writes_does_not_pass_a_bound(
    bounds: Bounds, most: tuple[int, int], tmp_path: Path
) -> None:
    opened = OpenStore(tmp_path, bounds)
    store = slow(opened)
    cached = await write_at_once(store, 1000, most)
    assert cached > store.stats.files
    assert opened.events  # eviction helped, however many writes one run of it covers
    assert store.usage() == (store.stats.files, store.stats.size)
    assert not bounds.exceeded(store.stats.size, store.stats.files)
    assert not [event for event in opened.events if isinstance(event, StoreFailed)]


async def test_what_is_committed_during_a_scan_counts_once(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=10 * LENGTH))
    store = slow(opened)
    scanning = asyncio.create_task(asyncio.to_thread(store.evict))
    await asyncio.to_thread(store.scanned.wait, 60)
    opened.put("a")
    store.attempts, store.pause = 10_000, 0
    await scanning
    opened.put("b")
    assert store.usage() == (store.stats.files, store.stats.size) == (2, 2 * LENGTH)


def test_removed_entries_are_counted_at_once(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path)
    for name in ("damaged", "removed", "stays"):
        opened.put(name)
    damaged, removed = (path_of(opened, name) for name in ("damaged", "removed"))
    damaged.path.write_bytes(bytes(LENGTH))
    assert opened.get("damaged") is None
    opened.store.remove(removed.path)
    opened.store.remove(removed.path)  # it is counted once
    assert (opened.store.stats.files, opened.store.stats.size) == (1, LENGTH)


def path_of(opened: OpenStore, name: str) -> Entry:
    entry = opened.store.find(key(name))
    assert entry is not None
    return entry


async def test_nothing_is_written_above_a_bound_when_eviction_cannot_help(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_files=3))
    names = ["a", "b", "c", "d"]
    for name in names:
        opened.put(name)
    with (
        opened.store.pin(key("a")),
        opened.store.pin(key("b")),
        opened.store.pin(key("c")),
        opened.store.pin(key("d")),
    ):
        await opened.store.make_room()
        for number in range(20):
            assert opened.store.keep(key(f"{number}"), b"data", "jpg") is None
        assert opened.store.usage()[0] == 4
        (event,) = opened.events
        assert isinstance(event, StoreFailed)
        assert "cache.max_files" in event.reason
        assert opened.store.stats.refused == event.reason
    opened.later = 5.1  # entries in use are released sooner or later: no long rest
    await opened.store.make_room()
    assert opened.store.keep(key("new"), b"data", "jpg") is not None
    assert isinstance(opened.events[-1], StoreRecovered)
    assert opened.store.usage()[0] <= 3


async def test_who_makes_room_waits_for_an_eviction_under_way(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, Bounds(max_files=3))
    store = slow(opened)
    for name in ("a", "b", "c", "d"):
        opened.put(name)
    first = asyncio.create_task(store.make_room())
    while store.reserve() is not None:  # noqa: ASYNC110 - until eviction is under way
        await asyncio.sleep(0)
    store.pause = 0
    store.attempts = 10_000
    await store.make_room()
    assert first.done()
    draft = store.reserve()
    assert draft is not None
    draft.close()


@pytest.mark.parametrize(
    ("bounds", "entries", "left"),
    [
        (Bounds(max_bytes=10 * LENGTH, low_water=0.5), 10, 10),
        (Bounds(max_bytes=10 * LENGTH - 1, low_water=0.5), 10, 4),
        (Bounds(max_bytes=10 * LENGTH, low_water=0.5), 11, 5),
        (Bounds(max_files=10, low_water=0.5), 10, 10),
        (Bounds(max_files=10, low_water=0.5), 11, 5),
    ],
)
async def test_bounds_are_exact(bounds: Bounds, entries: int, left: int, tmp_path: Path) -> None:
    opened = OpenStore(tmp_path, bounds)
    for number in range(entries):
        opened.put(f"{number}")
    await opened.store.make_room()
    assert opened.store.usage() == (left, left * LENGTH)


@pytest.mark.parametrize(("length", "cached"), [(900, True), (901, False)])
def test_the_largest_entry_is_as_large_as_the_low_water_mark(
    length: int, *, cached: bool, tmp_path: Path
) -> None:
    opened = OpenStore(tmp_path, Bounds(max_bytes=1000, low_water=0.9))
    entry = opened.store.keep(key("a"), bytes(length), "jpg")
    assert (entry is not None) is cached
    assert opened.store.holds(length) is cached


@pytest.mark.parametrize("number", [10, 100], ids=["a small group", "a large group"])
def test_entries_of_another_process_are_found_after_ones_own_commit(
    number: int, tmp_path: Path
) -> None:
    """Having written to a group is not having listed it."""
    one, other = OpenStore(tmp_path), OpenStore(tmp_path)
    for name in range(number):
        other.put(f"{name}")
    one.put("mine")
    assert one.get("5") == content("5")
    one.put("mine too")
    other.put("new")
    one.put("and mine")
    assert one.get("new") == content("new")


class Counting(OpenStore):
    """A process's store, which says when it scans."""

    scans = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        candidates = self.store._evictor.candidates

        def counted() -> Iterator[Candidate]:
            self.scans += 1
            return candidates()

        self.store._evictor.candidates = counted  # type: ignore[method-assign]


async def test_bounds_hold_for_what_all_processes_write(tmp_path: Path) -> None:
    bounds = Bounds(max_files=40, low_water=0.5)
    processes = [Counting(tmp_path, bounds) for _ in range(4)]
    for number in range(400):
        one = processes[number % 4]
        await asyncio.to_thread(one.store.keep, key(f"{number}"), bytes(LENGTH), "jpg")
        await one.store.make_room()
        assert one.store.usage()[0] <= 41
        one.scans -= 1  # that of `usage`
    assert 10 < sum(one.scans for one in processes) < 30, "one scan for 20 files, not four"
    for one in processes:
        one.store.look_for_purges()
        assert one.store.usage() == (one.store.stats.files, one.store.stats.size)


def test_one_process_scans_for_all_and_not_again_for_an_hour(tmp_path: Path) -> None:
    writer = OpenStore(tmp_path)
    for name in "abc":
        writer.put(name)
    (tmp_path / "totals").unlink()
    processes = [Counting(tmp_path) for _ in range(3)]
    for one in [*processes, *processes]:
        one.store.sweep()
        assert (one.store.stats.files, one.store.stats.size) == (3, 3 * LENGTH)
    assert [one.scans for one in processes] == [1, 0, 0]
    processes[2].ahead = 3599
    processes[2].store.sweep()
    assert processes[2].scans == 0
    processes[2].ahead = 3601
    processes[2].store.sweep()
    assert processes[2].scans == 1
    processes[1].store.sweep()  # its clock is an hour behind: no reason to wait for it
    assert processes[1].scans == 1


def test_nobody_waits_for_a_scan_that_is_only_due(tmp_path: Path) -> None:
    one, other = Counting(tmp_path), Counting(tmp_path)
    with locked_in_thread(tmp_path / "incoming" / "scan.lock") as held:
        assert held
        one.store.sweep()
    assert one.scans == 0
    other.store.sweep()
    assert other.scans == 1


async def test_who_waited_for_another_process_to_make_room_does_not_scan(tmp_path: Path) -> None:
    bounds = Bounds(max_files=3, low_water=0.5)
    one, other = Counting(tmp_path, bounds), Counting(tmp_path, bounds)
    for name in "abcd":
        other.put(name)
    with locked_in_thread(tmp_path / "incoming" / "scan.lock"):
        waiting = asyncio.create_task(other.store.make_room())
        while other.store.reserve() is not None:  # noqa: ASYNC110 - until it waits
            await asyncio.sleep(0)
        for path in one.store.paths():
            one.store.remove(path)
    await waiting
    assert other.scans == 0
    assert other.store.stats.files == 0


def test_a_store_that_scans_often_for_its_ttl_does_so_within_an_eighth_of_it(
    tmp_path: Path,
) -> None:
    opened = Counting(tmp_path, Bounds(ttl=8 * 600))
    opened.store.sweep()
    opened.ahead = 599
    opened.store.sweep()
    assert opened.scans == 1
    opened.ahead = 601
    opened.store.sweep()
    assert opened.scans == 2


def test_files_that_somebody_else_has_removed_are_noticed_by_a_scan(tmp_path: Path) -> None:
    opened = OpenStore(tmp_path)
    opened.put("a")
    opened.put("b").path.unlink()
    assert opened.store.stats.files == 2
    opened.store.evict()
    assert (opened.store.stats.files, opened.store.stats.size) == (1, LENGTH)


def test_more_goes_than_one_scan_selects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Selection.__init__, "__kwdefaults__", {"shortage": 0, "most": 10})
    opened = Counting(tmp_path, Bounds(max_files=40, low_water=0.5))
    for number in range(55):
        opened.put(f"{number}")
    assert opened.store.evict() == 20
    assert opened.scans == 2
    (event,) = {type(event) for event in opened.events}
    assert event is Evicted
