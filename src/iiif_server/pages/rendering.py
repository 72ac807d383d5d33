"""HTML of the web pages, with all values escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from iiif_server.iiif.formats import Format
from iiif_server.pages.facts import Fact
from iiif_server.pages.paging import FrontPageType, Item, Page, PageNavigation, Place
from iiif_server.sources.listings import MAX_ENTRIES

STATIC_PREFIX = "/_:pages"
"""Path of static files; no identifier begins like this, because no type has the name `_`."""

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class ViewerPage:
    """Data of a viewer page."""

    identifier: str
    place: Place | None
    """Folder of the image in the gallery; None if the gallery does not show it."""
    facts: tuple[Fact, ...]
    gray: bool
    expires: bool
    """Whether the URLs of the image are signed and expire."""
    frameable: bool
    """Whether other sites may show the page in an iframe."""
    turning: PageNavigation | None = None
    """Navigation to other pages of the original; None: there are none to show."""

    @property
    def label(self) -> str:
        """Last part of the name, and the page if the original has several."""
        turning = self.turning
        name = self.identifier if turning is None else str(turning.original)
        last = name.partition(":")[2].rpartition("/")[2]
        return last if turning is None else f"{last}, page {turning.number:,} of {turning.count:,}"


class Pages:
    """Renders web pages; their URLs of static files contain the digest of all files.

    `root` is the relative URL of the front page, as `../`: all URLs are relative, so that they
    work behind any proxy. Thumbnails have a format that pyramids do not have, so that a page of
    thumbnails builds no pyramids (docs/viewer.md).
    """

    def __init__(self, digest: str, thumbnail: Format, title: str) -> None:
        self._digest = digest
        self._title = title
        self._thumbnail = thumbnail

    def __repr__(self) -> str:
        return f"<Pages {self._digest}>"

    def front(self, root: str, types: Sequence[FrontPageType], *, gallery: bool) -> str:
        """Front page: types by name, with the first images of those that can be listed."""
        return self._render("front.html", root, types=types, gallery=gallery)

    def folder(self, root: str, place: Place, page: Page, words: str = "") -> str:
        """One page of a folder, or of its entries with some words in their names."""
        trail = place.trail
        return self._render(
            "folder.html",
            root,
            folder=str(place),
            trail=trail,
            here=trail[-1],
            page=page,
            words=words,
        )

    def found(self, root: str, words: str, images: Sequence[Item]) -> str:
        """Page with the images that a search found."""
        page = Page((), tuple(images), 1, 1, len(images), complete=True)
        return self._render("found.html", root, words=words, page=page)

    def viewer(self, root: str, viewed: ViewerPage, *, zooming: bool) -> str:
        """Viewer page of an image; without the scripts for zooming, a plain picture."""
        template = "viewer.html" if zooming else "picture.html"
        return self._render(template, root, viewed=viewed)

    def embedded(self, root: str, viewed: ViewerPage, *, zooming: bool) -> str:
        """Viewer alone, for an iframe."""
        return self._render("embed.html", root, viewed=viewed, zooming=zooming)

    def documentation(self, root: str, example: str) -> str:
        """Interactive API documentation; `example` is an identifier, or empty."""
        return self._render("docs.html", root, example=example)

    def problem(self, root: str, status: int, sentence: str) -> str:
        """Page for an error."""
        return self._render("problem.html", root, status=status, sentence=sentence)

    def _render(self, template: str, root: str, **values: Any) -> str:
        static = f"{root}{STATIC_PREFIX.removeprefix('/')}/{self._digest}"
        return _templates.get_template(template).render(
            root=root,
            static=static,
            site=self._title,
            thumbnail=self._thumbnail,
            most=MAX_ENTRIES,
            **values,
        )


def exported_page(
    label: str, information: Mapping[str, Any], script: str, rights: str | None
) -> str:
    """Viewer page of an exported image, whose info.json and files are beside it.

    `script` is the relative URL of OpenSeadragon, `rights` the URL of a licence or statement.
    """
    return _templates.get_template("export.html").render(
        label=label, information=information, script=script, rights=rights
    )
