"""Byte-bounded LRU cache with a time to live, in the memory of one process."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_LARGEST_SHARE = 1 / 16
"""The share of the bytes that one entry may take."""


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """What a cache holds now, and what it has done since the process started."""

    entries: int
    size: int
    """Bytes of all entries, as their callers have counted them."""
    hits: int
    misses: int
    """Lookups that found nothing, or nothing that was still valid."""
    evicted: int
    """Entries that were removed before their time, to make room."""


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    size: int


class MemoryCache(Generic[Key, Value]):
    """The entries that were used last, within a number of bytes, for a number of seconds each.

    Sizes are the callers' to count, keys and overhead included. An expired entry is removed at the
    next call, whichever that is, and so neither takes room nor is ever found.
    """

    def __init__(
        self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._largest = int(max_bytes * _LARGEST_SHARE)
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        """The least recently used first."""
        self._by_age: OrderedDict[Key, float] = OrderedDict()
        """When each expires, the oldest first: all live equally long."""
        self._size = self._hits = self._misses = self._evicted = 0

    def __repr__(self) -> str:
        return f"<MemoryCache {self.stats}>"

    def __len__(self) -> int:
        self._remove_expired()
        return len(self._entries)

    @property
    def stats(self) -> MemoryStats:
        """The counts as they are now."""
        self._remove_expired()
        entries = len(self._entries)
        return MemoryStats(entries, self._size, self._hits, self._misses, self._evicted)

    def get(self, key: Key, is_valid: Callable[[Value], bool] | None = None) -> Value | None:
        """The value of a key, or None; an entry that is no longer valid is removed."""
        self._remove_expired()
        found = self._entries.get(key)
        if found is not None and is_valid is not None and not is_valid(found.value):
            self.remove(key)
            found = None
        if found is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return found.value

    def put(self, key: Key, value: Value, size: int) -> None:
        """Store a value of so many bytes, unless it is too large; it takes the place of others."""
        self.remove(key)
        self._remove_expired()
        if size > self._largest:
            return
        while self._size + size > self._max_bytes:
            self.remove(next(iter(self._entries)))
            self._evicted += 1
        self._entries[key] = _Entry(value, size)
        self._by_age[key] = self._clock() + self._seconds
        self._size += size

    def remove(self, key: Key) -> None:
        """Remove an entry, if there is one."""
        found = self._entries.pop(key, None)
        if found is not None:
            del self._by_age[key]
            self._size -= found.size

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self._by_age.clear()
        self._size = 0

    def _remove_expired(self) -> None:
        now = self._clock()
        while self._by_age:
            key = next(iter(self._by_age))
            if self._by_age[key] > now:
                return
            self.remove(key)
