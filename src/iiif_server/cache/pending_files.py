"""Pending files and lock files: each belongs to the process that has locked it (flock).

The kernel releases the lock when the process ends. So an unlocked file was left by a process that
was killed, and can be removed; this needs no clock and no process table.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from iiif_server.cache.threads import StorageThreads
from iiif_server.digests import crc32

_CHUNK = 1 << 20
_LOCK_POLL = 0.05
"""Seconds between attempts to take a lock that another process holds."""
_MOVE_TRIES = 50
"""Attempts to move a file into a folder that other processes may remove while it is empty. While
they evict all the time, up to one attempt in eight fails."""
_TRIES = 20
"""Attempts to create a file that other processes may remove before it is locked."""


class PendingFile:
    """New file, locked by this process until `close`. Workers may open it by its path and write.

    They must not create it: a worker that writes after `close` would leave a file behind.
    """

    def __init__(self, folder: Path) -> None:
        """Create and lock a file in `folder`. Raises OSError."""
        for remaining in reversed(range(_TRIES)):
            self.path = folder / secrets.token_hex(16)
            self._descriptor = _create(self.path, os.O_EXCL)
            if _try_lock(self._descriptor) and _is_at(self.path, self._descriptor):
                return
            os.close(self._descriptor)  # another process has removed it as abandoned
            if not remaining:
                raise OSError(errno.ENOENT, "new files are removed at once")

    def __repr__(self) -> str:
        return f"<PendingFile {self.path.name}>"

    @property
    def status(self) -> os.stat_result:
        """Status of the file, also after it was moved. Raises OSError."""
        return os.fstat(self._descriptor)

    @property
    def checksum(self) -> int:
        """CRC-32 of the file. Raises OSError."""
        return checksum(self._descriptor)

    def write(self, data: bytes) -> None:
        """Append bytes to the file. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def read(self) -> bytes:
        """All bytes of the file. Raises OSError."""
        return b"".join(_chunks(self._descriptor))

    def move_to(self, path: Path) -> None:
        """Move the finished file to another path, creating its folder. Raises OSError."""
        for remaining in reversed(range(_MOVE_TRIES)):
            try:
                self.path.replace(path)
            except FileNotFoundError:
                if not remaining or not self.path.exists():
                    raise
            else:
                return
            with contextlib.suppress(FileExistsError):  # removed by another process meanwhile
                path.parent.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove the file, unless it was moved, and release the lock."""
        _release(self.path, self._descriptor)


def discard(pending: PendingFile | None) -> None:
    """Close a pending file that is not needed any more, if there is one."""
    if pending is not None:
        pending.close()


@asynccontextmanager
async def locked(path: Path, threads: StorageThreads | None = None) -> AsyncIterator[None]:
    """Lock between processes: one process at a time holds the lock file at `path`.

    The kernel releases the lock when the process ends. `threads` are those of the disk of `path`.
    The holder removes the file before it releases the lock: a waiting process then finds another
    file, or none, at the path, and tries again. Raises OSError if the file cannot be created.
    """
    chosen = threads or StorageThreads("a lock")
    descriptor = await _acquired(path, chosen)
    try:
        yield
    finally:
        await chosen.settle(_release, path, descriptor)


@contextlib.contextmanager
def locked_in_thread(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock between processes, as `locked`, for a thread, which may block. Yields success.

    False only if another process holds the lock and `wait` is false. True without a lock if the
    file cannot be created.
    """
    descriptor, is_held = None, True
    with contextlib.suppress(OSError):
        while (descriptor := _try_to_acquire(path)) is None and (is_held := wait):
            time.sleep(_LOCK_POLL)
    try:
        yield is_held
    finally:
        if descriptor is not None:
            _release(path, descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove the files that ended processes left in the folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            with contextlib.suppress(OSError):  # locked by a process, or not a file of the server
                _remove_unlocked(Path(item.path))


def checksum(descriptor: int) -> int:
    """CRC-32 of all bytes of an open file. Raises OSError."""
    value = 0
    for chunk in _chunks(descriptor):
        value = crc32(chunk, value)
    return value


async def _acquired(path: Path, threads: StorageThreads) -> int:
    def undo(descriptor: int | None) -> None:
        if descriptor is not None:
            _release(path, descriptor)

    while (  # noqa: ASYNC110 - other processes set no event
        descriptor := await threads.run(_try_to_acquire, path, undo=undo)
    ) is None:
        await asyncio.sleep(_LOCK_POLL)
    return descriptor


def _try_to_acquire(path: Path) -> int | None:
    """Descriptor of the file at a path, locked; None while another process has locked it.

    Raises OSError.
    """
    descriptor = _create(path)
    try:
        if _try_lock(descriptor) and _is_at(path, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _release(path: Path, descriptor: int) -> None:
    """Remove a file that this process has locked, unless it was moved, and release the lock."""
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _create(path: Path, flags: int = 0) -> int:
    """Descriptor of the file at the path, created if it is missing. Raises OSError.

    With O_EXCL in the flags, an existing file is an error.
    """
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:  # the folder was removed
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


def _try_lock(descriptor: int) -> bool:
    """Lock a file without waiting. Returns success, also where the file system has no locks.

    Without locks, two processes may do the same work, and files of killed processes stay.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still at this path."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _remove_unlocked(path: Path) -> None:
    """Remove a file that no process has locked. Raises OSError if it is locked, or on failure."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only the process with the lock removes a file, so the path stays valid until the unlink.
        if _is_at(path, descriptor) and stat.S_ISREG(os.fstat(descriptor).st_mode):
            path.unlink()
    finally:
        os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    offset = 0
    while chunk := os.pread(descriptor, _CHUNK, offset):
        yield chunk
        offset += len(chunk)
