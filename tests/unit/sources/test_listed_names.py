"""File names that are listed as images."""

import pytest

from iiif_server.sources.listings import is_listed


@pytest.mark.parametrize(
    ("name", "listed"),
    [("a.jpg", True), ("A.TIF", True), ("no extension", True), ("a.b.jp2", True),
     ("a.xml", False), ("a.jpg.md5", False), (".hidden.jpg", False), ("ajpg", True)],
)  # fmt: skip
def test_names_of_images_are_listed(name: str, *, listed: bool) -> None:
    assert is_listed(name) is listed
