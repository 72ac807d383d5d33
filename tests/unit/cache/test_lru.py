"""The LRU cache: bounded by entries or bytes, with a time to live."""

import pytest

from iiif_server.cache.lru import Lru

KB = 1000


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def cache_of(max_bytes: int = 100 * KB, clock: Clock | None = None) -> Lru[str, str]:
    return Lru(max_bytes, largest=max_bytes // 16, seconds=5.0, clock=clock or Clock())


def test_what_was_put_is_found() -> None:
    cache = cache_of()
    assert cache.get("a") is None
    cache.put("a", "1", KB)
    assert cache.get("a") == "1"
    cache.put("a", "2", 2 * KB)
    assert cache.get("a") == "2"
    assert (cache.stats.entries, cache.stats.size) == (1, 2 * KB)
    assert (cache.stats.hits, cache.stats.misses) == (2, 1)


def test_never_more_bytes_than_allowed() -> None:
    cache = cache_of()
    for number in range(1000):
        cache.put(str(number % 170), "", 1 + number * 37 % (5 * KB))
        assert cache.stats.size <= 100 * KB
    assert len(cache) > 10


@pytest.mark.parametrize(("size", "entries"), [(6250, 1), (6251, 0)])
def test_one_entry_takes_a_sixteenth_at_most(size: int, entries: int) -> None:
    cache = cache_of(100 * KB)
    cache.put("large", "1", size)
    assert len(cache) == entries


def test_what_is_too_large_takes_the_place_of_its_former_value_only() -> None:
    cache = cache_of()
    cache.put("a", "small", KB)
    cache.put("b", "other", KB)
    cache.put("a", "large", 50 * KB)
    assert (cache.get("a"), cache.get("b"), cache.stats.evicted) == (None, "other", 0)


def test_without_bytes_nothing_is_stored() -> None:
    cache = cache_of(0)
    cache.put("a", "1", 1)
    assert len(cache) == 0


def test_the_least_recently_used_makes_room() -> None:
    cache = cache_of(16 * KB)
    for number in range(16):
        cache.put(str(number), "", KB)
    assert cache.get("0") == ""
    assert cache.get("2") == ""
    cache.put("new", "", KB)
    cache.put("newer", "", KB)
    assert [key for key in map(str, range(6)) if cache.get(key) is None] == ["1", "3"]
    assert cache.stats.evicted == 2


def test_what_is_put_again_was_used_last() -> None:
    cache = cache_of(16 * KB)
    for number in range(16):
        cache.put(str(number), "", KB)
    cache.put("0", "again", KB)
    cache.put("new", "", KB)
    assert (cache.get("0"), cache.get("1")) == ("again", None)


def test_an_entry_is_found_for_its_time_and_no_longer_however_often_it_is_used() -> None:
    clock = Clock()
    cache = cache_of(clock=clock)
    cache.put("a", "1", KB)
    for now in (1.0, 3.0, 4.99):
        clock.now = now
        assert cache.get("a") == "1"
    clock.now = 5.0
    assert cache.get("a") is None
    assert (cache.stats.hits, cache.stats.misses, cache.stats.evicted) == (3, 1, 0)


def test_expired_entries_give_their_room_back_to_newer_ones() -> None:
    clock = Clock()
    cache = cache_of(16 * KB, clock)
    for number in range(16):
        cache.put(f"old {number}", "", KB)
    clock.now = 6.0
    assert (cache.stats.entries, cache.stats.size) == (0, 0)
    for number in range(16):
        cache.put(f"new {number}", "", KB)
    assert all(cache.get(f"new {number}") == "" for number in range(16))
    assert cache.stats.evicted == 0


def test_expired_entries_are_removed_even_if_they_were_used_last() -> None:
    clock = Clock()
    cache = cache_of(16 * KB, clock)
    cache.put("old", "", KB)
    clock.now = 4.0
    for number in range(15):
        cache.put(str(number), "", KB)
    cache.get("old")
    clock.now = 5.0
    cache.put("new", "", KB)
    assert cache.get("0") == ""
    assert cache.stats.evicted == 0


def test_an_entry_that_is_put_again_lives_anew() -> None:
    clock = Clock()
    cache = cache_of(clock=clock)
    cache.put("a", "1", KB)
    clock.now = 4.0
    cache.put("a", "2", KB)
    clock.now = 8.0
    assert cache.get("a") == "2"


def test_what_is_removed_is_gone() -> None:
    cache = cache_of()
    for key in "abc":
        cache.put(key, key, KB)
    cache.remove("b")
    cache.remove("none")
    assert [cache.get(key) for key in "abc"] == ["a", None, "c"]
    cache.clear()
    assert (cache.stats.entries, cache.stats.size) == (0, 0)
    cache.put("a", "1", KB)
    assert cache.stats.size == KB


# --- bounded by entries, without a time to live -----------------------------------------------


def test_the_number_of_entries_is_bounded_if_none_has_a_weight() -> None:
    cache: Lru[str, int] = Lru(2)
    for number, key in enumerate("ab"):
        cache.put(key, number)
    assert cache.get("a") == 0
    cache.put("c", 2)
    assert list(cache) == ["a", "c"]
    assert cache.values() == [0, 2]


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_cache_without_capacity_holds_nothing(capacity: int) -> None:
    cache: Lru[str, None] = Lru(capacity)
    cache.put("a", None)
    assert len(cache) == 0
    assert "a" not in cache


def test_a_key_counts_once_however_often_it_is_put() -> None:
    cache: Lru[str, None] = Lru(2)
    for _ in range(3):
        cache.put("a", None)
    assert len(cache) == 1


def test_looking_whether_an_entry_is_there_is_no_use_of_it() -> None:
    cache: Lru[str, int] = Lru(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert "a" in cache
    assert cache.values() == [1, 2]
    cache.put("c", 3)
    assert "a" not in cache
    assert (cache.stats.hits, cache.stats.misses) == (0, 0)


def test_keys_may_be_removed_while_they_are_iterated() -> None:
    cache: Lru[str, int] = Lru(9)
    for key in "abc":
        cache.put(key, 0)
    for key in cache:
        cache.remove(key)
    assert len(cache) == 0


# --- what leaves the cache --------------------------------------------------------------------


def test_each_value_that_leaves_the_cache_is_handed_on_once_whatever_the_reason() -> None:
    gone: list[str] = []
    clock = Clock()
    cache: Lru[str, str] = Lru(2, largest=1, seconds=5.0, clock=clock, on_remove=gone.append)
    cache.put("a", "evicted")
    cache.put("b", "replaced")
    cache.put("c", "removed")
    cache.put("b", "expired")
    cache.remove("c")
    clock.now = 5.0
    assert cache.get("b") is None
    cache.put("d", "too heavy", 2)
    cache.put("e", "cleared")
    cache.clear()
    cache.clear()
    assert gone == ["evicted", "replaced", "removed", "expired", "too heavy", "cleared"]


def test_a_value_that_is_put_again_has_not_left_the_cache() -> None:
    gone: list[str] = []
    cache: Lru[str, str] = Lru(2, on_remove=gone.append)
    value = "open file"
    cache.put("a", value)
    cache.put("a", value)
    assert gone == []


def test_what_is_removed_is_not_found_by_whoever_is_told_of_it() -> None:
    found: list[int] = []
    cache: Lru[str, str] = Lru(1, on_remove=lambda value: found.append(value in cache.values()))
    cache.put("a", "1")
    cache.put("b", "2")
    cache.clear()
    assert found == [False, False]
