"""Originals that are fetched once and kept; after `refresh_after`, compared with the upstream's."""

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from iiif_server.cache.drafts import locked
from iiif_server.cache.failures import RecentFailures
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.errors import (
    IiifServerError,
    OriginalNotFoundError,
    SourceBusyError,
    SourceUnavailableError,
)
from iiif_server.sources.base import Surroundings
from iiif_server.sources.provenance import MOST_BYTES, Provenance, digest, is_due
from iiif_server.telemetry.events import Fetched, FetchFailed

_LONGEST_NAME = 240
"""In bytes; file systems take 255."""

_NOTHING = Provenance(size=0, mtime_ns=0, asked=0)

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an original is to be had."""

    url: str
    trusts: Callable[[str], bool]
    """Whether a redirect may be followed to a URL."""


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    overdue: Provenance | None
    """What is known of it, if the upstream is to be asked again."""


@dataclass(frozen=True, slots=True)
class _Refresh:
    """A question to the upstream that is under way."""

    answer: asyncio.Task[bool]
    """Whether there is such an original, as far as is known then."""
    until: float
    """By the event loop's clock: how long viewers wait for it."""


class KeptOriginals:
    """The fetched originals of one type, below its folder.

    Each is fetched once. Where `refresh_after` is set, its upstream is asked again that long after
    it was last asked: one question an original at a time, however many viewers there are.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._type = surroundings.type
        self._folder = surroundings.folder
        self._fetcher = surroundings.fetcher
        self._observe = surroundings.observer
        self._flights: SingleFlight[str, Path] = SingleFlight()
        self._refreshes: dict[str, _Refresh] = {}
        self._failures: RecentFailures[str] = RecentFailures(self._fetcher.options.failure_ttl)

    def __repr__(self) -> str:
        return f"<KeptOriginals {self._folder.name}>"

    @asynccontextmanager
    async def hold(self, name: str, origin: Origin) -> AsyncIterator[Path]:
        """The kept file of this name, fetched first if it is not there.

        Raises what Fetcher.fetch raises, for some seconds without trying again. What is kept is
        served whatever happens, unless the upstream says that it is gone (OriginalNotFoundError).
        """
        kept = await _on_disk(self._find, name)
        if kept is None:
            path = await self._flights.run(name, lambda: self._fetch(name, origin))
        else:
            path = kept.path
            if kept.overdue and not await self._is_still_there(name, origin, kept.overdue):
                raise OriginalNotFoundError("There is no image with this identifier.")
        yield path

    async def _fetch(self, name: str, origin: Origin) -> Path:
        self._failures.raise_recent(name)
        async with AsyncExitStack() as stack:
            with suppress(OSError):  # whoever writes the original says what the disk has against it
                lock = self._fetcher.incoming / f"{digest(f'{self._type}:{name}')}.lock"
                await stack.enter_async_context(locked(lock))
            # Another flight may have landed between the caller's look and the start of this one, or
            # another process have fetched it while this one waited.
            kept = await _on_disk(self._find, name)
            return await self._fetched(name, origin) if kept is None else kept.path

    async def _fetched(self, name: str, origin: Origin) -> Path:
        target = await _on_disk(self._place, name)
        try:
            found = await self._bring(name, origin, target, _NOTHING)
        except IiifServerError as error:
            if not isinstance(error, SourceBusyError):  # for then nothing was tried
                self._failures.remember(name, error)
            self._tell(name, error)
            raise
        with suppress(OSError):  # the file's own time says as much
            await asyncio.to_thread(self._note, name, found)
        return target

    async def _is_still_there(self, name: str, origin: Origin, known: Provenance) -> bool:
        """Whether the original is to be served, by what the upstream says if it does so in time."""
        try:
            self._failures.raise_recent(name)
        except OriginalNotFoundError:
            return False
        except IiifServerError:
            return not known.gone
        loop = asyncio.get_running_loop()
        refresh = self._refreshes.get(name)
        if refresh is None:
            answer = self._fetcher.start(self._refresh(name, origin))
            refresh = _Refresh(answer, loop.time() + self._fetcher.options.refresh_wait)
            self._refreshes[name] = refresh
            answer.add_done_callback(lambda _: self._refreshes.pop(name, None))
        await asyncio.wait({refresh.answer}, timeout=max(0.0, refresh.until - loop.time()))
        if refresh.answer.done() and not refresh.answer.cancelled():
            return refresh.answer.result()
        return not known.gone

    async def _refresh(self, name: str, origin: Origin) -> bool:
        # Another refresh may have ended between the caller's look and the start of this one.
        kept = await _on_disk(self._find, name)
        if kept is None or kept.overdue is None:
            return True
        known = kept.overdue
        try:
            found = await self._bring(name, origin, kept.path, known)
            await _on_disk(self._note, name, found)
        except OriginalNotFoundError as error:
            self._failures.remember(name, error)
            self._tell(name, error, "; what is kept stays, but is not served")
            with suppress(OSError):
                await asyncio.to_thread(self._note, name, known.model_copy(update={"gone": True}))
            return False
        except IiifServerError as error:
            self._failures.remember(name, error)
            self._tell(name, error, "; what is kept is served")
            return not known.gone
        return True

    async def _bring(
        self, name: str, origin: Origin, target: Path, known: Provenance
    ) -> Provenance:
        """Have the target as the upstream has it; what is then known of it, to be noted.

        First comes the file, then the record, which says which file it is about: if the process is
        killed between the two, the file is one of which nothing is known.
        """
        started = time.perf_counter()
        arrival = await self._fetcher.fetch(origin.url, target, origin.trusts, known.validators)
        if arrival is not None:
            seconds = time.perf_counter() - started
            self._observe(Fetched(f"{self._type}:{name}", arrival.size, seconds))
            known = Provenance(
                size=arrival.size,
                mtime_ns=arrival.mtime_ns,
                asked=0,
                validators=arrival.validators,
            )
        return known.model_copy(update={"asked": time.time(), "gone": False})

    def _tell(self, name: str, error: IiifServerError, outcome: str = "") -> None:
        """Tell why a fetch failed, with what the network said, for the log."""
        cause = f" ({error.__cause__!r})" if error.__cause__ else ""
        self._observe(FetchFailed(f"{self._type}:{name}", f"{error}{cause}{outcome}"))

    def _find(self, name: str) -> _Kept | None:
        for path in self._places(name):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISREG(status.st_mode):
                return _Kept(path, self._overdue(name, status))
        return None

    def _overdue(self, name: str, status: os.stat_result) -> Provenance | None:
        """What is known of the file, if it is time to ask the upstream again."""
        refresh_after = self._fetcher.options.refresh_after
        if refresh_after is None:
            return None
        try:
            with self._record(name).open("rb") as file:
                text = file.read(MOST_BYTES)
        except OSError:
            text = b""
        known = Provenance.read(text, status.st_size, status.st_mtime_ns) or Provenance(
            size=status.st_size, mtime_ns=status.st_mtime_ns, asked=status.st_mtime
        )
        due = known.gone or is_due(known.asked, time.time(), refresh_after)
        return known if due else None

    def _note(self, name: str, provenance: Provenance) -> None:
        record = self._record(name)
        temporary = self._fetcher.reserve()
        try:
            temporary.write_text(provenance.model_dump_json())
            record.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(record)
        finally:
            temporary.unlink(missing_ok=True)

    def _record(self, name: str) -> Path:
        """Where the provenance of an original is kept: where no original can be."""
        return self._folder / ".provenance" / f"{digest(name)}.json"

    def _place(self, name: str) -> Path:
        """Where a new file of this name goes: where no file stands in the way of its folders."""
        *named, hashed = self._places(name)
        for path in named:
            between = path.relative_to(self._folder).parents
            blocked = any((self._folder / parent).is_file() for parent in between)
            if not blocked and not path.is_dir():
                return path
        return hashed  # nobody else writes there

    def _places(self, name: str) -> list[Path]:
        """The paths at which an original may be kept, the one that bears its name first."""
        hashed = self._folder / ".hashed" / digest(name)
        return [self._folder / name, hashed] if is_file_name(name) else [hashed]


async def _on_disk(work: Callable[..., Found], *arguments: object) -> Found:
    """What comes of work on the disk; SourceUnavailableError if the disk fails."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as error:
        raise SourceUnavailableError(
            "The disk on which the original is kept fails at the moment."
        ) from error


def is_file_name(name: str) -> bool:
    """Whether a name, with its slashes, can be the path of a file as it is."""
    return (
        all(
            part and not part.startswith(".") and len(part.encode()) <= _LONGEST_NAME
            for part in name.split("/")
        )
        and len(name.encode()) <= 4 * _LONGEST_NAME
    )
