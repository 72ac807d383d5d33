"""Which entries have to go."""

from string import ascii_lowercase

import pytest

from iiif_server.cache.eviction import Bounds, Candidate, victims

NOW = 1000.0


def entries(*sizes: int, held: str = "") -> list[Candidate]:
    """Entries `a`, `b`, ... of these sizes, used at 0, 1, ... seconds."""
    return [
        Candidate(name, size, float(at), held=name in held)
        for at, (name, size) in enumerate(zip(ascii_lowercase, sizes, strict=False))
    ]


def names(chosen: list[Candidate]) -> str:
    return "".join(entry.name for entry in chosen)


@pytest.mark.parametrize(
    ("sizes", "bounds", "held", "gone"),
    [
        # nothing is bounded, or nothing is exceeded
        ([], Bounds(max_bytes=0), "", ""),
        ([10, 10], Bounds(), "", ""),
        ([50, 50], Bounds(max_bytes=100, low_water=0.5), "", ""),
        ([10, 10], Bounds(max_files=2, low_water=0.5), "", ""),
        # least recently used first, down to the low-water mark
        ([50, 50, 1], Bounds(max_bytes=100, low_water=0.9), "", "a"),
        ([10] * 11, Bounds(max_bytes=100, low_water=0.9), "", "ab"),
        ([10] * 11, Bounds(max_bytes=100, low_water=0.5), "", "abcdef"),
        ([10] * 11, Bounds(max_bytes=100, low_water=1.0), "", "a"),
        ([1] * 11, Bounds(max_files=10, low_water=0.9), "", "ab"),
        ([1] * 11, Bounds(max_files=10, low_water=0.5), "", "abcdef"),
        ([101], Bounds(max_bytes=100), "", "a"),
        ([5, 5], Bounds(max_bytes=0), "", "ab"),
        # both bounds: both are kept to
        ([60, 10, 10, 30], Bounds(max_bytes=100, max_files=3, low_water=1.0), "", "a"),
        ([1, 1, 1, 100], Bounds(max_bytes=100, max_files=3, low_water=1.0), "", "abc"),
        # held entries stay, and count
        ([50, 50, 1], Bounds(max_bytes=100, low_water=0.9), "a", "b"),
        ([50, 50, 1], Bounds(max_bytes=100, low_water=0.9), "abc", ""),
        ([200, 1, 1], Bounds(max_bytes=100), "a", "bc"),
        ([1, 1, 1], Bounds(max_files=2, low_water=1.0), "ab", "c"),
    ],
)
def test_the_least_recently_used_go_until_the_low_water_mark(
    sizes: list[int], bounds: Bounds, held: str, gone: str
) -> None:
    assert names(victims(entries(*sizes, held=held), bounds, NOW)) == gone


def test_the_order_in_which_entries_are_found_does_not_matter() -> None:
    found = entries(10, 10, 10, 10)
    bounds = Bounds(max_files=3, low_water=0.7)
    assert names(victims(found[::-1], bounds, NOW)) == "ab"
    assert names(victims([found[2], found[0], found[3], found[1]], bounds, NOW)) == "ab"


@pytest.mark.parametrize(
    ("bounds", "held", "gone"),
    [
        # used at 0, 1, 2 and 3; it is 1000
        (Bounds(ttl=996), "", "abcd"),
        (Bounds(ttl=998), "", "ab"),  # exactly as old as the ttl is not older
        (Bounds(ttl=2000), "", ""),
        (Bounds(ttl=998), "a", "b"),
        # what expires counts as gone when the bounds are looked at
        (Bounds(ttl=998, max_files=2), "", "ab"),
        (Bounds(ttl=998, max_bytes=20, low_water=0.5), "", "ab"),
        (Bounds(ttl=998, max_files=1, low_water=1.0), "", "abc"),
    ],
)
def test_entries_older_than_the_ttl_go_first(bounds: Bounds, held: str, gone: str) -> None:
    assert names(victims(entries(10, 10, 10, 10, held=held), bounds, NOW)) == gone


def test_an_entry_from_the_future_has_not_expired() -> None:
    assert victims([Candidate("a", 1, NOW + 60)], Bounds(ttl=1), NOW) == []


@pytest.mark.parametrize(
    ("sizes", "bounds", "gone"),
    [
        # 101 bytes are too many, 10 files are not: the bytes decide how many go
        ([20, *[9] * 9], Bounds(max_bytes=100, max_files=10, low_water=0.9), "a"),
        ([20, *[9] * 9], Bounds(max_bytes=100, max_files=10, low_water=0.5), "abcde"),
        ([82, *[1] * 19], Bounds(max_bytes=100, max_files=20, low_water=0.5), "a"),
        # 4 files are too many, 82 bytes are not: the files decide
        ([1, 1, 40, 40], Bounds(max_bytes=100, max_files=3, low_water=0.7), "ab"),
        ([1, 1, 40, 40], Bounds(max_bytes=82, max_files=3, low_water=0.7), "ab"),
    ],
)
def test_only_the_bound_that_was_exceeded_is_brought_to_its_low_water_mark(
    sizes: list[int], bounds: Bounds, gone: str
) -> None:
    assert names(victims(entries(*sizes), bounds, NOW)) == gone


@pytest.mark.parametrize(
    ("bounds", "total_bytes", "total_files", "exceeded"),
    [
        (Bounds(), 10**15, 10**9, False),
        (Bounds(max_bytes=100), 100, 10**9, False),
        (Bounds(max_bytes=100), 101, 1, True),
        (Bounds(max_files=2), 10**15, 2, False),
        (Bounds(max_files=2), 0, 3, True),
        (Bounds(max_bytes=0), 0, 0, False),
    ],
)
def test_a_bound_is_exceeded_by_more_than_it(
    bounds: Bounds, total_bytes: int, total_files: int, *, exceeded: bool
) -> None:
    assert bounds.exceeded(total_bytes, total_files) is exceeded
