"""Listings of folders of originals, with limits."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from iiif_server.errors import FolderNotFoundError
from iiif_server.plan.original_format import USUAL_EXTENSIONS
from iiif_server.sources.opening import containing, error_of
from iiif_server.sources.templates import is_valid_name

MAX_ENTRIES = 1_000_000
"""Maximum number of entries of one folder that are read."""
MAX_LINKS = 1_000
"""Maximum number of links in one folder that are followed; each costs as much as 100 names."""

_UNREAD = re.compile(
    r"svgz?|jxl|jxr|psd|psb|dng|cr[23w]|ne[fw]|nrw|arw|orf|rw2|raf|pef|srw|x3f"
    r"|eps|djvu?|ecw|sid|exr|hdr|tga|pcx|p[bgnp]m|dcm|ndpi|mrxs|czi|vsi|scn|fits?|xcf",
    re.IGNORECASE,
)
"""Extensions of image formats that the server does not read."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """Names of the folders and images directly in one folder, in the order of the disk.

    Files with an extension of no image format are left out.
    """

    folders: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    complete: bool = True
    """Whether the listing is complete; False if a limit was reached."""
    unread: tuple[tuple[str, int], ...] = ()
    """Extensions of image formats that the server does not read, with the number of files."""

    def __len__(self) -> int:
        return len(self.folders) + len(self.names)


def merged(listings: Sequence[FolderListing]) -> FolderListing:
    """Merge listings: each name once."""
    unread = sum((Counter(dict(one.unread)) for one in listings), Counter[str]())
    return FolderListing(
        tuple(dict.fromkeys(name for one in listings for name in one.folders)),
        tuple(dict.fromkeys(name for one in listings for name in one.names)),
        all(one.complete for one in listings),
        tuple(sorted(unread.items())),
    )


class Entry(NamedTuple):
    """File or folder in a folder."""

    name: str
    is_folder: bool
    link_target: str | None = None
    """Target of a link; None for other files."""


def list_folder(
    root: Path,
    folder: str,
    links: Sequence[Path] = (),
    max_entries: int = MAX_ENTRIES,
    max_links: int = MAX_LINKS,
    *,
    extensions: Collection[str] = USUAL_EXTENSIONS,
) -> FolderListing:
    """List a folder such as `a/b` below a root; `` is the root itself.

    Hidden files and folders are left out, and names that a URL cannot contain. Follows links and
    raises errors as `scan`.
    """
    folders, names, unread = [], [], Counter[str]()
    found = _Limits(max_entries, max_links)
    for entry in scan(root, folder, links, found):
        if entry.is_folder:
            folders.append(entry.name)
            continue
        _, dot, extension = entry.name.rpartition(".")
        if not dot or f".{extension.lower()}" in extensions:
            names.append(entry.name)
        elif _UNREAD.fullmatch(extension):
            unread[extension.upper()] += 1
    return FolderListing(
        tuple(folders), tuple(names), found.complete, tuple(sorted(unread.items()))
    )


@dataclass(slots=True)
class _Limits:
    entries: int = MAX_ENTRIES
    links: int = MAX_LINKS
    complete: bool = True
    """Whether no limit was reached."""


def scan(
    root: Path, folder: str, links: Sequence[Path] = (), limits: _Limits | None = None
) -> Iterator[Entry]:
    """Visible files and folders in a folder such as `a/b` below a root.

    Follows links to targets below the root or one of `links`. Raises FolderNotFoundError, or as
    `error_of` if the folder cannot be read.
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
        raise error_of(error, FolderNotFoundError()) from error


def _read(
    entries: Iterator["os.DirEntry[str]"], inside: Sequence[str], limits: _Limits
) -> Iterator[Entry]:
    links = 0
    for entry in islice(entries, limits.entries):
        if entry.name.startswith(".") or not _is_requestable(entry.name):
            continue
        link_target = None
        if entry.is_symlink():
            links += 1
            if links > limits.links:
                limits.complete = False
                continue
            link_target = _resolve_inside(entry.path, inside)
            if link_target is None:
                continue
        if entry.is_dir():
            yield Entry(entry.name, is_folder=True, link_target=link_target)
        elif entry.is_file():
            yield Entry(entry.name, is_folder=False, link_target=link_target)
    if next(entries, None) is not None:
        limits.complete = False


def _resolve_inside(link: str, inside: Sequence[str]) -> str | None:
    """Target of a link, if it is below one of the folders; else None."""
    with suppress(OSError):
        path = os.path.realpath(link, strict=True)
        return path if containing(path, inside) else None
    return None


def is_listed(name: str, extensions: Collection[str] = USUAL_EXTENSIONS) -> bool:
    """Whether listings show a file or object of this name as an image."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - of a hundred thousand names
    image = not suffix or suffix.lower() in extensions
    return image and not name.startswith(".") and _is_requestable(name)


def _is_requestable(name: str) -> bool:
    """Whether a URL can contain the name: it is UTF-8, and servers do not take it for a path."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return is_valid_name(name)
