"""Facts about an image on its viewer page."""

from dataclasses import replace
from typing import Any

import pytest

from iiif_server.iiif.geometry import Dimensions
from iiif_server.pages.facts import LinkedText, byte_text, facts, megapixels, rights_name
from iiif_server.plan.header import Profile
from support import headers

HEADER = replace(
    headers.JPEG, stored=Dimensions(9000, 6750), profile=Profile.OTHER, profile_bytes=500
)


def _told(document: dict[str, Any]) -> dict[str, tuple[LinkedText, ...]]:
    return {fact.label: fact.values for fact in facts(HEADER, 9_400_000, 0.0, document)}


def test_the_original_is_told_of_in_words() -> None:
    told = {label: values[0].text for label, values in _told({}).items()}
    assert told == {
        "Dimensions": "9,000 \N{MULTIPLICATION SIGN} 6,750 pixels (60.8 megapixels)",
        "Original": "JPEG, 9.4 MB",
        "Colour": "Colour, with a colour profile",
        "Full resolution": "the original's own data, not compressed again",
        "File date": "1 January 1970",
    }


@pytest.mark.parametrize(
    ("modified", "date"),
    [
        (-62_135_596_800.0, "1 January 1"),
        (-1.0, "31 December 1969"),
        (253_402_300_799.0, "31 December 9999"),
        # Years that file systems can hold and calendars cannot: no date.
        (-62_135_596_801.0, None),
        (253_402_300_800.0, None),
        (2.0**62, None),
        (-(2.0**62), None),
    ],
)
def test_the_date_of_the_file_is_left_out_where_no_calendar_has_it(
    modified: float, date: str | None
) -> None:
    told = {fact.label: fact.values[0].text for fact in facts(HEADER, 1, modified, {})}
    assert told.get("File date") == date
    assert "Dimensions" in told


def test_rights_come_first_by_their_name_and_lead_to_their_text() -> None:
    licence = "https://creativecommons.org/licenses/by-sa/4.0/"
    told = _told({"rights": licence})
    assert next(iter(told)) == "Rights"
    assert told["Rights"] == (LinkedText("CC BY-SA 4.0", licence),)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("http://rightsstatements.org/vocab/NKC/1.0/", "No Known Copyright"),
        ("https://creativecommons.org/publicdomain/zero/1.0", "CC0 1.0"),
        ("https://example.org/terms", "https://example.org/terms"),
    ],
)
def test_rights_that_are_not_known_are_called_by_their_address(uri: str, name: str) -> None:
    assert rights_name(uri) == name


@pytest.mark.parametrize(
    ("document", "label", "words"),
    [
        ({"attribution": "The Museum"}, "Attribution", (LinkedText("The Museum"),)),
        (
            {"requiredStatement": {"label": {"en": ["By"]}, "value": {"de": ["Das Museum"]}}},
            "By",
            (LinkedText("Das Museum"),),
        ),
        ({"requiredStatement": {"value": "Us"}}, "Credit", (LinkedText("Us"),)),
        (
            {"partOf": [{"id": "https://example.org/m", "label": {"fr": ["x"], "en": ["Book"]}}]},
            "Part of",
            (LinkedText("Book", "https://example.org/m"),),
        ),
        (
            {"seeAlso": "https://example.org/x"},
            "See also",
            (LinkedText("https://example.org/x", "https://example.org/x"),),
        ),
        (
            {"homepage": {"id": "javascript:alert(1)"}},
            "Homepage",
            (LinkedText("javascript:alert(1)"),),
        ),
    ],
)
def test_what_a_type_says_of_its_images_is_told(
    document: dict[str, Any], label: str, words: tuple[LinkedText, ...]
) -> None:
    assert _told(document)[label] == words


@pytest.mark.parametrize("value", [None, 5, [], {}, {"en": []}, [None], {"a": 1}])
def test_what_is_written_in_no_known_way_is_left_out(value: object) -> None:
    assert "See also" not in _told({"seeAlso": value})


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (9_400_000, "9.4 MB"),
        (4_200_000_000, "4.2 GB"),
        (5_000_000_000_000, "5,000.0 GB"),
    ],
)
def test_amounts(size: int, text: str) -> None:
    assert byte_text(size) == text


def test_areas() -> None:
    assert megapixels(60_750_000) == "60.8 megapixels"
    assert megapixels(12_345) == "12,345 in all"
