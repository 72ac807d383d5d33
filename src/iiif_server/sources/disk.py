"""The source `disk`: originals are files below `{source_path}/{type}/`."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from iiif_server.errors import OriginalNotFoundError
from iiif_server.sources.base import Source, TypeOptions
from iiif_server.sources.listings import FolderListing, list_folder
from iiif_server.sources.opening import OpenedFile, open_in_folder, user_name
from iiif_server.sources.unreadable import check_can_enter


class DiskOptions(TypeOptions):
    """Settings of a type whose originals are on disk; it has only the common ones."""


class DiskSource(Source[DiskOptions]):
    """Files at `{source_path}/{type}/{name}`; nothing outside of that folder is opened."""

    options_model = DiskOptions

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[OpenedFile]:
        """The file of this name; links are followed as long as they stay inside the folder.

        Hidden files, and those in hidden folders, are not served, as they are not listed.
        """
        if any(part.startswith(".") for part in name.split("/")):
            raise OriginalNotFoundError("There is no image with this identifier.")
        opened = await self.context.threads.run(
            open_in_folder, self.context.folder, name, undo=OpenedFile.close
        )
        opened.close_by = self.context.threads.begin
        try:
            yield opened
        finally:
            opened.close()

    @property
    def revalidates(self) -> bool:
        """False: an original changes only when its file does."""
        return False

    def names(self) -> Iterator[str]:
        """The paths of all files below the folder, sorted, without hidden ones."""
        root = self.context.folder
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(root).as_posix()

    @property
    def browsable(self) -> bool:
        """True: folders can be listed."""
        return True

    def browse(self, folder: str) -> FolderListing:
        """The listing of a folder below the type's own."""
        return list_folder(self.context.folder, folder)

    def problems(self) -> list[str]:
        """Why the folder of the type cannot be read."""
        folder = self.context.folder
        try:
            with os.scandir(folder) as entries:
                next(entries, None)
            check_can_enter(folder)
        except (FileNotFoundError, NotADirectoryError):
            return [f"the folder {folder} does not exist: create it and put the originals there"]
        except PermissionError:
            user = user_name()
            return [f"the user {user} cannot read the folder {folder}: change its permissions"]
        except OSError as error:
            return [f"the folder {folder} cannot be read: {error.strerror}"]
        return []
