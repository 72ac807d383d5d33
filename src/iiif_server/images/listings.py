"""What lies in the folders of originals, read in threads and remembered for a moment."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import merge

from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.images.originals import Originals
from iiif_server.sources.listings import FolderListing

SECONDS_KNOWN = 10.0
"""How long a folder that was read is not read again, at least."""
_CAPACITY = 200_000
"""Names remembered over all folders; some 20 MB."""
_READING = 2
"""Folders of a type read at the same time: who asks for many takes no threads from images."""
_SECONDS = 60.0
"""For reading a folder: a large one on a network mount may take some."""
_LONGER = 50
"""How many times as long as it took to read one that is large is remembered."""
_FOLDER_WEIGHT = 100
"""What a folder counts as besides its names, lest too many are remembered."""
_RUN = 5_000
"""Names sorted in one go: some milliseconds."""
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 20
"""Numbers with more digits are sorted as letters are."""


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
        self._known: Lru[tuple[str, str], _Known] = Lru(capacity)
        self._flights: SingleFlight[tuple[str, str], FolderListing] = SingleFlight()
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_READING)
        )

    def __repr__(self) -> str:
        return f"<FolderListings {len(self._known)} known>"

    async def of(self, type_: str, folder: str = "") -> FolderListing:
        """What lies in a folder of a type, in the order in which a person would put it.

        Raises FolderNotFoundError, also where the type's source cannot tell, UnknownTypeError, or
        SourceUnavailableError.
        """
        key = type_, folder
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            return known.listing
        return await self._flights.run(key, lambda: self._read(key))

    async def close(self) -> None:
        """Read nothing more."""
        await self._flights.close()

    async def _read(self, key: tuple[str, str]) -> FolderListing:
        type_, folder = key
        source = self._originals.source(type_)
        self._flights.keep(key)  # for whoever asks again, if nobody waits for a slow disk now
        async with self._slots[type_]:
            started = self._clock()
            listing = await source.context.threads.run(
                lambda: in_order(source.browse(folder)), timeout=_SECONDS
            )
            now = self._clock()
        known = _Known(listing, now + max(SECONDS_KNOWN, _LONGER * (now - started)))
        weight = min(len(listing) + _FOLDER_WEIGHT, self._capacity)  # a large one stays alone
        self._known.put(key, known, weight)
        return listing


def in_order(listing: FolderListing) -> FolderListing:
    """The same with numbers in names by their value and letters whatever their case."""
    return replace(listing, folders=_sorted(listing.folders), names=_sorted(listing.names))


def _sorted(names: Sequence[str]) -> tuple[str, ...]:
    # Sorting is one call, during which nobody else gets to run: so it is many short ones.
    keyed = [(_order(name), name) for name in names]
    runs = (sorted(keyed[start : start + _RUN]) for start in range(0, len(keyed), _RUN))
    return tuple(name for _, name in merge(*runs))


def _order(name: str) -> str:
    """What names are sorted by, before themselves: so no two are alike, and pages stay so."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(_DIGITS), name.casefold())
