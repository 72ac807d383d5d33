"""Originals that are fetched once and kept."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from iiif_server.cache.single_flight import SingleFlight
from iiif_server.errors import IiifServerError
from iiif_server.sources.fetching import Fetcher

_LONGEST_NAME = 240
"""In bytes; file systems take 255."""
_FAILURES_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an original is to be had."""

    url: str
    trusts: Callable[[str], bool]
    """Whether a redirect may be followed to a URL."""


class KeptOriginals:
    """The fetched originals of one type, below its folder. One fetch per original, ever."""

    def __init__(
        self, folder: Path, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._fetcher = fetcher
        self._clock = clock
        self._flights: SingleFlight[str, Path] = SingleFlight()
        self._failures: OrderedDict[str, tuple[float, IiifServerError]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<KeptOriginals {self._folder.name}>"

    @asynccontextmanager
    async def hold(self, name: str, origin: Origin) -> AsyncIterator[Path]:
        """The kept file of this name, fetched first if it is not there.

        Raises what Fetcher.fetch raises, for some seconds without trying again.
        """
        path = await asyncio.to_thread(self._find, name)
        if path is None:
            self._raise_recent_failure(name)
            path = await self._flights.run(name, lambda: self._fetch(name, origin))
        yield path

    async def _fetch(self, name: str, origin: Origin) -> Path:
        target = await asyncio.to_thread(self._place, name)
        try:
            await self._fetcher.fetch(origin.url, target, origin.trusts)
        except IiifServerError as error:
            self._remember_failure(name, error)
            raise
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

    def _remember_failure(self, name: str, error: IiifServerError) -> None:
        self._failures[name] = (self._clock() + self._fetcher.options.failure_ttl, error)
        self._failures.move_to_end(name)
        while len(self._failures) > _FAILURES_REMEMBERED:
            self._failures.popitem(last=False)

    def _raise_recent_failure(self, name: str) -> None:
        until, error = self._failures.get(name, (0.0, None))
        if error is None:
            return
        if self._clock() < until:
            raise type(error)(*error.args)
        del self._failures[name]


def is_file_name(name: str) -> bool:
    """Whether a name, with its slashes, can be the path of a file as it is."""
    return (
        all(
            part and not part.startswith(".") and len(part.encode()) <= _LONGEST_NAME
            for part in name.split("/")
        )
        and len(name.encode()) <= 4 * _LONGEST_NAME
    )
