"""Files of originals and their versions, for workers to read."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from iiif_server.errors import OriginalChangedError, RenderFailedError

READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags for opening originals: O_NONBLOCK, so that a named pipe does not block."""
_SECOND = 1_000_000_000
"""Nanoseconds per second."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """File version: changes if the file is written, replaced or touched.

    It means nothing on another machine, so it goes into no cache key.
    """

    device: int
    inode: int
    size: int
    mtime: tuple[int, int]
    """Modification time: seconds since the epoch, and nanoseconds. A single number would exceed the
    64 bits of a message to a worker."""
    ctime: tuple[int, int]
    partial: bool = False
    """Whether the file is downloaded in parts (docs/sources-design.md, Ranges). Each version is
    then a new file, and a write changes no byte that was read."""

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the version of a file with this status."""
        mtime = divmod(status.st_mtime_ns, _SECOND)
        ctime = divmod(status.st_ctime_ns, _SECOND)
        return cls(status.st_dev, status.st_ino, status.st_size, mtime, ctime)

    def matches_descriptor(self, descriptor: int) -> bool:
        """Whether an open file still has this version. Raises OSError.

        The ctime does not count once the file has lost its last name: renaming another file over
        it, which is how originals are replaced, changes the ctime and not the content.
        """
        status = os.fstat(descriptor)
        if self.matches(status):
            return True
        found = FileVersion.of(status)
        return not status.st_nlink and found == replace(self, ctime=found.ctime)

    def matches(self, status: os.stat_result) -> bool:
        """Whether a file with this status has this version."""
        found = FileVersion.of(status)
        if self.partial:
            found = replace(found, mtime=self.mtime, ctime=self.ctime, partial=True)
        return found == self

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds since the epoch."""
        seconds, rest = self.mtime
        return seconds * _SECOND + rest


@dataclass(frozen=True, slots=True)
class LocalFile:
    """File version with its path."""

    path: Path
    version: FileVersion

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the current version of the file at a path. Raises OSError."""
        return cls(path, FileVersion.of(path.stat()))

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.version.size

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds since the epoch."""
        return self.version.mtime_ns

    def open(self, descriptor: int | None = None) -> int:
        """Open this version of the file, and no other; return the descriptor.

        With `descriptor`, a duplicate of it is returned; otherwise the path is opened. Raises
        OriginalChangedError if the file was replaced or changed, RenderFailedError if its disk
        fails.
        """
        try:
            opened = os.open(self.path, READ_ONLY) if descriptor is None else os.dup(descriptor)
        except FileNotFoundError as error:
            raise removed_error() from error
        except (PermissionError, NotADirectoryError) as error:  # the server could open it
            raise replaced_error() from error
        except OSError as error:
            raise RenderFailedError("The original's disk cannot be read at the moment.") from error
        if not self.version.matches_descriptor(opened):
            os.close(opened)
            raise replaced_error()
        return opened


def removed_error() -> OriginalChangedError:
    """Return the error for an original that no longer exists."""
    return OriginalChangedError("The original has just been removed.")


def replaced_error() -> OriginalChangedError:
    """Return the error for an original with another version."""
    return OriginalChangedError("The original has just been replaced; please try again.")
