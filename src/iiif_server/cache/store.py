"""Derivatives on disk: complete or absent, bounded, found again after a restart.

Layout under the root, which is the truth; what is in memory only saves looking:

    entries/ab/<group>/<key>.<length>.<crc32>.<suffix>    one file an entry, in no wrapping at all
    incoming/<random>                                     being written
    incoming/<key>.lock                                   being made by one of several processes

A file's name says how long it must be and what its checksum is, so no entry needs a second file
or a database, any number of processes may share the folder, and a web server can send the files as
they are. The group is all that belongs to one original, so that purging it is removing a folder.

Nothing is believed for having been written: power may have failed since. `read` compares what it
gives with the checksum, each time where that costs little, and else once a process and whenever the
file's inode has changed. Who reads a file piece by piece (parts of pyramids) checks the pieces, and
has the whole checked by `check` if one is wrong.
"""

import asyncio
import contextlib
import errno
import os
import re
import stat
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import Field, PositiveInt

from iiif_server.cache.counts import StoreCounts
from iiif_server.cache.eviction import Bounds, Candidate, Disk, is_ahead, victims
from iiif_server.cache.pending_files import Draft, checksum, locked, remove_abandoned
from iiif_server.cache.space import disk_of
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.cache.write_backoff import Refusals
from iiif_server.digests import crc32
from iiif_server.errors import NotKeptError
from iiif_server.options import OptionsModel
from iiif_server.telemetry.events import (
    EntryDropped,
    Evicted,
    Observer,
    StoreFailed,
    StoreRecovered,
)
from iiif_server.units import PositiveSeconds, Size

_NAME = re.compile(r"([0-9a-f]{32})\.(\d{1,15})\.([0-9a-f]{8})\.([a-z0-9]{1,8})", re.ASCII)
_TOUCH_AFTER = 600.0
"""Seconds before a hit writes the time of use again: recency need not be finer than that, unless
what is evicted was used as short a while ago."""
_TOUCH_SHARE = 8
"""The part of that while which it is then."""
_EVICT_AGAIN_AFTER = 60.0
"""Seconds until eviction is tried again after one that removed nothing."""
_HELD_AGAIN_AFTER = 5.0
"""The same where entries in use were in the way: they are released sooner or later."""
_MANY = 64
"""Entries of a group from which on it is remembered which there are: listing fewer is as quick."""
_COMMIT_TRIES = 50
"""The folder of a group may be removed, being empty, between making it and using it: up to one time
in eight where others do nothing but evict, and as likely the next time."""
_THIS_FILE_ONLY = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EFBIG,
}
"""What says nothing of the disk; other files may well be written."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_ROOM = "there is less free space on the disk than is to be left free"
_FULL_STORE = "the cache has reached cache.max_bytes or cache.max_files, and nothing can be removed"


class CacheOptions(OptionsModel):
    """How much of what was made is kept."""

    max_bytes: Size = 10_000_000_000
    """Most bytes of derivatives kept. When the limit is passed, new derivatives are served without
    being cached until eviction has made room."""
    memory_bytes: Size = 256_000_000
    """Most bytes of ready answers kept in the memory of each server process; 0 keeps none."""
    max_files: PositiveInt | None = None
    """Most files kept, where inodes are scarce; unset: no bound."""
    ttl: PositiveSeconds | None = None
    """Time that a derivative is kept after its last use; unset: until room is needed."""
    low_water: float = Field(default=0.9, gt=0, lt=1)
    """The share of a bound down to which eviction makes room once the bound is passed."""
    min_free: Size | None = None
    """Bytes of the disk left free, whoever fills it: derivatives make room, or are not cached, and
    originals are not fetched; unset: 1 GB, or a twentieth of a disk smaller than 20 GB."""

    @property
    def bounds(self) -> Bounds:
        """The same as eviction takes it."""
        min_free = None if self.min_free is None else int(self.min_free)
        return Bounds(int(self.max_bytes), self.max_files, self.ttl, self.low_water, min_free)


@dataclass(frozen=True, slots=True)
class EntryKey:
    """Which entry: both parts are 32 hexadecimal digits."""

    group: str
    """The digest of the original it was made of."""
    digest: str
    """The digest of all that decides its bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the store that was there, and as long as it must be."""

    path: Path
    length: int
    """In bytes."""
    checksum: int
    """The CRC-32 that its bytes must have."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What the store holds and has done since the process started."""

    files: int
    size: int
    free: int | None
    """Bytes free on the disk when it was last looked at; None if it could not be."""
    hits: int
    misses: int
    evicted: int
    dropped: int
    failures: int
    """How often something could not be kept or read."""
    refused: str | None
    """Why nothing, or not everything, is kept at the moment; None if all is."""


