"""The originals that one worker process keeps open."""

import contextlib
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from iiif_server.errors import OriginalChangedError
from iiif_server.imaging.plan import Identity


class OpenOriginal:
    """One file, open: what is read is the file that was opened, even if its name is given away."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.descriptor = os.open(identity.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._mapped: mmap.mmap | None = None
        if self.changed:
            self.close()
            raise _replaced()

    def __repr__(self) -> str:
        return f"<OpenOriginal {self.identity}>"

    @property
    def bytes(self) -> mmap.mmap:
        """The file's bytes as a memory map."""
        if self._mapped is None:
            self._mapped = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)
        return self._mapped

    @property
    def changed(self) -> bool:
        """Whether the file has been written since its header was read."""
        status = os.fstat(self.descriptor)
        return (status.st_size, status.st_mtime_ns) != (self.identity.size, self.identity.mtime_ns)

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """What is made inside is of the file as it was when its header was read.

        Raises OriginalChangedError if it is written meanwhile, whatever came of it: what failed
        may not be its fault, and what did not may be half of one image and half of another.
        """
        try:
            yield
        finally:
            if self.changed:
                raise _replaced()

    def close(self) -> None:
        """Give the file back."""
        if self._mapped is not None:
            with contextlib.suppress(BufferError):  # somebody still looks at it; it goes with them
                self._mapped.close()
        os.close(self.descriptor)


def _replaced() -> OriginalChangedError:
    return OriginalChangedError("The original has just been replaced; please ask again.")


class OpenOriginals:
    """The `capacity` originals used last, kept open."""

    def __init__(self, capacity: int) -> None:
        self._capacity = max(1, capacity)
        self._open: OrderedDict[Path, OpenOriginal] = OrderedDict()

    def __repr__(self) -> str:
        return f"<OpenOriginals {len(self._open)} of {self._capacity}>"

    def get(self, identity: Identity) -> OpenOriginal:
        """The file of this identity, open; OriginalChangedError if it is another one by now."""
        original = self._open.pop(identity.path, None)
        if original is not None and (original.identity != identity or original.changed):
            original.close()
            original = None
        if original is None:
            try:
                original = OpenOriginal(identity)
            except FileNotFoundError as error:
                raise OriginalChangedError("The original has just been removed.") from error
        self._open[identity.path] = original
        while len(self._open) > self._capacity:
            self._open.popitem(last=False)[1].close()
        return original
