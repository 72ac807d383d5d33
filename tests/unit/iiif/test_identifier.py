"""Identifiers in URLs (Image API 3.0, 3 and 9)."""

import pytest

from iiif_server.errors import MalformedIdentifierError, UnknownTypeError
from iiif_server.iiif.identifier import (
    MAX_CHARACTERS,
    Identifier,
    parse_identifier,
    percent_decode,
    split_page,
)


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("specimens:1", Identifier("specimens", "1")),
        ("specimens%3A1", Identifier("specimens", "1")),
        ("web:a%2Fb.jpg", Identifier("web", "a/b.jpg")),
        ("web:a/b.jpg", Identifier("web", "a/b.jpg")),
        # the examples of the specification, section 9
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


@pytest.mark.parametrize(
    "text",
    [
        "ark:/12148/btv1b8449691v",
        "ark:12148/btv1b8449691v",
        "ark:%2F12148%2Fbtv1b8449691v",
        "ark%3A%2f12148/btv1b8449691v",
        "ARK:/12148/btv1b8449691v",
    ],
)
def test_an_ark_is_of_the_default_type_however_it_is_written(text: str) -> None:
    assert parse_identifier(text, "books") == Identifier("books", "12148/btv1b8449691v")
    with pytest.raises(UnknownTypeError, match="ARKs need a default type"):
        parse_identifier(text)


def test_what_only_begins_like_an_ark_is_none() -> None:
    assert parse_identifier("arkham:1", "books") == Identifier("arkham", "1")
    assert parse_identifier("ark/1", "books") == Identifier("books", "ark/1")
    assert parse_identifier("ark:/12148/a:b", "books") == Identifier("books", "12148/a:b")
    assert parse_identifier("x:ark:/1/2", "books") == Identifier("x", "ark:/1/2")
    for text in ("ark:", "ark:/"):
        with pytest.raises(MalformedIdentifierError):
            parse_identifier(text, "books")


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("a;1", ("a", 1)),
        ("a/b.tif;12", ("a/b.tif", 12)),
        ("a;1;2", ("a;1", 2)),
        ("a", ("a", None)),
        ("a;0", ("a;0", None)),
        ("a;01", ("a;01", None)),
        ("a;-1", ("a;-1", None)),
        ("a;1000000", ("a;1000000", None)),
        ("a;\u0661", ("a;\u0661", None)),
        (";1", (";1", None)),
    ],
)
def test_a_number_behind_a_semicolon_is_a_page(name: str, page: tuple[str, int | None]) -> None:
    assert split_page(name) == page


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
