"""The store's counters: events per process, files and bytes over all processes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from iiif_server.cache.counts import StoreCounts, Totals
from iiif_server.cache.shared_totals import TotalsFile


def test_no_change_of_many_threads_is_lost(tmp_path: Path) -> None:
    """Of two processes, which have a file in common."""
    both = [StoreCounts(TotalsFile(tmp_path / "totals")) for _ in range(2)]

    def change(thread: int) -> None:
        counts = both[thread % 2]
        for number in range(200):
            counts.commit(3)
            counts.count("hits")
            counts.count("misses")
            counts.count("dropped")
            counts.count("evicted", 2)
            if number % 2:
                counts.remove(3)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    for counts in both:
        counts.refresh()
        assert counts.totals == Totals(
            files=800, size=2400, hits=800, misses=800, evicted=1600, dropped=800
        )


def test_how_long_ago_was_used_what_goes_is_known_to_all(tmp_path: Path) -> None:
    one, other = (StoreCounts(TotalsFile(tmp_path / "totals")) for _ in range(2))
    one.set_reach(12.5)
    other.refresh()
    assert (one.reach, other.reach) == (12.5, 12.5)
