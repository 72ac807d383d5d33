"""Source `disk`: originals are files in one or several folders."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from iiif_server.errors import (
    FolderNotFoundError,
    IiifServerError,
    OriginalNotFoundError,
    OutsideFolderError,
    SourceUnavailableError,
)
from iiif_server.options import ConflictError, Expects, FolderPaths, Listed
from iiif_server.sources.base import Source, SourceContext, Step, TypeOptions
from iiif_server.sources.layout import Layout, spelling
from iiif_server.sources.listings import FolderListing, list_folder, merged, scan
from iiif_server.sources.opening import OpenedFile, containing, open_in_folder, user_name
from iiif_server.sources.templates import Template, TemplateText
from iiif_server.sources.unreadable import check_can_enter

_PLAIN = "{name}"


def _extension(text: str) -> str:
    bare = text.removeprefix(".")
    if not bare or "/" in bare:
        raise ValueError('must be an extension such as "tif"')
    return bare


def _below(text: str) -> str:
    if text.startswith("/") or any(part.startswith(".") for part in text.split("/")):
        raise ValueError(
            "must be a path below the folder of the type, without hidden files or folders"
        )
    return text


class DiskOptions(TypeOptions):
    """Settings of a type whose originals are files."""

    path: Annotated[FolderPaths, Field(min_length=1)] | None = None
    """Folder of the originals, or a list of folders, of which the first with a file of the name
    counts. Unset: the folder in `source_path` with the name of the type."""
    prefix: Annotated[str, AfterValidator(_below)] = ""
    """Prefix of each path, before the name: `scans/` or `scans/p-`."""
    suffix: str = ""
    """Suffix of each path, after the name: `.tif` or `/master.tif`."""
    template: Annotated[TemplateText, AfterValidator(_below)] | None = None
    """Template of the path below the folder, as `{name[0:2]}/{name}.tif`, instead of `prefix` and
    `suffix` (docs/sources/templates.md)."""
    extensions: Annotated[
        tuple[Annotated[str, AfterValidator(_extension), Expects("text")], ...], Listed
    ] = ()
    """Extensions that names may leave out, in order of preference: with `["tif", "jpg"]` the name
    `1` is `1.tif` if no file is called `1`."""
    follow_links: FolderPaths = ()
    """Other folders to which symbolic links may lead."""

    @model_validator(mode="after")
    def _check_template(self) -> "DiskOptions":
        if self.template is not None and (self.prefix or self.suffix):
            text = "cannot be used with prefix or suffix: write them into the template"
            raise ConflictError([(("template",), text)])
        try:
            self.layout()
        except ValueError as error:
            setting = "template" if self.template else "prefix" if self.prefix else "suffix"
            raise ConflictError([((setting,), str(error))]) from error
        return self

    def layout(self) -> Layout:
        """Layout: paths of names. Raises ValueError for an invalid template."""
        text = self.template or f"{self.prefix}{_PLAIN}{self.suffix}"
        return Layout(Template(text), self.extensions)


class DiskSource(Source[DiskOptions]):
    """Source of files below the folders of the type. It opens no file outside of them."""

    options_model = DiskOptions

    def __init__(self, context: SourceContext, options: DiskOptions) -> None:
        super().__init__(context, options)
        self._layout = options.layout()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the type, in the order of the search."""
        return self.options.path or (self.context.folder,)

    @property
    def links(self) -> tuple[Path, ...]:
        """Other folders to which links may lead."""
        return self.options.follow_links

    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the file of this name, following links inside the folder or to `links`.

        Raises OriginalNotFoundError, also for hidden files and files in hidden folders; or another
        error of `open_in_folder`.
        """
        return self._hold(partial(self._open, name, 1))

    def hold_page(self, name: str, page: int) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """Yield the file of a page, if `{page}` is in the template; else the file of all pages."""
        if not self._layout.template.has_page:
            return super().hold_page(name, page)
        return self._hold(partial(self._open, name, page))

    def hold_at(
        self, location: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the file at exactly this path, absolute or relative to a folder of the type.

        Raises OutsideFolderError for a URL or a path outside of the folders, else as `hold`.
        """
        del headers
        if "://" in location:
            raise OutsideFolderError("a lookup gives this URL to a type on disk", location)
        return self._hold(partial(self._open_at, location))

    @asynccontextmanager
    async def _hold(self, open_: Callable[[], OpenedFile]) -> AsyncIterator[OpenedFile]:
        opened = await self.context.threads.run(open_, undo=OpenedFile.close)
        opened.close_by = self.context.threads.begin
        try:
            yield opened
        finally:
            opened.close()

    def _open(self, name: str, page: int) -> OpenedFile:
        return self._open_first(self._places(name, page))

    def _open_at(self, path: str) -> OpenedFile:
        places = [
            (folder, path.removeprefix(f"{root}/"))
            for folder in self.folders
            for root in dict.fromkeys((str(folder.absolute()), os.path.realpath(folder)))
            if not path.startswith("/") or path.startswith(f"{root}/")
        ]
        if not places:
            raise OutsideFolderError(f"a lookup has found {path}, outside of the folder", path)
        return self._open_first(place for place in places if self._layout.covers(place[1]))

    def _open_first(self, places: Iterable[tuple[Path, str]]) -> OpenedFile:
        """Open the first existing file. Raises OriginalNotFoundError."""
        first_error: OriginalNotFoundError | None = None
        for folder, path in places:
            try:
                return open_in_folder(folder, path, self.links)
            except OriginalNotFoundError as error:
                if first_error is None or isinstance(error, OutsideFolderError):
                    first_error = error
        raise first_error or OriginalNotFoundError()

    def _places(self, name: str, page: int) -> Iterator[tuple[Path, str]]:
        """Folders and paths below them at which a name may be, in the order of the search."""
        for folder in self.folders:
            for path in self._layout.paths(name, page):
                yield folder, path
                if other := spelling(folder, path):
                    yield folder, other

    def locate(self, name: str, page: int = 1) -> Iterator[Step]:
        """Steps of the search: each checked path, until a file is found."""
        pages = page == 1 or self._layout.template.has_page
        for folder, path in self._places(name, page) if pages else ():
            place = f"{folder}/{path}"
            try:
                open_in_folder(folder, path, self.links).close()
            except OutsideFolderError as error:
                yield Step(place, f"{error.detail}; follow_links can allow it")
            except OriginalNotFoundError:
                exists = Path(place).exists()
                yield Step(place, "not a file" if exists else "no such file")
            except IiifServerError as error:
                yield Step(place, f"cannot be read: {error.__cause__ or error}")
                return
            else:
                yield Step(place, "found", found=True)
                return

    @property
    def revalidates(self) -> bool:
        """False: an original changes only if its file does."""
        return False

    def names(self) -> Iterator[str] | None:
        """Names of all files that are not hidden, sorted; None if paths do not show names."""
        return self._names() if self._layout.listable else None

    def _names(self) -> Iterator[str]:
        pending, visited = [""], set[str]()
        while pending:
            folder = pending.pop()
            below = f"{folder}/" if folder else ""
            listing = self._merged(folder, partial(_list_all, visited=visited))
            yield from (below + name for name in sorted(listing.names))
            pending.extend(below + name for name in sorted(listing.folders, reverse=True))

    @property
    def browsable(self) -> bool:
        """Whether paths show names, so that folders can be listed."""
        return self._layout.listable

    def browse(self, folder: str) -> FolderListing:
        """List a folder of names. Raises FolderNotFoundError."""
        if not self._layout.listable:
            raise FolderNotFoundError
        return self._merged(folder, partial(list_folder, extensions=self.context.extensions))

    def _merged(self, folder: str, read: Callable[..., FolderListing]) -> FolderListing:
        """Merge the listings of a folder of names in all folders of the type."""
        found = []
        for root in self.folders:
            path = self._layout.folder(folder)
            with suppress(FolderNotFoundError):
                listing = read(root, spelling(root, path) or path, self.links)
                found.append(self._layout.to_names(folder, listing))
        if not found:
            raise FolderNotFoundError
        return found[0] if len(found) == 1 else merged(found)

    def problems(self) -> list[str]:
        """Problems of reading the folders of the type, one sentence each."""
        return [text for folder in self.folders for text in _problems(folder)]


def _list_all(
    root: Path, folder: str, links: Sequence[Path], *, visited: set[str]
) -> FolderListing:
    """List all files and folders in a folder; a folder behind a link only once, by `visited`.

    Links to folders below the root are skipped, as these folders are listed themselves.
    """
    files, folders = [], []
    inside = os.path.realpath(root)
    with suppress(SourceUnavailableError):  # `check` reports folders that cannot be read
        for entry in scan(root, folder, links):
            if not entry.is_folder:
                files.append(entry.name)
            elif entry.link_target is None:
                folders.append(entry.name)
            elif not containing(entry.link_target, (inside,)) and entry.link_target not in visited:
                visited.add(entry.link_target)
                folders.append(entry.name)
    return FolderListing(tuple(folders), tuple(files))


def _problems(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        check_can_enter(folder)
    except FileNotFoundError:
        return [f"the folder {folder} does not exist: create it and put the originals there"]
    except NotADirectoryError:
        return [f"{folder} is not a folder: name the folder of the originals"]
    except PermissionError:
        user = user_name()
        return [f"the user {user} cannot read the folder {folder}: change its permissions"]
    except OSError as error:
        return [f"the folder {folder} cannot be read: {error.strerror}"]
    return []
