"""Paging of folder listings, and URLs of images and folders. Pure."""

from dataclasses import dataclass
from urllib.parse import quote

from iiif_server.iiif.identifier import Identifier
from iiif_server.sources.listings import FolderListing

PAGE_SIZE = 48
"""Thumbnails on a page; it fills rows of two, three, four, six or eight."""
FIRST_ROWS = 12
"""Thumbnails of each type on the front page."""


@dataclass(frozen=True, slots=True)
class Item:
    """An image or a folder in a gallery."""

    label: str
    """Its last name."""
    target: str
    """For an image its identifier, encoded; for a folder `type:a/b`, encoded as a query's value."""
    pages: int = 1
    """Of an image's original, if they are known."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a folder."""

    folders: tuple[Item, ...]
    images: tuple[Item, ...]
    number: int
    """Counted from 1."""
    count: int
    total: int
    """Images in the folder, on all pages."""
    complete: bool
    """Whether the listing of the folder is complete."""
    unread: tuple[tuple[str, int], ...] = ()
    """Formats that are not read, with the number of files."""

    @property
    def unread_files(self) -> int:
        """Files of formats that are not read."""
        return sum(number for _, number in self.unread)

    @property
    def nearby(self) -> tuple[int | None, ...]:
        """The pages to link to: the first, the last and those around this one; None for a gap."""
        shown = sorted(
            {1, self.count}
            | set(range(max(1, self.number - 2), min(self.count, self.number + 2) + 1))
        )
        named: list[int | None] = []
        for before, number in zip([0, *shown], shown, strict=False):
            named += [None] * (number > before + 1) + [number]
        return tuple(named)


@dataclass(frozen=True, slots=True)
class Turning:
    """The place of a page among those of its original, and the way to the others."""

    original: Identifier
    """The identifier without a page."""
    number: int
    """Counted from 1."""
    count: int

    def target(self, number: int | str) -> str:
        """The encoded identifier of a page; the first has the original's own."""
        original = self.original
        if number == 1:
            return original.encoded
        return f"{original.encoded}%3B{number}"


@dataclass(frozen=True, slots=True)
class Shown:
    """A type on the front page."""

    name: str
    title: str
    browsable: bool
    """Whether its folders can be listed."""
    page: Page | None
    """Its first images; None if they are not shown or cannot be read."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a type."""

    type: str
    folder: str = ""
    """As in `a/b`; `` is the type's own."""
    title: str = ""
    """What people see instead of the name of the type."""

    @property
    def trail(self) -> tuple[Item, ...]:
        """The folders from the type down to this one."""
        parts = self.folder.split("/") if self.folder else []
        return (
            _folder(self.title or self.type, Place(self.type)),
            *(
                _folder(part, Place(self.type, "/".join(parts[: index + 1])))
                for index, part in enumerate(parts)
            ),
        )

    def below(self, name: str) -> str:
        """The name within the type of a name in this folder."""
        return f"{self.folder}/{name}" if self.folder else name

    def __str__(self) -> str:
        return f"{self.type}:{self.folder}" if self.folder else self.type


def parse_place(text: str) -> Place:
    """The place in a gallery URL; it need not exist."""
    type_, _, folder = text.partition(":")
    return Place(type_, folder)


def place_of(identifier: Identifier) -> Place:
    """The folder of an image."""
    return Place(identifier.type, identifier.name.rpartition("/")[0])


def page_of(listing: FolderListing, place: Place, number: int, size: int = PAGE_SIZE) -> Page:
    """The page with this number, or the nearest one; folders come before images."""
    count = max(1, -(-len(listing) // size))
    number = min(max(1, number), count)
    first, behind = (number - 1) * size, number * size
    before = len(listing.folders)
    return Page(
        folders=tuple(
            _folder(name, Place(place.type, place.below(name)))
            for name in listing.folders[first:behind]
        ),
        images=tuple(
            Item(name, Identifier(place.type, place.below(name)).encoded)
            for name in listing.names[max(0, first - before) : max(0, behind - before)]
        ),
        number=number,
        count=count,
        total=len(listing.names),
        complete=listing.complete,
        unread=listing.unread,
    )


def _folder(label: str, place: Place) -> Item:
    return Item(label, quote(str(place), safe=":/"))
