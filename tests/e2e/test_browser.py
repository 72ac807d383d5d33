"""Gallery, viewer and API documentation in Chromium: no errors, no requests to other hosts."""

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Response, expect

from e2e.browsers import Visit, Visitor
from iiif_server.commands.sample import write_sample
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.signing import Signatures
from support.servers import Server, running_server

WIDTH, HEIGHT = 4800, 3600
KEY = "a-key-of-these-tests-with-enough-letters"
SETTINGS = f"""
[signing]
keys = ["{KEY}"]
[types.closed]
source = "disk"
access = "signed"
[pages]
title = "The Collection"
[types.sample]
source = "disk"
rights = "https://creativecommons.org/publicdomain/zero/1.0/"
"""
ATLAS = "sample:atlas.jpg"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Server with the sample atlas and two folders of pictures."""
    folder = tmp_path_factory.mktemp("collection")
    with running_server(folder, SETTINGS) as server:
        write_sample(_atlas_path(server), width=WIDTH, height=HEIGHT)
        with Image.open(_atlas_path(server)) as atlas:
            small = atlas.reduce(4)
        for number in range(60):
            left, top = number % 10 * 100, number // 10 * 120
            path = server.source / "Details" / f"Detail {number + 1}.jpg"
            path.parent.mkdir(exist_ok=True)
            small.crop((left, top, left + 220, top + 160 + number % 3 * 60)).save(path)
        small.convert("L").save(server.source / "engraving.jpg")
        small.save(server.source / "colour proof.jpg")
        small.crop((0, 0, 300, 400)).save(server.source / "<img src=x onerror=alert(1)>.jpg")
        closed = server.source.parent / "closed"
        closed.mkdir()
        small.save(closed / "letter.jpg")
        yield server


def _atlas_path(server: Server) -> Path:
    return server.source.parent / "sample" / "atlas.jpg"


def _open_viewer(
    visitor: Visitor, server: Server, rest: str = f"{ATLAS}/view", **options: Any
) -> Visit:
    """Open an image in the viewer; wait until all tiles are loaded."""
    visit = visitor(f"{server.url}/{rest}", **options)
    wait_until_viewers_are_idle(visit.page)
    return visit


def wait_until_viewers_are_idle(page: Page) -> None:
    """Wait until each image on the page has its tiles, and no animation runs."""
    _two_frames(page)  # until then nobody knows of what has just been done
    page.wait_for_function(
        """() => [...document.querySelectorAll(".stage:not([hidden])")].every((element) => {
            const { osd } = element;
            const item = osd?.world.getItemAt(0);
            if (!item?.getFullyLoaded()) return false;
            const { viewport } = osd;
            return viewport.getContainerSize().x === element.clientWidth
                && Math.abs(viewport.getZoom(true) / viewport.getZoom() - 1) < 1e-4
                && viewport.getCenter(true).distanceTo(viewport.getCenter()) < 1e-5
                && viewport.getRotation(true) === viewport.getRotation();
        }) && document.getElementById("stage")"""
    )
    _two_frames(page)  # what is loaded now is drawn with the next one


def _two_frames(page: Page) -> None:
    page.evaluate(
        "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
    )


def _zoom_to(page: Page, x: int, y: int) -> None:
    """Zoom to full resolution around a pixel of the image."""
    page.evaluate(
        """([x, y]) => {
            const { osd } = document.getElementById("stage");
            const item = osd.world.getItemAt(0);
            const { Point } = OpenSeadragon;
            osd.viewport.zoomTo(item.imageToViewportZoom(1), null, true);
            osd.viewport.panTo(item.imageToViewportCoordinates(new Point(x, y)), true);
        }""",
        [x, y],
    )
    wait_until_viewers_are_idle(page)


# --- the gallery ----------------------------------------------------------------------------


def test_gallery_lists_folders_and_links_to_images(collection: Server, visitor: Visitor) -> None:
    visit = visitor(collection.url)
    page = visit.page
    expect(page).to_have_title("The Collection")
    expect(page.get_by_role("heading", level=2)).to_have_text(["pictures", "sample"])
    page.wait_for_load_state("networkidle")
    visit.screenshot("gallery")
    page.get_by_role("link", name="Folder Details").click()
    expect(page.get_by_text("60 images, page 1 of 2")).to_be_visible()
    expect(page.locator(".card")).to_have_count(48)
    page.wait_for_load_state("networkidle")
    visit.screenshot("folder")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".card")).to_have_count(12)
    expect(page.locator(".card").first).to_have_text("Detail 49.jpg")
    page.get_by_role("link", name="Detail 60.jpg").click()
    wait_until_viewers_are_idle(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Detail 60.jpg")
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Details").click()
    expect(page.get_by_text("page 1 of 2")).to_be_visible()
    visit.assert_clean()


def test_gallery_loads_thumbnails_lazily(collection: Server, visitor: Visitor) -> None:
    visit = visitor(
        f"{collection.url}/?folder=pictures:Details", viewport={"width": 600, "height": 400}
    )
    visit.page.wait_for_load_state("networkidle")
    before = sum("!400,400" in url for url in visit.requested)
    assert 0 < before < 40
    visit.page.get_by_role("link", name="Next").scroll_into_view_if_needed()
    visit.page.wait_for_function(
        "() => [...document.images].at(-1).complete && [...document.images].at(-1).naturalWidth"
    )
    assert sum("!400,400" in url for url in visit.requested) > before
    visit.assert_clean()


def test_name_with_html_is_shown_as_text(collection: Server, visitor: Visitor) -> None:
    visit = visitor(f"{collection.url}/?folder=pictures")
    visit.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    visit.page.get_by_role("link", name="<img src=x onerror=alert(1)>.jpg").click()
    wait_until_viewers_are_idle(visit.page)
    expect(visit.page.get_by_role("heading", level=1)).to_have_text(
        "<img src=x onerror=alert(1)>.jpg"
    )
    visit.assert_clean()


def test_open_field_accepts_identifier_and_url(collection: Server, visitor: Visitor) -> None:
    visit = visitor(collection.url)
    for typed in (ATLAS, f"{collection.url}/iiif/3/{ATLAS}/info.json"):
        visit.page.get_by_label("Open an image").fill(typed)
        visit.page.get_by_role("button", name="Open").click()
        wait_until_viewers_are_idle(visit.page)
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("atlas.jpg")
        visit.page.get_by_role("link", name="The Collection").click()
    visit.assert_clean()


def test_image_url_in_a_browser_redirects_to_the_viewer(
    collection: Server, visitor: Visitor
) -> None:
    visit = _open_viewer(visitor, collection, ATLAS)
    assert visit.page.url == f"{collection.url}/{ATLAS}/view"
    visit.assert_clean()


def test_missing_image_shows_an_error_page(collection: Server, visitor: Visitor) -> None:
    visit = visitor(f"{collection.url}/sample:nothing.jpg")
    expect(visit.page.get_by_role("heading", level=1)).to_have_text(
        "There is no image with this identifier."
    )
    visit.screenshot("problem")
    assert visit.failed == [f"404: {collection.url}/sample:nothing.jpg/view"]
    assert not visit.foreign


# --- the viewer -----------------------------------------------------------------------------


def test_viewer_at_full_resolution_shows_the_pixels_of_the_original(
    collection: Server, visitor: Visitor
) -> None:
    tiles: list[Response] = []
    visit = _open_viewer(visitor, collection)
    visit.screenshot("viewer")

    def collect_tile(response: Response) -> None:
        if re.search(r"/\d+,\d+,512,512/512,512/0/default\.jpg$", response.url):
            tiles.append(response)

    visit.page.on("response", collect_tile)
    visit.page.keyboard.press("i")  # all the room for the image
    wait_until_viewers_are_idle(visit.page)
    _zoom_to(visit.page, 2304, 1792)
    expect(visit.page.locator("#zoom")).to_have_text("100 %")
    assert tiles
    with Image.open(_atlas_path(collection)) as atlas:
        original = np.asarray(atlas.convert("RGB")).astype(int)
    for response in tiles:
        found = re.search(r"/(\d+),(\d+),512,512/", response.url)
        assert found is not None
        x, y = int(found[1]), int(found[2])
        tile = np.asarray(Image.open(io.BytesIO(response.body())).convert("RGB")).astype(int)
        # At its edges a decoder smooths colours across what the tile does not have.
        inner = original[y + 4 : y + 508, x + 4 : x + 508]
        assert np.array_equal(tile[4:-4, 4:-4], inner), response.url
    # And so on the screen, whose pixels may lie between those of the image by up to a half.
    box = visit.page.locator("#stage").bounding_box()
    assert box is not None
    middle = (round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2))
    shown = np.asarray(Image.open(visit.screenshot("viewer-full-resolution")).convert("RGB"))
    seen = shown[middle[1] - 100 : middle[1] + 100, middle[0] - 100 : middle[0] + 100].astype(int)
    candidates = (
        _crop_at_half_pixel(original, x, y) for x in range(4605, 4612) for y in range(3581, 3588)
    )
    assert min(np.abs(seen - candidate).mean() for candidate in candidates) < 3
    visit.assert_clean()


def _crop_at_half_pixel(pixels: Any, left: int, top: int) -> Any:
    """Return the 200 x 200 pixels around a point, given in half pixels."""
    x, y = left // 2 - 100, top // 2 - 100
    cut = pixels[y : y + 201, x : x + 201].astype(float)
    across = (cut[:, :-1] + cut[:, 1:]) / 2 if left % 2 else cut[:, :-1]
    return (across[:-1] + across[1:]) / 2 if top % 2 else across[:-1]


def test_rotate_and_mirror_change_view_and_download_link(
    collection: Server, visitor: Visitor
) -> None:
    visit = _open_viewer(visitor, collection)
    page = visit.page
    before = _crop_middle(visit, "turn-0")
    page.get_by_role("button", name="Rotate right").click()
    wait_until_viewers_are_idle(page)
    turned = _crop_middle(visit, "turned")
    assert np.abs(turned - before).mean() > 1
    page.get_by_role("button", name="Download").click()
    page.locator("#download-turned").check()
    link = page.get_by_role("link", name="the largest")
    expect(link).to_have_attribute("href", re.compile(r"/full/max/90/default\.jpg$"))
    page.get_by_role("button", name="Mirror").click()
    expect(link).to_have_attribute("href", re.compile(r"/full/max/!270/default\.jpg$"))
    page.get_by_role("button", name="Rotate left").click()
    expect(link).to_have_attribute("href", re.compile(r"/full/max/!180/default\.jpg$"))
    page.get_by_role("button", name="Mirror").click()
    expect(link).to_have_attribute("href", re.compile(r"/full/max/180/default\.jpg$"))
    page.get_by_role("button", name="Rotate right").click()
    page.get_by_role("button", name="Rotate right").click()
    expect(link).to_have_attribute("href", re.compile(r"/full/max/0/default\.jpg$"))
    visit.assert_clean()


def _crop_middle(visit: Visit, name: str) -> Any:
    """Return the middle of the image on the screen."""
    with Image.open(visit.screenshot(name)) as shown:
        return np.asarray(shown.convert("RGB").crop((200, 200, 700, 600))).astype(int)


def test_downloaded_image_matches_the_view(collection: Server, visitor: Visitor) -> None:
    """Rotated, mirrored and gray: on the screen and in the downloaded image."""
    visit = _open_viewer(visitor, collection)
    page = visit.page
    page.get_by_role("button", name="About this image").click()
    page.get_by_role("button", name="Mirror").click()
    page.get_by_role("button", name="Rotate right").click()
    page.get_by_text("Gray", exact=True).click()
    page.keyboard.press("0")
    wait_until_viewers_are_idle(page)
    box = _image_rectangle(page)
    shown = Image.open(visit.screenshot("gray")).convert("RGB")
    page.get_by_role("button", name="Download").click()
    page.locator("#download-turned").check()
    href = page.get_by_role("link", name="the largest").get_attribute("href")
    assert href is not None
    assert re.search(r"/full/max/!\d+/gray\.jpg$", href)
    given = Image.open(io.BytesIO(httpx.get(href.replace("/max/", "/!800,800/")).content))
    assert given.height > given.width
    # The same picture lies in the middle of the screen.
    seen = shown.crop(box).resize((150, 200)).convert("L")
    wanted = given.convert("L").resize((150, 200))
    difference = np.abs(np.asarray(seen).astype(int) - np.asarray(wanted).astype(int)).mean()
    flipped = np.abs(np.asarray(seen)[:, ::-1].astype(int) - np.asarray(wanted).astype(int)).mean()
    assert difference < 6
    assert flipped > 2 * difference
    visit.assert_clean()


def _image_rectangle(page: Page) -> tuple[int, int, int, int]:
    """Return the rectangle of the image on the screen, in pixels."""
    left, top, right, bottom = page.evaluate(
        """() => {
            const element = document.getElementById("stage");
            const { osd } = element;
            const item = osd.world.getItemAt(0);
            const size = item.getContentSize();
            const { Point } = OpenSeadragon;
            const corners = [[0, 0], [size.x, 0], [0, size.y], [size.x, size.y]]
                .map(([x, y]) => item.imageToViewerElementCoordinates(new Point(x, y)));
            const { left, top } = element.getBoundingClientRect();
            const xs = corners.map(({ x }) => x + left);
            const ys = corners.map(({ y }) => y + top);
            return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
        }"""
    )
    return round(left), round(top), round(right), round(bottom)


@pytest.mark.parametrize("turns", [0, 1])
def test_region_url_returns_the_selected_region(
    collection: Server, visitor: Visitor, turns: int
) -> None:
    visit = _open_viewer(visitor, collection, permissions=["clipboard-read", "clipboard-write"])
    page = visit.page
    page.get_by_role("button", name="Select a region").click()
    for _ in range(turns):
        page.get_by_role("button", name="Rotate right").click()
        page.get_by_role("button", name="Mirror").click()
    wait_until_viewers_are_idle(page)
    page.mouse.move(360, 330)
    page.mouse.down()
    page.mouse.move(560, 480, steps=5)
    page.mouse.up()
    visit.screenshot(f"region-{turns}")
    address = page.get_by_label("URL", exact=True).input_value()
    rotation = "!270" if turns else "0"
    found = re.fullmatch(
        rf"{collection.url}/{ATLAS}/(\d+),(\d+),(\d+),(\d+)/max/{rotation}/default\.jpg", address
    )
    assert found is not None, address
    _, y, width, height = map(int, found.groups())
    given = Image.open(io.BytesIO(httpx.get(address).raise_for_status().content))
    assert given.size == ((height, width) if turns else (width, height))
    assert abs(given.width / given.height - 200 / 150) < 0.02
    # It looks like what is within the rectangle on the screen, which is bright.
    shown = Image.open(visit.screenshot(f"region-{turns}")).convert("L").crop((366, 336, 554, 474))
    wanted = given.convert("L").resize((200, 150)).crop((6, 6, 194, 144))
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(wanted).astype(int)).mean() < 12

    page.locator("#region").get_by_role("button", name="Copy").click()
    expect(page.locator("#announcements")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == address
    # In a size, and changed by its numbers and by its corner.
    page.locator("#region-size").select_option("!300,300")
    small = page.get_by_label("URL", exact=True).input_value()
    assert max(Image.open(io.BytesIO(httpx.get(small).content)).size) == 300
    page.get_by_role("spinbutton", name="Left").fill("10")
    page.keyboard.press("Enter")
    expect(page.get_by_label("URL", exact=True)).to_have_value(
        re.compile(rf"/10,{y},{width},{height}/")
    )
    with page.expect_popup() as popup:
        page.locator("#region-open").click()
    popup.value.wait_for_load_state()
    assert popup.value.url.startswith(f"{collection.url}/{ATLAS}/10,{y},")
    visit.assert_clean()


def test_download_offers_the_sizes_of_info_json(collection: Server, visitor: Visitor) -> None:
    visit = _open_viewer(visitor, collection)
    page = visit.page
    page.get_by_role("button", name="Download").click()
    links = page.locator("#sizes a")
    expect(links.last).to_have_text("4,800 \u00d7 3,600, the largest")
    visit.screenshot("download")
    with page.expect_download() as download:
        links.first.click()
    assert download.value.suggested_filename == "atlas_full_300x225.jpg"
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).size == (300, 225)
    page.locator("#download-format").select_option("png")
    with page.expect_download() as download:
        links.first.click()
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).format == "PNG"
    visit.assert_clean()


def test_compared_images_move_together_until_unlinked(collection: Server, visitor: Visitor) -> None:
    visit = _open_viewer(visitor, collection, f"{ATLAS}/view?with=pictures:engraving.jpg")
    page = visit.page
    expect(page.locator("#other")).to_be_visible()
    page.wait_for_function("() => document.getElementById('other').osd?.world.getItemCount()")
    wait_until_viewers_are_idle(page)
    page.mouse.move(300, 400)
    page.mouse.wheel(0, -600)
    wait_until_viewers_are_idle(page)
    one, other = _viewports(page)
    assert one == pytest.approx(other, rel=1e-3)
    visit.screenshot("compare")
    page.get_by_role("button", name="Compare").click()
    page.get_by_label("move both together").uncheck()
    page.get_by_role("button", name="Zoom in").click()
    wait_until_viewers_are_idle(page)
    zoomed, stayed = _viewports(page)
    assert zoomed[0] > 1.2 * stayed[0]
    assert page.locator("#other-facts").inner_text().startswith("Compared with")
    visit.assert_clean()


def _viewports(page: Page) -> list[list[float]]:
    """Return zoom and centre of both images."""
    views: list[list[float]] = page.evaluate(
        """() => ["stage", "other"].map((id) => {
            const { viewport } = document.getElementById(id).osd;
            const { x, y } = viewport.getCenter();
            return [viewport.getZoom(), x, y];
        })"""
    )
    return views


def test_missing_image_to_compare_shows_an_alert(collection: Server, visitor: Visitor) -> None:
    visit = _open_viewer(visitor, collection, f"{ATLAS}/view?with=sample:nothing.jpg")
    expect(visit.page.get_by_role("alert")).to_have_text("There is no image with this identifier.")
    assert visit.failed == [f"404: {collection.url}/sample:nothing.jpg/info.json"]


def test_viewer_is_operable_by_keyboard(collection: Server, visitor: Visitor) -> None:
    visit = _open_viewer(visitor, collection)
    page = visit.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the image")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#stage")).to_be_focused()
    before = _viewport(page)
    for key in ("+", "+", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    wait_until_viewers_are_idle(page)
    after = _viewport(page)
    assert after[0] > 2 * before[0]
    assert after[1] > before[1]
    assert after[2] > before[2]
    page.keyboard.press("r")
    page.keyboard.press("m")
    expect(page.get_by_role("button", name="Mirror")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("q")
    expect(page.get_by_role("radio", name="Gray")).to_be_checked()
    page.keyboard.press("0")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys and gestures")).to_be_visible()
    visit.screenshot("keys")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("s")
    page.get_by_role("button", name="Current view").focus()
    page.keyboard.press("Enter")
    address = page.get_by_label("URL", exact=True).input_value()
    page.get_by_role("group", name="Selected region").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("URL", exact=True).input_value() != address
    page.keyboard.press("Escape")
    expect(page.locator("#region")).to_be_hidden()
    wait_until_viewers_are_idle(page)
    visit.assert_clean()


def _viewport(page: Page) -> list[float]:
    """Return zoom and centre of the image."""
    view: list[float] = page.evaluate(
        """() => {
            const { viewport } = document.getElementById("stage").osd;
            const { x, y } = viewport.getCenter();
            return [viewport.getZoom(), x, y];
        }"""
    )
    return view


def test_tab_reaches_all_controls_and_leaves_the_page(collection: Server, visitor: Visitor) -> None:
    """No element traps the focus, and each focused element has an outline."""
    visit = _open_viewer(visitor, collection)
    page = visit.page
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outlined = page.evaluate(
            """() => {
                const element = document.activeElement;
                const seen = element.closest("label") ?? element;
                const { outlineStyle } = getComputedStyle(seen);
                const name = element.id || element.className || element.tagName;
                return [element === document.body ? "BODY" : name, outlineStyle !== "none"];
            }"""
        )
        if name == "BODY":
            break
        reached.append(name)
        assert outlined or name == "skip", name
    else:
        pytest.fail(f"the focus never leaves: {reached}")
    for needed in ("stage", "zoom-in", "mirror", "show-region", "theme", "help", "info-address"):
        assert needed in reached
    assert len(reached) == len([name for name in reached if name != "BODY"])
    visit.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_follows_the_system_until_chosen(
    collection: Server, visitor: Visitor, scheme: str
) -> None:
    visit = visitor(collection.url, color_scheme=scheme)
    page = visit.page
    page.wait_for_load_state("networkidle")
    visit.screenshot(f"gallery-{scheme}")
    assert (_background_brightness(page) < 128) is (scheme == "dark")
    button = page.get_by_role("button", name="Dark theme")
    expect(button).to_have_attribute("aria-pressed", str(scheme == "dark").lower())
    button.click()
    assert (_background_brightness(page) < 128) is (scheme == "light")
    page.goto(f"{collection.url}/{ATLAS}/view")  # and it is remembered
    wait_until_viewers_are_idle(page)
    visit.screenshot(f"viewer-{'light' if scheme == 'dark' else 'dark'}")
    assert (_background_brightness(page) < 128) is (scheme == "light")
    visit.assert_clean()


def _background_brightness(page: Page) -> int:
    colour: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return int(re.findall(r"\d+", colour)[0])


CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([red, green, blue]) => {
        const [r, g, b] = [red, green, blue].map((value) => {
            const part = value / 255;
            return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = rgba(getComputedStyle(at).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const element of document.querySelectorAll("body *")) {
        const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
        if (!texts.some((node) => node.data.trim()) || !element.checkVisibility()) continue;
        if (element.closest(".away, script, noscript")) continue;
        const [one, other] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) low.push(`${element.textContent.trim()}: ${ratio.toFixed(2)}`);
    }
    return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_sufficient_contrast(collection: Server, visitor: Visitor, scheme: str) -> None:
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3, level AA)."""
    visit = visitor(f"{collection.url}/?folder=pictures:Details", color_scheme=scheme)
    assert visit.page.evaluate(CONTRAST) == []
    visit.page.goto(f"{collection.url}/{ATLAS}/view")
    wait_until_viewers_are_idle(visit.page)
    for name in ("Select a region", "Download", "Compare", "About this image"):
        visit.page.get_by_role("button", name=name).click()
        assert visit.page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [721, 780, 900])
