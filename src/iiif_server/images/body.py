"""The bytes of an answer: in memory when they are few, an open file when they are many."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from iiif_server.cache.threads import StorageThreads
from iiif_server.images.originals import Original
from iiif_server.plan.extents import Extent
from iiif_server.plan.local_file import removed, replaced
from iiif_server.sources.opening import OpenedFile

IN_MEMORY = 1 << 20
"""Bytes up to which a body is read at once."""


@dataclass(frozen=True, slots=True)
class Body:
    """Exactly `length` bytes: here, or in a file that can be opened, or is open where they begin.

    Whoever gets a body with a file closes it.
    """

    length: int
    data: bytes | None = None
    file: BinaryIO | None = None
    threads: StorageThreads | None = None
    """Those in which the file is read and closed: its disk may have to be waited for."""
    checksum: int | None = None
    """The CRC-32 that the bytes in the file must have; None: unknown."""
    path: Path | None = None
    """The file by its name instead, for somebody else to open; that nobody closes."""


def body_of(
    descriptor: int,
    path: Path,
    threads: StorageThreads | None,
    extent: Extent | None = None,
) -> Body:
    """The body that an open file, or an extent of it, holds now. Raises OSError.

    The descriptor stays its owner's. `path` is the file's name for the log; nothing is opened by
    it.
    """
    begin, end = extent or (0, os.fstat(descriptor).st_size)
    length = end - begin
    reader = _Reader(os.dup(descriptor), path, begin)
    if length > IN_MEMORY:
        return Body(length, file=io.BufferedReader(reader), threads=threads)
    with reader:
        data = io.BufferedReader(reader).read(length)
    return Body(len(data), data)


class _Reader(io.RawIOBase):
    """An open file from an offset on, whatever others read by the same descriptor."""

    def __init__(self, descriptor: int, path: Path, offset: int) -> None:
        super().__init__()
        self.name = str(path)
        self._descriptor = descriptor
        self._offset = offset

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


async def original_body(original: Original, extent: Extent | None = None) -> Body:
    """The bytes of an original that is held, or an extent of them.

    They are of the version whose header was read, or OriginalChangedError is raised; or what the
    source raises of which parts have to be brought.
    """
    if original.opened is None or original.threads is None:
        raise removed()
    if extent is None or original.parts is None:
        await original.bring_whole()
    else:
        await original.parts.bring([extent])
    return await original.threads.run(_read, original, original.opened, extent, undo=close)


def close(body: Body | None) -> None:
    """Close the file of a body that nobody takes."""
    if body is not None and body.file is not None:
        body.file.close()


def _read(original: Original, opened: OpenedFile, extent: Extent | None) -> Body:
    try:
        with opened.kept_open() as descriptor:
            body = body_of(descriptor, original.file.path, original.threads, extent)
            if original.file.version.is_of(descriptor):
                return body
    except OSError as error:
        raise removed() from error
    close(body)
    raise replaced()
