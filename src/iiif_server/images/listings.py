"""Folder listings: the entries of folders of originals, read in threads and cached briefly."""

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

LISTING_TTL = 10.0
"""Minimum seconds for which a listing is cached."""
_CAPACITY = 1_000_000
"""Maximum names in the cache of listings, which take about 100 MB."""
_READING = 2
"""Maximum folders of a type that are read at the same time, so that images get threads, too."""
_SECONDS = 60.0
"""Timeout for reading a folder, which may be large and on a network mount."""
_LONGER = 50
"""Factor from the time that reading a folder took to the time for which it is cached."""
_FOLDER_WEIGHT = 100
"""Weight of a folder in the cache besides its names, which limits the number of folders."""
_SHARED = 8
"""Names of a search result that count as one name, because another listing has them, too."""
_RUN = 5_000
"""Names that are sorted at a time, in some milliseconds."""
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 20
"""Maximum digits of a number that is sorted by its value."""


_Key = tuple[str, str, tuple[str, ...]]
"""Type, folder, and words that the names contain."""


@dataclass(frozen=True, slots=True)
class _Known:
    listing: FolderListing
    until: float


class FolderListings:
    """Cache of the folder listings of all browsable types."""

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
        """Listing of a folder of a type, in natural order.

        With words, only the names that contain all words, ignoring case. Raises
        FolderNotFoundError, also if the source cannot list folders, UnknownTypeError, or
        SourceUnavailableError.
        """
        key = type_, folder, tuple(word.casefold() for word in words)
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            return known.listing
        return await self._flights.run(key, lambda: self._read(key))

    async def close(self) -> None:
        """Cancel the reading of folders."""
        await self._flights.close()

    async def _read(self, key: _Key) -> FolderListing:
        type_, folder, words = key
        source = self._originals.source(type_)
        self._flights.keep(key)  # the next request needs the result even if this one is cancelled
        if words:
            whole = await self.of(type_, folder)
            read = partial(with_words, whole, words)
        else:
            read = partial(_read_in_order, source, folder)
        async with self._slots[type_]:
            started = self._clock()
            listing = await source.context.threads.run(read, timeout=_SECONDS)
            now = self._clock()
        known = _Known(listing, now + max(LISTING_TTL, _LONGER * (now - started)))
        # A large folder leaves room for search results in it, which share its names.
        names = len(listing) // _SHARED if words else min(len(listing), self._capacity // 2)
        weight = names + _FOLDER_WEIGHT
        self._known.put(key, known, weight)
        return listing


def _read_in_order(source: Source[Any], folder: str) -> FolderListing:
    return in_order(source.browse(folder))


def with_words(listing: FolderListing, words: Sequence[str]) -> FolderListing:
    """Entries whose names contain all words, which must be casefolded."""

    def found(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if all(word in name.casefold() for word in words))

    return replace(listing, folders=found(listing.folders), names=found(listing.names))


def position(listing: FolderListing, text: str) -> int:
    """Index of the first entry that begins with a text or follows it; folders come first."""
    key = _order(text), ""
    folder = bisect_left(listing.folders, key, key=_key)
    at = listing.folders[folder : folder + 1]
    if at and at[0].casefold().startswith(text.casefold()):
        return folder
    return len(listing.folders) + bisect_left(listing.names, key, key=_key)


def in_order(listing: FolderListing) -> FolderListing:
    """Listing in natural order: numbers in names by value, and letters ignoring case."""
    return replace(listing, folders=_sorted(listing.folders), names=_sorted(listing.names))


def _sorted(names: Sequence[str]) -> tuple[str, ...]:
    # A sort holds the GIL until it ends, so a long list is sorted in short runs.
    starts = range(0, len(names), _RUN)
    runs = [sorted(names[start : start + _RUN], key=_key) for start in starts]
    return tuple(merge(*runs, key=_key))


def _key(name: str) -> tuple[str, str]:
    """Sort key of a name; it ends with the name itself, so that the order is unique."""
    return _order(name), name


def _order(name: str) -> str:
    return _NUMBER.sub(lambda digits: digits[0].zfill(_DIGITS), name.casefold())
