"""Listings of folders of originals: listed and hidden entries, limits."""

import os
from pathlib import Path

import pytest

from iiif_server.errors import FolderNotFoundError, SourceUnavailableError
from iiif_server.sources.listings import FolderListing, list_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "type"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/1.jpg").touch()
    (root / "2.jpg").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.jpg").touch()
    return root


def test_a_folder_is_what_lies_right_in_it(root: Path) -> None:
    assert list_folder(root, "") == FolderListing(("a",), ("2.jpg",))
    assert list_folder(root, "a") == FolderListing(("b",), ())
    assert list_folder(root, "a/b") == FolderListing((), ("1.jpg",))


@pytest.mark.parametrize(
    "folder",
    ["..", "../outside", "a/..", "a/../..", ".", "a/.", "/", "/etc", "a//b", "a/", "no", "2.jpg",
     "a\0b", "x" * 5000, ".hidden", "a/.hidden"],
)  # fmt: skip
def test_nothing_else_is_a_folder(root: Path, folder: str) -> None:
    (root / ".hidden").mkdir()
    (root / "a/.hidden").mkdir()
    with pytest.raises(FolderNotFoundError):
        list_folder(root, folder)


def test_links_are_followed_as_long_as_they_stay_inside(root: Path) -> None:
    (root / "inner").symlink_to(root / "a")
    (root / "copy.jpg").symlink_to(root / "2.jpg")
    (root / "out").symlink_to(root.parent / "outside")
    (root / "out.jpg").symlink_to(root.parent / "outside/secret.jpg")
    (root / "broken.jpg").symlink_to(root / "nothing")
    (root / "loop").symlink_to(root / "loop")
    listing = list_folder(root, "")
    assert sorted(listing.folders) == ["a", "inner"]
    assert sorted(listing.names) == ["2.jpg", "copy.jpg"]
    assert list_folder(root, "inner/b").names == ("1.jpg",)
    for folder in ("out", "loop", "broken.jpg"):
        with pytest.raises(FolderNotFoundError):
            list_folder(root, folder)


def test_a_type_whose_own_folder_is_a_link_is_looked_through(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked"
    link.symlink_to(root)
    assert list_folder(link, "a/b").names == ("1.jpg",)


def test_hidden_files_and_names_that_no_address_can_hold_are_left_out(root: Path) -> None:
    for name in (b".hidden.jpg", b"bad\xff.jpg", b"line\nfeed.jpg", "gr\u00fcn.jpg".encode()):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).touch()
    os.mkfifo(root / "pipe.jpg")
    assert sorted(list_folder(root, "").names) == ["2.jpg", "gr\u00fcn.jpg"]


def test_no_more_is_looked_at_than_a_person_would_page_through(root: Path) -> None:
    for number in range(20):
        (root / f"a/b/more-{number}.jpg").touch()
    listing = list_folder(root, "a/b", max_entries=10)
    assert (len(listing), listing.complete) == (10, False)
    whole = list_folder(root, "a/b", max_entries=21)
    assert (len(whole), whole.complete) == (21, True)


def test_no_more_links_are_followed_than_is_quick(root: Path) -> None:
    for number in range(5):
        (root / f"link-{number}.jpg").symlink_to(root / "2.jpg")
    listing = list_folder(root, "", max_links=3)
    assert len(listing.names) == 4
    assert not listing.complete


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_a_failure_of_ours(root: Path) -> None:
    (root / "a").chmod(0)
    try:
        with pytest.raises(SourceUnavailableError):
            list_folder(root, "a")
    finally:
        (root / "a").chmod(0o755)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("1.jpg", True),
        ("1.JPG", True),
        ("1.TIFF", True),
        ("1.ptif", True),
        ("1.jp2", True),
        ("banana", True),
        ("1.xml", False),
        ("1.jpg.md5", False),
        ("Thumbs.db", False),
        ("1.svg", False),
    ],
)
def test_files_that_say_that_they_are_no_images_are_left_out(
    root: Path, *, name: str, shown: bool
) -> None:
    (root / "a/b" / name).touch()
    assert (name in list_folder(root, "a/b").names) is shown
