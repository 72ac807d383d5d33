"""Open parts: files of pyramids that stay open, and are checked regularly."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.formats.pyramid_file import OpenPart
from iiif_server.plan.grid import Grid, Tile

_MAX_OPEN = 128
"""Maximum open parts; the table of tiles of each takes 20 kB, and its file a descriptor."""
_CHECK_AFTER = 10.0
"""Seconds after which an open part is looked up in the store again, which counts as a use."""
_LOOK_AFTER = 1.0
"""Seconds after which an open part is checked for removal."""


@dataclass(slots=True, eq=False)
class OpenedPart:
    """Open part of a pyramid, with its entry in the store."""

    part: OpenPart
    entry: Entry
    checked: float
    last_checked: float
    """Time of the last check that the file has not been removed, by the clock."""
    threads: StorageThreads
    readers: int = 0
    """Number of threads that read from the file."""
    is_released: bool = False
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def read(self, tile: Tile, grid: Grid) -> bytes:
        """JPEG of a tile; read in a thread, unless it is in the page cache.

        Raises KeyError or OSError.
        """
        data = self.part.read_nowait(tile, grid)
        if data is not None:
            return data
        with self.lock:
            self.readers += 1
        # A cancelled caller does not stop the thread: the part stays open until the thread ends.
        return await self.threads.run(self.part.read, tile, grid, ended=self._read_ended)

    async def is_gone(self) -> bool:
        """Whether the file was removed; checked in a thread."""
        with self.lock:
            if self.closed:
                return True
            self.readers += 1
        return await self.threads.run(lambda: self.part.deleted, ended=self._read_ended)

    def release(self) -> None:
        """Close the part, as soon as no thread reads from it."""
        with self.lock:
            self.is_released = True
            if self.readers or self.closed:
                return
            self.closed = True
        self.threads.begin(self.part.close)

    def _read_ended(self) -> None:
        with self.lock:
            self.readers -= 1
            last = self.is_released and not self.readers
        if last:
            self.release()


class OpenParts:
    """Most recently used parts of pyramids, open, by cache key."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._parts: Lru[EntryKey, OpenedPart] = Lru(_MAX_OPEN, on_remove=OpenedPart.release)
        self._openings: SingleFlight[EntryKey, None] = SingleFlight()
        self._doubts: SingleFlight[Path, bool] = SingleFlight()

    def __repr__(self) -> str:
        return f"<OpenParts {len(self._parts)}>"

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, key: EntryKey) -> bool:
        return key in self._parts

    @property
    def size(self) -> int:
        """Total size of the open files in bytes."""
        return sum(part.entry.length for part in self._parts.values())

    def read_nowait(self, key: EntryKey, tile: Tile, grid: Grid) -> bytes | None:
        """JPEG of a tile, if its part is open and the tile in the page cache; never waits."""
        opened = self._parts.get(key)
        if opened is None or self._clock() - opened.last_checked >= _LOOK_AFTER:
            return None
        try:
            return opened.part.read_nowait(tile, grid)
        except (KeyError, OSError):
            return None

    def opened_at(self, path: Path) -> tuple[EntryKey, Entry] | None:
        """Key and entry of the open part with this file path."""
        for key in self._parts:
            opened = self._parts.get(key)
            if opened is not None and opened.entry.path == path:
                return key, opened.entry
        return None

    def close(self, key: EntryKey) -> None:
        """Close a part, as soon as no thread reads from it."""
        self._parts.remove(key)

    def close_all(self) -> None:
        """Close all parts; the next request for one opens it again."""
        self._parts.clear()

    async def find(self, key: EntryKey) -> OpenedPart | None:
        """Part, if it is open or in the store; open parts are checked regularly."""
        kept = self._parts.get(key)
        gone = kept is not None and await kept.is_gone()  # purged or evicted
        if kept is not None and self._parts.get(key) is kept:  # not closed while this waited
            if gone:
                self._parts.remove(key)
            elif self._clock() - kept.checked < _CHECK_AFTER:
                kept.last_checked = self._clock()
                return kept
        entry = await self._store.threads.run(self._store.find, key)
        if entry is None:
            self._parts.remove(key)
            return None
        if key not in self._parts:
            await self._openings.run(key, lambda: self._open(key, entry))
        kept = self._parts.get(key)
        if kept is None:
            return None
        kept.checked = kept.last_checked = self._clock()
        return kept

    async def _open(self, key: EntryKey, entry: Entry) -> None:
        """Open a part and add it to the open ones; if it is damaged, have the store check it."""
        try:
            part = await self._store.threads.run(OpenPart, entry.path, undo=OpenPart.close)
        except FileNotFoundError:
            return
        except OSError:
            await self.check(entry)
            return
        self._parts.put(key, OpenedPart(part, entry, 0.0, 0.0, self._store.threads))

    async def check(self, entry: Entry) -> None:
        """Have the store verify the checksum of a part, and remove it if it is wrong."""
        check = partial(self._store.threads.run, self._store.check, entry, timeout=LONG)
        await self._doubts.run(entry.path, check)
