"""Values in memory, within a number of bytes: what is asked for often stays, a scan passes by."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_WINDOW_SHARE = 0.05
"""The share of the bytes that is for whatever came last, asked for often or not."""
_SAMPLE = 16_384
"""After so many requests all counts are halved, so that what was popular once makes room."""
_LARGEST_SHARE = 1 / 16
"""The share of the bytes that one value may take."""


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """What the tier holds, and has done since the process started."""

    entries: int
    size: int
    hits: int
    misses: int
    refused: int
    """How many values were not kept, as those in their way were asked for more often."""
    evicted: int
    """How many values made room for one that was asked for more often."""


class Frequencies(Generic[Key]):
    """How often each key was asked for of late; about, and in bounded memory."""

    def __init__(self, sample: int = _SAMPLE) -> None:
        self._sample = sample
        self._counts: dict[Key, int] = {}
        self._counted = 0

    def __repr__(self) -> str:
        return f"<Frequencies {len(self._counts)} keys>"

    def __getitem__(self, key: Key) -> int:
        return self._counts.get(key, 0)

    def count(self, key: Key) -> None:
        """Take note that a key was asked for."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self._counted += 1
        if self._counted >= self._sample:
            self._counted //= 2
            self._counts = {key: count // 2 for key, count in self._counts.items() if count > 1}


class MemoryTier(Generic[Key, Value]):
    """The values that are asked for most often, as far as the bytes go (W-TinyLFU, Einziger 2017).

    What is new stays for a while in a window. What then leaves the window takes the place of the
    values that were not used for the longest time, if it was asked for more often than they; so
    somebody who asks for everything once drives out nothing that others ask for again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._window: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._main: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._window_max = int(max_bytes * _WINDOW_SHARE)
        self._main_max = max_bytes - self._window_max
        self._largest = int(max_bytes * _LARGEST_SHARE)
        self._window_size = self._main_size = 0
        self._frequencies: Frequencies[Key] = Frequencies()
        self._hits = self._misses = self._refused = self._evicted = 0

    def __repr__(self) -> str:
        return f"<MemoryTier {self.stats}>"

    def __len__(self) -> int:
        return len(self._window) + len(self._main)

    @property
    def stats(self) -> MemoryStats:
        """The counts as they are now."""
        size = self._window_size + self._main_size
        return MemoryStats(len(self), size, self._hits, self._misses, self._refused, self._evicted)

    def get(self, key: Key) -> Value | None:
        """The value, or None; either way the key was asked for."""
        self._frequencies.count(key)
        for part in (self._main, self._window):
            found = part.get(key)
            if found is not None:
                part.move_to_end(key)
                self._hits += 1
                return found[0]
        self._misses += 1
        return None

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of so many bytes, unless it is too large, or rarer than what is there."""
        self.drop(key)
        if size > self._largest:
            return
        self._window[key] = value, size
        self._window_size += size
        while self._window_size > self._window_max and len(self._window) > 1:
            oldest, (value, size) = self._window.popitem(last=False)
            self._window_size -= size
            self._admit(oldest, value, size)

    def drop(self, key: Key) -> None:
        """Forget a value, if it is there."""
        if (found := self._window.pop(key, None)) is not None:
            self._window_size -= found[1]
        if (found := self._main.pop(key, None)) is not None:
            self._main_size -= found[1]

    def clear(self) -> None:
        """Forget all values."""
        self._window.clear()
        self._main.clear()
        self._window_size = self._main_size = 0

    def _admit(self, key: Key, value: Value, size: int) -> None:
        victims: list[Key] = []
        needed = self._main_size + size - self._main_max
        for candidate, (_, freed) in self._main.items():  # the least recently used first
            if needed <= 0:
                break
            if self._frequencies[candidate] >= self._frequencies[key]:
                self._refused += 1
                return
            victims.append(candidate)
            needed -= freed
        for victim in victims:
            self._main_size -= self._main.pop(victim)[1]
            self._evicted += 1
        self._main[key] = value, size
        self._main_size += size