class Store:
    """Files by opaque key. All methods are thread-safe enough to be called by worker threads.

    Reading never fails because of the disk: what cannot be read is a miss. Writing that fails keeps
    nothing, is told to the observer once in a while, and rests before it is tried again.
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
        self._entries = root / "entries"
        self._purged = root.with_name("purged")
        self._purged_at = 0
        self._incoming = root / "incoming"
        self._bounds = bounds
        self._observe = observer
        self._clock = clock
        self._monotonic = monotonic
        self._touch_at_most = (
            _TOUCH_AFTER if bounds.ttl is None else min(_TOUCH_AFTER, bounds.ttl / _TOUCH_SHARE)
        )
        self._touch_after = self._touch_at_most
        self._known: dict[EntryKey, str] = {}
        self._listed: dict[str, int] = {}
        """The large groups of which all are known, and when their folder had last changed then."""
        self._verified: dict[str, _Stamp] = {}  # of large files: when their bytes were right
        self._spoilt: dict[str, _Stamp] = {}  # wrong, and not to be removed
        self._held: Counter[str] = Counter()
        self._counts = StoreCounts()
        self._free: int | None = None
        self._wanted: int | None = None
        self._is_full = False
        self._evict_again = self._free_again = 0.0
        self._evicting = asyncio.Lock()
        self._scanning = threading.Lock()
        self._writing = Refusals(
            lambda reason: observer(StoreFailed(reason)),
            lambda reason: observer(StoreRecovered(reason)),
            monotonic,
        )
        self._reading = Refusals(
            lambda reason: observer(StoreFailed(reason)), lambda _: None, monotonic
        )

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
            free=self._free,
            hits=totals.hits,
            misses=totals.misses,
            evicted=totals.evicted,
            dropped=totals.dropped,
            failures=self._writing.count + self._reading.count,
            refused=self._writing.reason,
        )

    @property
    def entries(self) -> Path:
        """The folder that all entries are below."""
        return self._entries

    @property
    def incoming(self) -> Path:
        """The folder of the files that `reserve` gives."""
        return self._incoming

    def open(self) -> None:
        """Find what is there, and remove what earlier processes left unfinished."""
        for folder in (self._entries, self._incoming):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.refused(error)
        remove_abandoned(self._incoming)
        with self._scanning:
            self._counts.begin_scan()
            self._recount(self._scan())

    def find(self, key: EntryKey) -> Entry | None:
        """The entry, or None. Its bytes are not looked at; what has another length is removed."""
        name = self._known.get(key)
        entry = None if name is None else self._checked(key, name)
        if entry is None and (name := self._look_up(key)) is not None:
            entry = self._checked(key, name)
        if entry is None:
            self._known.pop(key, None)
            self._counts.miss()
        else:
            self._counts.hit()
        return entry

    def read(self, entry: Entry, in_memory: int) -> bytes | BinaryIO | None:
        """The entry's bytes, or above so many an open file; None if they are gone or wrong.

        What is given has the right checksum; what has a wrong one is removed.
        """
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(_open_file(entry.path))
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

    def at_hand(self, key: EntryKey, most: int) -> bytes | None:
        """The bytes of an entry that this process has found before, if there are not too many.

        None also where the disk would have to be waited for; and where they are wrong, which is
        for `read` to deal with.
        """
        name = self._known.get(key)
        entry = None if name is None else self._checked(key, name)
        if entry is None or entry.length > most:
            return None
        data = read_nowait(entry.path, entry.length)
        if data is None or crc32(data) != entry.checksum:
            return None
        self._counts.hit()
        return data

    def check(self, entry: Entry) -> bool:
        """Whether the file's bytes are right, whatever was found before; if not it is removed."""
        self._verified.pop(entry.path.name, None)
        return self.is_sound(entry)

    def is_sound(self, entry: Entry) -> bool:
        """The same, looked at once for as long as nothing is done to the file."""
        try:
            with _open_file(entry.path) as file:
                if self._is_right(entry, file.fileno()):
                    return True
        except FileNotFoundError:
            return False
        except OSError as error:
            self._unreadable(entry.path, error)
            return False
        self._drop(entry.path, "wrong checksum")
        return False

    @contextmanager
    def hold(self, key: EntryKey) -> Iterator[None]:
        """While this is open, this process does not evict the entry, if it is or will be there."""
        self._held[key.digest] += 1
        try:
            yield
        finally:
            self._held[key.digest] -= 1
            if not self._held[key.digest]:
                del self._held[key.digest]

    def holds(self, size: int) -> bool:
        """Whether an entry of so many bytes could be kept if all else were given up."""
        return self._bounds.holds(size)

    def reserve(self, expected: int = 0) -> Draft | None:
        """A new file for what may take so many bytes; None if nothing is to be written now.

        While a bound is passed, nothing is written until eviction has made room: otherwise writes
        that are faster than eviction would grow the cache without limit. Whoever gets the file
        closes it.
        """
        if not self._writing.may_try() or self._is_waiting_for_room():
            return None
        try:
            if self._disk().shortage(self._bounds.min_free, expected):
                if self._monotonic() >= self._free_again:
                    self._wanted = max(expected, self._wanted or 0)
                self._writing.refused(_NO_ROOM, rest=False)
                return None
            return Draft(self._incoming)
        except OSError as error:
            self.refused(error)
            return None

    def keep(self, key: EntryKey, data: bytes, suffix: str) -> Entry | None:
        """Keep bytes under the key; None if they cannot be kept."""
        draft = self.reserve(len(data))
        if draft is None:
            return None
        try:
            draft.write(data)
            return self.commit(key, draft, suffix)
        except OSError as error:
            self.refused(error)
            return None
        finally:
            draft.close()

    def commit(self, key: EntryKey, draft: Draft, suffix: str) -> Entry | None:
        """Keep a finished file under the key, at once and whole; None if it cannot be kept.

        The draft is moved on success, and left as it is otherwise.
        """
        try:
            length = draft.status.st_size
            if not self._bounds.holds(length):
                return None  # it would push out everything else, and then go itself
            value = draft.checksum
            name = f"{key.digest}.{length}.{value:08x}.{suffix}"
            path = self._folder(key.group) / name
            existed = path.exists()
            all_known, listed = self._knows_all(key.group), self._listed
            self._move(draft.path, path)
        except OSError as error:
            self.refused(error)
            return None
        self._spoilt.pop(name, None)
        former = self._known.get(key, name)
        self._known[key] = name
        if all_known:
            listed[key.group] = _changed_at(path.parent)
        if former != name:  # made with another version of a library
            self._unlink(path.with_name(former))
        if not existed:
            self._counts.commit(str(path), length)
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
                    locked(self._incoming / f"{key.digest}.lock", self.threads)
                )
            except OSError as error:
                self.refused(error)
                raise NotKeptError("Nothing can be kept at the moment.") from error
            self._listed.pop(key.group, None)  # which may have missed it, see `_look_up`
            yield

    def refused(self, error: OSError) -> None:
        """Count and tell that the disk refused a write, and rest if that concerns all writes.

        A full disk may be full of entries: once for each time of trouble, some have to go.
        """
        if error.errno in _FULL and self._writing.reason is None:
            self._is_full = True
        self._writing.refused(_reason(error), rest=error.errno not in _THIS_FILE_ONLY)

    def troubles(self) -> list[str]:
        """Why nothing can be kept at the moment, as the disk itself says; no path. Looks there."""
        try:
            shortage = self._disk().shortage(self._bounds.min_free, 0)
            Draft(self._incoming).close()
        except OSError as error:
            return [f"cache_path cannot be written: {_reason(error)}"]
        # Being short of space passes, as long as there is something that can make room.
        if shortage and self._writing.reason is not None:
            return [f"cache_path: {_NO_ROOM} (cache.min_free), by {shortage:,} bytes"]
        return []

    async def make_room(self) -> None:
        """Evict while a bound is passed. Several calls at once do the work of one."""
        async with self._evicting:
            # Again for what was committed during the last eviction.
            while self._is_too_full() and self._monotonic() >= self._evict_again:
                if not await self.threads.run(self.evict, timeout=LONG) and self._is_too_full():
                    rest = _HELD_AGAIN_AFTER if self._held else _EVICT_AGAIN_AFTER
                    self._evict_again = self._monotonic() + rest

    def evict(self) -> int:
        """Remove what has to go, by what is on the disk now, whoever wrote it; how many went."""
        with self._scanning:
            return self._evict()

    def _evict(self) -> int:
        self._counts.begin_scan()
        candidates = self._scan()
        total = sum(candidate.size for candidate in candidates)
        wanted, self._wanted = self._wanted, None
        is_full, self._is_full = self._is_full, False
        shortage = max(self._shortage(wanted), int(is_full))
        bounds = self._bounds.tightened(total, shortage)
        now = self._clock()
        gone = [
            candidate
            for candidate in victims(candidates, bounds, now)
            if not self._is_held(candidate.name) and self._unlink(Path(candidate.name))
        ]
        self._recount(candidates)
        if gone:
            self._counts.evict(len(gone))
            self._observe(Evicted(len(gone), sum(candidate.size for candidate in gone)))
            # The finer the time of use is known, the less of what is in use goes.
            reach = now - max(candidate.last_used for candidate in gone)
            self._touch_after = min(self._touch_at_most, max(1.0, reach / _TOUCH_SHARE))
        if wanted is not None and self._shortage(wanted):
            self._free_again = self._monotonic() + _EVICT_AGAIN_AFTER
        return len(gone)

    def sweep(self) -> None:
        """Evict what has outlived its time or was written by others, and what they left behind."""
        remove_abandoned(self._incoming)
        self.evict()

    def paths(self, group: str | None = None) -> list[Path]:
        """The files of a group, or all, on the disk now."""
        folder = self._entries if group is None else self._folder(group)
        return [Path(item.path) for item in _files_below(folder)]

    def remove(self, path: Path) -> None:
        """Remove one file that `paths` gave, and its folder if it was the last one there."""
        self._unlink(path)

    @property
    def purged_at(self) -> int:
        """A number that changes when `mark_purged` was called, or another process's call seen."""
        return self._purged_at

    def look_for_purges(self) -> None:
        """See whether another process has called `mark_purged`."""
        with contextlib.suppress(OSError):
            self._purged_at = self._purged.stat().st_mtime_ns

    def mark_purged(self) -> None:
        """Tell all processes that what they have in memory is to be forgotten as well."""
        now = time.time_ns()
        with contextlib.suppress(OSError):  # then there was nothing to purge either
            self._purged.write_bytes(b"")
            os.utime(self._purged, ns=(now, now))
        self._purged_at = now

    def usage(self) -> tuple[int, int]:
        """The number of entries and of their bytes on the disk now, whoever wrote them."""
        candidates = self._scan()
        return len(candidates), sum(candidate.size for candidate in candidates)

    def _folder(self, group: str) -> Path:
        return self._entries / group[:2] / group

    def _look_up(self, key: EntryKey) -> str | None:
        """The name of an entry that another process, or an earlier one, has written.

        There may be thousands in a group, and a client who asks for more is not to wait for a list
        of them each time. What slips in while a list is made is not found, and is made once more.
        """
        if self._knows_all(key.group):
            return None
        folder, listed = self._folder(key.group), self._listed
        changed = _changed_at(folder)
        with contextlib.suppress(OSError):
            # `listdir` makes no object for each.
            names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]  # noqa: PTH208
            if len(names) >= _MANY:
                self._known.update((EntryKey(key.group, _digest(name)), name) for name in names)
                listed[key.group] = changed
            return next((name for name in names if _digest(name) == key.digest), None)
        return None

    def _knows_all(self, group: str) -> bool:
        """Whether nothing has come to a group, or gone, since all that was there became known."""
        listed = self._listed.get(group)
        if listed is None or listed == _changed_at(self._folder(group)):
            return listed is not None
        self._listed.pop(group, None)
        return False

    def _move(self, written: Path, path: Path) -> None:
        for remaining in reversed(range(_COMMIT_TRIES)):
            try:
                written.replace(path)
            except FileNotFoundError:
                if not remaining or not written.exists():
                    raise
            else:
                return
            with contextlib.suppress(FileExistsError):  # it went while it was being made
                path.parent.mkdir(parents=True, exist_ok=True)

    def _checked(self, key: EntryKey, name: str) -> Entry | None:
        path = self._folder(key.group) / name
        match = _NAME.fullmatch(name)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable(path, error)
            return None
        if name in self._spoilt and self._spoilt[name] == _stamp(status):
            return None
        if match is None or not stat.S_ISREG(status.st_mode) or status.st_size != int(match[2]):
            self._drop(path, "wrong length")
            return None
        now = self._clock()
        age = now - status.st_mtime
        if self._bounds.ttl is not None and age > self._bounds.ttl:
            self._unlink(path)
            return None
        if age > self._touch_after or is_ahead(status.st_mtime, now):
            with contextlib.suppress(OSError):  # a read-only store still serves
                os.utime(path, (now, now))
        self._known[key] = name
        return Entry(path, status.st_size, int(match[3], 16))

    def _is_right(self, entry: Entry, descriptor: int) -> bool:
        """Whether a large file has its checksum, if that is not known. Raises OSError."""
        stamp = _stamp(os.fstat(descriptor))
        if self._verified.get(entry.path.name) != stamp:
            if checksum(descriptor) != entry.checksum:
                return False
            self._verified[entry.path.name] = stamp
        return True

    def _unreadable(self, path: Path, error: OSError) -> None:
        if error.errno == errno.EIO:  # the disk has lost it; everything else may pass
            self._drop(path, "unreadable")
        else:
            self._reading.refused(_reason(error), rest=False)

    def _drop(self, path: Path, reason: str) -> None:
        self._verified.pop(path.name, None)
        self._counts.drop()
        if not self._unlink(path):
            with contextlib.suppress(OSError):
                self._spoilt[path.name] = _stamp(path.lstat())
        self._observe(EntryDropped(path.name, reason))

    def _unlink(self, path: Path) -> bool:
        """Whether the file is gone; its folder goes too unless others are there."""
        try:
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        else:
            match = _NAME.fullmatch(path.name)
            self._counts.remove(str(path), int(match[2]) if match else 0)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        return True

    def _disk(self) -> Disk:
        """The disk as it is now. Raises OSError."""
        disk = disk_of(self._incoming)
        self._free = disk.free
        return disk

    def _shortage(self, wanted: int | None) -> int:
        """The bytes that have to go for the disk's sake; none where it does not say."""
        try:
            return self._disk().shortage(self._bounds.min_free, wanted or 0)
        except OSError:
            return 0

    def _is_too_full(self) -> bool:
        return self._wanted is not None or self._is_full or self._is_over_bound()

    def _is_over_bound(self) -> bool:
        totals = self._counts.totals
        return self._bounds.exceeded(totals.size, totals.files)

    def _is_waiting_for_room(self) -> bool:
        """Whether a bound is passed while eviction is under way, or after one that did not help."""
        if not self._is_over_bound():
            return False
        if self._monotonic() < self._evict_again:
            self._writing.refused(_FULL_STORE, rest=False)
            return True
        return self._evicting.locked()

    def _is_held(self, path: str) -> bool:
        return _digest(os.path.basename(path)) in self._held  # noqa: PTH119 - for all files there are

    def _scan(self) -> list[Candidate]:
        candidates = []
        for item in _files_below(self._entries):
            with contextlib.suppress(OSError):  # gone since it was listed
                status = item.stat(follow_symlinks=False)
                candidates.append(
                    Candidate(item.path, status.st_size, status.st_mtime, self._is_held(item.path))
                )
        return candidates

    def _recount(self, candidates: list[Candidate]) -> None:
        counted = self._counts.end_scan((item.name, item.size) for item in candidates)
        present = {os.path.basename(path) for path in counted}  # noqa: PTH119 - for all files
        # Lists first: other threads may be adding to them.
        self._known = {key: name for key, name in list(self._known.items()) if name in present}
        # What came since may have been forgotten, so no group is known whole. Another dictionary:
        # who has looked at this one before must not say so of what is known from here on.
        self._listed = {}
        self._verified = _those_in(present, self._verified)
        self._spoilt = _those_in(present, self._spoilt)


