"""Partly downloaded file for parsers, which never reads absent bytes."""

import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from iiif_server.plan.extents import BytesMissingError, Extent, merge_extents, missing_extents


class PresentFile(io.RawIOBase):
    """Reads a descriptor where bytes are present, and raises BytesMissingError elsewhere.

    `ignore` names extents whose bytes do not matter to a parser: they may be read as zeros.
    """

    def __init__(self, descriptor: int, present: Sequence[Extent]) -> None:
        """Take over the descriptor; `present` are extents as of `merge_extents`."""
        self._descriptor = descriptor
        self._present = present
        self._readable = present
        self._size = os.fstat(descriptor).st_size
        self._at = 0

    def ignore(self, extents: Iterable[Extent]) -> None:
        """Treat these extents as present."""
        self._readable = merge_extents([*self._present, *extents])

    def require(self, extents: Iterable[Extent]) -> None:
        """Raise BytesMissingError with all absent bytes of these extents."""
        inside = ((start, min(stop, self._size)) for start, stop in extents)
        absent = missing_extents(self._present, inside)
        if absent:
            raise BytesMissingError(*absent)

    def fileno(self) -> int:
        """Return the descriptor. Raises BytesMissingError unless the whole file is present."""
        self.require([(0, self._size)])
        return self._descriptor

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; raises BytesMissingError unless all of it is present."""
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        if stop <= self._at:
            return 0
        absent = missing_extents(self._readable, [(self._at, stop)])
        if absent:
            raise BytesMissingError(*absent)
        count = os.preadv(self._descriptor, [view[: stop - self._at]], self._at)
        self._at += count
        return count

    def close(self) -> None:
        """Close the descriptor."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
