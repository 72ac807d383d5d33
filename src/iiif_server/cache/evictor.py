"""Eviction: keeps a store within its limits, and reports whether it has room."""

import asyncio
import contextlib
import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from iiif_server.cache.counts import StoreCounts
from iiif_server.cache.entries import EntryKey, digest_of, files_below, parse_name
from iiif_server.cache.eviction import Bounds, Candidate, Disk, Selection
from iiif_server.cache.index import EntryIndex
from iiif_server.cache.pending_files import locked_in_thread
from iiif_server.cache.shared_totals import TotalsFile
from iiif_server.cache.space import disk_of
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.telemetry.events import Evicted, Observer

_TOUCH_AFTER = 600.0
"""Seconds before a hit writes the time of use again. It is less if entries are evicted that were
used more recently: then the order of use has to be known more finely."""
_TOUCH_SHARE = 8
"""Divisor: a time of use is written after this part of `ttl`, or of the idle time of the entry used
last among those last evicted."""
_RETRY_SECONDS = 60.0
"""Seconds until eviction is tried again after one that removed nothing."""
_PINNED_RETRY_SECONDS = 5.0
"""Seconds until eviction is tried again if it removed nothing, but entries were in use."""
_SCAN_AFTER = 3600.0
"""Seconds after which one process scans the store though no limit is exceeded: to remove expired
entries, and to correct the totals where files were removed or added without being counted."""
_SCAN_AT_LEAST = 300.0
"""Minimum seconds between such scans, with a short `ttl`."""

NO_ROOM = "the disk has less free space than cache.min_free"
FULL_STORE = "the cache has reached cache.max_bytes or cache.max_files, and nothing can be removed"


