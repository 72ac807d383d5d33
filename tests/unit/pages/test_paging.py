"""Paging of folders in the gallery."""

import pytest

from iiif_server.iiif.identifier import Identifier
from iiif_server.pages.paging import Page, Place, page_of, parse_place, place_of
from iiif_server.sources.listings import FolderListing


@pytest.mark.parametrize(
    ("text", "place", "trail"),
    [
        ("plates", Place("plates"), [("plates", "plates")]),
        ("plates:", Place("plates"), [("plates", "plates")]),
        (
            "plates:a b/c&d",
            Place("plates", "a b/c&d"),
            [("plates", "plates"), ("a b", "plates:a%20b"), ("c&d", "plates:a%20b/c%26d")],
        ),
        ("", Place(""), [("", "")]),
    ],
)
def test_a_place_and_the_way_to_it(text: str, place: Place, trail: list[tuple[str, str]]) -> None:
    assert parse_place(text) == place
    assert [(item.label, item.target) for item in place.trail] == trail


def test_the_place_of_an_image_is_its_folder() -> None:
    assert place_of(Identifier("plates", "a/b/1.jpg")) == Place("plates", "a/b")
    assert place_of(Identifier("plates", "1.jpg")) == Place("plates")


LISTING = FolderListing(("A", "B"), tuple(f"{number}.jpg" for number in range(8)))


@pytest.mark.parametrize(
    ("number", "folders", "images"),
    [
        (1, ["A", "B"], ["0.jpg", "1.jpg"]),
        (2, [], ["2.jpg", "3.jpg", "4.jpg", "5.jpg"]),
        (3, [], ["6.jpg", "7.jpg"]),
        (4, [], ["6.jpg", "7.jpg"]),
        (0, ["A", "B"], ["0.jpg", "1.jpg"]),
    ],
)
def test_pages_show_folders_first_and_everything_once(
    number: int, folders: list[str], images: list[str]
) -> None:
    page = page_of(LISTING, Place("t", "f"), number, 4)
    assert [item.label for item in page.folders] == folders
    assert [item.label for item in page.images] == images
    assert (page.count, page.total, page.complete) == (3, 8, True)
    assert page.number == min(max(number, 1), 3)


def test_an_empty_folder_has_one_empty_page() -> None:
    page = page_of(FolderListing(), Place("t"), 1, 4)
    assert (page.folders, page.images, page.number, page.count, page.total) == ((), (), 1, 1, 0)


def test_identifiers_of_images_and_folders_are_encoded() -> None:
    page = page_of(FolderListing(("c?d",), ("<b>#%.jpg",)), Place("t", "a/b"), 1)
    assert page.folders[0].target == "t:a/b/c%3Fd"
    assert page.images[0].target == "t:a%2Fb%2F%3Cb%3E%23%25.jpg"


@pytest.mark.parametrize(
    ("number", "count", "nearby"),
    [
        (1, 1, (1,)),
        (1, 3, (1, 2, 3)),
        (1, 9, (1, 2, 3, None, 9)),
        (5, 9, (1, None, 3, 4, 5, 6, 7, None, 9)),
        (9, 9, (1, None, 7, 8, 9)),
        (4, 2084, (1, 2, 3, 4, 5, 6, None, 2084)),
    ],
)
def test_the_pages_that_are_named(number: int, count: int, nearby: tuple[int | None, ...]) -> None:
    page = Page((), (), number, count, total=count, complete=True)
    assert page.nearby == nearby
