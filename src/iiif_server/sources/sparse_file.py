"""Sparse files: local files with some extents of an original, and a record of these extents.

A sparse file is used again after a restart. The record has a checksum of each extent. So an extent
counts as absent if it was recorded but not written, or if the disk has lost it.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from iiif_server.digests import crc32
from iiif_server.plan.extents import Extent, merge_extents, missing_extents

FOLDER = ".ranged"
"""Folder of the sparse files, below the folder of a type. No original can have this path."""
RECORD = ".extents"
"""Suffix of the record of a sparse file."""
PARTS = -1
"""Value for the modification time of sparse files in the index of fetched originals, as the real
one changes with each fetched extent."""
_CHUNK = 1 << 20
_MAX_HEAD = 4096
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Identity(BaseModel):
    """Identity of the original in a sparse file, and of its version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: str
    """Digest of the URL of the original."""
    tag: str
    """Strong validator: the ETag as the upstream has sent it."""
    size: int
    modified: int
    """Modification time, in seconds since the epoch."""


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: Identity
    inode: int
    """Inode of the sparse file that the record belongs to."""


class SparseFile:
    """Sparse file with the full length of its original and some extents of it. Thread-safe.

    All methods may block. Several processes may use one file, as all write the same bytes.
    """

    def __init__(self, path: Path, descriptor: int, record: int, identity: Identity) -> None:
        """Take ownership of the descriptors of the file and of its record. Use `open`, `create`."""
        self.path = path
        self.descriptor = descriptor
        self.identity = identity
        self._record = record
        self._read_to = 0
        """Number of bytes of the record that were read."""
        self._present: tuple[Extent, ...] = ()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<SparseFile {self.path}>"

    @property
    def present(self) -> tuple[Extent, ...]:
        """Extents that are present, ascending, without overlap."""
        return self._present

    @property
    def gone(self) -> bool:
        """Whether the file was removed or replaced."""
        return not os.fstat(self.descriptor).st_nlink

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Open a sparse file and verify its extents; None if it is missing or invalid.

        Raises OSError.
        """
        with ExitStack() as stack:
            try:
                descriptor = os.open(path, _OPEN)
                stack.callback(os.close, descriptor)
                record = os.open(_record_of(path), _OPEN | os.O_APPEND)
                stack.callback(os.close, record)
            except FileNotFoundError:
                return None
            head = _parse(os.pread(record, _MAX_HEAD, 0))
            status = os.fstat(descriptor)
            if head is None or (head.inode, head.identity.size) != (status.st_ino, status.st_size):
                return None
            found = cls(path, descriptor, record, head.identity)
            found.reload()
            stack.pop_all()
            return found

    @classmethod
    def create(cls, path: Path, identity: Identity, temporary: Path) -> Self:
        """Create a sparse file at a path, replacing any other. Raises OSError.

        `temporary` is an unused path on the same disk.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, _OPEN | os.O_CREAT | os.O_EXCL, 0o666)
        record = -1
        try:
            os.ftruncate(descriptor, identity.size)
            temporary.replace(path)
            record = os.open(temporary, _OPEN | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            head = _Head(identity=identity, inode=os.fstat(descriptor).st_ino)
            os.write(record, head.model_dump_json().encode() + b"\n")
            temporary.replace(_record_of(path))
        except BaseException:
            for opened in (descriptor, record):
                if opened >= 0:
                    os.close(opened)
            temporary.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, record, identity)

    def write(self, position: int, data: bytes) -> None:
        """Write bytes of the original, and record them. Raises OSError."""
        rest, offset = memoryview(data), position
        while rest:
            written = os.pwrite(self.descriptor, rest, offset)
            rest, offset = rest[written:], offset + written
        # One call per line, so that lines of several processes do not mix.
        os.write(self._record, f"{position} {position + len(data)} {crc32(data)}\n".encode())
        self._add((position, position + len(data)))

    def reload(self) -> None:
        """Read and verify the extents that other processes have recorded since. Raises OSError."""
        with self._lock:
            start = self._read_to
            size = os.fstat(self._record).st_size
            if size <= start:
                return
            new = os.pread(self._record, size - start, start)
            new = new[: new.rfind(b"\n") + 1]
            self._read_to = start + len(new)
        for extent, checksum in _extents(new, self.identity.size):
            if missing_extents(self._present, [extent]) and self._checksum(extent) == checksum:
                self._add(extent)

    def remove(self) -> None:
        """Remove the file and its record, unless another file has replaced it. Raises OSError."""
        if not self.gone:
            self.path.unlink(missing_ok=True)
            _record_of(self.path).unlink(missing_ok=True)

    def descriptors(self) -> Sequence[int]:
        """Descriptors of the file and of its record, for the owner to close."""
        return self.descriptor, self._record

    def _add(self, extent: Extent) -> None:
        with self._lock:
            self._present = merge_extents([*self._present, extent])

    def _checksum(self, extent: Extent) -> int:
        value, (position, stop) = 0, extent
        while position < stop and (
            data := os.pread(self.descriptor, min(_CHUNK, stop - position), position)
        ):
            value = crc32(data, value)
            position += len(data)
        return value if position == stop else -1


def sparse_files(folder: Path) -> Iterator[tuple[Path, int, int, float]]:
    """Index rows of the sparse files of a type: path, bytes, PARTS, time of use (seconds)."""
    for path in (folder / FOLDER).glob("*"):
        with suppress(OSError):
            status = path.stat(follow_symlinks=False)
            if not path.name.endswith(RECORD):
                yield path, 512 * status.st_blocks, PARTS, status.st_mtime


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + RECORD)


def _parse(record: bytes) -> _Head | None:
    line, end, _ = record.partition(b"\n")
    try:
        return _Head.model_validate_json(line) if end else None
    except ValidationError:
        return None


def _extents(record: bytes, size: int) -> Iterator[tuple[Extent, int]]:
    """Parse the lines of a record: extents with their CRC-32; invalid lines are skipped."""
    for line in record.splitlines():
        fields = line.split()
        if len(fields) == 3 and all(field.isdigit() and len(field) < 20 for field in fields):  # noqa: PLR2004
            start, stop, checksum = map(int, fields)
            if start < stop <= size:
                yield (start, stop), checksum
