"""Which names can be the paths of files as they are."""

import pytest

from iiif_server.sources.keeping import is_file_name


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
