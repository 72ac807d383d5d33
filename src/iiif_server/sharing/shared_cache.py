"""Shared cache: entries of the store that replicas share through a bucket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Literal

from iiif_server.background import BackgroundTasks
from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.cache.pending_files import PendingFile, discard
from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG
from iiif_server.digests import crc32
from iiif_server.sharing.bucket import BUCKET_SECONDS, Bucket, Found
from iiif_server.sharing.objects import SIZE, name_of, trailer, unwrapped, wrapped
from iiif_server.sharing.remote_parts import RemoteParts
from iiif_server.telemetry.events import Observer, SharedEntryDropped

_QUEUE = 2_000
"""Maximum number of objects that wait to be written; more are dropped."""
_WRITERS = 4
_CLOSE_SECONDS = 5.0
"""Seconds for which the end of a process waits for writes."""
_IN_MEMORY = 8 << 20
"""Maximum bytes of an entry that is read into memory to write it; larger ones are streamed."""
_CHUNK = 1 << 20
_MAX_RECORD = 1 << 20
"""Maximum bytes of a record; real ones have a few thousand."""


@dataclass(frozen=True, slots=True)
class SharedStats:
    """Statistics of the shared cache."""

    state: Literal["closed", "open", "half-open"]
    """State of the circuit breaker."""
    hits: int
    misses: int
    failures: int
    writes: int
    waiting: int
    """Number of objects that are waiting or being written."""
    dropped: int
    """Number of objects not written: too many waited, the breaker was open, or a read failed."""


@dataclass(frozen=True, slots=True)
class _Write:
    name: str
    content: Entry | bytes
    replace: bool
    purged_at: int


class SharedCache:
    """Cache in a bucket: read before an image is rendered, written in the background.

    If it fails, the server renders images itself.
    """

    def __init__(self, bucket: Bucket, store: Store, observer: Observer) -> None:
        self.bucket = bucket
        self._store = store
        self._observe = observer
        self._queue: asyncio.Queue[_Write] = asyncio.Queue(_QUEUE)
        self._dropped = self._writing = 0
        self._writers = BackgroundTasks()
        self.parts = RemoteParts(bucket, self._fetch_part)
        """Parts of pyramids, for reading single tiles."""

    def __repr__(self) -> str:
        return f"<SharedCache {self.bucket!r}>"

    @property
    def stats(self) -> SharedStats:
        """Statistics now."""
        counts = self.bucket.counts
        return SharedStats(
            self.bucket.breaker.state,
            counts.hits,
            counts.misses,
            counts.failures,
            counts.writes,
            self._queue.qsize() + self._writing,
            self._dropped,
        )

    @property
    def purged_at(self) -> int:
        """Number that changes when a process or replica has purged the cache."""
        return self._store.purged_at

    @property
    def lost(self) -> int:
        """Number that grows with each request to the bucket that fails or is dropped."""
        return self._dropped + self.bucket.counts.failures

    async def written(self) -> None:
        """Wait until all offered objects are written or dropped."""
        await self._queue.join()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Write offered objects in the context; at its end, wait some seconds for the rest."""
        for _ in range(_WRITERS):
            self._writers.start(self._write_all())
        try:
            yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._queue.join()
            await self._writers.cancel()
            await self.parts.close()

    async def fetch(
        self, key: EntryKey, suffix: str, *, seconds: float = BUCKET_SECONDS
    ) -> Entry | None:
        """Copy an entry into the store on disk; None if it is missing or cannot be stored.

        `seconds` is the timeout of the bucket.
        """
        purged_at, name = self._store.purged_at, name_of(key)
        async with aclosing(self.bucket.chunks(name, seconds)) as chunks:
            first = await anext(chunks, None)
            if first is None:
                return None
            length = first.size - SIZE
            if length < 0:
                await self._drop(name)
            elif self._store.holds(length):
                async with self._pending(length) as pending:
                    if pending is not None:
                        checksum, end = await self._receive(pending, first.data, length, chunks)
                        whole = end == trailer(name, length, checksum)
                        if whole and self._store.purged_at == purged_at:
                            commit = partial(self._store.commit, key, pending, suffix)
                            return await self._store.threads.run(commit, timeout=LONG)
                        if not whole and len(end) >= SIZE:  # read to its end, and damaged
                            await self._drop(name)
        return None

    async def _fetch_part(self, key: EntryKey, seconds: float) -> Entry | None:
        return await self.fetch(key, "szi", seconds=seconds)

    async def _receive(
        self, pending: PendingFile, chunk: bytes, length: int, chunks: AsyncIterator[Found]
    ) -> tuple[int, bytes]:
        """Write the content of an object into a file. Returns its CRC-32, and the trailer."""
        checksum, end = 0, b""
        while chunk:
            content, behind = chunk[:length], chunk[length:]
            await self._store.threads.run(pending.write, content)
            length, checksum, end = length - len(content), crc32(content, checksum), end + behind
            found = await anext(chunks, None)
            chunk = b"" if found is None else found.data
        return checksum, end

    @asynccontextmanager
    async def _pending(self, length: int) -> AsyncIterator[PendingFile | None]:
        """Yield a new pending file of the store; None if the store refuses writes now."""
        threads = self._store.threads
        pending = await threads.run(self._store.reserve, length, undo=discard)
        try:
            yield pending
        except OSError as error:
            self._store.refused(error)
        finally:
            if pending is not None:
                await threads.settle(pending.close)

    async def read(self, name: str) -> bytes | None:
        """Read the content of a small object; None if it is missing or damaged."""
        found = await self.bucket.get(name, (0, _MAX_RECORD))
        if found is None:
            return None
        content = unwrapped(name, found.data)
        if content is None:
            await self._drop(name)
        return content

    def offer(self, key: EntryKey, content: Entry | bytes) -> None:
        """Write an entry to the bucket in the background, unless it exists there."""
        self._put(name_of(key), content, replace=False)

    def offer_record(self, name: str, content: bytes) -> None:
        """Write a small object to the bucket in the background, replacing any other."""
        self._put(name, content, replace=True)

    def _put(self, name: str, content: Entry | bytes, *, replace: bool) -> None:
        if self.bucket.breaker.state == "open":
            self._dropped += 1
            return
        try:
            self._queue.put_nowait(_Write(name, content, replace, self._store.purged_at))
        except asyncio.QueueFull:
            self._dropped += 1

    async def _write_all(self) -> None:
        while True:
            write = await self._queue.get()
            self._writing += 1
            try:
                await self._write(write)
            except Exception:  # noqa: BLE001 - an error of the disk, which the store reports
                self._dropped += 1
            finally:
                self._writing -= 1
                self._queue.task_done()

    async def _write(self, write: _Write) -> None:
        """Write an object, unless the cache was purged since it was offered."""
        if write.purged_at != self._store.purged_at:
            return
        if isinstance(write.content, bytes):
            await self.bucket.put(
                write.name, wrapped(write.name, write.content), replace=write.replace
            )
        elif not await self.bucket.has(write.name):
            await self._write_entry(write.name, write.content)
        if write.purged_at != self._store.purged_at:
            await self.bucket.discard(write.name)

    async def _write_entry(self, name: str, entry: Entry) -> None:
        read = partial(self._store.read, entry, _IN_MEMORY)
        found = await self._store.threads.run(read, timeout=LONG, undo=_close)
        if isinstance(found, bytes):
            await self.bucket.put(name, wrapped(name, found))
        elif found is not None:
            try:
                end = trailer(name, entry.length, entry.checksum)
                await self.bucket.put(name, self._chunks(found, end))
            finally:
                await self._store.threads.settle(found.close)

    async def _chunks(self, file: BinaryIO, end: bytes) -> AsyncIterator[bytes]:
        while chunk := await self._store.threads.run(file.read, _CHUNK):
            yield chunk
        yield end

    async def _drop(self, name: str) -> None:
        self._observe(SharedEntryDropped(name))
        await self.bucket.discard(name)


def _close(content: BinaryIO | bytes | None) -> None:
    if content is not None and not isinstance(content, bytes):
        content.close()
