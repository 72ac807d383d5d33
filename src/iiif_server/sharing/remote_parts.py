"""Remote parts: parts of pyramids in the shared cache, of which a range request reads one tile."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from iiif_server.background import BackgroundTasks
from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.formats.pyramid_file import PartTable
from iiif_server.plan.extents import BytesMissingError
from iiif_server.plan.grid import Grid, Tile
from iiif_server.sharing.bucket import BUCKET_SECONDS, Bucket, Found
from iiif_server.sharing.objects import SIZE, has_valid_trailer, name_of

_TAIL = 128 << 10
"""Bytes at the end of a part that are read first: its table, unless it has thousands of tiles."""
_MAX_TABLE = 64 << 20
_MAX_TABLES = 256
"""Maximum number of tables in memory."""
_ABSENT_TTL = 2.0
"""Seconds for which the result is cached that a part is missing."""


@dataclass(frozen=True, slots=True)
class RemotePart:
    """Part of a pyramid in the bucket: its table, and the ETag of this version."""

    table: PartTable
    tag: str


class RemoteParts:
    """Reader of parts of pyramids in the shared cache, with a cache of their tables."""

    def __init__(
        self, bucket: Bucket, fetch: Callable[[EntryKey, float], Awaitable[Entry | None]]
    ) -> None:
        """`fetch` copies a whole part into the store on disk; its timeout is in seconds."""
        self._bucket = bucket
        self._fetch = fetch
        self._known: Lru[EntryKey, RemotePart] = Lru(_MAX_TABLES)
        self._absent: Lru[EntryKey, None] = Lru(10_000, seconds=_ABSENT_TTL)
        self._open_flights: SingleFlight[EntryKey, RemotePart | None] = SingleFlight()
        self._fetching: set[EntryKey] = set()
        self._background = BackgroundTasks()
        self._slots = asyncio.Semaphore(2)

    def __repr__(self) -> str:
        return f"<RemoteParts {len(self._known)}>"

    async def tile(self, key: EntryKey, tile: Tile, grid: Grid) -> bytes | None:
        """Read the JPEG of a tile; None if the bucket does not have it, or fails.

        The whole part is then fetched in the background, so that more tiles come from the disk.
        """
        part = self._known.get(key)
        if part is None:
            if key in self._absent:
                return None
            part = await self._open_flights.run(key, lambda: self._open(key))
        if part is None:
            return None
        entry = part.table.entry(tile, grid)
        if entry is None:
            return None
        extent = entry.offset, entry.offset + entry.length
        found = await self._bucket.get(name_of(key), extent, tag=part.tag)
        if found is None or not entry.matches(found.data):
            self._known.remove(key)
            return None
        self._fetch_ahead(key)
        return found.data

    async def fetch(self, key: EntryKey) -> bool:
        """Fetch a whole part into the store while a client waits. Returns success."""
        if key in self._absent:
            return False
        if await self._fetch(key, self._bucket.timeout) is None:
            self._absent.put(key, None)
            return False
        return True

    async def close(self) -> None:
        """Cancel all fetches."""
        await self._background.cancel()
        await self._open_flights.close()

    async def _open(self, key: EntryKey) -> RemotePart | None:
        name = name_of(key)
        tail = await self._bucket.get(name, _TAIL)
        if tail is not None and tail.tag:
            try:
                table = await self._table(name, tail)
            except OSError:
                await self._bucket.discard(name)
                table = None
            if table is not None:
                part = RemotePart(table, tail.tag)
                self._known.put(key, part)
                return part
        self._absent.put(key, None)
        return None

    async def _table(self, name: str, tail: Found) -> PartTable | None:
        """Parse the table at the end of an object, after reading more bytes if needed.

        None if it is too large or cannot be read. Raises OSError if the object is damaged.
        """
        if not has_valid_trailer(name, tail.data, tail.size):
            raise OSError(f"{name} is not what was written")
        end, length = tail.data[:-SIZE], tail.size - SIZE
        try:
            return PartTable.from_end(end, length)
        except BytesMissingError as error:
            ((start, stop),) = error.extents
        if stop - start > _MAX_TABLE:
            return None
        rest = await self._bucket.get(name, (start, stop), tag=tail.tag)
        return None if rest is None else PartTable.from_end(rest.data + end, length)

    def _fetch_ahead(self, key: EntryKey) -> None:
        if key in self._fetching:
            return
        self._fetching.add(key)

        async def fetch() -> None:
            try:
                async with self._slots:
                    await self._fetch(key, BUCKET_SECONDS)
            finally:
                self._fetching.discard(key)

        self._background.start(fetch())
