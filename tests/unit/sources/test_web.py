"""URLs made of names."""

import pytest

from iiif_server.errors import OriginalNotFoundError
from iiif_server.sources.web import complete

IN_PATH = "https://example.org/images/{name}.jpg"
IN_QUERY = "https://example.org/get?id={name}&size=full"


@pytest.mark.parametrize(
    ("template", "name", "url"),
    [
        (IN_PATH, "banana", "https://example.org/images/banana.jpg"),
        (IN_PATH, "a/b", "https://example.org/images/a/b.jpg"),
        (IN_PATH, "a b", "https://example.org/images/a%20b.jpg"),
        (IN_PATH, "caf\xe9", "https://example.org/images/caf%C3%A9.jpg"),
        (IN_PATH, "a?b#c", "https://example.org/images/a%3Fb%23c.jpg"),
        (IN_PATH, "a@b:c", "https://example.org/images/a%40b%3Ac.jpg"),
        (IN_PATH, "%2e%2e", "https://example.org/images/%252e%252e.jpg"),
        (IN_PATH, "a\\b", "https://example.org/images/a%5Cb.jpg"),
        (IN_PATH, "{name}", "https://example.org/images/%7Bname%7D.jpg"),
        (IN_PATH, "...", "https://example.org/images/....jpg"),
        (IN_QUERY, "banana", "https://example.org/get?id=banana&size=full"),
        (IN_QUERY, "a/b", "https://example.org/get?id=a%2Fb&size=full"),
        (IN_QUERY, "a&x=y", "https://example.org/get?id=a%26x%3Dy&size=full"),
        (IN_QUERY, "a+b", "https://example.org/get?id=a%2Bb&size=full"),
        (IN_QUERY, "a#b", "https://example.org/get?id=a%23b&size=full"),
        ("https://h/{name}?n={name}", "a/b", "https://h/a/b?n=a%2Fb"),
        ("https://h/{name}/{name}", "a", "https://h/a/a"),
        ("https://h/fixed.jpg", "a", "https://h/fixed.jpg"),
    ],
)
def test_a_name_is_encoded_for_where_it_stands(template: str, name: str, url: str) -> None:
    assert complete(template, name) == url


@pytest.mark.parametrize(
    "name",
    ["..", ".", "../a", "a/..", "a/../b", "./a", "a/./b", "/a", "a/", "a//b", "/", "//evil.org/a"],
)
def test_a_name_does_not_climb_out_of_its_place_in_the_path(name: str) -> None:
    with pytest.raises(OriginalNotFoundError) as refused:
        complete(IN_PATH, name)
    assert "example.org" not in str(refused.value)


def test_a_name_in_the_query_climbs_nowhere() -> None:
    assert complete(IN_QUERY, "../a") == "https://example.org/get?id=..%2Fa&size=full"
