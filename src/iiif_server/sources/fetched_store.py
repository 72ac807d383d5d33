"""Store of fetched originals with limits: index of sizes and times of use, and eviction."""

import errno
import fcntl
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from iiif_server.cache.space import disk_of
from iiif_server.errors import NoSpaceForOriginalError, OriginalTooLargeError
from iiif_server.sources.provenance import MAX_RECORD_BYTES, Provenance
from iiif_server.sources.sparse_file import FOLDER, PARTS, RECORD, sparse_files
from iiif_server.sources.stored_names import RECORDS, record_of
from iiif_server.units import show_size

INDEX = ".fetched"
"""Folder of the index, below `source_path`. No type can have this name."""
FLUSH_SECONDS = 30.0
"""Interval (seconds) at which times of use are written to the index."""
_BUSY_SECONDS = 8.0
"""Longest wait (seconds) for a write of another process."""
_BATCH = 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS originals(
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, used REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON originals(used, path);
CREATE TABLE IF NOT EXISTS totals(one INTEGER PRIMARY KEY, files INTEGER, bytes INTEGER);
INSERT OR IGNORE INTO totals VALUES(1, 0, 0);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON originals BEGIN
    UPDATE totals SET files = files + 1, bytes = bytes + new.size; END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON originals BEGIN
    UPDATE totals SET files = files - 1, bytes = bytes - old.size; END;
CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE OF size ON originals BEGIN
    UPDATE totals SET bytes = bytes + new.size - old.size; END;
"""
_ADD = """INSERT INTO originals VALUES(?, ?, ?, ?) ON CONFLICT(path) DO UPDATE
    SET size = excluded.size, mtime_ns = excluded.mtime_ns, used = max(used, excluded.used)"""


@dataclass(frozen=True, slots=True)
class FetchedLimits:
    """Limits on all fetched originals; None is no limit."""

    max_bytes: int | None = None
    max_files: int | None = None
    min_free: int | None = None
    """Free bytes to leave on the disk; None: by its size."""


@dataclass(frozen=True, slots=True)
class FetchedStats:
    """Statistics of the stored originals, by the index."""

    files: int = 0
    size: int = 0
    """In bytes."""
    evicted: int = 0
    """Number of originals that this process has removed to make room."""


class FetchedStore:
    """Store of fetched originals: evicts the least recently used to stay within limits.

    It removes only files that a fetch has stored and that are unchanged since, and none that a
    process on this machine has locked (`lock_for_use`). The index is an SQLite database, shared by
    all server processes. All methods are thread-safe, and block except `touch`. They raise OSError
    if the disk or the index fails.
    """

    def __init__(
        self, root: Path, limits: FetchedLimits, clock: Callable[[], float] = time.time
    ) -> None:
        """`root`: the parent of the folders of all types."""
        self._root = root
        self._limits = limits
        self._clock = clock
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._folders: set[Path] = set()
        self._used: dict[str, float] = {}
        """Times of use that are not in the index yet, by path."""
        self._reserved_bytes = self._reserved_files = 0
        """Bytes and files that are reserved for fetches of this process."""
        self._stats = FetchedStats()

    def __repr__(self) -> str:
        return f"<FetchedStore {self._root}>"

    @property
    def stats(self) -> FetchedStats:
        """Statistics when the index was last read."""
        return self._stats

    def register(self, folder: Path) -> None:
        """Add the folder of a type with fetched originals."""
        self._folders.add(folder)

    def touch(self, path: Path) -> None:
        """Store the time of use of an original in memory; does not block."""
        self._used[self._name(path)] = self._clock()

    def flush(self) -> None:
        """Write the times of use to the index."""
        with self._transaction() as database:
            self._write_uses(database)

    def close(self) -> None:
        """Write the times of use, and close the index."""
        with self._lock:
            if self._used:
                with suppress(OSError):
                    self.flush()
            if self._database is not None:
                self._database.close()
                self._database = None

    def reserve_file(self) -> "Reservation":
        """Reserve room for one more file, of a fetch; the caller closes the reservation."""
        with self._lock:
            self._reserved_files += 1
        return Reservation(self)

    def reserve(self, size: int) -> None:
        """Reserve `size` more bytes for originals that are being fetched.

        Evicts others. Raises NoSpaceForOriginalError if there is no room.
        """
        has_room = False
        with self._transaction() as database:
            self._write_uses(database)
            self._reserved_bytes += size
            try:
                has_room = self._evict(database, needed=size)
            finally:
                if not has_room:
                    self._reserved_bytes -= size
        if not has_room:
            cause = OSError(
                errno.ENOSPC, "what fetch.keep_bytes and fetch.keep_files allow is in use"
            )
            raise NoSpaceForOriginalError(
                "The server has too little space to fetch this original."
            ) from cause

    def check_size(self, size: int) -> None:
        """Raise OriginalTooLargeError if an original is larger than the limit of the store."""
        if self._limits.max_bytes is not None and size > self._limits.max_bytes:
            limit = show_size(self._limits.max_bytes)
            raise OriginalTooLargeError(f"The original is larger than the {limit} that are kept.")

    def add(self, path: Path, status: os.stat_result, reserved: int) -> None:
        """Add a stored original, and release the `reserved` bytes of its fetch."""
        row = (self._name(path), status.st_size, status.st_mtime_ns, self._clock())
        with self._lock:
            self.release(reserved)
            with self._transaction() as database:
                database.execute(_ADD, row)
                self._evict(database, keep=row[0])  # other processes may have stored originals

    def add_parts(self, path: Path, size: int, reserved: int) -> None:
        """Add or update a sparse file with `size` bytes present; release `reserved` bytes."""
        row = (self._name(path), size, PARTS, self._clock())
        with self._lock:
            self._reserved_bytes -= reserved
            with self._transaction() as database:
                database.execute(_ADD, row)
                self._evict(database, keep=row[0])

    def release_parts(self, reserved: int) -> None:
        """Release `reserved` bytes for parts of a sparse file."""
        with self._lock:
            self._reserved_bytes -= reserved

    def release(self, reserved: int) -> None:
        """Release the reservation of one file with `reserved` bytes."""
        with self._lock:
            self._reserved_bytes -= reserved
            self._reserved_files -= 1

    def import_existing(self) -> None:
        """Add originals that are not in the index: fetched without limits, or before a crash.

        Reads the folders of all types, so only the start of a server calls it.
        """
        with self._transaction() as database:
            names = [name for (name,) in database.execute("SELECT path FROM originals")]
        missing = [(name,) for name in names if not os.path.lexists(self._root / name)]
        found = chain.from_iterable(
            chain(_fetched_below(folder), sparse_files(folder)) for folder in tuple(self._folders)
        )
        with self._transaction() as database:
            database.executemany("DELETE FROM originals WHERE path = ?", missing)
        while rows := list(islice(found, _BATCH)):
            with self._transaction() as database:
                database.executemany(_ADD, [(self._name(path), *row) for path, *row in rows])
        with self._transaction() as database:
            self._evict(database)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _write_uses(self, database: sqlite3.Connection) -> None:
        uses = [(self._used.pop(name), name) for name in list(self._used)]
        database.executemany("UPDATE originals SET used = max(used, ?) WHERE path = ?", uses)

    def _evict(
        self, database: sqlite3.Connection, keep: str | None = None, needed: int = 0
    ) -> bool:
        """Evict originals until the rest and the fetches under way are within the limits.

        Returns success: False if the rest is in use, or if the fetches alone exceed the limits.
        """
        skipped = {keep}
        while self._excess(database, needed):
            if self._reservations_exceed_limits():
                return False
            rows = database.execute(
                "SELECT path, size, mtime_ns FROM originals ORDER BY used, path LIMIT ?",
                (_BATCH + len(skipped),),
            )
            rest = [row for row in rows.fetchall() if row[0] not in skipped]
            if not rest:
                return False
            for name, size, mtime_ns in rest:
                if not self._remove(database, name, (size, mtime_ns)):
                    skipped.add(name)
                elif not self._excess(database, needed):
                    break
        return True

    def _reservations_exceed_limits(self) -> bool:
        limits = self._limits
        return (limits.max_bytes is not None and self._reserved_bytes > limits.max_bytes) or (
            limits.max_files is not None and self._reserved_files > limits.max_files
        )

    def _excess(self, database: sqlite3.Connection, needed: int) -> bool:
        """Whether originals must be evicted, also for free space on the disk.

        A shortage that evicting all of them would not end is ignored: other programs cause it.
        """
        files, size = map(int, database.execute("SELECT files, bytes FROM totals").fetchone())
        self._stats = FetchedStats(files, size, self._stats.evicted)
        limits = self._limits
        return (
            (limits.max_bytes is not None and size + self._reserved_bytes > limits.max_bytes)
            or (limits.max_files is not None and files + self._reserved_files > limits.max_files)
            or bool(0 < disk_of(self._root).shortage(limits.min_free, needed) <= size)
        )

    def _remove(self, database: sqlite3.Connection, name: str, version: tuple[int, int]) -> bool:
        """Remove an original from the index, and its unchanged file; False if it is in use."""
        path = self._root / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = None
        except OSError:
            return False
        if descriptor is not None:
            try:
                status = os.fstat(descriptor)
                ours = (status.st_size, status.st_mtime_ns) == version or version[1] == PARTS
                if ours and stat.S_ISREG(status.st_mode):
                    if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        return False
                    path.unlink(missing_ok=True)
                    self._record_of(name).unlink(missing_ok=True)
                    stats = self._stats
                    self._stats = FetchedStats(stats.files, stats.size, stats.evicted + 1)
            finally:
                os.close(descriptor)
        database.execute("DELETE FROM originals WHERE path = ?", (name,))
        return True

    def _record_of(self, name: str) -> Path:
        type_, _, below = name.partition("/")
        if below.startswith(f"{FOLDER}/"):
            return self._root / f"{name}{RECORD}"
        return record_of(self._root / type_, below)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Transaction of the index that excludes other writers. Raises OSError if it fails."""
        with self._lock:
            try:
                database = self._open()
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                finally:  # commit the removals also after an error: their files are deleted
                    database.execute("COMMIT")
            except sqlite3.Error as error:
                raise OSError(errno.EIO, f"the index of fetched originals: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            path = self._root / INDEX / "index.sqlite"
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._database = _connect(path)
            except sqlite3.OperationalError:  # locked, or the disk fails
                raise
            except sqlite3.DatabaseError:  # damaged: `import_existing` adds all originals again
                path.unlink()
                self._database = _connect(path)
        return self._database


class Reservation:
    """Reservation of bytes for one original that is being fetched."""

    def __init__(self, store: FetchedStore) -> None:
        self._store = store
        self._received = self._reserved = 0
        self._is_open = True

    def __repr__(self) -> str:
        return f"<Reservation {self._received} of {self._reserved}>"

    def reserve(self, size: int) -> None:
        """Reserve `size` more bytes. Raises OriginalTooLargeError, or as the store."""
        self._store.check_size(self._reserved + size)
        self._store.reserve(size)
        self._reserved += size

    def count_received(self, size: int) -> None:
        """Count received bytes, reserving more if needed; raises as `reserve`."""
        self._received += size
        if self._received > self._reserved:
            self.reserve(self._received - self._reserved)

    def store(self, path: Path, status: os.stat_result) -> None:
        """Add the complete original to the index."""
        self._is_open = False
        self._store.add(path, status, self._reserved)

    def close(self) -> None:
        """Release the reservation, unless the original is stored."""
        if self._is_open:
            self._is_open = False
            self._store.release(self._reserved)


def lock_for_use(descriptor: int) -> bool:
    """Lock an open original against eviction until it is closed; False if it was evicted."""
    _lock(descriptor, fcntl.LOCK_SH)
    return os.fstat(descriptor).st_nlink > 0


def _lock(descriptor: int, how: int) -> bool:
    """Lock a file. Returns success, also where the file system has no locks."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        database.executescript(f"PRAGMA synchronous = NORMAL; {_SCHEMA}")
    except BaseException:
        database.close()
        raise
    return database


def _fetched_below(folder: Path) -> Iterator[tuple[Path, int, int, float]]:
    """Fetched files below the folder of a type, by their valid records.

    Yields path, size (bytes), modification time (ns), and the time of the last fetch or
    revalidation (seconds since the epoch).
    """
    for parent, folders, files in os.walk(folder):
        directory = Path(parent)
        if directory == folder:
            folders[:] = [name for name in folders if name != RECORDS]
        for path in map(directory.joinpath, files):
            with suppress(OSError, ValueError):  # without a record: not a fetched file
                record = record_of(folder, path.relative_to(folder).as_posix())
                with record.open("rb") as file:
                    known = Provenance.parse(file.read(MAX_RECORD_BYTES))
                status = path.stat(follow_symlinks=False)
                if known is not None and known.is_about(status.st_size, status.st_mtime_ns):
                    yield path, status.st_size, status.st_mtime_ns, known.asked
