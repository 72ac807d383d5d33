"""Open originals of a worker process."""

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from iiif_server.cache.lru import Lru
from iiif_server.plan.local_file import LocalFile, replaced_error


class OpenOriginal:
    """An open original: reads the file that was opened, even if its name is given to another."""

    def __init__(self, file: LocalFile, descriptor: int | None = None) -> None:
        """Open the file; raises OriginalChangedError if it is missing or has another version."""
        self.file = file
        self.descriptor = file.open(descriptor)
        self._mapped: mmap.mmap | None = None

    def __repr__(self) -> str:
        return f"<OpenOriginal {self.file}>"

    @property
    def bytes(self) -> mmap.mmap:
        """Memory map of the file."""
        if self._mapped is None:
            self._mapped = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)
        return self._mapped

    @property
    def changed(self) -> bool:
        """Whether the file has been written since its header was read."""
        try:
            return not self.file.version.matches_descriptor(self.descriptor)
        except OSError:  # a network file system has lost it
            return True

    @contextlib.contextmanager
    def verify_unchanged(self) -> Iterator[None]:
        """Check that the file did not change, from its header to the end of the context.

        Raises OriginalChangedError if it is written meanwhile, also over another error: a failure
        may come from the change, and a result may mix two versions.
        """
        try:
            yield
        finally:
            if self.changed:
                raise replaced_error()

    def close(self) -> None:
        """Close the file."""
        if self._mapped is not None:
            with contextlib.suppress(BufferError):  # still exported: it is freed with its last view
                self._mapped.close()
        os.close(self.descriptor)


class OpenOriginals:
    """LRU cache of open originals, at most `capacity`."""

    def __init__(self, capacity: int) -> None:
        self._open: Lru[Path, OpenOriginal] = Lru(max(1, capacity), on_remove=OpenOriginal.close)

    def __repr__(self) -> str:
        return f"<OpenOriginals {self._open}>"

    def get(self, file: LocalFile, descriptor: int | None = None) -> OpenOriginal:
        """Return the open file. Raises OriginalChangedError if the path now has another version.

        If the server passes a descriptor for this job, the path is not used: the sandbox may deny
        access to it.
        """
        original = self._open.get(file.path)
        if original is None or original.file != file or original.changed:
            self._open.remove(file.path)
            original = OpenOriginal(file, descriptor)
            self._open.put(file.path, original)
        return original
