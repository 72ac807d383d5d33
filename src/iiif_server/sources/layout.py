"""Layout of a `disk` type: paths of names below its folders, and names of paths for listings."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from iiif_server.errors import OriginalNotFoundError
from iiif_server.sources.listings import FolderListing
from iiif_server.sources.templates import Template


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout: template and extensions that make the path of a name."""

    template: Template
    extensions: tuple[str, ...] = ()
    """Extensions to append, tried in this order after the path itself."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Extensions with a dot, each also in capitals."""
        found = (f".{one}" for text in self.extensions for one in (text, text.upper()))
        return tuple(dict.fromkeys(found))

    @property
    def listable(self) -> bool:
        """Whether paths show names: the template is `{name}` with text around it."""
        return self.template.affixes is not None and "/" not in self.template.affixes[1]

    def paths(self, name: str, page: int = 1) -> Iterator[str]:
        """Paths at which an original may be, in the order of the search.

        Raises OriginalNotFoundError for invalid names, and for hidden files and folders.
        """
        path = self.template.expand(name, page)
        if any(part.startswith(".") for part in path.split("/")):
            raise OriginalNotFoundError
        yield path
        for ending in self.suffixes:
            yield path + ending

    def covers(self, path: str) -> bool:
        """Whether a name may lead to this path; False if paths do not show names."""
        if self.template.affixes is None or any(part.startswith(".") for part in path.split("/")):
            return False
        prefix, suffix = self.template.affixes
        ends = ("", *self.suffixes)
        return path.startswith(prefix) and any(path.endswith(suffix + end) for end in ends)

    def folder(self, folder: str) -> str:
        """Path of a folder of names."""
        prefix, _ = self.template.affixes or ("", "")
        return prefix + folder if folder else prefix.rpartition("/")[0]

    def to_names(self, folder: str, listing: FolderListing) -> FolderListing:
        """Convert the listing of a folder on disk to names.

        Files without a name in this layout are left out.
        """
        prefix, suffix = self.template.affixes or ("", "")
        start = "" if folder else prefix.rpartition("/")[2]
        if not (start or suffix or self.extensions):
            return listing
        names = _names(listing.names, start, suffix, self.suffixes)
        folders = (
            one.removeprefix(start)
            for one in listing.folders
            if one.startswith(start) and one != start
        )
        return FolderListing(tuple(folders), tuple(names), listing.complete, listing.unread)


def _names(
    files: Iterable[str], start: str, suffix: str, suffixes: tuple[str, ...]
) -> Iterator[str]:
    existing = set(files) if suffixes else set()
    for file in files:
        path = file
        for index, ending in enumerate(suffixes):
            bare = file.removesuffix(ending)
            earlier = (bare, *(bare + other for other in suffixes[:index]))
            # If another file already has the shorter name, this one has its full name.
            if bare != file and existing.isdisjoint(earlier):
                path = bare
                break
        for one in dict.fromkeys((path, file)):
            if one.startswith(start) and one.endswith(suffix) and len(one) > len(start + suffix):
                yield one[len(start) : len(one) - len(suffix)]
                break


def spelling(folder: Path, path: str) -> str | None:
    """Path with each part in the existing Unicode form (NFC, NFD); None if it is the same.

    macOS and some archives write names in NFD, most other programs in NFC.
    """
    if path.isascii():
        return None
    at, found = os.fspath(folder), []
    for part in path.split("/"):
        forms = (part, normalize("NFC", part), normalize("NFD", part))
        there = (form for form in forms if os.path.lexists(f"{at}/{form}"))
        found.append(next(there, part))
        at = f"{at}/{found[-1]}"
    spelled = "/".join(found)
    return spelled if spelled != path else None
