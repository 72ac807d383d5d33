"""Paging of folder listings, and URLs of images and folders. Pure."""

from dataclasses import dataclass
from urllib.parse import quote

from iiif_server.iiif.identifier import Identifier
from iiif_server.sources.listings import FolderListing

PAGE_SIZE = 48
"""Thumbnails on one page, which fill rows of two, three, four, six or eight."""
FIRST_ROWS = 12
"""Thumbnails of each type on the front page."""


@dataclass(frozen=True, slots=True)
class Item:
    """Image or folder in a gallery."""

    label: str
    """Last part of its name."""
    target: str
    """Percent-encoded identifier of an image, or `type:a/b` of a folder, encoded for a query."""
    pages: int = 1
    """Number of pages of the original, if it was counted."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a folder in the gallery."""

    folders: tuple[Item, ...]
    images: tuple[Item, ...]
    number: int
    """Page number, counted from 1."""
    count: int
    """Number of pages."""
    total: int
    """Number of images in the folder, on all pages."""
    complete: bool
    """Whether the listing of the folder is complete."""
    unread: tuple[tuple[str, int], ...] = ()
    """Formats that the server does not read, with the number of files."""

    @property
    def unread_files(self) -> int:
        """Number of files of formats that the server does not read."""
        return sum(number for _, number in self.unread)

    @property
    def nearby(self) -> tuple[int | None, ...]:
        """Page numbers to link to: first, last and neighbouring pages; None for a gap."""
        shown = sorted(
            {1, self.count}
            | set(range(max(1, self.number - 2), min(self.count, self.number + 2) + 1))
        )
        pages: list[int | None] = []
        for before, number in zip([0, *shown], shown, strict=False):
            pages += [None] * (number > before + 1) + [number]
        return tuple(pages)


@dataclass(frozen=True, slots=True)
class PageNavigation:
    """Navigation between the pages of an original."""

    original: Identifier
    """Identifier without a page."""
    number: int
    """Page number, counted from 1."""
    count: int
    """Number of pages of the original."""

    def target(self, number: int | str) -> str:
        """Percent-encoded identifier of a page; that of the first page has no number."""
        original = self.original
        if number == 1:
            return original.encoded
        return f"{original.encoded}%3B{number}"


@dataclass(frozen=True, slots=True)
class FrontPageType:
    """Type on the front page."""

    name: str
    title: str
    browsable: bool
    """Whether the source can list the folders of the type."""
    page: Page | None
    """First images; None if they are not shown or cannot be read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Folder of a type."""

    type: str
    folder: str = ""
    """Path of the folder, as `a/b`; empty: the folder of the type."""
    title: str = ""
    """Title of the type, shown instead of its name; empty: none."""

    @property
    def trail(self) -> tuple[Item, ...]:
        """Folders on the path from the type to this folder, for breadcrumbs."""
        parts = self.folder.split("/") if self.folder else []
        return (
            _folder(self.title or self.type, Place(self.type)),
            *(
                _folder(part, Place(self.type, "/".join(parts[: index + 1])))
                for index, part in enumerate(parts)
            ),
        )

    def below(self, name: str) -> str:
        """Name, within the type, of an entry in this folder."""
        return f"{self.folder}/{name}" if self.folder else name

    def __str__(self) -> str:
        return f"{self.type}:{self.folder}" if self.folder else self.type


def parse_place(text: str) -> Place:
    """Parse a place `type:folder` or `type`, which need not exist."""
    type_, _, folder = text.partition(":")
    return Place(type_, folder)


def place_of(identifier: Identifier) -> Place:
    """Folder of an image."""
    return Place(identifier.type, identifier.name.rpartition("/")[0])


def page_of(listing: FolderListing, place: Place, number: int, size: int = PAGE_SIZE) -> Page:
    """Page with this number, or the nearest existing one; folders come before images."""
    count = max(1, -(-len(listing) // size))
    number = min(max(1, number), count)
    first, end = (number - 1) * size, number * size
    before = len(listing.folders)
    return Page(
        folders=tuple(
            _folder(name, Place(place.type, place.below(name)))
            for name in listing.folders[first:end]
        ),
        images=tuple(
            Item(name, Identifier(place.type, place.below(name)).encoded)
            for name in listing.names[max(0, first - before) : max(0, end - before)]
        ),
        number=number,
        count=count,
        total=len(listing.names),
        complete=listing.complete,
        unread=listing.unread,
    )


def _folder(label: str, place: Place) -> Item:
    return Item(label, quote(str(place), safe=":/"))
