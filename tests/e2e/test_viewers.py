"""Mirador and Universal Viewer open our manifests from another origin."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from e2e.browsers import Visit, Visitor
from e2e.static import running_web_server
from support.servers import Server

PACKAGES = Path(__file__).parent / "viewers" / "packages"
NAME = "vier farben.jpg"
WRITTEN = "pictures:maps%2Fvier%20farben.jpg"
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (40, 60, 220),
    "gold": (230, 190, 30),
}
SIDE = 1200
_SHARE = 0.05
"""Of the page, that each colour takes at least."""
_SECONDS = 30

MIRADOR = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Mirador</title>
<link rel="icon" href="data:,">
<div id="mirador" style="position: absolute; inset: 0"></div>
<script src="mirador/mirador.min.js"></script>
<script>
const at = new URLSearchParams(location.search);
Mirador.viewer({ id: "mirador", windows: [{ manifestId: at.get("manifest") }] });
</script>
"""


@pytest.fixture(scope="module")
def viewers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a web server with both viewers, of another origin than the images."""
    folder = tmp_path_factory.mktemp("viewers")
    (folder / "mirador").symlink_to(PACKAGES / "mirador" / "dist")
    (folder / "uv").symlink_to(PACKAGES / "universalviewer" / "dist")
    (folder / "mirador.html").write_text(MIRADOR)
    with running_web_server(folder) as url:
        yield url


@pytest.fixture(scope="module")
def images(server: Server) -> str:
    """URL of the server, with an image of four colours and two others."""
    folder = server.source / "maps"
    folder.mkdir()
    image = Image.new("RGB", (2 * SIDE, 2 * SIDE))
    for index, colour in enumerate(COLOURS.values()):
        image.paste(colour, ((index % 2) * SIDE, (index // 2) * SIDE, SIDE * 3, SIDE * 3))
    image.save(folder / NAME, quality=95)
    for name, other in (("second.jpg", "navy"), ("third.png", "olive")):
        Image.new("RGB", (800, 600), other).save(folder / name)
    return server.url


def colour_shares(visit: Visit, name: str) -> dict[str, float]:
    """Return the share of the page that each colour covers in a screenshot."""
    page = np.asarray(Image.open(visit.screenshot(name)).convert("RGB")).astype(int)
    return {
        colour: float((np.abs(page - value).max(axis=2) < 16).mean())
        for colour, value in COLOURS.items()
    }


def wait_until_drawn(visit: Visit, name: str) -> None:
    """Wait until the screenshot shows all colours: viewers report no such event."""
    until = time.monotonic() + _SECONDS
    while min(colour_shares(visit, name).values()) < _SHARE:
        assert time.monotonic() < until, colour_shares(visit, name)


def assert_no_errors_of_ours(visit: Visit, server: str) -> None:
    """Assert that no request to our server failed, and that no error names it.

    Both viewers log errors of their own: React warnings, and an icon with a wrong name.
    """
    failed = [text for text in visit.failed if server in text]
    assert not failed, failed
    assert not visit.foreign, visit.foreign
    wrong = [text for text in visit.console if server in text or text.startswith("uncaught")]
    assert not wrong, wrong


def tile_requests(visit: Visit, server: str) -> list[str]:
    """Return the tiles that the page requested."""
    return [url for url in visit.requested if url.startswith(server) and "/512,512/0/" in url]


@pytest.mark.e2e
def test_mirador_shows_an_image(viewers: str, images: str, visitor: Visitor) -> None:
    visit = visitor(f"{viewers}/mirador.html?manifest={images}/{WRITTEN}/manifest.json")
    visit.page.get_by_role("heading", name=NAME).first.wait_for()
    visit.page.locator(".openseadragon-canvas canvas").first.wait_for()
    wait_until_drawn(visit, "mirador")
    assert tile_requests(visit, images)
    assert_no_errors_of_ours(visit, images)


@pytest.mark.e2e
def test_mirador_shows_the_next_image_of_a_manifest(
    viewers: str, images: str, visitor: Visitor
) -> None:
    several = quote(f"{images}/manifest.json?identifiers={WRITTEN},pictures:maps/second.jpg")
    visit = visitor(f"{viewers}/mirador.html?manifest={several}")
    visit.page.get_by_text("1 of 2").wait_for()
    visit.page.get_by_role("button", name="Next item").click()
    visit.page.get_by_text("2 of 2").wait_for()
    visit.page.wait_for_load_state("networkidle")
    visit.screenshot("mirador-several")
    assert any("second.jpg/info.json" in url for url in visit.requested)
    assert_no_errors_of_ours(visit, images)


@pytest.mark.e2e
def test_mirador_opens_an_image_from_the_top_collection(
    viewers: str, images: str, visitor: Visitor
) -> None:
    visit = visitor(f"{viewers}/mirador.html?manifest={images}/collection.json")
    # Mirador opens the list by itself, or waits to be asked, whichever of its parts is drawn first.
    visit.page.get_by_text("Show collection").dispatch_event("click")
    for label in ("pictures", "maps", NAME):
        visit.page.get_by_text(label, exact=True).click()
    visit.page.locator(".openseadragon-canvas canvas").first.wait_for()
    wait_until_drawn(visit, "mirador-collection")
    assert_no_errors_of_ours(visit, images)


@pytest.mark.e2e
def test_universal_viewer_shows_an_image(viewers: str, images: str, visitor: Visitor) -> None:
    visit = visitor(f"{viewers}/uv/uv.html#?manifest={images}/{WRITTEN}/manifest.json")
    visit.page.locator(".openseadragon-canvas canvas").first.wait_for()
    wait_until_drawn(visit, "universal-viewer")
    assert tile_requests(visit, images)
    assert_no_errors_of_ours(visit, images)


@pytest.mark.e2e
def test_universal_viewer_shows_several_images(viewers: str, images: str, visitor: Visitor) -> None:
    several = quote(f"{images}/manifest.json?identifiers=pictures:maps/third.png,{WRITTEN}")
    visit = visitor(f"{viewers}/uv/uv.html#?manifest={several}&cv=1")
    visit.page.locator(".openseadragon-canvas canvas").first.wait_for()
    wait_until_drawn(visit, "universal-viewer-several")
    assert_no_errors_of_ours(visit, images)
