"""Selection of the entries to evict."""

from string import ascii_lowercase

import pytest

from iiif_server.cache.eviction import Bounds, Candidate, Disk, Selection
from support.evictions import victims

NOW = 1000.0


def entries(*sizes: int, pinned: str = "") -> list[Candidate]:
    """Entries `a`, `b`, ... of these sizes, used at 0, 1, ... seconds."""
    return [
        Candidate(name, size, float(at), pinned=name in pinned)
        for at, (name, size) in enumerate(zip(ascii_lowercase, sizes, strict=False))
    ]


def names(chosen: list[Candidate]) -> str:
    return "".join(entry.name for entry in chosen)


@pytest.mark.parametrize(
    ("sizes", "bounds", "pinned", "gone"),
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
    sizes: list[int], bounds: Bounds, pinned: str, gone: str
) -> None:
    assert names(victims(entries(*sizes, pinned=pinned), bounds, NOW)) == gone


def test_the_order_in_which_entries_are_found_does_not_matter() -> None:
    found = entries(10, 10, 10, 10)
    bounds = Bounds(max_files=3, low_water=0.7)
    assert names(victims(found[::-1], bounds, NOW)) == "ab"
    assert names(victims([found[2], found[0], found[3], found[1]], bounds, NOW)) == "ab"


@pytest.mark.parametrize(
    ("bounds", "pinned", "gone"),
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
def test_entries_older_than_the_ttl_go_first(bounds: Bounds, pinned: str, gone: str) -> None:
    assert names(victims(entries(10, 10, 10, 10, pinned=pinned), bounds, NOW)) == gone


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


@pytest.mark.parametrize(
    ("ahead", "gone"),
    [(3600.0, "b"), (3601.0, "a"), (3e8, "a")],
)
def test_an_entry_from_the_far_future_is_the_first_to_go(ahead: float, gone: str) -> None:
    """The clock was wrong when it was used, or is wrong now: it must not stay for ever."""
    found = [Candidate("a", 10, NOW + ahead), Candidate("b", 10, NOW - 1e6)]
    assert names(victims(found, Bounds(max_files=1, low_water=1.0), NOW)) == gone


def test_an_entry_from_the_far_future_has_expired() -> None:
    found = [Candidate("a", 1, NOW + 1e6), Candidate("b", 1, NOW - 5)]
    assert names(victims(found, Bounds(ttl=10), NOW)) == "a"
    assert victims(found, Bounds(), NOW) == []


@pytest.mark.parametrize(
    ("size", "bounds", "holds"),
    [
        (10**12, Bounds(), True),
        (90, Bounds(max_bytes=100, low_water=0.9), True),
        (91, Bounds(max_bytes=100, low_water=0.9), False),
        (0, Bounds(max_bytes=0), True),
        (1, Bounds(max_bytes=0), False),
    ],
)
def test_what_would_push_out_everything_else_is_not_held(
    size: int, bounds: Bounds, *, holds: bool
) -> None:
    assert bounds.holds(size) is holds


@pytest.mark.parametrize(
    ("total", "free", "min_free", "wanted", "shortage"),
    [
        (10**12, 10**9, None, 0, 0),  # 1 GB of a large disk is left free
        (10**12, 10**9 - 1, None, 0, 1),
        (10**12, 10**9, None, 5, 5),
        (2 * 10**9, 10**8, None, 0, 0),  # a twentieth of a small one
        (2 * 10**9, 10**8 - 1, None, 0, 1),
        (100, 50, 60, 0, 10),
        (100, 50, 0, 50, 0),
        (100, 50, 0, 51, 1),
        (100, 0, 0, 0, 0),
        (0, 0, None, 10**9, 0),  # a file system that does not say
    ],
)
def test_shortage_of_disk_space(
    total: int, free: int, min_free: int | None, wanted: int, shortage: int
) -> None:
    assert Disk(total, free).shortage(min_free, wanted) == shortage


@pytest.mark.parametrize(
    ("bounds", "total", "shortage", "max_bytes"),
    [
        (Bounds(max_bytes=100), 80, 0, 100),
        (Bounds(max_bytes=100), 80, 30, 50),
        (Bounds(max_bytes=10), 80, 30, 10),
        (Bounds(), 80, 30, 50),
        (Bounds(), 80, 80, 0),
        (Bounds(), 80, 81, None),  # nothing that goes would end it: it stays
    ],
)
def test_bounds_are_tightened_if_that_ends_the_shortage(
    bounds: Bounds, total: int, shortage: int, max_bytes: int | None
) -> None:
    assert bounds.tightened(total, shortage).max_bytes == max_bytes


def selected(
    entries: list[Candidate], bounds: Bounds, expected: tuple[int, int], most: int = 100
) -> Selection:
    selection = Selection(bounds, NOW, expected, most=most)
    for entry in entries:
        selection.add(entry)
    return selection


def test_a_scan_that_finds_more_than_was_expected_is_to_be_repeated() -> None:
    bounds = Bounds(max_bytes=50, low_water=0.5)
    found = entries(*[10] * 10)
    first = selected(found, bounds, expected=(60, 6))
    assert sorted(names(list(first.victims()))) == list("abcd")
    assert first.is_partial
    again = selected(found[4:], bounds, expected=(first.size - 40, first.files - 4))
    assert sorted(names(list(again.victims()))) == list("efgh")
    assert not again.is_partial


def test_a_scan_that_finds_less_than_was_expected_takes_no_more_than_has_to_go() -> None:
    selection = selected(entries(10, 10, 10), Bounds(max_bytes=25, low_water=0.8), (1000, 100))
    assert names(list(selection.victims())) == "a"
    assert not selection.is_partial


@pytest.mark.parametrize("bounds", [Bounds(max_files=1, low_water=1.0), Bounds(ttl=10)])
def test_no_more_are_selected_at_once_than_memory_is_meant_for(bounds: Bounds) -> None:
    found = entries(*[1] * 10)
    selection = selected(found, bounds, (10, 10), most=4)
    assert len(list(selection.victims())) == 4
    assert selection.is_partial


def test_what_is_held_is_no_reason_to_look_again() -> None:
    selection = selected(entries(10, 10, pinned="ab"), Bounds(max_files=1), (20, 2))
    assert list(selection.victims()) == []
    assert not selection.is_partial
