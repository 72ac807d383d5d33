"""Fetched originals on disk: fetched once, revalidated with the upstream after `refresh_after`."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from iiif_server.cache.failures import RecentFailures
from iiif_server.cache.lru import Lru
from iiif_server.cache.pending_files import locked
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.threads import LONG
from iiif_server.errors import (
    IiifServerError,
    OriginalNotFoundError,
    SourceBusyError,
    SourceUnavailableError,
)
from iiif_server.plan.local_file import FileVersion, removed_error
from iiif_server.sources.base import SourceContext
from iiif_server.sources.deprecated import renamed
from iiif_server.sources.fetched_store import lock_for_use
from iiif_server.sources.opening import OpenedFile, checksum_of, open_in_folder
from iiif_server.sources.provenance import MAX_RECORD_BYTES, Provenance, digest, is_due
from iiif_server.sources.stored_names import Places, is_entry
from iiif_server.sources.upstreams import Upstream, failure, fetch_original, first_failure
from iiif_server.telemetry.events import Fetched, OriginalDamaged

_MAX_VERIFIED = 100_000
"""Maximum number of verified checksums in memory, 300 bytes each."""
_MAX_ATTEMPTS = 3
"""Attempts to fetch an original that other processes evict before it is open."""
_NO_PROVENANCE = Provenance(size=0, mtime_ns=0, asked=0)

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Stored:
    opened: OpenedFile
    place: Path
    """Path of its file, without following links."""
    overdue: Provenance | None
    """Provenance if the original is due for revalidation; else None."""
    unverified: bool
    """Whether the checksum of this file version is not verified yet."""


@dataclass(frozen=True, slots=True)
class _Verified:
    version: FileVersion
    checksum: str


@dataclass(frozen=True, slots=True)
class _Refresh:
    """Revalidation under way."""

    answer: asyncio.Task[bool]
    """Result: whether the original exists upstream, or existed if the upstream fails."""
    until: float
    """Time by the clock of the event loop until which requests wait for the result."""


class FetchedOriginals:
    """Fetched originals of one type, below its folder.

    Each is fetched once. If `refresh_after` is set, it is revalidated when this time has passed,
    with one request to the upstream at a time, for any number of clients.
    """

    def __init__(self, context: SourceContext) -> None:
        self._type = context.type
        self._folder = context.folder
        self._places = Places(context.folder)
        self._fetcher = context.fetcher
        self._store = context.fetcher.store
        if self._store is not None:
            self._store.register(context.folder)
        self._observe = context.observer
        self._threads = context.threads
        self._flights: SingleFlight[str, None] = SingleFlight()
        self._lock = threading.Lock()
        self._verified: Lru[str, _Verified] = Lru(_MAX_VERIFIED)
        self._refreshes: dict[str, _Refresh] = {}
        self._failures: RecentFailures[str] = RecentFailures(self._fetcher.options.failure_ttl)

    def __repr__(self) -> str:
        return f"<KeptOriginals {self._folder.name}>"

    async def has(self, name: str) -> bool:
        """Whether a file of this name is stored, also if it must be verified or revalidated."""
        stored = await self._open(name)
        _close(stored)
        return stored is not None

    @asynccontextmanager
    async def hold(self, name: str, upstream: Upstream) -> AsyncIterator[OpenedFile]:
        """Yield the file of this name, open, after fetching it if it is missing or damaged.

        Raises the errors of `Upstream.fetch`. An error is raised again for `fetch.failure_ttl`,
        without a new request. If a revalidation fails, the stored file is used, unless the upstream
        answers that the original does not exist any more (OriginalNotFoundError).
        """
        stored = await self._open(name)
        for _ in range(_MAX_ATTEMPTS):  # a fetched original may be evicted before it is open
            if stored is not None and not (stored.unverified or stored.overdue):
                break
            if stored is not None:
                stored.opened.close()
            await self._refresh_if_needed(name, upstream, stored)
            stored = await self._open(name)
            if stored is not None:
                break
        if stored is None:
            raise removed_error()
        if self._store is not None:
            self._store.touch(stored.place)
        try:
            yield stored.opened
        finally:
            stored.opened.close()

    async def _refresh_if_needed(
        self, name: str, upstream: Upstream, stored: "_Stored | None"
    ) -> None:
        if stored is None:
            await self._flights.run(name, lambda: self._fetch(name, upstream))
            return
        if stored.unverified:
            await self._flights.run(name, lambda: self._verify(name, upstream))
        if stored.overdue and not await self._exists_upstream(name, upstream, stored.overdue):
            raise OriginalNotFoundError

    async def _verify(self, name: str, upstream: Upstream) -> None:
        """Verify the checksum of a file, and fetch it again if it is damaged."""
        if await self._on_disk(self._is_intact, name, timeout=LONG):
            return
        self._observe(OriginalDamaged(f"{self._type}:{name}"))
        await self._fetch(name, upstream)

    async def _open(self, name: str) -> "_Stored | None":
        stored = await self._on_disk(self._find, name, undo=_close)
        if stored is not None:
            stored.opened.close_by = self._threads.begin
        return stored

    async def _fetch(self, name: str, upstream: Upstream) -> None:
        self._failures.raise_recent(name)
        async with AsyncExitStack() as stack:
            with suppress(OSError):  # writing the original reports the error of the disk
                lock = self._fetcher.incoming.folder / f"{digest(f'{self._type}:{name}')}.lock"
                await stack.enter_async_context(locked(lock, self._fetcher.incoming.threads))
            # Another task may have fetched it before this one started, or another process while
            # this one waited for the lock.
            if not await self._on_disk(self._is_intact, name, timeout=LONG):
                await self._fetch_and_record(name, upstream)

    async def _fetch_and_record(self, name: str, upstream: Upstream) -> None:
        target = await self._on_disk(self._places.new, name)
        try:
            found = await self._fetch_from_upstream(name, upstream, target, _NO_PROVENANCE)
        except IiifServerError as error:
            if not isinstance(error, SourceBusyError):  # no request was made
                self._failures.remember(name, error)
            self._observe(first_failure(f"{self._type}:{name}", upstream, error))
            raise
        with suppress(SourceUnavailableError):  # without a record, the time of the file counts
            await self._on_disk(self._write_record, name, found, target)

    async def _exists_upstream(self, name: str, upstream: Upstream, known: Provenance) -> bool:
        """Whether to serve the original, by a revalidation if it ends within `refresh_wait`."""
        try:
            self._failures.raise_recent(name)
        except OriginalNotFoundError:
            return False
        except IiifServerError:
            return not known.gone
        loop = asyncio.get_running_loop()
        refresh = self._refreshes.get(name)
        if refresh is None:
            answer = self._fetcher.start(self._refresh(name, upstream))
            refresh = _Refresh(answer, loop.time() + self._fetcher.options.refresh_wait)
            self._refreshes[name] = refresh
            answer.add_done_callback(lambda _: self._refreshes.pop(name, None))
        await asyncio.wait({refresh.answer}, timeout=max(0.0, refresh.until - loop.time()))
        if refresh.answer.done() and not refresh.answer.cancelled():
            return refresh.answer.result()
        return not known.gone

    async def _refresh(self, name: str, upstream: Upstream) -> bool:
        # Another revalidation may have ended before this one started.
        stored = await self._open(name)
        if stored is None:
            return True
        stored.opened.close()
        known, path = stored.overdue, stored.opened.file.path
        if known is None:
            return True
        try:
            found = await self._fetch_from_upstream(name, upstream, path, known)
            await self._on_disk(self._write_record, name, found, path)
        except OriginalNotFoundError as error:
            self._failures.remember(name, error)
            if not known.gone:  # reported once, not for each request
                outcome = "; the stored copy stays on disk, but is not served"
                self._observe(failure(f"{self._type}:{name}", upstream, error, outcome))
            with suppress(SourceUnavailableError):
                gone = known.model_copy(update={"gone": True})
                await self._on_disk(self._write_record, name, gone, path)
            return False
        except IiifServerError as error:
            self._failures.remember(name, error)
            outcome = "; the stored copy is served"
            self._observe(failure(f"{self._type}:{name}", upstream, error, outcome))
            return not known.gone
        return True

    async def _fetch_from_upstream(
        self, name: str, upstream: Upstream, target: Path, known: Provenance
    ) -> Provenance:
        """Fetch or revalidate the target. Returns its new provenance, for the record.

        The file is written before its record: if the process is killed in between, the file has no
        record.
        """
        started = time.perf_counter()
        arrival = await fetch_original(upstream, target, known.validators)
        if arrival is not None:
            seconds = time.perf_counter() - started
            self._observe(Fetched(f"{self._type}:{name}", arrival.size, seconds))
            known = Provenance(
                size=arrival.size,
                mtime_ns=arrival.mtime_ns,
                asked=0,
                checksum=arrival.checksum,
                validators=arrival.validators,
            )
        return known.model_copy(update={"asked": time.time(), "gone": False})

    def _find(self, name: str) -> "_Stored | None":
        for path in self._places.all(name):
            try:
                opened = open_in_folder(self._folder, path.relative_to(self._folder).as_posix())
            except OriginalNotFoundError:
                continue
            if self._store is not None and not lock_for_use(opened.descriptor):
                opened.close()
                continue
            if path == self._places.hashed(name) or self._has_exact_name(name, opened.file.version):
                return self._with_checks_due(name, opened, path)
            opened.close()
        return None

    def _has_exact_name(self, name: str, version: FileVersion) -> bool:
        """Whether the file has exactly this name, not the same in another case."""
        verified = self._last_verified(name)
        return (verified and verified.version) == version or is_entry(self._folder, name)

    def _with_checks_due(self, name: str, opened: OpenedFile, place: Path) -> "_Stored":
        """Stored original, with the checks that are due before it is served."""
        file, refresh_after = opened.file, self._fetcher.options.refresh_after
        verified = self._last_verified(name)
        unverified = verified is None or verified.version != file.version
        known = self._read_record(name) if unverified or refresh_after is not None else None
        if verified is not None and not unverified:
            opened.content = opened.checksum = verified.checksum
        else:
            # A file with another time was replaced by an operator, or has no record yet.
            unverified = bool(known and known.checksum and known.mtime_ns == file.mtime_ns)
        overdue = None
        if refresh_after is not None:
            if known is None or not known.is_about(file.size, file.mtime_ns):
                asked = file.mtime_ns / 1e9
                known = Provenance(size=file.size, mtime_ns=file.mtime_ns, asked=asked)
            if known.gone or is_due(known.asked, time.time(), refresh_after):
                overdue = known
        return _Stored(opened, place, overdue, unverified)

    def _is_intact(self, name: str) -> bool:
        """Whether the file exists, and has the recorded checksum if there is one.

        Each process reads the whole file once, and again after a change.
        """
        stored = self._find(name)
        if stored is None:
            return False
        with closing(stored.opened):
            if not stored.unverified:
                return True
            known = self._read_record(name)
            if known is None or known.checksum is None:
                return True
            if checksum_of(stored.opened.descriptor) != known.checksum:
                return False
            self._remember_verified(name, _Verified(stored.opened.file.version, known.checksum))
            return True

    def _read_record(self, name: str) -> Provenance | None:
        try:
            with self._places.record(name).open("rb") as file:
                return Provenance.parse(file.read(MAX_RECORD_BYTES))
        except OSError:
            return None

    def _write_record(self, name: str, provenance: Provenance, path: Path) -> None:
        record = self._places.record(name)
        temporary = self._fetcher.incoming.temporary_path()
        try:
            temporary.write_text(provenance.model_dump_json())
            record.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(record)
        finally:
            temporary.unlink(missing_ok=True)
        version = FileVersion.of(path.stat())
        if provenance.checksum and (version.size, version.mtime_ns) == (
            provenance.size,
            provenance.mtime_ns,
        ):
            self._remember_verified(name, _Verified(version, provenance.checksum))

    def _last_verified(self, name: str) -> "_Verified | None":
        with self._lock:
            return self._verified.get(name)

    def _remember_verified(self, name: str, verified: "_Verified") -> None:
        with self._lock:
            self._verified.put(name, verified)

    async def _on_disk(
        self,
        work: Callable[..., Found],
        *arguments: object,
        timeout: float | None = None,  # noqa: ASYNC109 - see StorageThreads
        undo: Callable[[Found], object] | None = None,
    ) -> Found:
        """Run a blocking call on the disk. Raises SourceUnavailableError if the disk fails."""
        try:
            return await self._threads.run(work, *arguments, timeout=timeout, undo=undo)
        except OSError as error:
            raise SourceUnavailableError(
                "The disk of this original fails at the moment."
            ) from error


def _close(stored: "_Stored | None") -> None:
    if stored is not None:
        stored.opened.close()


if not TYPE_CHECKING:  # a `__getattr__` would hide misspelt names from type checkers
    __getattr__ = renamed(__name__, KeptOriginals=FetchedOriginals)
