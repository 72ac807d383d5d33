"""Store on a disk with any damage: an entry that is found has the committed content."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from iiif_server.cache.eviction import Bounds
from support.stores import IN_MEMORY, OpenStore, content, key

ALL_NAMES = [f"name {number}" for number in range(8)]
NAMES = st.sampled_from(ALL_NAMES)
LENGTHS = st.sampled_from([0, 1, 1000, 3000, IN_MEMORY + 1])
MAX_BYTES, MAX_FILES = 2 * IN_MEMORY, 5
STORES = st.integers(0, 1)


class StoreMachine(RuleBasedStateMachine):
    """State machine of two processes on one folder, with jumping clocks and a damaged disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.committed: dict[str, bytes] = {}

    @initialize(ttl=st.sampled_from([None, 3600.0]))
    def open(self, ttl: float | None) -> None:
        self.bounds = Bounds(MAX_BYTES, MAX_FILES, ttl, 0.8, min_free=0)
        self.stores = [OpenStore(self.folder, self.bounds) for _ in range(2)]

    @rule(store=STORES, names=st.sets(NAMES, min_size=1), length=LENGTHS)
    def commit(self, store: int, names: set[str], length: int) -> None:
        """Commit entries. The derivatives of one original are always the same."""
        for name in sorted(names):
            data = self.committed.get(name, content(name, length))
            self.stores[store].put(name, data)
            self.committed[name] = data

    @rule(store=STORES)
    def find(self, store: int) -> None:
        for name in ALL_NAMES:
            assert self.stores[store].get(name) in {None, self.committed.get(name)}, name

    @rule(name=NAMES)
    def hold_through_eviction(self, name: str) -> None:
        one = self.stores[0]
        with one.store.pin(key(name)):
            there = one.store.find(key(name)) is not None
            one.store.evict()
            assert (one.store.find(key(name)) is not None) == there

    @rule(store=STORES)
    def evict(self, store: int) -> None:
        self.stores[store].store.evict()
        files, size = self.stores[store].store.usage()
        assert files <= MAX_FILES
        assert size <= MAX_BYTES
        assert (files, size) == (
            self.stores[store].store.stats.files,
            self.stores[store].store.stats.size,
        )

    @rule(name=NAMES, position=st.integers(0, 1000), keep_time=st.booleans())
    def damage(self, name: str, position: int, *, keep_time: bool) -> None:
        for path in self.files(name):
            status = path.stat()
            with path.open("r+b") as file:
                file.seek(min(position, max(0, status.st_size - 3)))
                file.write(b"\0\xff\0"[: status.st_size or 3])
            if keep_time:
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    @rule(name=NAMES, length=st.integers(0, 2000))
    def truncate(self, name: str, length: int) -> None:
        for path in self.files(name):
            os.truncate(path, length)

    def files(self, name: str) -> list[Path]:
        paths = self.stores[0].store.paths()
        return [path for path in paths if path.name.startswith(key(name).digest)]

    @rule(store=STORES, seconds=st.sampled_from([0.0, 0.0, 1000.0, -4000.0, 4000.0, -1e9, 1e9]))
    def set_clock(self, store: int, seconds: float) -> None:
        self.stores[store].ahead = seconds

    @rule(store=STORES)
    def kill_and_restart(self, store: int) -> None:
        ahead = self.stores[store].ahead
        self.stores[store] = OpenStore(self.folder, self.bounds, ahead=ahead)

    @rule(store=STORES, how=st.integers(0, 9))
    def delete_all(self, store: int, how: int) -> None:
        """Delete everything, seldom: else there would be little to find."""
        if how == 8:
            for path in self.stores[store].store.paths():
                self.stores[store].store.remove(path)
            assert self.stores[1 - store].store.usage() == (0, 0)
        if how == 9:
            shutil.rmtree(self.folder, ignore_errors=True)

    @invariant()
    def no_pending_file_is_left(self) -> None:
        incoming = self.folder / "incoming"
        assert not incoming.exists() or not [*incoming.iterdir()]

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


TestStores = StoreMachine.TestCase
TestStores.settings = settings(settings.get_profile("quick"), max_examples=60)
