"""How the names of a `disk` type become paths below its folders, and back for listings."""

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
    """What is added to a name, so that it is the path of a file."""

    template: Template
    extensions: tuple[str, ...] = ()
    """Tried in this order after the path itself."""

    @property
    def endings(self) -> tuple[str, ...]:
        """The extensions as they may end a path, each also in capitals."""
        found = (f".{one}" for text in self.extensions for one in (text, text.upper()))
        return tuple(dict.fromkeys(found))

    @property
    def listable(self) -> bool:
        """Whether names can be told from paths: `{name}` with text around it."""
        return self.template.affixes is not None and "/" not in self.template.affixes[1]

    def paths(self, name: str, page: int = 1) -> Iterator[str]:
        """The paths at which an original may be, the first first.

        Raises OriginalNotFoundError for names that lead elsewhere, or to hidden files or folders.
        """
        path = self.template.expand(name, page)
        if any(part.startswith(".") for part in path.split("/")):
            raise OriginalNotFoundError("There is no image with this identifier.")
        yield path
        for ending in self.endings:
            yield path + ending

    def covers(self, path: str) -> bool:
        """Whether some name may lead to a path; False if a template hides that."""
        if self.template.affixes is None or any(part.startswith(".") for part in path.split("/")):
            return False
        prefix, suffix = self.template.affixes
        ends = ("", *self.endings)
        return path.startswith(prefix) and any(path.endswith(suffix + end) for end in ends)

    def folder(self, folder: str) -> str:
        """The path of a folder of names."""
        prefix, _ = self.template.affixes or ("", "")
        return prefix + folder if folder else prefix.rpartition("/")[0]

    def named(self, folder: str, listing: FolderListing) -> FolderListing:
        """The listing of a folder of names, from that of the folder on disk.

        Each name leads to a file of the listing: what has no name is left out.
        """
        prefix, suffix = self.template.affixes or ("", "")
        start = "" if folder else prefix.rpartition("/")[2]
        if not (start or suffix or self.extensions):
            return listing
        names = _names(listing.names, start, suffix, self.endings)
        folders = (
            one.removeprefix(start)
            for one in listing.folders
            if one.startswith(start) and one != start
        )
        return FolderListing(tuple(folders), tuple(names), listing.complete, listing.unread)


def _names(
    files: Iterable[str], start: str, suffix: str, endings: tuple[str, ...]
) -> Iterator[str]:
    existing = set(files) if endings else set()
    for file in files:
        path = file
        for index, ending in enumerate(endings):
            bare = file.removesuffix(ending)
            sooner = (bare, *(bare + other for other in endings[:index]))
            # Where another file has the shorter name, this one has its whole name.
            if bare != file and existing.isdisjoint(sooner):
                path = bare
                break
        for one in dict.fromkeys((path, file)):
            if one.startswith(start) and one.endswith(suffix) and len(one) > len(start + suffix):
                yield one[len(start) : len(one) - len(suffix)]
                break


def spelling(folder: Path, path: str) -> str | None:
    """The path with each part in the Unicode form (NFC, NFD) that exists; None if not another.

    macOS and some archives write names in NFD, while almost everything else writes NFC.
    """
    if path.isascii():
        return None
    at, found = os.fspath(folder), []
    for part in path.split("/"):
        forms = (part, normalize("NFC", part), normalize("NFD", part))
        there = (form for form in forms if os.path.lexists(f"{at}/{form}"))
        found.append(next(there, part))
        at = f"{at}/{found[-1]}"
    spelt = "/".join(found)
    return spelt if spelt != path else None