_Stamp = tuple[int, int]
"""Inode and its last change (ns): whatever is done to a file changes one of them."""


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_ctime_ns


def _digest(name: str) -> str:
    """What an entry's file is named after."""
    return name[:32]


def _changed_at(folder: Path) -> int:
    """When something last came to a folder, or went (ns); 0 if there is none."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - for each miss
    except OSError:
        return 0


def _those_in(names: set[str], stamps: dict[str, _Stamp]) -> dict[str, _Stamp]:
    return {name: stamp for name, stamp in list(stamps.items()) if name in names}


def _reason(error: OSError) -> str:
    """What the operator is told of a refusal; no path."""
    return f"{type(error).__name__}: {error.strerror or 'no reason given'}"


def _open_file(path: Path) -> BinaryIO:
    """The file, open if it is one: no link, and nothing that would wait for somebody to write."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def read_nowait(path: Path, length: int) -> bytes | None:
    """So many bytes of a file, if the operating system has them in memory, and can tell."""
    data = bytearray(length)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            count = os.preadv(descriptor, [data], 0, os.RWF_NOWAIT)
        finally:
            os.close(descriptor)
    except (OSError, AttributeError):
        return None
    return bytes(data) if count == length else None


def _files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry file under a folder; none if it is missing."""
    try:
        with os.scandir(folder) as items:
            for item in items:
                if item.is_dir(follow_symlinks=False):
                    yield from _files_below(Path(item.path))
                elif _NAME.fullmatch(item.name):
                    yield item
    except OSError:
        return