def test_toolbar_stays_in_its_box_beside_an_open_panel(
    collection: Server, visitor: Visitor, width: int
) -> None:
    page = _open_viewer(visitor, collection, viewport={"width": width, "height": 600}).page
    assert page.locator(".panel").is_visible()
    outside = page.evaluate(
        """() => {
            const box = document.querySelector(".tools").getBoundingClientRect();
            const wall = document.querySelector(".wall").getBoundingClientRect();
            return [box.right > wall.right || box.left < wall.left,
                ...[...document.querySelectorAll(".tools > *")].map((item) => {
                    const { left, right } = item.getBoundingClientRect();
                    return right > box.right || left < box.left;
                })];
        }"""
    )
    assert not any(outside)


def test_viewer_fits_a_phone_and_handles_taps(collection: Server, visitor: Visitor) -> None:
    visit = _open_viewer(
        visitor,
        collection,
        viewport={"width": 390, "height": 780},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    page = visit.page
    visit.screenshot("phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = _viewport(page)[0]
    page.locator("#zoom-in").tap()
    wait_until_viewers_are_idle(page)
    assert _viewport(page)[0] > before
    page.get_by_role("button", name="Select a region").tap()
    visit.screenshot("phone-region")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.assert_clean()


def test_signed_image_is_shown_only_at_its_signed_url(collection: Server, visitor: Visitor) -> None:
    identifier = Identifier("closed", "letter.jpg")
    address = Signatures([KEY.encode()]).sign(identifier, int(time.time()) + 600)
    signed = f"{collection.url}/iiif/3/{address}/{identifier.encoded}"
    visit = _open_viewer(visitor, collection, signed.removeprefix(f"{collection.url}/"))
    images = [url for url in visit.requested if "/default." in url]
    assert images
    assert all(url.startswith(f"{signed}/") for url in images)
    visit.page.get_by_role("button", name="Zoom in").click()
    wait_until_viewers_are_idle(visit.page)
    visit.page.goto(f"{signed}/view?with={address}/{identifier}")
    expect(visit.page.locator("#other")).to_be_visible()
    wait_until_viewers_are_idle(visit.page)
    visit.assert_clean()
    refused = visitor(f"{collection.url}/closed:letter.jpg")
    expect(refused.page.get_by_role("heading", level=1)).to_contain_text("signed URL")
    assert refused.failed == [f"403: {collection.url}/closed:letter.jpg/view"]
    front = visitor(collection.url)
    assert "closed" not in front.page.content()


# --- below a prefix ---------------------------------------------------------------------------


def test_pages_work_below_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, visitor: Visitor
) -> None:
    folder = tmp_path_factory.mktemp("prefix")
    with running_server(folder, 'root_path = "/images"') as server:
        (server.source / "a b").mkdir()
        Image.linear_gradient("L").resize((900, 700)).save(server.source / "a b" / "1.png")
        visit = visitor(f"{server.url}/images/")
        page = visit.page
        page.get_by_role("link", name="Folder a b").click()
        page.get_by_role("link", name="1.png").click()
        wait_until_viewers_are_idle(page)
        assert page.url == f"{server.url}/images/pictures:a%20b%2F1.png/view"
        address = page.get_by_label("IIIF image").input_value()
        assert address == f"{server.url}/images/pictures:a%20b%2F1.png/info.json"
        page.goto(f"{server.url}/images/docs")
        route = page.locator("#operations-Operations-health_health_get")
        route.locator(".opblock-summary-control").click()
        with page.expect_response(f"{server.url}/images/health") as answer:
            route.get_by_role("button", name="Execute").click()
        assert answer.value.status == 200
        assert all(f"{server.url}/images/" in url for url in visit.requested if "data:" not in url)
        visit.assert_clean()


# --- the documentation ----------------------------------------------------------------------


def test_api_documentation_requests_this_server(collection: Server, visitor: Visitor) -> None:
    visit = visitor(f"{collection.url}/docs")
    page = visit.page
    expect(page.locator(".opblock-tag").first).to_contain_text("Images")
    visit.screenshot("docs")
    route = page.locator("#operations-Images-image_information_default")
    route.locator(".opblock-summary-control").click()
    assert route.locator("input").first.input_value() == ATLAS
    with page.expect_response(re.compile(r"/sample%3Aatlas\.jpg/info\.json$")) as answer:
        route.get_by_role("button", name="Execute").click()
    assert answer.value.status == 200
    expect(route.locator(".live-responses-table")).to_contain_text(f'"width": {WIDTH}')
    visit.screenshot("docs-executed")
    visit.assert_clean()
