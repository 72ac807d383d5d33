"""Pages with stand-ins for the scripts of npm, so that tests need no npm."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from iiif_server.iiif.formats import Format
from iiif_server.pages.files import PageFiles
from iiif_server.pages.rendering import Pages
from support.apps import Server

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
"""What browsers send as Accept."""


def write_bundle(folder: Path) -> Path:
    """Write a bundle with one short script for each package."""
    for name in ("openseadragon/openseadragon.min.js", "swagger-ui-dist/swagger-ui-bundle.js"):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(f"// {name}\n" * 100)
    (folder / "swagger-ui-dist/swagger-ui.css").write_text("/* */")
    return folder


def use_bundle(server: Server, folder: Path) -> None:
    """Let a server use the bundle in a folder, or none."""
    files = PageFiles(folder)
    server.app.state.services = replace(
        server.services, files=files, pages=Pages(files.digest, Format.WEBP, "The Collection")
    )


class Elements(HTMLParser):
    """Elements of a page, with their attributes as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, tag: str, attribute: str) -> list[str]:
        """Return an attribute of all elements of this name, in order."""
        found = (attributes for name, attributes in self.found if name == tag)
        return [attributes[attribute] for attributes in found if attribute in attributes]


def parse_elements(html: str) -> Elements:
    """Parse the elements of a page."""
    return Elements(html)
