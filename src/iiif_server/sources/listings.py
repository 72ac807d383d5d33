"""Listing of one folder of originals, up to a number of entries."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from iiif_server.errors import FolderNotFoundError
from iiif_server.sources.opening import refusal_of

MOST_ENTRIES = 100_000
"""Entries of one folder that are looked at: reading so many names takes a fifth of a second."""
MOST_LINKS = 1_000
"""Links in one folder that are followed: each costs as much as a hundred names."""

_IMAGE = re.compile(
    r"\.(jpe?g|jpe|jfif|png|p?tiff?|btf|webp|gif|jp2|jp[xf]|j2[kc]|avif|bmp|dib)", re.IGNORECASE
)
"""Suffixes of the formats that are read."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The names of folders and images directly in one folder, in the order of the disk.

    Files with a suffix that no image format has are left out.
    """

    folders: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    complete: bool = True
    """Whether these are all; otherwise a limit was reached."""

    def __len__(self) -> int:
        return len(self.folders) + len(self.names)


def list_folder(
    root: Path, folder: str, most_entries: int = MOST_ENTRIES, most_links: int = MOST_LINKS
) -> FolderListing:
    """The listing of a folder such as `a/b` below a root; `` is the root itself.

    Links are followed as long as they stay below the root; hidden files and folders are left out,
    and so are names that no address can hold. Raises FolderNotFoundError, or
    SourceUnavailableError where the disk does not answer.
    """
    parts = folder.split("/") if folder else []
    if any(not part or part.startswith(".") for part in parts):
        raise FolderNotFoundError
    try:
        inside = root.resolve(strict=True)
        path = inside.joinpath(*parts).resolve(strict=True)
        if not path.is_relative_to(inside):
            raise FolderNotFoundError
        with os.scandir(path) as entries:
            return _read(entries, inside, most_entries, most_links)
    except (RuntimeError, ValueError) as error:
        raise FolderNotFoundError from error
    except OSError as error:
        raise refusal_of(error, FolderNotFoundError()) from error


def _read(
    entries: Iterable["os.DirEntry[str]"], inside: Path, most_entries: int, most_links: int
) -> FolderListing:
    folders, names = [], []
    seen = links = 0
    for entry in islice(entries, most_entries + 1):
        seen += 1
        if seen > most_entries:
            break
        if entry.name.startswith(".") or not _can_be_asked_for(entry.name):
            continue
        if entry.is_symlink():
            links += 1
            if links > most_links or not _stays(Path(entry.path), inside):
                continue
        if entry.is_dir():
            folders.append(entry.name)
        elif _may_be_an_image(entry.name) and entry.is_file():
            names.append(entry.name)
    complete = seen <= most_entries and links <= most_links
    return FolderListing(tuple(folders), tuple(names), complete)


def _stays(link: Path, inside: Path) -> bool:
    """Whether a link leads to something below the root."""
    try:
        return link.resolve(strict=True).is_relative_to(inside)
    except (OSError, RuntimeError):
        return False


def _may_be_an_image(name: str) -> bool:
    """Whether a file's name says that it is an image, or says nothing."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - of a hundred thousand names
    return not suffix or _IMAGE.fullmatch(suffix) is not None


def _can_be_asked_for(name: str) -> bool:
    """Whether an identifier can hold a file's name: as UTF-8, without control characters."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not any(character < " " or character == "\x7f" for character in name)
