"""Originals read in parts: range requests to an upstream, stored in sparse files."""

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

from iiif_server.cache.failures import RecentFailures
from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.threads import LONG
from iiif_server.errors import (
    IiifServerError,
    OriginalChangedError,
    OriginalNotFoundError,
    OriginalTooLargeError,
    SourceBusyError,
    SourceUnavailableError,
)
from iiif_server.plan.extents import Extent, merge_extents, missing_extents, total_length
from iiif_server.plan.local_file import READ_ONLY, FileVersion, LocalFile, removed_error
from iiif_server.plan.original_format import SIGNATURE_BYTES, OriginalFormat, recognise
from iiif_server.sources.base import SourceContext
from iiif_server.sources.fetched_store import lock_for_use
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.provenance import digest
from iiif_server.sources.sparse_file import FOLDER, Identity, SparseFile
from iiif_server.sources.upstreams import RangeUpstream, failure, first_failure
from iiif_server.telemetry.events import Fetched
from iiif_server.units import show_size

FIRST_BYTES = 1 << 16
"""Bytes of the first range request for an original."""
_GAP = 1 << 14
"""Largest gap in bytes between two extents that are fetched with one request."""
_FEW_BYTES = 16 << 20
"""Bytes above which a range request counts as the fetch of a whole original."""
_MAX_OPEN = 256
"""Maximum number of open sparse files, with two descriptors each."""
_MAX_ATTEMPTS = 3
"""Attempts to open a sparse file that is evicted meanwhile."""
_MAX_WHOLE = 10_000
_WHOLE_TTL = 600.0
"""Seconds for which the result is cached that an original cannot be read in parts."""


