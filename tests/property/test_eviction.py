"""Eviction: entries in use stay, and the others are within the limits if possible."""

from hypothesis import given
from hypothesis import strategies as st

from iiif_server.cache.eviction import Bounds, Candidate
from support.evictions import victims

NOW = 1_000_000.0

candidates = st.builds(
    Candidate,
    st.text(alphabet="0123456789abcdef", min_size=8, max_size=8),
    st.integers(0, 1000),
    st.floats(NOW - 1000, NOW + 10),
    st.booleans(),
)
stores = st.lists(candidates, max_size=40, unique_by=lambda entry: entry.name)
bounds_on_stores = st.builds(
    Bounds,
    st.none() | st.integers(0, 10_000),
    st.none() | st.integers(1, 40),
    st.none() | st.floats(0, 1000),
    st.floats(0.05, 1.0),
)


def without(entries: list[Candidate], gone: list[Candidate]) -> list[Candidate]:
    return [entry for entry in entries if entry not in gone]


def exceeded(entries: list[Candidate], bounds: Bounds) -> bool:
    return bounds.exceeded(sum(entry.size for entry in entries), len(entries))


@given(stores, bounds_on_stores)
def test_entry_in_use_is_never_evicted(entries: list[Candidate], bounds: Bounds) -> None:
    assert not any(entry.pinned for entry in victims(entries, bounds, NOW))


@given(stores, bounds_on_stores)
def test_victims_are_existing_entries_and_distinct(
    entries: list[Candidate], bounds: Bounds
) -> None:
    gone = victims(entries, bounds, NOW)
    assert len(set(gone)) == len(gone)
    assert set(gone) <= set(entries)


@given(stores, bounds_on_stores)
def test_remaining_entries_are_within_limits_unless_all_are_in_use(
    entries: list[Candidate], bounds: Bounds
) -> None:
    left = without(entries, victims(entries, bounds, NOW))
    assert not exceeded(left, bounds) or all(entry.pinned for entry in left)


@given(stores, bounds_on_stores)
def test_remaining_entries_have_not_expired_unless_in_use(
    entries: list[Candidate], bounds: Bounds
) -> None:
    for entry in without(entries, victims(entries, bounds, NOW)):
        assert bounds.ttl is None or entry.pinned or NOW - entry.last_used <= bounds.ttl


@given(stores, bounds_on_stores)
def test_least_recently_used_entries_are_evicted_first(
    entries: list[Candidate], bounds: Bounds
) -> None:
    gone = victims(entries, bounds, NOW)
    left = [entry for entry in without(entries, gone) if not entry.pinned]
    if gone and left:
        assert max(e.last_used for e in gone) <= min(e.last_used for e in left)


@given(stores, bounds_on_stores)
def test_entries_within_limits_are_not_evicted(entries: list[Candidate], bounds: Bounds) -> None:
    fresh = [e for e in entries if bounds.ttl is None or NOW - e.last_used <= bounds.ttl]
    kept = fresh + [entry for entry in entries if entry.pinned and entry not in fresh]
    if not exceeded(kept, bounds):
        assert set(victims(entries, bounds, NOW)) == set(entries) - set(kept)


@given(stores, bounds_on_stores)
def test_eviction_is_idempotent(entries: list[Candidate], bounds: Bounds) -> None:
    left = without(entries, victims(entries, bounds, NOW))
    if not exceeded(left, bounds):
        assert victims(left, bounds, NOW) == []
