"""Range requests: the requested extent."""

import pytest

from iiif_server.server.ranges import UnsatisfiableRangeError, requested_extent

TAG, MODIFIED = "abc", 1_700_000_000.5
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


def extent(**headers: str) -> tuple[int, int] | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requested_extent(named, 100, TAG, MODIFIED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 1-2", (1, 3)),
        ("bytes=0-999999999999999999", (0, 100)),
    ],
)
def test_one_range(value: str, expected: tuple[int, int]) -> None:
    assert extent(range=value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "bytes=-", "bytes=", "bytes=5-4", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=1",
     "bytes=+1-2", "bytes=0x1-2", "bytes=" + "9" * 40 + "-", "bytes=\u0661-2"],
)  # fmt: skip
def test_what_is_no_range_or_several_is_ignored(value: str) -> None:
    assert extent(range=value) is None


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_without_bytes(value: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        extent(range=value)


def test_nothing_of_an_empty_content_is_in_a_range() -> None:
    with pytest.raises(UnsatisfiableRangeError):
        requested_extent({"range": "bytes=0-"}, 0, TAG, None)


@pytest.mark.parametrize("condition", ['"abc"', DATE, f" {DATE} "])
def test_a_range_of_the_current_state(condition: str) -> None:
    assert extent(range="bytes=1-2", if_range=condition) == (1, 3)


@pytest.mark.parametrize(
    "condition", ['"abd"', 'W/"abc"', "abc", "", "Tue, 14 Nov 2023 22:13:21 GMT", "yesterday"]
)
def test_a_range_of_another_state_is_all_of_this_one(condition: str) -> None:
    assert extent(range="bytes=1-2", if_range=condition) is None
