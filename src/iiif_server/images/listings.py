"""What lies in the folders of originals, read in threads and remembered for a moment."""

import asyncio
import re
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import merge
from typing import Any

from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.images.originals import Originals
from iiif_server.sources.base import Source
from iiif_server.sources.listings import FolderListing

SECONDS_KNOWN = 10.0
"""How long a folder that was read is not read again, at least."""
_CAPACITY = 1_000_000
"""Names remembered over all folders; some 100 MB if they are so many."""
_READING = 2
"""Folders of a type read at the same time: who asks for many takes no threads from images."""
_SECONDS = 60.0
"""For reading a folder: a large one on a network mount may take some."""
_LONGER = 50
"""How many times as long as it took to read one that is large is remembered."""
_FOLDER_WEIGHT = 100
"""What a folder counts as besides its names, lest too many are remembered."""
_SHARED = 8
"""How many names that are in another listing, too, count as one."""
_RUN = 5_000
"""Names sorted in one go: some milliseconds."""
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 20
"""Numbers with more digits are sorted as letters are."""


_Key = tuple[str, str, tuple[str, ...]]
"""A type, a folder, and words that the names have in them."""


@dataclass(frozen=True, slots=True)
class _Known:
    listing: FolderListing
    until: float


class FolderListings:
    """The folders of all types that can be browsed."""

    def __init__(
        self,
        originals: Originals,
        capacity: int = _CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._originals = originals
        self._clock = clock
        self._capacity = capacity
        self._known: Lru[_Key, _Known] = Lru(capacity)
        self._flights: SingleFlight[_Key, FolderListing] = SingleFlight()
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_READING)
        )

    def __repr__(self) -> str:
        return f"<FolderListings {len(self._known)} known>"

    async def of(self, type_: str, folder: str = "", words: tuple[str, ...] = ()) -> FolderListing:
        """What lies in a folder of a type, in the order in which a person would put it.

        With words, only the names that have all of these in them, in any case. Raises
        FolderNotFoundError, also where the type's source cannot tell, UnknownTypeError, or
        SourceUnavailableError.
        """
        key = type_, folder, tuple(word.casefold() for word in words)
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            return known.listing
        return await self._flights.run(key, lambda: self._read(key))

    async def close(self) -> None:
        """Read nothing more."""
        await self._flights.close()

    async def _read(self, key: _Key) -> FolderListing:
        type_, folder, words = key
        source = self._originals.source(type_)
        self._flights.keep(key)  # for whoever asks again, if nobody waits for a slow disk now
        if words:
            whole = await self.of(type_, folder)
            read = partial(with_words, whole, words)
        else:
            read = partial(_read_in_order, source, folder)
        async with self._slots[type_]:
            started = self._clock()
            listing = await source.context.threads.run(read, timeout=_SECONDS)
            now = self._clock()
        known = _Known(listing, now + max(SECONDS_KNOWN, _LONGER * (now - started)))
        # A large one leaves room for what is found in it, whose names it shares.
        names = len(listing) // _SHARED if words else min(len(listing), self._capacity // 2)
        weight = names + _FOLDER_WEIGHT
        self._known.put(key, known, weight)
        return listing


def _read_in_order(source: Source[Any], folder: str) -> FolderListing:
    return in_order(source.browse(folder))


def with_words(listing: FolderListing, words: Sequence[str]) -> FolderListing:
    """What has all words in its name; these are casefolded."""

    def found(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if all(word in name.casefold() for word in words))

    return replace(listing, folders=found(listing.folders), names=found(listing.names))


def position(listing: FolderListing, text: str) -> int:
    """Where the first entry is that begins like a text or comes behind it; folders come first."""
    key = _order(text), ""
    folder = bisect_left(listing.folders, key, key=_key)
    at = listing.folders[folder : folder + 1]
    if at and at[0].casefold().startswith(text.casefold()):
        return folder
    return len(listing.folders) + bisect_left(listing.names, key, key=_key)


def in_order(listing: FolderListing) -> FolderListing:
    """The same with numbers in names by their value and letters whatever their case."""
    return replace(listing, folders=_sorted(listing.folders), names=_sorted(listing.names))


def _sorted(names: Sequence[str]) -> tuple[str, ...]:
    # Sorting is one call, during which nobody else gets to run: so it is many short ones.
    starts = range(0, len(names), _RUN)
    runs = [sorted(names[start : start + _RUN], key=_key) for start in starts]
    return tuple(merge(*runs, key=_key))


def _key(name: str) -> tuple[str, str]:
    """What names are sorted by, at last by themselves: so no two are alike, and pages stay so."""
    return _order(name), name


def _order(name: str) -> str:
    return _NUMBER.sub(lambda digits: digits[0].zfill(_DIGITS), name.casefold())
