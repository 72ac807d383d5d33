"""Incoming originals: checked while their bytes arrive, and moved when complete."""

import contextlib
import errno
import filecmp
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from io import BufferedWriter
from pathlib import Path

from iiif_server.cache.space import disk_of
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.errors import (
    NoSpaceForOriginalError,
    NotAnImageError,
    OriginalTooLargeError,
    SourceUnavailableError,
)
from iiif_server.plan.original_format import SIGNATURE_BYTES, OriginalFormat, recognise
from iiif_server.sources.fetched_store import FetchedStore, Reservation
from iiif_server.sources.opening import new_checksum
from iiif_server.sources.provenance import Validators
from iiif_server.sources.upstreams import Arrival
from iiif_server.units import show_size

_ABANDONED_AFTER = 3600.0
"""Seconds without a write after which a file below `incoming` counts as abandoned."""
END_BYTES = 64
"""Number of bytes at the end of a file that are checked."""
_PADDING = b"\0\r\n "
_SMALLEST_BITMAP = 26
_END_MARKERS = {
    OriginalFormat.JPEG: b"\xff\xd9",  # end of image
    OriginalFormat.JPEG2000: b"\xff\xd9",  # end of codestream
    OriginalFormat.PNG: b"IEND\xaeB`\x82",
    OriginalFormat.GIF: b";",
    OriginalFormat.PDF: b"%%EOF",
}


@dataclass(frozen=True, slots=True)
class Body:
    """Body of an original as an upstream sends it."""

    chunks: AsyncIterator[bytes]
    """Bytes; the first chunk is at least as long as a signature, or is the whole body."""
    announced: int = 0
    """Size that the upstream has announced, in bytes; 0 if unknown."""
    is_framed: bool = True
    """Whether the protocol shows that a body was truncated."""
    validators: Validators = field(default_factory=Validators)