class Evictor:
    """Removes the least recently used entries while a limit of the store is exceeded."""

    def __init__(
        self,
        root: Path,
        bounds: Bounds,
        observer: Observer,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`root` is the folder of the store."""
        self.entries = root / "entries"
        """Folder of all entries."""
        self.incoming = root / "incoming"
        """Folder of pending files."""
        self.counts = StoreCounts(TotalsFile(root / "totals"))
        self.index = EntryIndex(self.entries)
        self._bounds = bounds
        self._observe = observer
        self._clock = clock
        self._monotonic = monotonic
        self._touch_at_most = (
            _TOUCH_AFTER if bounds.ttl is None else min(_TOUCH_AFTER, bounds.ttl / _TOUCH_SHARE)
        )
        self.free: int | None = None
        """Free bytes of the disk at the last successful check; None before it."""
        self.disk_is_full = False
        """Whether a write failed because the disk was full, since the last eviction."""
        self._pinned: Counter[str] = Counter()
        self._requested: int | None = None
        self._retry_at = self._free_space_retry_at = 0.0
        self._evicting = asyncio.Lock()
        self._scan_lock = self.incoming / "scan.lock"
        self._scan_seconds = (
            _SCAN_AFTER
            if bounds.ttl is None
            else min(_SCAN_AFTER, max(_SCAN_AT_LEAST, bounds.ttl / _TOUCH_SHARE))
        )

    def __repr__(self) -> str:
        return f"<Evictor of {self.entries}>"

    @contextmanager
    def pin(self, key: EntryKey) -> Iterator[None]:
        """Pin an entry, existing or future: this process does not evict it in the context."""
        self._pinned[key.digest] += 1
        try:
            yield
        finally:
            self._pinned[key.digest] -= 1
            if not self._pinned[key.digest]:
                del self._pinned[key.digest]

    # --- free space ---------------------------------------------------------------------------

    def disk(self) -> Disk:
        """Size and free space of the disk now. Raises OSError."""
        disk = disk_of(self.incoming)
        self.free = disk.free
        return disk

    def is_short_of(self, size: int) -> bool:
        """Whether writing `size` bytes would leave less than `min_free` on the disk.

        If so, the next eviction makes room for them. Raises OSError.
        """
        if not self.disk().shortage(self._bounds.min_free, size):
            return False
        if self._monotonic() >= self._free_space_retry_at:
            self._requested = max(size, self._requested or 0)
        return True

    @property
    def full_reason(self) -> str | None:
        """Reason to refuse writes because a limit is exceeded; empty while an eviction runs.

        None if no limit is exceeded, or if an eviction is due.
        """
        if not self._is_over_bound():
            return None
        if self._monotonic() < self._retry_at:
            return FULL_STORE
        return "" if self._evicting.locked() else None

    # --- eviction -----------------------------------------------------------------------------

    async def make_room(self, threads: StorageThreads) -> None:
        """Evict while a limit is exceeded. Concurrent calls do the work once."""
        async with self._evicting:
            # Repeat, as entries may have been committed during the last eviction.
            while self._is_too_full() and self._monotonic() >= self._retry_at:
                removed = await threads.run(self._evict_if_needed, timeout=LONG)
                if not removed and self._is_too_full():
                    pause = _PINNED_RETRY_SECONDS if self._pinned else _RETRY_SECONDS
                    self._retry_at = self._monotonic() + pause

    def evict(self) -> int:
        """Scan the store and evict entries of all processes. Returns the number removed."""
        with locked_in_thread(self._scan_lock):
            return self._evict()

    def evict_if_due(self) -> None:
        """Scan and evict, unless a process is doing so or did so within the scan interval."""
        with locked_in_thread(self._scan_lock, wait=False) as is_ours:
            age = self._clock() - self.counts.refresh().scanned_at
            if is_ours and not 0 <= age < self._scan_seconds:
                self._evict()

    def _evict_if_needed(self) -> int:
        """Scan and evict, unless another process has made room meanwhile."""
        with locked_in_thread(self._scan_lock):
            self.counts.refresh()
            return self._evict() if self._is_too_full() else 0

    def _evict(self) -> int:
        requested, self._requested = self._requested, None
        is_full, self.disk_is_full = self.disk_is_full, False
        total = 0
        for scan in itertools.count():
            selection = self._scan(max(self._shortage(requested), int(is_full and not scan)))
            removed = self._remove(selection)
            total += removed
            if not selection.is_partial or (scan and not removed):
                break
        if requested is not None and self._shortage(requested):
            self._free_space_retry_at = self._monotonic() + _RETRY_SECONDS
        return total

    def _remove(self, selection: Selection) -> int:
        removed, size, last_used = 0, 0, -math.inf
        for victim in selection.victims():
            if not self._is_pinned(victim.name) and self.unlink(Path(victim.name), victim.size):
                removed, size = removed + 1, size + victim.size
                last_used = max(last_used, victim.last_used)
        if removed:
            self.counts.count("evicted", removed)
            self._observe(Evicted(removed, size))
            self.counts.set_reach(self._clock() - last_used)
        return removed

    def _scan(self, shortage: int) -> Selection:
        """Scan the disk: correct the totals, and select the entries to evict."""
        now, before = self._clock(), self.counts.refresh()
        expected = before.size, before.files
        selection = Selection(self._bounds, now, expected, shortage=shortage)
        for candidate in self.candidates():
            selection.add(candidate)
        self.counts.end_scan(before, selection.files, selection.size, now)
        return selection

    def candidates(self) -> Iterator[Candidate]:
        """Entries on the disk, also those of other processes."""
        for item in files_below(self.entries):
            with contextlib.suppress(OSError):  # removed since it was listed
                status = item.stat(follow_symlinks=False)
                yield Candidate(
                    item.path, status.st_size, status.st_mtime, self._is_pinned(item.path)
                )

    def usage(self) -> tuple[int, int]:
        """Number of entries on the disk, and the sum of their bytes."""
        files = size = 0
        for candidate in self.candidates():
            files, size = files + 1, size + candidate.size
        return files, size

    def unlink(self, path: Path, size: int | None = None) -> bool:
        """Remove the file of an entry, and its folder if it is empty. Returns success.

        A missing file is a success. `size`: bytes on the disk; default: the length in its name.
        """
        try:
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        else:
            length, _ = parse_name(path.name) or (0, 0)
            self.counts.remove(length if size is None else size)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        return True

    @property
    def touch_after(self) -> float:
        """Age (seconds) of a time of use after which a hit writes it again.

        A finer time of use keeps eviction from removing entries that are in use.
        """
        reach = self.counts.reach
        threshold = max(1.0, reach / _TOUCH_SHARE) if reach else math.inf
        return min(self._touch_at_most, threshold)

    def _shortage(self, requested: int | None) -> int:
        """Bytes to free on the disk; 0 if its free space cannot be read."""
        try:
            return self.disk().shortage(self._bounds.min_free, requested or 0)
        except OSError:
            return 0

    def _is_too_full(self) -> bool:
        return self._requested is not None or self.disk_is_full or self._is_over_bound()

    def _is_over_bound(self) -> bool:
        totals = self.counts.totals
        return self._bounds.exceeded(totals.size, totals.files)

    def _is_pinned(self, path: str) -> bool:
        return digest_of(os.path.basename(path)) in self._pinned  # noqa: PTH119 - for all files
