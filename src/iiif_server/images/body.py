"""The bytes of an answer: in memory when they are few, an open file when they are many."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from iiif_server.cache.threads import StorageThreads

IN_MEMORY = 1 << 20
"""Bytes up to which a body is read at once."""


@dataclass(frozen=True, slots=True)
class Body:
    """Exactly `length` bytes: here, or in a file that is open and at its start, or can be opened.

    Whoever gets a body with a file closes it.
    """

    length: int
    data: bytes | None = None
    file: BinaryIO | None = None
    threads: StorageThreads | None = None
    """Those in which the file is read and closed: its disk may have to be waited for."""
    path: Path | None = None
    """The file by its name instead, for somebody else to open; that nobody closes."""


def body_of(descriptor: int, path: Path, threads: StorageThreads | None) -> Body:
    """The body that an open file holds now; the descriptor stays its owner's. Raises OSError.

    `path` is the file's name for the log; nothing is opened by it.
    """
    length = os.fstat(descriptor).st_size
    reader = _Reader(os.dup(descriptor), path)
    if length > IN_MEMORY:
        return Body(length, file=io.BufferedReader(reader), threads=threads)
    with reader:
        data = reader.readall()
    return Body(len(data), data)


class _Reader(io.RawIOBase):
    """An open file from its start, whatever others read by the same descriptor."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__()
        self.name = str(path)
        self._descriptor = descriptor
        self._offset = 0

    def readable(self) -> bool:
        """Whether there are bytes to be had."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with the bytes that follow."""
        view = memoryview(cast("bytearray", buffer))
        data = os.pread(self._descriptor, len(view), self._offset)
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def close(self) -> None:
        """Give the file back."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
