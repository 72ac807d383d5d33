"""Totals that several processes share: their corrections by scans, and the file."""

import fcntl
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from iiif_server.cache.shared_totals import SharedTotals, TotalsFile


def sizes(totals: SharedTotals) -> tuple[int, int]:
    return totals.files, totals.size


def test_files_are_added_and_removed_and_never_less_than_none() -> None:
    totals = SharedTotals().added(10).added(5).removed(10)
    assert sizes(totals) == (1, 5)
    assert sizes(totals.removed(10).removed(10)) == (0, 0)


BEFORE = SharedTotals().added(10).added(20)


@pytest.mark.parametrize(
    ("now", "found", "right"),
    [
        # nothing has changed meanwhile: the scan is right
        (BEFORE, (2, 30), (2, 30)),
        (BEFORE, (5, 70), (5, 70)),
        (BEFORE, (0, 0), (0, 0)),
        # what was added meanwhile counts once, whether the scan has seen it or not
        (BEFORE.added(7), (2, 30), (3, 37)),
        (BEFORE.added(7), (3, 37), (3, 37)),
        # and what was removed not at all
        (BEFORE.removed(20), (2, 30), (1, 10)),
        (BEFORE.removed(20), (1, 10), (1, 10)),
        # where the counts were wrong, they become the nearest that can be right
        (BEFORE.added(7), (9, 90), (9, 90)),
        (BEFORE.removed(20), (9, 90), (8, 70)),
        (BEFORE.added(7), (1, 10), (2, 17)),
    ],
)
def test_a_scan_corrects_no_more_than_it_can_know(
    now: SharedTotals, found: tuple[int, int], right: tuple[int, int]
) -> None:
    corrected = now.corrected(BEFORE, *found, now=100.0)
    assert sizes(corrected) == right
    assert corrected.scanned_at == 100.0


def test_what_is_written_is_read_by_another_process(tmp_path: Path) -> None:
    one, other = TotalsFile(tmp_path / "totals"), TotalsFile(tmp_path / "totals")
    one.change(lambda totals: totals.added(5))
    assert sizes(other.latest) == (0, 0)
    assert sizes(other.refresh()) == (1, 5)
    other.change(lambda totals: totals.added(7).corrected(totals, 2, 12, 9.0))
    assert one.refresh() == other.latest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(72),
        b"\xff" * 72,
        SharedTotals(1, 2).packed()[:-1],
        SharedTotals(-1, 2).packed(),
        SharedTotals(1, -2).packed(),
    ],
)
def test_a_file_that_makes_no_sense_is_one_of_a_store_never_scanned(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "totals"
    path.write_bytes(data)
    totals = TotalsFile(path)
    assert totals.refresh() == SharedTotals()
    totals.change(lambda totals: totals.added(5))
    assert sizes(TotalsFile(path).refresh()) == (1, 5)


def test_a_process_counts_for_itself_where_there_is_no_file(tmp_path: Path) -> None:
    totals = TotalsFile(tmp_path / "no folder" / "totals")
    totals.change(lambda totals: totals.added(5))
    totals.change(lambda totals: totals.added(5))
    assert sizes(totals.refresh()) == (2, 10)


@contextmanager
def no_writes() -> Iterator[None]:
    """While this is open, no file grows: as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_what_cannot_be_written_counts_once(tmp_path: Path) -> None:
    totals = TotalsFile(tmp_path / "totals")
    with no_writes():
        assert sizes(totals.change(lambda totals: totals.added(5))) == (1, 5)
        assert sizes(totals.change(lambda totals: totals.added(7))) == (2, 12)


def test_a_process_that_keeps_the_lock_keeps_no_other_from_counting(tmp_path: Path) -> None:
    path = tmp_path / "totals"
    totals = TotalsFile(path)
    totals.change(lambda totals: totals.added(5))
    with path.open("rb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        assert sizes(totals.change(lambda totals: totals.added(7))) == (2, 12)
        assert sizes(totals.refresh()) == (2, 12)
    totals.change(lambda totals: totals.added(7))
    assert sizes(TotalsFile(path).refresh()) == (2, 12)


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "totals"
    totals = TotalsFile(path)
    totals.change(lambda totals: totals.added(5))
    totals._patience = 60
    with ThreadPoolExecutor() as threads, path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        counting = threads.submit(totals.change, lambda totals: totals.added(7))
        with pytest.raises(TimeoutError):
            counting.result(0.05)
        fcntl.flock(other, fcntl.LOCK_UN)
        counting.result()
    assert sizes(TotalsFile(path).refresh()) == (2, 12)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "totals").symlink_to(tmp_path / "other")
    TotalsFile(tmp_path / "totals").change(lambda totals: totals.added(5))
    assert (tmp_path / "other").read_bytes() == b"mine"
