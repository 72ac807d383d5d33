"""Provenance of fetched originals, and when to revalidate them."""

import pytest

from iiif_server.sources.provenance import (
    MAX_RECORD_BYTES,
    Provenance,
    Validators,
    digest,
    is_due,
    validators_of,
)

URL = "https://example.org/images/banana.jpg"
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
RECORD = Provenance(
    size=10, mtime_ns=5, asked=1.5, validators=validators_of(URL, {"etag": '"a"'})
).model_dump_json()


@pytest.mark.parametrize(
    ("headers", "conditions"),
    [
        ({"etag": '"a"'}, {"If-None-Match": '"a"'}),
        ({"etag": 'W/"a"'}, {"If-None-Match": 'W/"a"'}),
        ({"etag": '""'}, {"If-None-Match": '""'}),
        ({"last-modified": DATE}, {"If-Modified-Since": DATE}),
        ({"etag": '"a"', "last-modified": DATE}, {"If-None-Match": '"a"'}),
        ({"etag": "unquoted", "last-modified": DATE}, {"If-Modified-Since": DATE}),
        ({"etag": '"a"', "last-modified": "yesterday"}, {"If-None-Match": '"a"'}),
        ({"etag": "unquoted", "last-modified": "yesterday"}, {}),
        ({}, {}),
    ],
)
def test_an_upstream_is_asked_by_the_validator_that_it_gave(
    headers: dict[str, str], conditions: dict[str, str]
) -> None:
    assert validators_of(URL, headers).conditions(URL) == conditions


@pytest.mark.parametrize(
    "etag",
    [
        "",
        "a",
        '"',
        '"a',
        'a"',
        'w/"a"',
        '"a"b"',
        '"a", "b"',
        '"a b"',
        '"a\r\nX: y"',
        '"a"\n',
        '"\x00"',
        '"\x7f"',
        '"\xfc"',
        '"日本"',
        '"\ud800"',
        f'"{"a" * 1001}"',
    ],
)
def test_what_is_no_tag_is_not_sent_back(etag: str) -> None:
    assert validators_of(URL, {"etag": etag}).conditions(URL) == {}


@pytest.mark.parametrize(
    "date",
    [
        "",
        "0",
        "-1",
        DATE + "\n",
        DATE + ", " + DATE,
        DATE.replace(" GMT", ""),
        DATE.replace("GMT", "CET"),
        DATE.replace("2015", "٢٠١٥"),
        "Wednesday, 21-Oct-15 07:28:00 GMT",
        "Wed Oct 21 07:28:00 2015",
    ],
)
def test_what_is_no_date_is_not_sent_back(date: str) -> None:
    assert validators_of(URL, {"last-modified": date}).conditions(URL) == {}


@pytest.mark.parametrize(
    "url", [URL + "?v=2", URL.replace("https", "http"), URL.replace("org", "com"), URL[:-1], ""]
)
def test_a_validator_says_nothing_of_another_url(url: str) -> None:
    validators = validators_of(URL, {"etag": '"a"', "last-modified": DATE})
    assert validators.conditions(url) == {}


def test_where_nothing_is_known_nothing_is_asked_by() -> None:
    assert Validators().conditions(URL) == {}


def test_a_record_is_read_as_it_was_written() -> None:
    record = Provenance.parse(RECORD.encode())
    assert record is not None
    assert record.is_about(10, 5)
    assert (record.asked, record.gone) == (1.5, False)
    assert record.validators.conditions(URL) == {"If-None-Match": '"a"'}


@pytest.mark.parametrize(("size", "mtime_ns"), [(11, 5), (10, 6), (0, 0)])
def test_a_record_of_another_file_is_not_about_it(size: int, mtime_ns: int) -> None:
    record = Provenance.parse(RECORD.encode())
    assert record is not None
    assert not record.is_about(size, mtime_ns)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 200,
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        RECORD.encode()[:-1],
        RECORD.encode() + b"}",
        RECORD.replace("1.5", "NaN").encode(),
        RECORD.replace("1.5", "Infinity").encode(),
        RECORD.replace("1.5", '"now"').encode(),
        RECORD.replace('\\"a\\"', '\\"a\\r\\nX: y\\"').encode(),
        RECORD.replace('"gone"', '"lost"').encode(),
        b"[" * MAX_RECORD_BYTES,
    ],
)
def test_a_damaged_record_is_none(text: bytes) -> None:
    assert Provenance.parse(RECORD.encode()) is not None
    assert Provenance.parse(text) is None


def test_no_record_is_longer_than_what_is_read_of_it() -> None:
    longest = Provenance(
        size=2**63,
        mtime_ns=2**63,
        asked=-1.7976931348623157e308,
        gone=False,
        validators=validators_of(URL, {"etag": f'W/"{chr(92) * 1000}"', "last-modified": DATE}),
    )
    assert longest.validators.etag is not None
    assert len(longest.model_dump_json()) < MAX_RECORD_BYTES


@pytest.mark.parametrize(
    ("asked", "now", "due"),
    [
        (100, 100, False),
        (100, 159.9, False),
        (100, 160, True),
        (100, 1e9, True),
        (100, 99, True),  # the clock was wrong then, or is now
        (1e300, 100, True),
        (-1e300, 100, True),
    ],
)
def test_the_upstream_is_asked_again_when_it_is_time(
    asked: float, now: float, *, due: bool
) -> None:
    assert is_due(asked, now, 60) is due


def test_a_digest_is_a_file_name() -> None:
    assert len(digest("../ü")) == 64
    assert digest("a").isalnum()
    assert digest("a") != digest("b")
