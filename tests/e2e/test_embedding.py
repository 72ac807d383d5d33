"""Embedding code of the viewer, pasted into a page of another site."""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Frame, Page, expect

from e2e.browsers import Visitor
from e2e.static import running_web_server
from iiif_server.commands.sample import write_sample
from support.servers import Server, running_server

NAMES = ["atlas.jpg", "<img src=x onerror=alert(1)> & \"'<.jpg", "box 1/</script>.jpg"]
"""Names of images, the last of them hostile."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Another web site: its folder and its URL."""
    folder = tmp_path_factory.mktemp("site")
    with running_web_server(folder) as address:
        yield folder, address


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, site: tuple[Path, str]) -> Iterator[Server]:
    """Image server that allows only that site to show its viewer in a frame."""
    settings = f'[types.sample]\nsource = "disk"\n[pages]\nframe_ancestors = ["{site[1]}"]'
    with running_server(tmp_path_factory.mktemp("images"), settings) as server:
        folder = server.source.parent / "sample"
        for name in NAMES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_sample(folder / name, width=1600, height=1200)
        yield server


def _read_embedding_code(visitor: Visitor, server: Server, name: str) -> dict[str, str]:
    """Return the link and the embedding codes that the viewer offers."""
    visit = visitor(f"{server.url}/sample:{quote(name)}/view")
    page = visit.page
    page.get_by_role("button", name="Share and embed").click()
    code = {
        "page": page.get_by_label("Link to this page").input_value(),
        "iframe": page.get_by_label("this viewer in an iframe").input_value(),
        "openseadragon": page.get_by_label("OpenSeadragon on your own page").input_value(),
    }
    visit.assert_clean()
    return code


def _wait_until_loaded(frame: Frame | Page, viewer: str) -> None:
    """Wait until an OpenSeadragon has all its tiles."""
    frame.wait_for_function(
        f"() => {{ const osd = {viewer}; return osd?.world.getItemAt(0)?.getFullyLoaded(); }}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_embedding_code_works_on_another_site(
    images: Server, site: tuple[Path, str], visitor: Visitor, name: str
) -> None:
    code = _read_embedding_code(visitor, images, name)
    assert code["page"] == f"{images.url}/sample:{quote(name)}/view"
    folder, address = site
    (folder / "index.html").write_text(
        f"<!doctype html><meta charset=utf-8><link rel=icon href='data:,'>"
        f"<title>A museum</title><h1>{escape(name)}</h1>"
        f"{code['iframe']}\n<h2>OpenSeadragon</h2>\n{code['openseadragon']}"
    )
    visit = visitor(f"{address}/index.html", viewport={"width": 900, "height": 1500})
    page = visit.page
    frame = next(frame for frame in page.frames if frame.parent_frame)
    _wait_until_loaded(frame, "document.getElementById('stage')?.osd")
    _wait_until_loaded(page, "OpenSeadragon.getViewer?.('iiif-image')")
    # The hostile names have made no elements and no frames of their own.
    assert page.locator("iframe").get_attribute("title") == name.rpartition("/")[2]
    assert page.locator("body img").count() == 0
    assert len(page.frames) == 2
    frame.get_by_role("button", name="Zoom in").click()
    expect(frame.locator("#failure")).to_be_hidden()
    assert frame.get_by_role("link", name="Open in the viewer").get_attribute("href") == "view"
    _wait_until_loaded(frame, "document.getElementById('stage')?.osd")
    visit.screenshot(f"embedded-{NAMES.index(name)}")
    visit.assert_clean()


def test_site_outside_frame_ancestors_gets_no_frame_but_tiles(
    images: Server, visitor: Visitor, tmp_path: Path
) -> None:
    code = _read_embedding_code(visitor, images, NAMES[0])
    (tmp_path / "index.html").write_text(f"{code['iframe']}\n{code['openseadragon']}")
    with running_web_server(tmp_path) as address:
        visit = visitor(f"{address}/index.html")
        _wait_until_loaded(visit.page, "OpenSeadragon.getViewer?.('iiif-image')")
        visit.page.wait_for_function("() => document.readyState === 'complete'")
        assert any("frame-ancestors" in text for text in visit.console), visit.console
        frame = next(frame for frame in visit.page.frames if frame.parent_frame)
        assert frame.locator("#stage").count() == 0


def test_embedding_code_of_the_readme_works(
    images: Server, visitor: Visitor, tmp_path: Path
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    match = re.search(r"(?m)^    <div id=.*?^    </script>\n\n", readme, re.DOTALL)
    assert match is not None
    code = match[0].replace("http://localhost:4040", images.url)
    assert images.url in code
    (tmp_path / "index.html").write_text(f"<link rel=icon href='data:,'>{code}")
    with running_web_server(tmp_path) as address:
        visit = visitor(f"{address}/index.html")
        _wait_until_loaded(visit.page, "OpenSeadragon.getViewer?.('image')")
        visit.assert_clean()


def test_share_panel_fits_a_phone(images: Server, visitor: Visitor) -> None:
    visit = visitor(
        f"{images.url}/sample:{quote(NAMES[0])}/view", viewport={"width": 360, "height": 740}
    )
    page = visit.page
    page.get_by_role("button", name="Share and embed").click()
    expect(page.get_by_label("this viewer in an iframe")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    visit.screenshot("share-phone")
    visit.assert_clean()


def test_share_panel_copies_to_the_clipboard(images: Server, visitor: Visitor) -> None:
    visit = visitor(f"{images.url}/sample:{quote(NAMES[0])}/view", color_scheme="dark")
    page = visit.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    expect(page.locator("#about")).to_be_visible()  # then the viewer listens to keys
    page.keyboard.press("e")
    panel = page.locator("#share")
    panel.get_by_role("button", name="Copy").nth(1).click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.get_by_label("this viewer in an iframe").input_value()
    visit.screenshot("share-panel")
