"""Files that are being written, and locks: each is somebody's while a process has it locked.

A lock (flock) dies with the process that has it, so what was left by one that was killed is known
by being unlocked: no clock is asked, and no process table.
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
"""Seconds between looks at a lock that another process holds."""
_MOVE_TRIES = 50
"""How often a file is moved into a folder that others may remove while it is empty. Where others do
nothing but evict, this happens up to one time in eight, and as likely the next time."""
_TRIES = 20
"""How often a file is made that others remove before it is locked."""


class PendingFile:
    """A new file that is ours until it is closed, for others to open by its path and write.

    They must not create it: then one that is written after everybody gave it up leaves nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder takes no file."""
        for remaining in reversed(range(_TRIES)):
            self.path = folder / secrets.token_hex(16)
            self._descriptor = _create(self.path, os.O_EXCL)
            if _try_lock(self._descriptor) and _is_at(self.path, self._descriptor):
                return
            os.close(self._descriptor)  # whoever cleans up was faster
            if not remaining:
                raise OSError(errno.ENOENT, "new files are removed at once")

    def __repr__(self) -> str:
        return f"<PendingFile {self.path.name}>"

    @property
    def status(self) -> os.stat_result:
        """The file's status, whatever its name is by now."""
        return os.fstat(self._descriptor)

    @property
    def checksum(self) -> int:
        """The CRC-32 of the file's bytes."""
        return checksum(self._descriptor)

    def write(self, data: bytes) -> None:
        """Write all bytes of the file, which is empty. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def read(self) -> bytes:
        """The file's bytes."""
        return b"".join(_chunks(self._descriptor))

    def move_to(self, path: Path) -> None:
        """Move the finished file to another path; its folder is made if needed. Raises OSError."""
        for remaining in reversed(range(_MOVE_TRIES)):
            try:
                self.path.replace(path)
            except FileNotFoundError:
                if not remaining or not self.path.exists():
                    raise
            else:
                return
            with contextlib.suppress(FileExistsError):  # it was removed while it was being made
                path.parent.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove the file, unless it was moved away."""
        _release(self.path, self._descriptor)


def discard(pending: PendingFile | None) -> None:
    """Close a file that nobody takes, if there is one."""
    if pending is not None:
        pending.close()


@asynccontextmanager
async def locked(path: Path, threads: StorageThreads | None = None) -> AsyncIterator[None]:
    """Held by one of all processes that use this path; it dies with its holder.

    `threads` are those of the disk that the path is on.

    The file is removed when the lock is given back, by its holder: whoever waits for it then finds
    that the name is another file's, and tries that one. Raises OSError if no file can be made.
    """
    chosen = threads or StorageThreads("a lock")
    descriptor = await _acquired(path, chosen)
    try:
        yield
    finally:
        await chosen.settle(_release, path, descriptor)


@contextlib.contextmanager
def locked_in_thread(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """The same for a thread, which may block: whether the lock is held.

    It is not if another process has it and `wait` is false. Where no file can be made there is no
    lock to wait for.
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
    """Remove what processes that have ended left in the folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            with contextlib.suppress(OSError):  # somebody's, or none of ours
                _remove_unlocked(Path(item.path))


def checksum(descriptor: int) -> int:
    """The CRC-32 of all bytes of an open file. Raises OSError."""
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
    """The file at a path, open and locked by us; None while another process has it."""
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
    """Remove a file that is ours, unless it was moved away, and then give it back."""
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _create(path: Path, flags: int = 0) -> int:
    """A new or, unless the flags say otherwise, present file at the path, open."""
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:  # the folder was removed
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


def _try_lock(descriptor: int) -> bool:
    """Whether the file is now locked by us; also where the file system has no locks.

    There two processes may do the same work, and what a killed one leaves stays.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the name is still that of the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _remove_unlocked(path: Path) -> None:
    """Remove a file that nobody has locked. Raises OSError if it is locked, or cannot be."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only who has the lock removes a file, so the name stays this file's while we have it.
        if _is_at(path, descriptor) and stat.S_ISREG(os.fstat(descriptor).st_mode):
            path.unlink()
    finally:
        os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    offset = 0
    while chunk := os.pread(descriptor, _CHUNK, offset):
        yield chunk
        offset += len(chunk)
