"""Names that can be file paths unchanged on every disk."""

import pytest

from iiif_server.sources.stored_names import is_distinct, is_file_name


@pytest.mark.parametrize(
    "name",
    [
        "banana",
        "banana.jpg",
        "a/b/c.jpg",
        "a b",
        "caf\xe9",
        "a..b",
        "a.",
        "a:b",
        "x" * 240,
        "/".join(["x" * 191] * 5),
    ],
)
def test_a_plain_name_is_a_file_name(name: str) -> None:
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        ".hashed/x",
        "a/.hashed/x",
        "../a",
        "a/../b",
        "a/./b",
        "/a",
        "a/",
        "a//b",
        "x" * 256,
        "\xe9" * 128,
        "a/" + "x" * 256,
        "/".join(["x" * 200] * 10),
    ],
)
def test_any_other_name_is_not(name: str) -> None:
    assert not is_file_name(name)


@pytest.mark.parametrize("name", ["banana.jpg", "a/b-1/c_2 (3).tif", "a..b", "%41", "x" * 240])
def test_lower_case_ascii_is_distinct_on_every_disk(name: str) -> None:
    assert is_distinct(name)


@pytest.mark.parametrize(
    "name",
    ["A", "a.JPG", "Folder/a", "caf\xe9", "cafe\u0301", "stra\xdfe", "\u0131", "\u212a", "\uff41",
     "a.", "a /b", "a./b", "a:b", "a\\b", "a?", "a*", "a|b", "a<b", 'a"b', "a\x01"],
)  # fmt: skip
def test_a_name_that_some_disk_changes_is_not(name: str) -> None:
    assert not is_distinct(name)
