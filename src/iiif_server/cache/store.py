"""Derivatives on disk: complete or absent, bounded, found again after a restart.

Layout under the root, which is the truth; what is in memory only saves looking:

    entries/ab/<group>/<key>.<length>.<crc32>.<suffix>    one file an entry, in no wrapping at all
    incoming/<random>                                     being written

A file's name says how long it must be and what its checksum is, so no entry needs a second file
or a database, any number of processes may share the folder, and a web server can send the files as
they are. The group is all that belongs to one original, so that purging it is removing a folder.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ByteSize, ConfigDict, Field, PositiveInt

from iiif_server.cache.eviction import Bounds, Candidate, victims
from iiif_server.telemetry.events import EntryDropped, Evicted, Observer, StoreFailed

_NAME = re.compile(r"([0-9a-f]{32})\.(\d{1,15})\.([0-9a-f]{8})\.([a-z0-9]{1,8})", re.ASCII)
_CHUNK = 1 << 20
_TOUCH_AFTER = 600.0
"""Seconds before a hit writes the time of use again: recency need not be finer than that."""
_LOCK_POLL = 0.05
"""Seconds between looks at a lock that another process holds."""
_EVICTIONS = 3
"""How often room is made at most before the next commit is waited for."""
_COMMIT_TRIES = 5
"""The folder of a group may be removed, being empty, between making it and using it."""
_ABANDONED_AFTER = 3600.0
"""Seconds after which an incoming file has no writer any more."""


class CacheOptions(BaseModel):
    """How much of what was made is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_bytes: ByteSize = ByteSize(10_000_000_000)
    """Most bytes of derivatives kept; `20GB` and the like are understood."""
    max_files: PositiveInt | None = None
    """Most files kept, where inodes are scarce; unset: no bound."""
    ttl: float | None = Field(default=None, gt=0)
    """Seconds a derivative is kept after its last use; unset: until room is needed."""
    low_water: float = Field(default=0.9, gt=0, lt=1)
    """The share of a bound down to which eviction makes room once the bound is passed."""

    @property
    def bounds(self) -> Bounds:
        """The same as eviction takes it."""
        return Bounds(int(self.max_bytes), self.max_files, self.ttl, self.low_water)


