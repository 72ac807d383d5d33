"""Identifiers in URLs (Image API 3.0, 3 and 9)."""

import pytest

from iiif_server.errors import MalformedIdentifierError, UnknownTypeError
from iiif_server.iiif.identifier import MAX_CHARACTERS, Identifier, parse_identifier, percent_decode


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("specimens:1", Identifier("specimens", "1")),
        ("specimens%3A1", Identifier("specimens", "1")),
        ("web:a%2Fb.jpg", Identifier("web", "a/b.jpg")),
        ("web:a/b.jpg", Identifier("web", "a/b.jpg")),
        ("ark:/12025/654xz321", Identifier("ark", "/12025/654xz321")),
        # the examples of the specification, section 9
        ("ark:%2F12025%2F654xz321", Identifier("ark", "/12025/654xz321")),
        (
            "urn:foo:a123,456",
            Identifier("urn", "foo:a123,456"),
        ),
        (
            "urn:sici:1046-8188(199501)13:1%253C69:FTTHBI%253E2.0.TX;2-4",
            Identifier("urn", "sici:1046-8188(199501)13:1%3C69:FTTHBI%3E2.0.TX;2-4"),
        ),
        ("urn:foo:caf%C3%A9", Identifier("urn", "foo:caf\xe9")),
        ("x:%3F%23%5B%5D%40%25", Identifier("x", "?#[]@%")),
        ("x:a+b", Identifier("x", "a+b")),
        ("x:%20", Identifier("x", " ")),
        # resolved once, not twice
        ("x:%2541", Identifier("x", "%41")),
        ("x:%252F", Identifier("x", "%2F")),
    ],
)
def test_an_identifier_is_its_type_up_to_the_first_colon_and_its_name(
    text: str, identifier: Identifier
) -> None:
    assert parse_identifier(text) == identifier


def test_an_identifier_without_a_type_is_of_the_default_type() -> None:
    assert parse_identifier("a%2Fb", "specimens") == Identifier("specimens", "a/b")
    assert parse_identifier("web:a", "specimens") == Identifier("web", "a")


def test_an_identifier_without_a_type_is_unknown_where_there_is_no_default() -> None:
    with pytest.raises(UnknownTypeError):
        parse_identifier("banana")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x:",
        "x:%",
        "x:%2",
        "x:%zz",
        "x:%2g",
        "x:100%",
        "x:%u0041",
        "x:%ff",
        "x:%c3",
        "x:%c0%af",
        "x:%ed%a0%80",
        "x:%f5%80%80%80",
        "x:\ud800",
        "x:%00",
        "x:a%0Ab",
        "x:a%0db",
        "x:a%1fb",
        "x:a%7fb",
        "x:a\nb",
        "x:" + "a" * (MAX_CHARACTERS - 1),
        "a" * (MAX_CHARACTERS + 1),
    ],
)
def test_any_other_identifier_is_malformed(text: str) -> None:
    with pytest.raises(MalformedIdentifierError):
        parse_identifier(text, "specimens")


def test_the_length_counts_after_decoding() -> None:
    name = "/" * (MAX_CHARACTERS - 2)
    assert parse_identifier("x:" + "%2F" * len(name)).name == name


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("1", "x:1"),
        ("a/b", "x:a%2Fb"),
        ("?#[]@%", "x:%3F%23%5B%5D%40%25"),
        ("a:b", "x:a:b"),
        ("caf\xe9", "x:caf%C3%A9"),
    ],
)
def test_an_identifier_is_encoded_as_one_segment_of_a_path(name: str, encoded: str) -> None:
    assert Identifier("x", name).encoded == encoded


def test_an_escape_is_resolved_whatever_its_case() -> None:
    assert percent_decode("%2f%2F%c3%A9") == "//\xe9"
