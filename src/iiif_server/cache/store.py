"""Store of derivatives on disk: atomic writes, limited size, checksums; survives restarts.

Layout below the root. The disk is the truth; the index in memory only saves disk access:

entries/ab/<group>/<key>.<length>.<crc32>.<suffix>    one file per entry, only its bytes
incoming/<random>                                     pending file
incoming/<key>.lock                                   lock of the process that makes the entry
totals                                                files and bytes, counted by all processes

The name of a file has its length and its checksum. So entries need no second file and no database,
any number of processes can share the folder, and a web server can send the files. A group has all
entries of one original: a purge of the original removes one folder.

A complete write proves nothing, as the power may have failed since. `read` verifies the checksum:
of small files each time, of large ones once per process and after each change of the file. Readers
of single pieces (parts of pyramids) verify each piece; if one is wrong, they call `check`, which
verifies the whole file.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from iiif_server.cache.counts import StoreStats
from iiif_server.cache.entries import (
    Entry,
    EntryKey,
    files_below,
    open_file,
    parse_name,
    read_nowait,
    reason_of,
    stamp_of,
)
from iiif_server.cache.eviction import Bounds, is_ahead
from iiif_server.cache.evictor import NO_ROOM, Evictor
from iiif_server.cache.pending_files import PendingFile, checksum, locked, remove_abandoned
from iiif_server.cache.threads import StorageThreads
from iiif_server.cache.write_backoff import WriteBackoff, concerns_all_writes
from iiif_server.digests import crc32
from iiif_server.errors import NotKeptError
from iiif_server.telemetry.events import EntryDropped, Observer, StoreFailed, StoreRecovered

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Store:
    """Store of files by cache key. Threads may call all methods.

    Reads never raise errors of the disk: a file that cannot be read is a miss. A failed write
    stores nothing and is reported to the observer, rate-limited; a back-off follows.
    """

    def __init__(
        self,
        root: Path,
        bounds: Bounds,
        observer: Observer,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        timeout: float = 10.0,
    ) -> None:
        """`timeout`: seconds after which an ordinary call to the disk fails."""
        self.root = root
        self.threads = StorageThreads("the cache", timeout=timeout)
        """Threads in which the event loop calls the blocking methods."""
        self.purged_at = 0
        """Number that changes with each purge: with `mark_purged` here, or seen from a process."""
        self._purged = root.with_name("purged")
        self._bounds = bounds
        self._observe = observer
        self._clock = clock
        self._evictor = Evictor(root, bounds, observer, clock, monotonic)
        self._counts, self._index = self._evictor.counts, self._evictor.index
        self.entries = self._evictor.entries
        """Folder of all entries."""
        self.incoming = self._evictor.incoming
        """Folder of pending files."""

        def report(reason: str) -> None:
            observer(StoreFailed(reason))

        self._writing = WriteBackoff(report, lambda text: observer(StoreRecovered(text)), monotonic)
        self._reading = WriteBackoff(report, lambda _: None, monotonic)

    def __repr__(self) -> str:
        totals = self._counts.totals
        return f"<Store {totals.files} files, {totals.size} bytes>"

    @property
    def stats(self) -> StoreStats:
        """Statistics now. Does not access the disk."""
        totals = self._counts.totals
        return StoreStats(
            files=totals.files,
            size=totals.size,
            free=self._evictor.free,
            hits=totals.hits,
            misses=totals.misses,
            evicted=totals.evicted,
            dropped=totals.dropped,
            failures=self._writing.count + self._reading.count,
            refused=self._writing.reason,
        )

    def open(self) -> None:
        """Create the folders, and remove pending files of ended processes."""
        for folder in (self.entries, self.incoming):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.refused(error)
        remove_abandoned(self.incoming)
        self._counts.refresh()

    # --- reading ------------------------------------------------------------------------------

    def find(self, key: EntryKey) -> Entry | None:
        """Entry with this key, or None. Removes a file of wrong length; reads no bytes."""
        entry = self._known(key)
        if entry is None and (name := self._index.look_up(key)) is not None:
            entry = self._checked(key, name)
        if entry is None:
            self._index.forget(key)
            self._counts.count("misses")
        else:
            self._counts.count("hits")
        return entry

    def read(self, entry: Entry, in_memory: int) -> bytes | BinaryIO | None:
        """Bytes of an entry, or an open file above `in_memory` bytes; None if missing or damaged.

        The checksum is verified; a damaged file is removed.
        """
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(open_file(entry.path))
                if entry.length <= in_memory:
                    data = file.read(entry.length + 1)
                    if len(data) == entry.length and crc32(data) == entry.checksum:
                        return data
                elif self._is_right(entry, file.fileno()):
                    stack.pop_all()
                    return file
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable(entry.path, error)
            return None
        self._drop(entry.path, "wrong checksum")
        return None

    def read_nowait(self, key: EntryKey, most: int) -> bytes | None:
        """Bytes of an entry that this process has found before, from the page cache only.

        None if they are not there, if there are more than `most`, or if they are damaged; `read`
        removes damaged files.
        """
        entry = self._known(key)
        if entry is None or entry.length > most:
            return None
        data = read_nowait(entry.path, entry.length)
        if data is None or crc32(data) != entry.checksum:
            return None
        self._counts.count("hits")
        return data

    def check(self, entry: Entry) -> bool:
        """Whether the checksum is right, ignoring cached results. Removes a damaged file."""
        self._index.set_verified(entry.path.name, None)
        return self.is_sound(entry)

    def is_sound(self, entry: Entry) -> bool:
        """Whether the checksum is right; the result is cached until the file changes.

        A damaged file is removed.
        """
        try:
            with open_file(entry.path) as file:
                if self._is_right(entry, file.fileno()):
                    return True
        except FileNotFoundError:
            return False
        except OSError as error:
            self._unreadable(entry.path, error)
            return False
        self._drop(entry.path, "wrong checksum")
        return False

    def pin(self, key: EntryKey) -> AbstractContextManager[None]:
        """Keep this process from evicting the entry, existing or future, in the context."""
        return self._evictor.pin(key)

    # --- writing ------------------------------------------------------------------------------

    def holds(self, size: int) -> bool:
        """Whether the store would have room for `size` bytes after evicting everything else."""
        return self._bounds.holds(size)

    def reserve(self, expected: int = 0) -> PendingFile | None:
        """New pending file for `expected` bytes, which the caller closes; None if refused.

        While a limit is exceeded, the store refuses writes until eviction has made room: otherwise
        writes that are faster than eviction would grow the cache without limit. It also refuses
        them during the back-off and with too little free space.
        """
        if not self._writing.may_try():
            return None
        full_reason = self._evictor.full_reason
        if full_reason is not None:
            if full_reason:
                self._writing.refused(full_reason, pause=False)
            return None
        try:
            if self._evictor.is_short_of(expected):
                self._writing.refused(NO_ROOM, pause=False)
                return None
            return PendingFile(self.incoming)
        except OSError as error:
            self.refused(error)
            return None

    def keep(self, key: EntryKey, data: bytes, suffix: str) -> Entry | None:
        """Store bytes under a key; None if the write is refused or fails."""
        pending = self.reserve(len(data))
        if pending is None:
            return None
        try:
            pending.write(data)
            return self.commit(key, pending, suffix)
        except OSError as error:
            self.refused(error)
            return None
        finally:
            pending.close()

    def commit(self, key: EntryKey, pending: PendingFile, suffix: str) -> Entry | None:
        """Store a finished pending file under a key, atomically; None if that fails.

        The file is moved on success, and unchanged otherwise.
        """
        try:
            length = pending.status.st_size
            if not self._bounds.holds(length):
                return None  # it would evict everything else, and then be evicted itself
            value = pending.checksum
            path = self._index.folder(key.group) / key.name(length, value, suffix)
            existed = path.exists()
            former = self._index.replace(key, path, pending.move_to)
        except OSError as error:
            self.refused(error)
            return None
        if former is not None:  # other bytes, as from another version of a library
            self._evictor.unlink(path.with_name(former))
        if not existed:
            self._counts.commit(length)
        self._writing.worked()
        return Entry(path, length, value)

    @asynccontextmanager
    async def lock(self, key: EntryKey) -> AsyncIterator[None]:
        """Lock of an entry between processes; the kernel releases it when the process ends.

        With the lock, `find` finds entries that other processes have written before. Raises
        NotKeptError if the lock file cannot be created.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    locked(self.incoming / f"{key.digest}.lock", self.threads)
                )
            except OSError as error:
                self.refused(error)
                raise NotKeptError("The cache cannot store anything at the moment.") from error
            self._index.forget_listing(key.group)
            yield

    def refused(self, error: OSError) -> None:
        """Count and report a failed write; start the back-off if it concerns all writes.

        The disk may be full of entries, so the first ENOSPC after a success triggers an eviction.
        """
        if error.errno in _FULL and self._writing.reason is None:
            self._evictor.disk_is_full = True
        self._writing.refused(reason_of(error), pause=concerns_all_writes(error))

    def troubles(self) -> list[str]:
        """Problems that prevent writes now, without paths; writes a file to check. Blocks."""
        try:
            shortage = self._evictor.disk().shortage(self._bounds.min_free, 0)
            PendingFile(self.incoming).close()
        except OSError as error:
            return [f"cache_path cannot be written: {reason_of(error)}"]
        # A shortage is no problem as long as eviction makes room.
        if shortage and self._writing.reason is not None:
            return [f"cache_path: {NO_ROOM} (cache.min_free), by {shortage:,} bytes"]
        return []

    # --- removing -----------------------------------------------------------------------------

    async def make_room(self) -> None:
        """Evict while a limit is exceeded. Concurrent calls do the work once."""
        await self._evictor.make_room(self.threads)

    def evict(self) -> int:
        """Scan the disk and evict entries of all processes. Returns the number removed."""
        return self._evictor.evict()

    def sweep(self) -> None:
        """Remove pending files of ended processes; scan and evict if a scan is due."""
        remove_abandoned(self.incoming)
        self._evictor.evict_if_due()

    def paths(self, group: str | None = None) -> list[Path]:
        """Entry files on the disk now: those of a group, or all."""
        folder = self.entries if group is None else self._index.folder(group)
        return [Path(item.path) for item in files_below(folder)]

    def remove(self, path: Path) -> None:
        """Remove one of the files of `paths`, and its folder if it is empty."""
        self._evictor.unlink(path)

    def look_for_purges(self) -> None:
        """Read `purged_at` and the totals from the disk, as other processes have changed them."""
        self._counts.refresh()
        with contextlib.suppress(OSError):
            self.purged_at = self._purged.stat().st_mtime_ns

    def mark_purged(self) -> None:
        """Have all processes clear their caches in memory, too."""
        now = time.time_ns()
        with contextlib.suppress(OSError):  # without a folder, there was nothing to purge
            self._purged.write_bytes(b"")
            os.utime(self._purged, ns=(now, now))
        self.purged_at = now

    def usage(self) -> tuple[int, int]:
        """Number of entries on the disk now, and the sum of their bytes, of all processes."""
        return self._evictor.usage()

    # --- one file -----------------------------------------------------------------------------

    def _known(self, key: EntryKey) -> Entry | None:
        """Entry that this process has found before, if its file still exists."""
        name = self._index.get(key)
        return None if name is None else self._checked(key, name)

    def _checked(self, key: EntryKey, name: str) -> Entry | None:
        path = self._index.folder(key.group) / name
        parsed = parse_name(name)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable(path, error)
            return None
        if self._index.is_spoilt(name, status):
            return None
        if parsed is None or not stat.S_ISREG(status.st_mode) or status.st_size != parsed[0]:
            self._drop(path, "wrong length", status.st_size)
            return None
        now = self._clock()
        age = now - status.st_mtime
        if self._bounds.ttl is not None and age > self._bounds.ttl:
            self._evictor.unlink(path)
            return None
        if age > self._evictor.touch_after or is_ahead(status.st_mtime, now):
            with contextlib.suppress(OSError):  # a read-only store can still be read
                os.utime(path, (now, now))
        return Entry(path, *parsed)

    def _is_right(self, entry: Entry, descriptor: int) -> bool:
        """Whether the checksum of a large file is right, cached by stamp. Raises OSError."""
        stamp, name = stamp_of(os.fstat(descriptor)), entry.path.name
        if not self._index.is_verified(name, stamp):
            if checksum(descriptor) != entry.checksum:
                return False
            self._index.set_verified(name, stamp)
        return True

    def _unreadable(self, path: Path, error: OSError) -> None:
        if error.errno == errno.EIO:  # the bytes are lost; other errors may be temporary
            self._drop(path, "unreadable")
        else:
            self._reading.refused(reason_of(error), pause=False)

    def _drop(self, path: Path, reason: str, size: int | None = None) -> None:
        self._index.set_verified(path.name, None)
        self._counts.count("dropped")
        if not self._evictor.unlink(path, size):
            self._index.set_spoilt(path)
        self._observe(EntryDropped(path.name, reason))
