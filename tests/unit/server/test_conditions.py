"""Conditional requests (RFC 9110, 8.8 and 13)."""

import os
import time
from collections.abc import Iterator

import pytest

from iiif_server.server.conditions import is_failed, is_not_modified, validators

TAG = "33a64df5"
CHANGED = 784_111_777.25
"""A quarter of a second after Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110."""


@pytest.fixture
def _local_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """A server whose clock shows the local time of the zone that is the parameter."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_validators_are_a_quoted_tag_and_a_date_in_gmt() -> None:
    assert validators(TAG, CHANGED) == {
        "ETag": '"33a64df5"',
        "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    }


@pytest.mark.parametrize(
    ("modified", "date"),
    [
        (-62_135_596_800.0, "Mon, 01 Jan 0001 00:00:00 GMT"),
        (-0.5, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (253_402_300_799.0, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (-62_135_596_801.0, None),
        (253_402_300_800.0, None),
        (2.0**62, None),
        (-(2.0**62), None),
    ],
)
def test_a_time_that_no_http_date_can_hold_leaves_only_the_tag(
    modified: float, date: str | None
) -> None:
    headers = validators(TAG, modified)
    assert headers.get("Last-Modified") == date
    assert headers["ETag"] == '"33a64df5"'
    assert not is_not_modified(
        {"if-modified-since": "Fri, 31 Dec 9999 23:59:59 GMT"}, TAG, max(modified, 253402300800)
    )


def test_a_client_that_sends_no_condition_gets_the_answer() -> None:
    assert not is_not_modified({}, TAG, CHANGED)


def test_a_client_that_sends_the_validators_back_has_the_current_state() -> None:
    sent = validators(TAG, CHANGED)
    assert is_not_modified({"if-none-match": sent["ETag"]}, TAG, CHANGED)
    assert is_not_modified({"if-modified-since": sent["Last-Modified"]}, TAG, CHANGED)


@pytest.mark.parametrize(
    ("wanted", "not_modified"),
    [
        ('"33a64df5"', True),
        ('W/"33a64df5"', True),
        ('"other", "33a64df5"', True),
        ('"other","33a64df5"', True),
        ('W/"other",  W/"33a64df5" ', True),
        ("*", True),
        ('"other"', False),
        ('"33A64DF5"', False),
        ("33a64df5", False),
        ('"33a64df5', False),
        ('"33a64df5-gzip"', False),
        ('w/"33a64df5"', False),
        ("", False),
        (",", False),
    ],
)
def test_if_none_match_compares_tags_weakly(wanted: str, *, not_modified: bool) -> None:
    assert is_not_modified({"if-none-match": wanted}, TAG, CHANGED) is not_modified


@pytest.mark.parametrize(
    ("since", "not_modified"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", True),
        ("Sun, 06 Nov 1994 08:49:38 GMT", True),
        ("Mon, 07 Nov 1994 00:00:00 GMT", True),
        ("Sun, 06 Nov 1994 08:49:36 GMT", False),
        ("Sat, 05 Nov 1994 08:49:37 GMT", False),
        # the obsolete form of RFC 850, which has to be read as well
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),
        ("Sunday, 06-Nov-94 08:49:36 GMT", False),
        # "A recipient MUST ignore [...] if the received field value is not a valid HTTP-date"
        ("", False),
        ("yesterday", False),
        ("784111777", False),
        ("Sun, 99 Nov 1994 08:49:37 GMT", False),
        ("Sun, 06 Nov 99999 08:49:37 GMT", False),
    ],
)
def test_if_modified_since_compares_whole_seconds(since: str, *, not_modified: bool) -> None:
    assert is_not_modified({"if-modified-since": since}, TAG, CHANGED) is not_modified


@pytest.mark.parametrize("_local_time", ["UTC0", "EAST-13", "WEST+11"], indirect=True)
@pytest.mark.usefixtures("_local_time")
def test_a_date_in_the_form_of_asctime_is_gmt_wherever_the_server_is() -> None:
    # "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date
    #  formats"; asctime-date names no zone, and all of them are GMT -- RFC 9110, 5.6.7
    same, before = "Sun Nov  6 08:49:37 1994", "Sun Nov  6 08:49:36 1994"
    assert is_not_modified({"if-modified-since": same}, TAG, CHANGED)
    assert not is_not_modified({"if-modified-since": before}, TAG, CHANGED)


@pytest.mark.parametrize(
    ("tag", "not_modified"), [('"33a64df5"', True), ('"other"', False), ("", False)]
)
@pytest.mark.parametrize(
    "since", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sat, 05 Nov 1994 08:49:37 GMT"]
)
def test_if_modified_since_does_not_count_beside_if_none_match(
    tag: str, since: str, *, not_modified: bool
) -> None:
    headers = {"if-none-match": tag, "if-modified-since": since}
    assert is_not_modified(headers, TAG, CHANGED) is not_modified


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"if-match": "*"}, False),
        ({"if-match": '"x", "tag"'}, False),
        ({"if-match": '"x"'}, True),
        ({"if-match": 'W/"tag"'}, True),
        ({"if-match": '"tag"', "if-unmodified-since": "Thu, 01 Jan 1970 00:00:01 GMT"}, False),
        ({"if-unmodified-since": "Thu, 01 Jan 1970 00:00:01 GMT"}, True),
        ({"if-unmodified-since": "Thu, 01 Jan 1970 00:00:02 GMT"}, False),
        ({"if-unmodified-since": "no date"}, False),
        ({"if-unmodified-since": "9" * 10_000}, False),
    ],
)
def test_conditions_on_the_state_that_a_client_has(
    headers: dict[str, str],
    expected: bool,  # noqa: FBT001
) -> None:
    assert is_failed(headers, "tag", 2.9) is expected
