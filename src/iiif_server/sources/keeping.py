"""Originals that are fetched once and kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from iiif_server.cache.failures import RecentFailures
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.errors import IiifServerError
from iiif_server.sources.base import Surroundings
from iiif_server.telemetry.events import Fetched, FetchFailed

_LONGEST_NAME = 240
"""In bytes; file systems take 255."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an original is to be had."""

    url: str
    trusts: Callable[[str], bool]
    """Whether a redirect may be followed to a URL."""


class KeptOriginals:
    """The fetched originals of one type, below its folder. One fetch per original, ever."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._type = surroundings.type
        self._folder = surroundings.folder
        self._fetcher = surroundings.fetcher
        self._observe = surroundings.observer
        self._flights: SingleFlight[str, Path] = SingleFlight()
        self._failures: RecentFailures[str] = RecentFailures(self._fetcher.options.failure_ttl)

    def __repr__(self) -> str:
        return f"<KeptOriginals {self._folder.name}>"

    @asynccontextmanager
    async def hold(self, name: str, origin: Origin) -> AsyncIterator[Path]:
        """The kept file of this name, fetched first if it is not there.

        Raises what Fetcher.fetch raises, for some seconds without trying again.
        """
        path = await asyncio.to_thread(self._find, name)
        if path is None:
            path = await self._flights.run(name, lambda: self._fetch(name, origin))
        yield path

    async def _fetch(self, name: str, origin: Origin) -> Path:
        self._failures.raise_recent(name)
        # Another flight may have landed between the caller's look and the start of this one.
        path = await asyncio.to_thread(self._find, name)
        if path is not None:
            return path
        target = await asyncio.to_thread(self._place, name)
        started = time.perf_counter()
        try:
            size = await self._fetcher.fetch(origin.url, target, origin.trusts)
        except IiifServerError as error:
            self._failures.remember(name, error)
            self._observe(FetchFailed(f"{self._type}:{name}", _reason(error)))
            raise
        self._observe(Fetched(f"{self._type}:{name}", size, time.perf_counter() - started))
        return target

    def _find(self, name: str) -> Path | None:
        return next((path for path in self._places(name) if path.is_file()), None)

    def _place(self, name: str) -> Path:
        """Where a new file of this name goes: where no file stands in the way of its folders."""
        for path in self._places(name):
            between = path.relative_to(self._folder).parents
            blocked = any((self._folder / parent).is_file() for parent in between)
            if not blocked and not path.is_dir():
                return path
        raise AssertionError  # the hashed place is never blocked: nobody else writes there

    def _places(self, name: str) -> list[Path]:
        """The paths at which an original may be kept, the one that bears its name first."""
        hashed = self._folder / ".hashed" / sha256(name.encode()).hexdigest()
        return [self._folder / name, hashed] if is_file_name(name) else [hashed]


def _reason(error: IiifServerError) -> str:
    """Why a fetch failed, with what the network said, for the log."""
    return f"{error} ({error.__cause__!r})" if error.__cause__ else str(error)


def is_file_name(name: str) -> bool:
    """Whether a name, with its slashes, can be the path of a file as it is."""
    return (
        all(
            part and not part.startswith(".") and len(part.encode()) <= _LONGEST_NAME
            for part in name.split("/")
        )
        and len(name.encode()) <= 4 * _LONGEST_NAME
    )
