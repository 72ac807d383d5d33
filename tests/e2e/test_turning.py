"""Page turning in the viewer, in Chromium."""

from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from e2e.browsers import Visitor
from support.servers import Server, running_server

COLOURS = ("firebrick", "seagreen", "royalblue")
BOOK = "pictures:a%20b/book.tif"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Server with a book of three pages of different widths, and a picture."""
    with running_server(tmp_path_factory.mktemp("library"), "") as server:
        (server.source / "a b").mkdir()
        first, *others = (
            Image.new("RGB", (600 + 100 * number, 800), colour)
            for number, colour in enumerate(COLOURS)
        )
        first.save(server.source / "a b" / "book.tif", save_all=True, append_images=others)
        first.save(server.source / "a b" / "picture.png")
        yield server


def _expect_page(page: Page, number: int) -> None:
    """Wait until the viewer shows a page, and check its width."""
    expect(page).to_have_title(f"book.tif, page {number} of 3 · Images")
    expect(page.get_by_role("textbox", name="Page")).to_have_value(str(number))
    width = page.evaluate(
        """() => new Promise((resolve) => {
            const look = () => {
                const item = document.getElementById("stage").osd?.world.getItemAt(0);
                item?.getFullyLoaded() ? resolve(item.getContentSize().x) : setTimeout(look, 20);
            };
            look();
        })"""
    )
    assert width == 500 + 100 * number


def test_buttons_keys_and_page_number_turn_pages(library: Server, visitor: Visitor) -> None:
    visit = visitor(f"{library.url}/{BOOK}/view")
    page = visit.page
    _expect_page(page, 1)
    expect(page.get_by_role("link", name="Previous page")).to_be_disabled()
    page.get_by_role("link", name="Next page").click()
    _expect_page(page, 2)
    visit.screenshot("turning")
    page.get_by_role("link", name="Previous page").click()
    _expect_page(page, 1)
    page.keyboard.press("PageUp")  # there is none before
    page.keyboard.press("PageDown")
    _expect_page(page, 2)
    page.keyboard.press("n")
    _expect_page(page, 3)
    expect(page.get_by_role("link", name="Next page")).to_be_disabled()
    page.keyboard.press("p")
    _expect_page(page, 2)
    field = page.get_by_role("textbox", name="Page")
    for entered, number in (("3", 3), ("1", 1)):
        field.fill(entered)
        field.press("Enter")
        _expect_page(page, number)
    assert page.url == f"{library.url}/pictures:a%20b%2Fbook.tif/view"
    visit.assert_clean()


def test_embedded_viewer_turns_pages(library: Server, visitor: Visitor) -> None:
    visit = visitor(f"{library.url}/{BOOK};2/embed")
    _expect_page(visit.page, 2)
    visit.page.get_by_role("link", name="Next page").click()
    _expect_page(visit.page, 3)
    assert visit.page.url.endswith("/embed")
    visit.screenshot("turning-embedded")
    visit.assert_clean()


def test_image_of_one_page_has_no_page_buttons(library: Server, visitor: Visitor) -> None:
    visit = visitor(f"{library.url}/pictures:a%20b/picture.png/view")
    expect(visit.page.get_by_role("button", name="Zoom in")).to_be_visible()
    expect(visit.page.get_by_role("link", name="Next page")).to_have_count(0)
    visit.page.keyboard.press("PageDown")
    visit.assert_clean()


def test_folder_shows_the_number_of_pages(library: Server, visitor: Visitor) -> None:
    visit = visitor(f"{library.url}/?folder=pictures:a%20b")
    expect(visit.page.get_by_role("link", name="book.tif 3 pages")).to_be_visible()
    expect(visit.page.get_by_role("link", name="picture.png", exact=True)).to_be_visible()
    visit.screenshot("turning-folder")
    visit.assert_clean()