class Incoming:
    """Folder of originals that are being fetched, and the checks that each has to pass."""

    def __init__(
        self,
        folder: Path,
        threads: StorageThreads,
        max_bytes: int,
        min_free: int | None,
        store: FetchedStore | None = None,
    ) -> None:
        """`min_free`: free bytes to leave on the disk; None: by its size."""
        self._store = store
        self.folder = folder
        self.threads = threads
        """Threads for the disk of the folder."""
        self.max_bytes = max_bytes
        self._min_free = min_free

    def __repr__(self) -> str:
        return f"<Incoming {self.folder}>"

    def temporary_path(self) -> Path:
        """New path in the folder, from which `remove_abandoned` removes files.

        Raises OSError if the folder cannot be created.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / secrets.token_hex(16)

    def remove_abandoned(self) -> None:
        """Remove the files of fetches of killed processes."""
        # The folder may not exist yet, and other users may own files in it.
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()

    async def receive(self, body: Body, target: Path) -> Arrival:
        """Store a body in a file, atomically.

        Raises OriginalTooLargeError, NotAnImageError, NoSpaceForOriginalError, or
        SourceUnavailableError if the disk fails or the body may be truncated.
        """
        if body.announced > self.max_bytes:
            raise self._too_large()
        reservation = self._store.reserve_file() if self._store else None
        try:
            temporary = await self.threads.run(self.temporary_path)
            await self.threads.run(self._reserve_space, reservation, body.announced, timeout=LONG)
            try:
                checksum = await self._write(body, temporary, reservation)
                status = await self.threads.run(
                    _store_complete, temporary, target, reservation, timeout=LONG
                )
            finally:
                await self.threads.settle(partial(temporary.unlink, missing_ok=True))
        except OSError as error:
            raise SourceUnavailableError("The original could not be stored on disk.") from error
        finally:
            if reservation is not None:
                reservation.close()
        return Arrival(status.st_size, status.st_mtime_ns, checksum, body.validators)

    def check_space(self, size: int = 0) -> None:
        """Raise NoSpaceForOriginalError if `size` more bytes leave too little free space."""
        try:
            disk = disk_of(self.folder)
        except OSError:  # writing the file fails as well, and its error has the cause
            return
        shortage = disk.shortage(self._min_free, size)
        if shortage:
            detail = f"{disk.free:,} bytes are free, {shortage:,} too few for cache.min_free"
            raise NoSpaceForOriginalError(
                "The server has too little free disk space to fetch this original."
            ) from OSError(errno.ENOSPC, detail)

    async def _write(self, body: Body, path: Path, reservation: Reservation | None) -> str:
        """Write the body into a new file, and return its checksum.

        Raises as `receive`, unless it is a complete image within the limits.
        """
        size, first_bytes, last_bytes = 0, b"", b""
        checksum = new_checksum()
        # If the caller is cancelled before the file is open, `undo` closes it.
        file = await self.threads.run(path.open, "xb", undo=BufferedWriter.close)
        try:
            async for chunk in body.chunks:
                first_bytes = first_bytes or chunk[:SIGNATURE_BYTES]
                if recognise(first_bytes) is None:
                    raise _not_an_image()
                size += len(chunk)
                if size > self.max_bytes:
                    raise self._too_large()
                last_bytes = (last_bytes + chunk)[-END_BYTES:]
                await self.threads.run(self._append, file, chunk, reservation)
                checksum.update(chunk)
            await self.threads.run(file.close)  # writes the buffered bytes, which may fail
        finally:
            await self.threads.settle(file.close)
        format_ = recognise(first_bytes)
        if format_ is None:  # the body is empty
            raise _not_an_image()
        if not body.is_framed and not is_provably_complete(format_, first_bytes, last_bytes, size):
            raise SourceUnavailableError(
                "The upstream server sends the original without its length, "
                "and nothing shows that it was whole."
            )
        return checksum.hexdigest()

    def _reserve_space(self, reservation: Reservation | None, announced: int) -> None:
        if reservation is not None:
            reservation.reserve(announced)
        self.check_space(announced)

    def _append(self, file: BufferedWriter, chunk: bytes, reservation: Reservation | None) -> None:
        if reservation is not None:
            reservation.count_received(len(chunk))
        self.check_space(len(chunk))
        file.write(chunk)

    def _too_large(self) -> OriginalTooLargeError:
        limit = show_size(self.max_bytes)
        return OriginalTooLargeError(f"The original is larger than the {limit} that are fetched.")


def _store_complete(
    temporary: Path, target: Path, reservation: Reservation | None
) -> os.stat_result:
    status = move_to_target(temporary, target)
    if reservation is not None:
        reservation.store(target, status)
    return status


def move_to_target(temporary: Path, target: Path) -> os.stat_result:
    """Move a complete file to its target, unless the bytes are the same. Returns its status."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if filecmp.cmp(temporary, target, shallow=False):
            return target.stat()
        before = target.stat()
    except FileNotFoundError:
        before = None
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # a power failure must not truncate it
    after = temporary.stat()
    if before and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        os.utime(temporary, ns=(after.st_atime_ns, after.st_mtime_ns + 1_000_000_000))
        after = temporary.stat()
    temporary.replace(target)
    return after


def _not_an_image() -> NotAnImageError:
    return NotAnImageError("The original is not an image in a format that this server reads.")


def is_provably_complete(
    format_: OriginalFormat, first_bytes: bytes, last_bytes: bytes, size: int
) -> bool:
    """Whether the first and last bytes and the size of a file prove that it is complete.

    False for formats in which they prove nothing, as TIFF, whose pixels may be anywhere.
    """
    if format_ in _END_MARKERS:
        return last_bytes.rstrip(_PADDING).endswith(_END_MARKERS[format_])
    if format_ is OriginalFormat.WEBP:
        return int.from_bytes(first_bytes[4:8], "little") + 8 <= size
    if format_ is OriginalFormat.BMP:
        return _SMALLEST_BITMAP <= int.from_bytes(first_bytes[2:6], "little") <= size
    return False
