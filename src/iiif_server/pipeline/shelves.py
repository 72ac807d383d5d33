"""What lies in the folders of originals, read in threads and remembered for a moment."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from iiif_server.cache.single_flight import SingleFlight
from iiif_server.pipeline.originals import Originals
from iiif_server.sources.shelves import Shelf

SECONDS_KNOWN = 10.0
"""How long a folder that was read is not read again."""
_CAPACITY = 200_000
"""Names remembered over all folders; some 20 MB."""
_READING = 2
"""Folders read at the same time: who asks for many takes no threads from images."""
_NUMBERS = re.compile(r"(\d{1,18})")


@dataclass(frozen=True, slots=True)
class _Known:
    shelf: Shelf
    until: float


class Shelves:
    """The folders of all types that can be browsed."""

    def __init__(
        self,
        originals: Originals,
        capacity: int = _CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._originals = originals
        self._capacity = capacity
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._flights: SingleFlight[tuple[str, str], Shelf] = SingleFlight()
        self._slots = asyncio.Semaphore(_READING)

    def __repr__(self) -> str:
        return f"<Shelves {len(self._known)} known>"

    async def of(self, type_: str, folder: str = "") -> Shelf:
        """What lies in a folder of a type, in the order in which a person would put it.

        Raises FolderNotFoundError, also where the type's source cannot tell, UnknownTypeError, or
        SourceUnavailableError.
        """
        key = type_, folder
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            self._known.move_to_end(key)
            return known.shelf
        shelf = await self._flights.run(key, lambda: self._read(type_, folder))
        self._remember(key, shelf)
        return shelf

    async def close(self) -> None:
        """Read nothing more."""
        await self._flights.close()

    async def _read(self, type_: str, folder: str) -> Shelf:
        source = self._originals.source(type_)
        async with self._slots:
            return await asyncio.to_thread(lambda: in_order(source.browse(folder)))

    def _remember(self, key: tuple[str, str], shelf: Shelf) -> None:
        self._known[key] = _Known(shelf, self._clock() + SECONDS_KNOWN)
        self._known.move_to_end(key)
        while len(self._known) > 1 and self._names() > self._capacity:
            self._known.popitem(last=False)

    def _names(self) -> int:
        """The names remembered; each folder counts as some more, that there be not too many."""
        return sum(len(known.shelf) + 100 for known in self._known.values())


def in_order(shelf: Shelf) -> Shelf:
    """The same with numbers in names by their value and letters whatever their case."""
    return replace(
        shelf,
        folders=tuple(sorted(shelf.folders, key=_order)),
        names=tuple(sorted(shelf.names, key=_order)),
    )


def _order(name: str) -> tuple[list[tuple[int, str]], str]:
    """What names are sorted by; no two names have the same, so that pages stay as they are."""
    words = _NUMBERS.split(name.casefold())
    return [(int(word), "") if index % 2 else (-1, word) for index, word in enumerate(words)], name
