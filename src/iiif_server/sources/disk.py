"""Originals that are files below `{source_path}/{type}/`."""

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from iiif_server.errors import OriginalNotFoundError, SourceUnavailableError
from iiif_server.sources.base import Source, TypeOptions
from iiif_server.sources.shelves import Shelf, shelf_of

_NO_SUCH_NAME = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})


class DiskOptions(TypeOptions):
    """A type whose originals are on disk already; there is nothing more to say."""


class DiskSource(Source[DiskOptions]):
    """The file `{source_path}/{type}/{name}`, and nothing outside that folder, ever."""

    options_model = DiskOptions

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Path]:
        """The file of this name; links are followed as long as they stay inside the folder."""
        yield await asyncio.to_thread(locate, self.surroundings.folder, name)

    @property
    def asks_elsewhere(self) -> bool:
        """No: an original is its file."""
        return False

    def names(self) -> Iterator[str]:
        """The paths of all files below the folder, hidden ones left out, in order."""
        root = self.surroundings.folder
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(root).as_posix()

    @property
    def browsable(self) -> bool:
        """Yes."""
        return True

    def browse(self, folder: str) -> Shelf:
        """What lies in a folder below the type's own."""
        return shelf_of(self.surroundings.folder, folder)

    def problems(self) -> list[str]:
        """Whether the folder is there and can be read."""
        folder = self.surroundings.folder
        if not folder.is_dir():
            return [f"the folder {folder} does not exist: create it and put the originals there"]
        if not os.access(folder, os.R_OK | os.X_OK):
            return [f"the folder {folder} cannot be read by this user: change its permissions"]
        return []


def locate(folder: Path, name: str) -> Path:
    """The regular file of this name inside the folder, with all links resolved.

    Raises OriginalNotFoundError, or SourceUnavailableError where the disk does not answer.
    """
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise _not_found()
    try:
        path = (folder / name).resolve(strict=True)
        status = path.stat()
        inside = path.is_relative_to(folder.resolve(strict=True))
    except (FileNotFoundError, NotADirectoryError, RuntimeError, ValueError) as error:
        raise _not_found() from error
    except OSError as error:
        if error.errno in _NO_SUCH_NAME:
            raise _not_found() from error
        raise SourceUnavailableError("The original's disk cannot be read at the moment.") from error
    if not inside or not stat.S_ISREG(status.st_mode):
        raise _not_found()
    if not os.access(path, os.R_OK):
        raise SourceUnavailableError("The original is there, but the server may not read it.")
    return path


def _not_found() -> OriginalNotFoundError:
    return OriginalNotFoundError("There is no image with this identifier.")
