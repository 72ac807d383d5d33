"""Fetched originals stay within limits: least recently used first, never those in use."""

import os
import tempfile
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from iiif_server.errors import NoSpaceForOriginalError, OriginalTooLargeError
from iiif_server.sources.fetched_store import FetchedLimits, FetchedStore, lock_for_use

MAX_BYTES, MAX_FILES = 1000, 5
NAMES = st.sampled_from([f"type/{folder}{letter}" for folder in ("", "a/") for letter in "bcdef"])


@dataclass
class Model:
    """Expected sizes in order of use, and the originals in use."""

    sizes: dict[str, int] = field(default_factory=dict)
    held: dict[str, list[int]] = field(default_factory=dict)

    def use(self, name: str) -> None:
        self.sizes[name] = self.sizes.pop(name)

    def add_in_steps(self, steps: list[int]) -> type[Exception] | None:
        """Make room for an original that grows in these steps; return the error that ends it."""
        for size in steps:
            if size > MAX_BYTES:
                return OriginalTooLargeError
            if not self.make_room(size, 1):
                return NoSpaceForOriginalError
        return None

    def make_room(self, size: int, files: int) -> bool:
        """Evict until so much fits; return whether it does."""
        for name in [name for name in self.sizes if not self.held.get(name)]:
            if self._fits(size, files):
                break
            del self.sizes[name]
        return self._fits(size, files)

    def _fits(self, size: int, files: int) -> bool:
        fits = sum(self.sizes.values()) + size <= MAX_BYTES
        return fits and len(self.sizes) + files <= MAX_FILES


class FetchedStoreMachine(RuleBasedStateMachine):
    """State machine of fetches, uses, holds and restarts, by two processes with one folder."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        ticks = count(1)
        self.clock = lambda: float(next(ticks))
        self.model = Model()
        self.foreign: dict[str, bytes] = {}
        self.store = self.opened()

    def opened(self) -> FetchedStore:
        store = FetchedStore(self.root, FetchedLimits(MAX_BYTES, MAX_FILES, 0), self.clock)
        store.register(self.root / "type")
        return store

    def teardown(self) -> None:
        for descriptors in self.model.held.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self.store.close()
        self.folder.cleanup()

    @rule(name=NAMES, size=st.integers(1, 1100), announced=st.booleans())
    def fetch(self, name: str, size: int, announced: bool) -> None:  # noqa: FBT001 - drawn
        if name in self.model.sizes or name in self.foreign:
            return
        steps = [size] if announced else [*range(300, size, 300), size]
        expected = self.model.add_in_steps(steps)
        reservation = self.store.reserve_file()
        try:
            if announced:
                reservation.reserve(size)
            for before, after in pairwise([0, *steps]):
                reservation.count_received(after - before)
        except (OriginalTooLargeError, NoSpaceForOriginalError) as error:
            outcome: type[Exception] | None = type(error)
        else:
            outcome = None
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(size))
            reservation.store(path, path.stat())
            self.model.sizes[name] = size
        finally:
            reservation.close()
        assert outcome == expected

    @rule(name=NAMES)
    def use(self, name: str) -> None:
        if name in self.model.sizes:
            self.store.touch(self.root / name)
            self.model.use(name)

    @rule(name=NAMES)
    def hold(self, name: str) -> None:
        if name in self.model.sizes and name not in self.foreign:
            descriptor = os.open(self.root / name, os.O_RDONLY)
            assert lock_for_use(descriptor)
            self.model.held.setdefault(name, []).append(descriptor)

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        if self.model.held.get(name):
            os.close(self.model.held[name].pop())

    @rule(name=NAMES)
    def replace(self, name: str) -> None:
        """Replace the file of an original, as an operator does."""
        if name in self.model.sizes and not self.model.held.get(name):
            (self.root / name).write_bytes(b"theirs")
            self.foreign[name] = b"theirs"

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.opened()

    @invariant()
    def nothing_else_is_stored(self) -> None:
        for name, data in self.foreign.items():
            assert (self.root / name).read_bytes() == data
        stored = {
            path.relative_to(self.root).as_posix()
            for path in (self.root / "type").rglob("*")
            if path.is_file()
        }
        assert stored == set(self.model.sizes) | set(self.foreign)


FetchedStoreMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None
)
TestSequences = FetchedStoreMachine.TestCase
