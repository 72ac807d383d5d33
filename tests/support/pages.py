"""Pages with scripts of others that are none: what is tested needs no npm."""

from dataclasses import replace
from pathlib import Path

from iiif_server.image_api.formats import Format
from iiif_server.pages.files import PageFiles
from iiif_server.pages.rendering import Pages
from support.apps import Server

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
"""What browsers send as Accept."""


def bundle(folder: Path) -> Path:
    """A bundle of the packages that there are, each with one short script."""
    for name in ("openseadragon/openseadragon.min.js", "swagger-ui-dist/swagger-ui-bundle.js"):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(f"// {name}\n" * 100)
    (folder / "swagger-ui-dist/swagger-ui.css").write_text("/* */")
    return folder


def use_bundle(server: Server, folder: Path) -> None:
    """Let a server have the bundle in a folder, or none."""
    files = PageFiles(folder)
    server.app.state.services = replace(
        server.services, files=files, pages=Pages(files.digest, Format.WEBP, "The Collection")
    )