@dataclass(frozen=True, slots=True)
class EntryKey:
    """Which entry: both parts are 32 hexadecimal digits."""

    group: str
    """The digest of the original it was made of."""
    digest: str
    """The digest of all that decides its bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete file of the store."""

    path: Path
    length: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What the store holds and has done since the process started."""

    files: int
    size: int
    hits: int
    misses: int
    evicted: int
    dropped: int
    failures: int


class Store:
    """Files by opaque key. All methods are thread-safe enough to be called by worker threads.

    Reading never fails because of the disk: what cannot be read is a miss. Writing that fails says
    so to the observer and keeps nothing.
    """

    def __init__(
        self,
        root: Path,
        bounds: Bounds,
        observer: Observer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self._entries = root / "entries"
        self._incoming = root / "incoming"
        self._bounds = bounds
        self._observe = observer
        self._clock = clock
        self._touch_after = (
            _TOUCH_AFTER if bounds.ttl is None else min(_TOUCH_AFTER, bounds.ttl / 8)
        )
        self._known: dict[EntryKey, str] = {}
        self._verified: dict[str, int] = {}  # name -> the mtime (ns) at which its bytes were right
        self._size = 0
        self._files = 0
        self._hits = self._misses = self._evicted = self._dropped = self._failures = 0
        self._evicting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Store {self._files} files, {self._size} bytes>"

    @property
    def stats(self) -> StoreStats:
        """The counts as they are now."""
        return StoreStats(
            self._files,
            self._size,
            self._hits,
            self._misses,
            self._evicted,
            self._dropped,
            self._failures,
        )

    @property
    def incoming(self) -> Path:
        """The folder of the files that `reserve` gives."""
        return self._incoming

    def open(self) -> None:
        """Find what is there, and remove what earlier processes left unfinished."""
        self._try_making(self._entries)
        self._try_making(self._incoming)
        self._remove_abandoned()
        self._recount(self._scan())

    def find(self, key: EntryKey) -> Entry | None:
        """The entry, or None.

        Its length is checked each time, its checksum the first time and whenever the file has been
        written since. What fails is removed.
        """
        name = self._known.get(key) or self._look_up(key)
        if name is not None and (entry := self._checked(key, name)) is not None:
            self._hits += 1
            return entry
        self._misses += 1
        return None

    def reserve(self) -> Path:
        """A path for a new file, which nobody else uses; OSError if the folder takes none."""
        path = self._incoming / secrets.token_hex(16)
        try:
            path.touch(exist_ok=False)
        except FileNotFoundError:
            self._incoming.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        return path

    def commit(self, key: EntryKey, written: Path, suffix: str) -> Entry | None:
        """Keep a finished file under the key, at once and whole; None if the disk refuses.

        The file is moved on success, and left where it is otherwise.
        """
        try:
            status = written.stat()
            length = status.st_size
            name = f"{key.digest}.{length}.{_checksum(written):08x}.{suffix}"
            path = self._folder(key.group) / name
            existed = path.exists()
            self._move(written, path)
        except OSError as error:
            self.report_failure(error)
            return None
        # Moving keeps the time; the file is not asked again, for it may be evicted by now.
        self._verified[name] = status.st_mtime_ns
        self._known[key] = name
        if not existed:
            self._size += length
            self._files += 1
        return Entry(path, length)

    @asynccontextmanager
    async def lock(self, key: EntryKey) -> AsyncIterator[None]:
        """Held by one of all processes that share the store; it dies with its holder.

        Raises OSError where the folder takes no file.
        """
        path = self._incoming / f"{key.digest}.lock"
        descriptor = await asyncio.to_thread(os.open, path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(_LOCK_POLL)
            yield
        finally:
            os.close(descriptor)

    def report_failure(self, error: OSError) -> None:
        """Count and tell that the disk refused a write."""
        self._failures += 1
        self._observe(StoreFailed(f"{type(error).__name__}: {error.strerror}"))

    async def make_room(self) -> None:
        """Evict if a bound is passed. Several calls at once do the work of one."""
        if not self._bounds.exceeded(self._size, self._files) or self._evicting.locked():
            return
        async with self._evicting:
            for _ in range(_EVICTIONS):  # again for what came while the last one was under way
                if self._bounds.exceeded(self._size, self._files):
                    await asyncio.to_thread(self.evict)

    def evict(self) -> None:
        """Remove what has to go, by what is on the disk now, whoever wrote it."""
        size_before, files_before = self._size, self._files
        candidates = self._scan()
        chosen = victims(candidates, self._bounds, self._clock())
        for candidate in chosen:
            self._unlink(Path(candidate.name))
        self._evicted += len(chosen)
        gone = {candidate.name for candidate in chosen}
        # What was committed meanwhile may or may not have been seen: counted twice does no harm.
        size_meanwhile = max(0, self._size - size_before)
        files_meanwhile = max(0, self._files - files_before)
        self._recount([candidate for candidate in candidates if candidate.name not in gone])
        self._size += size_meanwhile
        self._files += files_meanwhile
        if chosen:
            self._observe(Evicted(len(chosen), sum(candidate.size for candidate in chosen)))

    def paths(self, group: str | None = None) -> list[Path]:
        """The files of a group, or all, on the disk now."""
        folder = self._entries if group is None else self._folder(group)
        return [Path(item.path) for item in _files_below(folder)]

    def remove(self, path: Path) -> None:
        """Remove one file that `paths` gave, and its folder if it was the last one there."""
        self._unlink(path)

    def usage(self) -> tuple[int, int]:
        """The number of entries and of their bytes on the disk now, whoever wrote them."""
        candidates = self._scan()
        return len(candidates), sum(candidate.size for candidate in candidates)

    def _folder(self, group: str) -> Path:
        return self._entries / group[:2] / group

    def _look_up(self, key: EntryKey) -> str | None:
        """The name of an entry that another process, or an earlier one, has written."""
        with contextlib.suppress(OSError), os.scandir(self._folder(key.group)) as folder:
            for item in folder:
                if item.name.startswith(key.digest) and _NAME.fullmatch(item.name):
                    return item.name
        return None

    def _move(self, written: Path, path: Path) -> None:
        for remaining in reversed(range(_COMMIT_TRIES)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                written.replace(path)
            except (FileNotFoundError, FileExistsError):  # the latter where it went during `mkdir`
                if not remaining:
                    raise
            else:
                return

    def _checked(self, key: EntryKey, name: str) -> Entry | None:
        path = self._folder(key.group) / name
        match = _NAME.fullmatch(name)
        try:
            status = path.stat()
            age = self._clock() - status.st_mtime
            if self._bounds.ttl is not None and age > self._bounds.ttl:
                self._known.pop(key, None)
                self._unlink(path)
                return None
            if match is None or status.st_size != int(match[2]):
                self._drop(key, path, "wrong length")
                return None
            if self._verified.get(name) != status.st_mtime_ns:
                if _checksum(path) != int(match[3], 16):
                    self._drop(key, path, "wrong checksum")
                    return None
                self._verified[name] = status.st_mtime_ns
            if age > self._touch_after:
                self._touch(path)
        except FileNotFoundError:
            self._known.pop(key, None)
            return None
        except OSError as error:
            self.report_failure(error)
            return None
        self._known[key] = name
        return Entry(path, status.st_size)

    def _drop(self, key: EntryKey, path: Path, reason: str) -> None:
        self._known.pop(key, None)
        self._verified.pop(path.name, None)
        self._dropped += 1
        self._unlink(path)
        self._observe(EntryDropped(path.name, reason))

    def _touch(self, path: Path) -> None:
        now = self._clock()
        with contextlib.suppress(OSError):  # a read-only store still serves
            os.utime(path, (now, now))
            self._verified[path.name] = path.stat().st_mtime_ns

    def _unlink(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # leaves it alone unless that was the last entry

    def _scan(self) -> list[Candidate]:
        candidates = []
        for item in _files_below(self._entries):
            with contextlib.suppress(OSError):  # gone since it was listed
                status = item.stat()
                candidates.append(Candidate(item.path, status.st_size, status.st_mtime))
        return candidates

    def _recount(self, candidates: list[Candidate]) -> None:
        self._files = len(candidates)
        self._size = sum(candidate.size for candidate in candidates)
        present = {os.path.basename(candidate.name) for candidate in candidates}  # noqa: PTH119
        # Lists first: other threads may be adding to both.
        self._known = {key: name for key, name in list(self._known.items()) if name in present}
        self._verified = {
            name: mtime for name, mtime in list(self._verified.items()) if name in present
        }

    def _remove_abandoned(self) -> None:
        with contextlib.suppress(OSError), os.scandir(self._incoming) as incoming:
            for item in incoming:
                if self._clock() - item.stat().st_mtime > _ABANDONED_AFTER:
                    Path(item.path).unlink(missing_ok=True)

    def _try_making(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.report_failure(error)


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


def _try_lock(descriptor: int) -> bool:
    """Whether the file is now locked by us."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _checksum(path: Path) -> int:
    """The CRC-32 of a file's bytes."""
    value = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value
