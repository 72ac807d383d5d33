"""Listing of one folder of originals, up to a number of entries."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from iiif_server.errors import FolderNotFoundError
from iiif_server.plan.original_format import ALL_EXTENSIONS
from iiif_server.sources.opening import containing, refusal_of
from iiif_server.sources.templates import may_be_a_name

MOST_ENTRIES = 1_000_000
"""Entries of one folder that are looked at."""
MOST_LINKS = 1_000
"""Links in one folder that are followed: each costs as much as a hundred names."""

_UNREAD = re.compile(
    r"svgz?|jxl|jxr|psd|psb|dng|cr[23w]|ne[fw]|nrw|arw|orf|rw2|raf|pef|srw|x3f"
    r"|eps|djvu?|ecw|sid|exr|hdr|tga|pcx|p[bgnp]m|dcm|ndpi|mrxs|czi|vsi|scn|fits?|xcf",
    re.IGNORECASE,
)
"""Extensions of images and documents in formats that are not read."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The names of folders and images directly in one folder, in the order of the disk.

    Files with a suffix that no image format has are left out.
    """

    folders: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    complete: bool = True
    """Whether these are all; otherwise a limit was reached."""
    unread: tuple[tuple[str, int], ...] = ()
    """Formats of images that are not read, with the number of files."""

    def __len__(self) -> int:
        return len(self.folders) + len(self.names)


def merged(listings: Sequence[FolderListing]) -> FolderListing:
    """What several folders have, each name once."""
    unread = sum((Counter(dict(one.unread)) for one in listings), Counter[str]())
    return FolderListing(
        tuple(dict.fromkeys(name for one in listings for name in one.folders)),
        tuple(dict.fromkeys(name for one in listings for name in one.names)),
        all(one.complete for one in listings),
        tuple(sorted(unread.items())),
    )


class Entry(NamedTuple):
    """A file or folder in a folder."""

    name: str
    is_folder: bool
    leads_to: str | None = None
    """Where it leads, if it is a link."""


def list_folder(
    root: Path,
    folder: str,
    links: Sequence[Path] = (),
    most_entries: int = MOST_ENTRIES,
    most_links: int = MOST_LINKS,
) -> FolderListing:
    """The listing of a folder such as `a/b` below a root; `` is the root itself.

    Hidden files and folders are left out, and so are names that no address can hold. Links are
    followed, and errors raised, as by `scan`.
    """
    folders, names, unread = [], [], Counter[str]()
    found = _Limits(most_entries, most_links)
    for entry in scan(root, folder, links, found):
        if entry.is_folder:
            folders.append(entry.name)
            continue
        _, dot, extension = entry.name.rpartition(".")
        if not dot or f".{extension.lower()}" in ALL_EXTENSIONS:
            names.append(entry.name)
        elif _UNREAD.fullmatch(extension):
            unread[extension.upper()] += 1
    return FolderListing(
        tuple(folders), tuple(names), found.complete, tuple(sorted(unread.items()))
    )


@dataclass(slots=True)
class _Limits:
    entries: int = MOST_ENTRIES
    links: int = MOST_LINKS
    complete: bool = True
    """Whether none was reached."""


def scan(
    root: Path, folder: str, links: Sequence[Path] = (), limits: _Limits | None = None
) -> Iterator[Entry]:
    """The visible files and folders in a folder such as `a/b` below a root.

    Links are followed as long as they stay below the root or one of `links`. Raises
    FolderNotFoundError, or SourceUnavailableError where the disk does not answer.
    """
    parts = folder.split("/") if folder else []
    if any(not part or part.startswith(".") for part in parts):
        raise FolderNotFoundError
    try:
        inside = (os.path.realpath(root, strict=True), *map(os.path.realpath, links))
        path = os.path.realpath("/".join((inside[0], *parts)), strict=True)
        if containing(path, inside) is None:
            raise FolderNotFoundError
        with os.scandir(path) as entries:
            yield from _read(entries, inside, limits or _Limits())
    except ValueError as error:
        raise FolderNotFoundError from error
    except OSError as error:
        raise refusal_of(error, FolderNotFoundError()) from error


def _read(
    entries: Iterator["os.DirEntry[str]"], inside: Sequence[str], limits: _Limits
) -> Iterator[Entry]:
    links = 0
    for entry in islice(entries, limits.entries):
        if entry.name.startswith(".") or not _can_be_asked_for(entry.name):
            continue
        leads_to = None
        if entry.is_symlink():
            links += 1
            if links > limits.links:
                limits.complete = False
                continue
            leads_to = _inside(entry.path, inside)
            if leads_to is None:
                continue
        if entry.is_dir():
            yield Entry(entry.name, is_folder=True, leads_to=leads_to)
        elif entry.is_file():
            yield Entry(entry.name, is_folder=False, leads_to=leads_to)
    if next(entries, None) is not None:
        limits.complete = False


def _inside(link: str, inside: Sequence[str]) -> str | None:
    """Where a link leads, if that is below one of the folders."""
    with suppress(OSError):
        path = os.path.realpath(link, strict=True)
        return path if containing(path, inside) else None
    return None


def is_listed(name: str) -> bool:
    """Whether a file or object of this name is listed as an image."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - of a hundred thousand names
    image = not suffix or suffix.lower() in ALL_EXTENSIONS
    return image and not name.startswith(".") and _can_be_asked_for(name)


def _can_be_asked_for(name: str) -> bool:
    """Whether a file can be requested by its name: UTF-8 that looks like no path to any server."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return may_be_a_name(name)
