"""Store of derivatives on disk: complete or absent, bounded, found again after a restart.

Layout under the root, which is the truth; what is in memory only saves looking:

    entries/ab/<group>/<key>.<length>.<crc32>.<suffix>    one file an entry, in no wrapping at all
    incoming/<random>                                     being written
    incoming/<key>.lock                                   being made by one of several processes
    totals                                                files and bytes, counted by all processes

A file's name says how long it must be and what its checksum is, so no entry needs a second file
or a database, any number of processes may share the folder, and a web server can send the files as
they are. The group is all that belongs to one original, so that purging it is removing a folder.

Nothing is believed for having been written: power may have failed since. `read` compares what it
gives with the checksum, each time where that costs little, and else once a process and whenever the
file's inode has changed. Who reads a file piece by piece (parts of pyramids) checks the pieces, and
has the whole checked by `check` if one is wrong.
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
    """Files by opaque key. All methods are thread-safe enough to be called by worker threads.

    Reading never fails because of the disk: what cannot be read is a miss. Writing that fails keeps
    nothing, is reported to the observer now and then, and is not tried again at once.
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
        """`timeout`: seconds after which the disk counts as not answering."""
        self.root = root
        self.threads = StorageThreads("the cache", timeout=timeout)
        """Where the blocking methods are called from the event loop."""
        self.purged_at = 0
        """A number that changes when `mark_purged` was called, or another process's call seen."""
        self._purged = root.with_name("purged")
        self._bounds = bounds
        self._observe = observer
        self._clock = clock
        self._evictor = Evictor(root, bounds, observer, clock, monotonic)
        self._counts, self._index = self._evictor.counts, self._evictor.index
        self.entries = self._evictor.entries
        """The folder that all entries are below."""
        self.incoming = self._evictor.incoming
        """The folder of the files that `reserve` gives."""

        def tell(reason: str) -> None:
            observer(StoreFailed(reason))

        self._writing = WriteBackoff(tell, lambda text: observer(StoreRecovered(text)), monotonic)
        self._reading = WriteBackoff(tell, lambda _: None, monotonic)

    def __repr__(self) -> str:
        totals = self._counts.totals
        return f"<Store {totals.files} files, {totals.size} bytes>"

    @property
    def stats(self) -> StoreStats:
        """The counts as they are now."""
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
        """Make the folders, and remove what earlier processes left unfinished."""
        for folder in (self.entries, self.incoming):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.refused(error)
        remove_abandoned(self.incoming)
        self._counts.refresh()

    # --- reading ------------------------------------------------------------------------------

    def find(self, key: EntryKey) -> Entry | None:
        """The entry, or None. Its bytes are not looked at; what has another length is removed."""
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
        """The entry's bytes, or above so many an open file; None if they are gone or wrong.

        What is given has the right checksum; what has a wrong one is removed.
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
        """The bytes of an entry that this process has found before, if the disk is not needed.

        None also if the entry has more than `most` bytes, and if its bytes are wrong, which `read`
        deals with.
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
        """Whether the file's bytes are right, whatever was found before; if not it is removed."""
        self._index.set_verified(entry.path.name, None)
        return self.is_sound(entry)

    def is_sound(self, entry: Entry) -> bool:
        """Whether the file's bytes are right, read once for as long as the file does not change.

        A file whose bytes are wrong is removed.
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

    def hold(self, key: EntryKey) -> AbstractContextManager[None]:
        """While this is open, this process does not evict the entry, if it is or will be there."""
        return self._evictor.hold(key)

    # --- writing ------------------------------------------------------------------------------

    def holds(self, size: int) -> bool:
        """Whether an entry of so many bytes could be kept if all else were given up."""
        return self._bounds.holds(size)

    def reserve(self, expected: int = 0) -> PendingFile | None:
        """A new file for what may take so many bytes; None if nothing is to be written now.

        While a bound is passed, nothing is written until eviction has made room: otherwise writes
        that are faster than eviction would grow the cache without limit. Whoever gets the file
        closes it.
        """
        if not self._writing.may_try():
            return None
        refusal = self._evictor.refusal
        if refusal is not None:
            if refusal:
                self._writing.refused(refusal, rest=False)
            return None
        try:
            if self._evictor.is_short_of(expected):
                self._writing.refused(NO_ROOM, rest=False)
                return None
            return PendingFile(self.incoming)
        except OSError as error:
            self.refused(error)
            return None

    def keep(self, key: EntryKey, data: bytes, suffix: str) -> Entry | None:
        """Keep bytes under the key; None if they cannot be kept."""
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
        """Keep a finished file under the key, at once and whole; None if it cannot be kept.

        The file is moved on success, and left as it is otherwise.
        """
        try:
            length = pending.status.st_size
            if not self._bounds.holds(length):
                return None  # it would push out everything else, and then go itself
            value = pending.checksum
            path = self._index.folder(key.group) / key.name(length, value, suffix)
            existed = path.exists()
            former = self._index.replace(key, path, pending.move_to)
        except OSError as error:
            self.refused(error)
            return None
        if former is not None:  # made with another version of a library
            self._evictor.unlink(path.with_name(former))
        if not existed:
            self._counts.commit(length)
        self._writing.worked()
        return Entry(path, length, value)

    @asynccontextmanager
    async def lock(self, key: EntryKey) -> AsyncIterator[None]:
        """Held by one of all processes that share the store; it dies with its holder.

        What another has made before is found then. Raises NotKeptError where the folder takes no
        file.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    locked(self.incoming / f"{key.digest}.lock", self.threads)
                )
            except OSError as error:
                self.refused(error)
                raise NotKeptError("Nothing can be kept at the moment.") from error
            self._index.forget_listing(key.group)
            yield

    def refused(self, error: OSError) -> None:
        """Count and tell that the disk refused a write, and rest if that concerns all writes.

        A full disk may be full of entries: once for each time of trouble, some have to go.
        """
        if error.errno in _FULL and self._writing.reason is None:
            self._evictor.disk_is_full = True
        self._writing.refused(reason_of(error), rest=concerns_all_writes(error))

    def troubles(self) -> list[str]:
        """Why nothing can be kept at the moment, as the disk itself says; no path. Looks there."""
        try:
            shortage = self._evictor.disk().shortage(self._bounds.min_free, 0)
            PendingFile(self.incoming).close()
        except OSError as error:
            return [f"cache_path cannot be written: {reason_of(error)}"]
        # Being short of space passes, as long as there is something that can make room.
        if shortage and self._writing.reason is not None:
            return [f"cache_path: {NO_ROOM} (cache.min_free), by {shortage:,} bytes"]
        return []

    # --- removing -----------------------------------------------------------------------------

    async def make_room(self) -> None:
        """Evict while a bound is passed. Several calls at once do the work of one."""
        await self._evictor.make_room(self.threads)

    def evict(self) -> int:
        """Evict entries of all processes, as the disk has them; returns the number removed."""
        return self._evictor.evict()

    def sweep(self) -> None:
        """Remove what others left unfinished; scan the store if no process has done so lately."""
        remove_abandoned(self.incoming)
        self._evictor.evict_if_due()

    def paths(self, group: str | None = None) -> list[Path]:
        """The files of a group, or all, on the disk now."""
        folder = self.entries if group is None else self._index.folder(group)
        return [Path(item.path) for item in files_below(folder)]

    def remove(self, path: Path) -> None:
        """Remove one file that `paths` gave, and its folder if it was the last one there."""
        self._evictor.unlink(path)

    def look_for_purges(self) -> None:
        """See whether another process has called `mark_purged`, and what it has added."""
        self._counts.refresh()
        with contextlib.suppress(OSError):
            self.purged_at = self._purged.stat().st_mtime_ns

    def mark_purged(self) -> None:
        """Tell all processes that what they have in memory is to be forgotten as well."""
        now = time.time_ns()
        with contextlib.suppress(OSError):  # then there was nothing to purge either
            self._purged.write_bytes(b"")
            os.utime(self._purged, ns=(now, now))
        self.purged_at = now

    def usage(self) -> tuple[int, int]:
        """Number of entries on the disk now, and of their bytes; those of other processes too."""
        return self._evictor.usage()

    # --- one file -----------------------------------------------------------------------------

    def _known(self, key: EntryKey) -> Entry | None:
        """The entry, if this process has found it before and it is still there."""
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
            with contextlib.suppress(OSError):  # a read-only store still serves
                os.utime(path, (now, now))
        return Entry(path, *parsed)

    def _is_right(self, entry: Entry, descriptor: int) -> bool:
        """Whether a large file has its checksum, if that is not known. Raises OSError."""
        stamp, name = stamp_of(os.fstat(descriptor)), entry.path.name
        if not self._index.is_verified(name, stamp):
            if checksum(descriptor) != entry.checksum:
                return False
            self._index.set_verified(name, stamp)
        return True

    def _unreadable(self, path: Path, error: OSError) -> None:
        if error.errno == errno.EIO:  # the disk has lost it; everything else may pass
            self._drop(path, "unreadable")
        else:
            self._reading.refused(reason_of(error), rest=False)

    def _drop(self, path: Path, reason: str, size: int | None = None) -> None:
        self._index.set_verified(path.name, None)
        self._counts.count("dropped")
        if not self._evictor.unlink(path, size):
            self._index.set_spoilt(path)
        self._observe(EntryDropped(path.name, reason))
