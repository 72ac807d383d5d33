"""The memory tier: bounded by bytes, and not to be flushed by one who asks for everything."""

import pytest

from iiif_server.cache.memory import Frequencies, MemoryTier

KB = 1000


def tier(max_bytes: int = 100 * KB) -> MemoryTier[str, str]:
    return MemoryTier(max_bytes)


def ask(cache: MemoryTier[str, str], key: str, size: int = KB) -> bool:
    """Whether a key was there; it is kept if it was not."""
    if cache.get(key) is not None:
        return True
    cache.put(key, f"value of {key}", size)
    return False


def test_what_was_kept_is_found() -> None:
    cache = tier()
    assert cache.get("a") is None
    cache.put("a", "1", KB)
    assert cache.get("a") == "1"
    cache.put("a", "2", 2 * KB)
    assert cache.get("a") == "2"
    assert (cache.stats.entries, cache.stats.size) == (1, 2 * KB)
    assert (cache.stats.hits, cache.stats.misses) == (2, 1)


def test_never_more_bytes_than_allowed() -> None:
    cache = tier()
    for number in range(1000):
        ask(cache, str(number % 170), 1 + number * 37 % (5 * KB))
        assert cache.stats.size <= 100 * KB
    assert len(cache) > 10


def test_one_value_may_not_take_all() -> None:
    cache = tier()
    cache.put("large", "1", 50 * KB)
    assert cache.get("large") is None
    assert len(cache) == 0


def test_a_scan_drives_out_nothing_that_is_asked_for_again() -> None:
    cache = tier()
    popular = [f"popular {number}" for number in range(80)]
    for _ in range(3):
        for key in popular:
            ask(cache, key)
    for number in range(5000):
        assert not ask(cache, f"scanned {number}")
    assert sum(cache.get(key) is not None for key in popular) >= 75
    assert cache.stats.refused > 4000


def test_what_becomes_popular_takes_the_place_of_what_was() -> None:
    cache = tier()
    for _ in range(5):
        for number in range(90):
            ask(cache, f"old {number}")
    for _ in range(30):
        for number in range(90):
            ask(cache, f"new {number}")
    assert sum(cache.get(f"new {number}") is not None for number in range(90)) > 80


def test_what_is_dropped_is_gone() -> None:
    cache = tier()
    for key in "abc":
        cache.put(key, key, KB)
    cache.drop("b")
    cache.drop("none")
    assert [cache.get(key) for key in "abc"] == ["a", None, "c"]
    cache.clear()
    assert (cache.stats.entries, cache.stats.size) == (0, 0)


@pytest.mark.parametrize("sample", [10, 100])
def test_counts_are_halved_now_and_then_and_bounded(sample: int) -> None:
    frequencies: Frequencies[int] = Frequencies(sample)
    for _ in range(sample - 1):
        frequencies.count(0)
    assert frequencies[0] == sample - 1
    frequencies.count(1)
    assert frequencies[0] == (sample - 1) // 2
    assert frequencies[1] == 0
    for number in range(50 * sample):
        frequencies.count(number)
    assert sum(frequencies[number] > 0 for number in range(50 * sample)) <= sample