class RangedOriginal:
    """Version of an original with parts present in a sparse file; the rest is fetched on demand."""

    def __init__(
        self, name: str, file: SparseFile, upstream: RangeUpstream, context: SourceContext
    ) -> None:
        self._name = name
        self._file = file
        self.upstream = upstream
        self._context = context
        self._pending: dict[Extent, asyncio.Task[IiifServerError | None]] = {}
        self._failures: RecentFailures[str] = RecentFailures(context.fetcher.options.failure_ttl)
        self.checked = asyncio.get_running_loop().time()
        """Time of the last confirmation by the upstream, by the clock of the event loop."""
        self._store = context.fetcher.store
        begin = context.threads.begin
        weakref.finalize(self, _close, begin, file.descriptors()).atexit = False

    def __repr__(self) -> str:
        return f"<RangedOriginal {self._name}>"

    @property
    def size(self) -> int:
        """Size of the whole original, in bytes."""
        return self._file.identity.size

    @property
    def present(self) -> tuple[Extent, ...]:
        """Extents that are present, ascending, without overlap."""
        return self._file.present

    @property
    def place(self) -> str:
        """Digest of the URL of the original."""
        return self._file.identity.place

    def is_gone(self) -> bool:
        """Whether the sparse file was removed or replaced; blocks."""
        return self._file.gone

    def opened(self) -> OpenedFile:
        """Open the sparse file as an original; blocks.

        Its file version stays the same while bytes arrive. The file is not evicted until it is
        closed. Raises OriginalChangedError if it was evicted before.
        """
        identity = self._file.identity
        content = digest(f"{identity.place} {identity.tag} {identity.size}")
        try:
            opened = OpenedFile(self._file.path, os.open(self._file.path, READ_ONLY), content)
        except FileNotFoundError as error:
            raise removed_error() from error
        in_use = self._store is None or lock_for_use(opened.descriptor)
        version = FileVersion.of(os.fstat(self._file.descriptor))
        if not in_use or version.inode != opened.file.version.inode:
            opened.close()
            raise removed_error()
        version = replace(version, mtime=(identity.modified, 0), ctime=(0, 0), partial=True)
        opened.file = LocalFile(self._file.path, version)
        opened.parts = self
        opened.close_by = self._context.threads.begin
        return opened

    async def fetch(self, extents: Iterable[Extent]) -> None:
        """Fetch the absent bytes of extents; concurrent calls share requests for the same bytes.

        Raises OriginalChangedError if the upstream has another version now, which the next call of
        `hold` fetches. Raises OriginalTooLargeError above `fetch.max_bytes`, or the errors of
        `RangeUpstream.read`.
        """
        requested = merge_extents((max(0, start), min(stop, self.size)) for start, stop in extents)
        if missing_extents(self.present, requested):
            await self._on_disk(self._file.reload)
        while absent := missing_extents(self.present, requested):
            self._check_size(total_length(absent))
            fetching = merge_extents([*self.present, *self._pending])
            for extent in merge_extents(missing_extents(fetching, absent), _GAP):
                task = self._context.fetcher.start(self._fetch(extent))
                self._pending[extent] = task
                task.add_done_callback(partial(self._remove_pending, extent))
            tasks = [
                task
                for (start, stop), task in self._pending.items()
                if total_length(missing_extents([(start, stop)], absent)) < total_length(absent)
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.result()) is not None:
                    raise error

    async def confirm(self) -> IiifServerError | None:
        """Revalidate this version by a request for one byte. Returns the error, or None."""
        try:
            await self._read((0, 1), keep=False)
        except IiifServerError as error:
            return error
        self.checked = asyncio.get_running_loop().time()
        return None

    async def forget(self) -> None:
        """Remove the sparse file, as the upstream does not have this version any more."""
        with suppress(SourceUnavailableError):
            await self._on_disk(self._file.remove)

    def _remove_pending(self, extent: Extent, _: object) -> None:
        del self._pending[extent]

    def _check_size(self, length: int) -> None:
        limit = self._context.fetcher.options.max_bytes
        if length > limit:
            raise OriginalTooLargeError(
                f"This needs more of the original than the {show_size(limit)} that are fetched."
            )

    async def _fetch(self, extent: Extent) -> IiifServerError | None:
        try:
            self._failures.raise_recent(self._name)
        except IiifServerError as error:
            return error
        identifier = f"{self._context.type}:{self._name}"
        began = asyncio.get_running_loop().time()
        try:
            await self._store_range(extent)
        except IiifServerError as error:
            if not isinstance(error, SourceBusyError | OriginalChangedError):
                self._failures.remember(self._name, error)
            self._context.observer(failure(identifier, self.upstream, error))
            return error
        seconds = asyncio.get_running_loop().time() - began
        self._context.observer(Fetched(identifier, total_length([extent]), seconds))
        return None

    async def _store_range(self, extent: Extent) -> None:
        """Fetch an extent into the file. Raises NoSpaceForOriginalError without room for it."""
        length, store, threads = total_length([extent]), self._store, self._context.threads
        await threads.run(self._context.fetcher.incoming.check_space, length)
        if store is None:
            await self._read(extent, keep=True)
            return
        store.check_size(total_length(self.present) + length)
        await self._on_disk(store.reserve, length)
        try:
            await self._read(extent, keep=True)
        except BaseException:
            if self._file.gone:
                threads.begin(store.release_parts, length)
            else:  # some bytes may have arrived
                threads.begin(store.add_parts, self._file.path, total_length(self.present), length)
            raise
        await self._on_disk(store.add_parts, self._file.path, total_length(self.present), length)

    async def _read(self, extent: Extent, *, keep: bool) -> None:
        fetcher, (position, stop) = self._context.fetcher, extent
        slot = fetcher.slot if stop - position > _FEW_BYTES else fetcher.range_slot
        try:
            async with slot(self.upstream.host):
                async for chunk in self.upstream.read(position, stop, self._file.identity.tag):
                    data = chunk[: stop - position]
                    if keep:
                        await self._on_disk(self._file.write, position, data)
                    position += len(data)
        except (OriginalChangedError, OriginalNotFoundError):
            await self.forget()
            raise
        if position < stop:
            raise SourceUnavailableError(
                "The upstream server sent fewer bytes than were requested."
            )

    async def _on_disk(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            await self._context.threads.run(work, *arguments, timeout=LONG)
        except OSError as error:
            raise SourceUnavailableError(
                "The disk of this original fails at the moment."
            ) from error


class RangedOriginals:
    """Originals of one type that are read in parts."""

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._open: Lru[str, RangedOriginal] = Lru(_MAX_OPEN)
        self._without_ranges: Lru[str, None] = Lru(_MAX_WHOLE, seconds=_WHOLE_TTL)
        self._start_flights: SingleFlight[str, None] = SingleFlight()
        self._confirm_flights: SingleFlight[str, IiifServerError | None] = SingleFlight()
        self._failures: RecentFailures[str] = RecentFailures(context.fetcher.options.failure_ttl)

    def __repr__(self) -> str:
        return f"<RangedOriginals {self._context.type}>"

    @asynccontextmanager
    async def hold(self, name: str, upstream: RangeUpstream) -> AsyncIterator[OpenedFile | None]:
        """Yield the sparse file of this name, open; None to fetch the original as a whole.

        It is None if the upstream sends no ranges or no strong validator with them, and if the
        original is not a TIFF. Raises the errors of `RangeUpstream.start`.
        """
        opened = None
        for tries_left in reversed(range(_MAX_ATTEMPTS)):
            ranged = await self._find(name, upstream)
            if ranged is not None and await self._has_changed(name, ranged):
                ranged = await self._find(name, upstream)
            if ranged is None:
                break
            try:
                opened = await self._context.threads.run(ranged.opened, undo=OpenedFile.close)
                break
            except OriginalChangedError:  # evicted meanwhile
                if not tries_left:
                    raise
        store = self._context.fetcher.store
        if opened is not None and store is not None:
            store.touch(opened.file.path)
        try:
            yield opened
        finally:
            if opened is not None:
                opened.close()

    async def _find(self, name: str, upstream: RangeUpstream) -> RangedOriginal | None:
        ranged = self._open.get(name)
        gone = ranged is not None and await self._context.threads.run(ranged.is_gone)
        if ranged is None or gone or ranged.place != digest(upstream.place):
            if ranged is not None:
                self._open.remove(name)
            if name in self._without_ranges:
                return None
            await self._start_flights.run(name, lambda: self._start(name, upstream))
            ranged = self._open.get(name)
            if ranged is None and name not in self._without_ranges:
                raise removed_error()
        elif ranged.upstream != upstream:
            ranged.upstream = upstream  # with the current credentials
        return ranged

    async def _start(self, name: str, upstream: RangeUpstream) -> None:
        path = self._context.folder / FOLDER / digest(name)
        try:
            file = await self._context.threads.run(SparseFile.open, path, timeout=LONG)
            if file is None or file.identity.place != digest(upstream.place):
                file = await self._fetch_start(name, upstream)
        except OSError as error:
            raise SourceUnavailableError("The original could not be stored on disk.") from error
        if file is None:
            self._without_ranges.put(name, None)
            return
        store = self._context.fetcher.store
        if store is not None:
            present = total_length(file.present)
            await self._context.threads.run(store.add_parts, path, present, 0, timeout=LONG)
        self._open.put(name, RangedOriginal(name, file, upstream, self._context))

    async def _fetch_start(self, name: str, upstream: RangeUpstream) -> SparseFile | None:
        self._failures.raise_recent(name)
        fetcher = self._context.fetcher
        try:
            async with fetcher.range_slot(upstream.host):
                start = await upstream.start(FIRST_BYTES)
        except IiifServerError as error:
            if not isinstance(error, SourceBusyError):
                self._failures.remember(name, error)
            self._context.observer(first_failure(f"{self._context.type}:{name}", upstream, error))
            raise
        if start is None or recognise(start.data[:SIGNATURE_BYTES]) is not OriginalFormat.TIFF:
            return None
        if not 0 < len(start.data) <= start.size:
            return None
        identity = Identity(
            place=digest(upstream.place), tag=start.tag, size=start.size, modified=start.modified
        )
        incoming = fetcher.incoming
        await incoming.threads.run(incoming.check_space, len(start.data))

        def create() -> SparseFile:
            path = self._context.folder / FOLDER / digest(name)
            file = SparseFile.create(path, identity, incoming.temporary_path())
            file.write(0, start.data)
            return file

        return await self._context.threads.run(create, timeout=LONG)

    async def _has_changed(self, name: str, ranged: RangedOriginal) -> bool:
        """Revalidate if it is due; whether the upstream answers in time with another version."""
        options, loop = self._context.fetcher.options, asyncio.get_running_loop()
        if options.refresh_after is None or loop.time() - ranged.checked < options.refresh_after:
            return False
        check = self._context.fetcher.start(self._confirm_flights.run(name, ranged.confirm))
        await asyncio.wait({check}, timeout=options.refresh_wait)
        if not check.done():
            return False
        error = check.result()
        if isinstance(error, OriginalNotFoundError):
            raise error
        if error is not None and not isinstance(error, OriginalChangedError):
            identifier, outcome = f"{self._context.type}:{name}", "; the stored copy is served"
            self._context.observer(failure(identifier, ranged.upstream, error, outcome))
            ranged.checked = loop.time() - options.refresh_after + options.failure_ttl
        return isinstance(error, OriginalChangedError)


def _close(begin: Callable[..., None], descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        begin(os.close, descriptor)
