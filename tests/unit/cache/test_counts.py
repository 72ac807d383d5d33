"""The store's counters: exact after a scan, whatever was committed or removed meanwhile."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from iiif_server.cache.counts import StoreCounts, Totals


def sizes(counts: StoreCounts) -> tuple[int, int]:
    return counts.totals.files, counts.totals.size


def test_commits_and_removals_are_counted() -> None:
    counts = StoreCounts()
    counts.commit("a", 10)
    counts.commit("b", 5)
    counts.remove("a", 10)
    assert sizes(counts) == (1, 5)


@pytest.mark.parametrize("seen", [True, False], ids=["seen by the scan", "not seen"])
def test_a_commit_during_a_scan_counts_once(seen: bool) -> None:  # noqa: FBT001
    counts = StoreCounts()
    counts.commit("old", 1)
    counts.begin_scan()
    counts.commit("new", 10)
    assert counts.end_scan([("old", 1), *([("new", 10)] if seen else [])]) == {"old", "new"}
    assert sizes(counts) == (2, 11)


@pytest.mark.parametrize("seen", [True, False], ids=["seen by the scan", "not seen"])
def test_a_removal_during_a_scan_is_not_counted(seen: bool) -> None:  # noqa: FBT001
    counts = StoreCounts()
    counts.commit("old", 1)
    counts.begin_scan()
    counts.remove("old", 1)
    assert counts.end_scan([("old", 1)] if seen else []) == set()
    assert sizes(counts) == (0, 0)


def test_the_last_of_several_changes_during_a_scan_counts() -> None:
    counts = StoreCounts()
    counts.begin_scan()
    counts.commit("a", 1)
    counts.remove("a", 1)
    counts.remove("b", 2)
    counts.commit("b", 2)
    counts.end_scan([("a", 1), ("b", 2)])
    assert sizes(counts) == (1, 2)


def test_a_scan_finds_what_other_processes_committed_and_removed() -> None:
    counts = StoreCounts()
    counts.commit("mine, removed by another", 10)
    counts.begin_scan()
    counts.end_scan([("another's", 3)])
    counts.commit("mine", 4)
    assert sizes(counts) == (2, 7)


def test_nothing_is_counted_below_zero() -> None:
    counts = StoreCounts()
    counts.commit("short", 1)
    counts.remove("whose length was wrong", 10)
    counts.remove("another's", 10)
    assert sizes(counts) == (0, 0)


def test_no_change_of_many_threads_is_lost() -> None:
    counts = StoreCounts()

    def change(thread: int) -> None:
        for number in range(2000):
            counts.commit(f"{thread}/{number}", 3)
            counts.count("hits")
            counts.count("misses")
            counts.count("dropped")
            counts.count("evicted", 2)
            if number % 2:
                counts.remove(f"{thread}/{number}", 3)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    assert counts.totals == Totals(
        files=8000, size=24_000, hits=16_000, misses=16_000, evicted=32_000, dropped=16_000
    )
