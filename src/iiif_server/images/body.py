"""Body of a response: bytes in memory if it is small, an open file if it is large."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from iiif_server.cache.threads import StorageThreads
from iiif_server.images.originals import Original
from iiif_server.plan.extents import Extent
from iiif_server.plan.local_file import removed_error, replaced_error
from iiif_server.sources.opening import OpenedFile

IN_MEMORY = 1 << 20
"""Maximum bytes of a body that is read into memory."""


@dataclass(frozen=True, slots=True)
class Body:
    """Exactly `length` bytes: in memory, in an open file, or in a file named by its path.

    The receiver of a body with an open file has to close the file.
    """

    length: int
    data: bytes | None = None
    file: BinaryIO | None = None
    threads: StorageThreads | None = None
    """Threads that read and close the file, whose disk may be slow."""
    checksum: int | None = None
    """Expected CRC-32 of the bytes in the file; None: unknown."""
    path: Path | None = None
    """Path of a file that is not open, for a proxy to send."""


def body_of(
    descriptor: int,
    path: Path,
    threads: StorageThreads | None,
    extent: Extent | None = None,
) -> Body:
    """Body with the current content of an open file, or of an extent of it. Raises OSError.

    The descriptor is duplicated, and the caller still has to close its own. `path` is only for
    the log.
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
    """Raw reader of an open file from an offset on, with its own position in the file."""

    def __init__(self, descriptor: int, path: Path, offset: int) -> None:
        super().__init__()
        self.name = str(path)
        self._descriptor = descriptor
        self._offset = offset

    def readable(self) -> bool:
        """Whether the file is readable: always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with the next bytes; the number of bytes read."""
        view = memoryview(cast("bytearray", buffer))
        data = os.pread(self._descriptor, len(view), self._offset)
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def close(self) -> None:
        """Close the duplicated descriptor."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


async def original_body(original: Original, extent: Extent | None = None) -> Body:
    """Body with all bytes of a held original, or with an extent of them.

    Raises OriginalChangedError if the file is not the version whose header was read, and the
    errors of the source if bytes have to be fetched first.
    """
    if original.opened is None or original.threads is None:
        raise removed_error()
    if extent is None or original.parts is None:
        await original.fetch_whole()
    else:
        await original.parts.fetch([extent])
    return await original.threads.run(_read, original, original.opened, extent, undo=close)


def close(body: Body | None) -> None:
    """Close the file of a body that is not used."""
    if body is not None and body.file is not None:
        body.file.close()


def _read(original: Original, opened: OpenedFile, extent: Extent | None) -> Body:
    try:
        with opened.kept_open() as descriptor:
            body = body_of(descriptor, original.file.path, original.threads, extent)
            if original.file.version.matches_descriptor(descriptor):
                return body
    except OSError as error:
        raise removed_error() from error
    close(body)
    raise replaced_error()
