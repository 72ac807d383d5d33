"""Least-recently-used (LRU) cache in the memory of one process."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class LruStats:
    """Statistics of an LRU cache: its content now, and its events since it was created."""

    entries: int
    size: int
    """Total weight of the entries, in the unit of the caller (mostly bytes)."""
    hits: int
    misses: int
    """Number of lookups that found no entry, or only an expired one."""
    evicted: int
    """Number of entries removed before they expired, to make room."""


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    weight: int


class Lru(Generic[Key, Value]):
    """LRU cache, limited by the number or the total weight of its entries. Not thread-safe.

    `capacity` is the maximum total weight; the default weight of an entry is 1. An entry heavier
    than `largest` (default: `capacity`) is not stored. Entries expire after `seconds`; the next
    call of any method removes them. The cache calls `on_remove` with each value that it removes:
    by eviction, expiry, replacement by another value, `remove` or `clear`.
    """

    def __init__(
        self,
        capacity: int,
        *,
        largest: int | None = None,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        on_remove: Callable[[Value], object] | None = None,
    ) -> None:
        self._capacity = capacity
        self._largest = capacity if largest is None else largest
        self._seconds = seconds
        self._clock = clock
        self._on_remove = on_remove
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        """Entries, the least recently used first."""
        self._expiry: dict[Key, float] = {}
        """Expiry time of each entry, the oldest first; empty if entries do not expire."""
        self._size = self._hits = self._misses = self._evicted = 0

    def __repr__(self) -> str:
        return f"<Lru {self._size} of {self._capacity}: {list(self._entries)}>"

    def __len__(self) -> int:
        self._remove_expired()
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Whether a key has an entry. Does not count as use."""
        self._remove_expired()
        return key in self._entries

    def __iter__(self) -> Iterator[Key]:
        """Keys at the time of the call, the least recently used first."""
        self._remove_expired()
        return iter(list(self._entries))

    @property
    def stats(self) -> LruStats:
        """Statistics now."""
        self._remove_expired()
        return LruStats(len(self._entries), self._size, self._hits, self._misses, self._evicted)

    def values(self) -> list[Value]:
        """Values, the least recently used first. Does not count as use."""
        self._remove_expired()
        return [entry.value for entry in self._entries.values()]

    def get(self, key: Key) -> Value | None:
        """Value of a key, which becomes the most recently used; None if there is none."""
        self._remove_expired()
        found = self._entries.get(key)
        if found is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return found.value

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Store a value as the most recently used; evict others to make room.

        A value heavier than `largest` is not stored: the former value of its key is removed, and
        `on_remove` is called with both.
        """
        former = self._pop(key)
        self._remove_expired()
        if former is not None and former.value is not value:
            self._removed(former.value)
        if weight > self._largest:
            self._removed(value)
            return
        while self._size + weight > self._capacity:
            self.remove(next(iter(self._entries)))
            self._evicted += 1
        self._entries[key] = _Entry(value, weight)
        if self._seconds < math.inf:
            self._expiry[key] = self._clock() + self._seconds
        self._size += weight

    def remove(self, key: Key) -> None:
        """Remove an entry, if there is one."""
        found = self._pop(key)
        if found is not None:
            self._removed(found.value)

    def clear(self) -> None:
        """Remove all entries."""
        while self._entries:
            self.remove(next(iter(self._entries)))

    def _pop(self, key: Key) -> _Entry[Value] | None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._expiry.pop(key, None)
            self._size -= found.weight
        return found

    def _removed(self, value: Value) -> None:
        if self._on_remove is not None:
            self._on_remove(value)

    def _remove_expired(self) -> None:
        if not self._expiry:
            return
        now = self._clock()
        while self._expiry:
            key = next(iter(self._expiry))
            if self._expiry[key] > now:
                return
            self.remove(key)
