"""Tiles in the files of tiled originals, read as stored and completed to JPEGs."""

import os
import struct
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.threads import StorageThreads
from iiif_server.formats.jpeg import frame
from iiif_server.images.extents import from_parts
from iiif_server.images.originals import Original
from iiif_server.plan.extents import Extent, merge_extents, total_length
from iiif_server.plan.header import Colour, ImageHeader, Reader
from iiif_server.plan.jobs import READ_PARTIAL_TILE_TABLES, READ_TILE_TABLES
from iiif_server.plan.local_file import FileVersion, removed_error, replaced_error
from iiif_server.plan.render_plan import PixelOperations, ProfileAction, tile_profile
from iiif_server.plan.stored_grid import StoredTile, tiles_to_decode
from iiif_server.plan.stored_tiles import StoredTiles, TileTable
from iiif_server.workers.pool import WorkerPool

_MAX_OPEN = 64
"""Maximum open originals; each takes a descriptor, and 16 bytes of tables per tile."""
_END = b"\xff\xd9"
_PADDING = 16
"""Maximum bytes after the end marker of a tile's JPEG."""
_MAX_OF = 2
"""Divisor of the file size: if a decoder needs at least half of it, the whole file is fetched."""
_TIMEOUT = 20.0
"""Timeout for reading the tables of an original, in seconds."""


class NoSuchTileError(Exception):
    """The original has no such tile, or not as a JPEG of the right size; a decoder may read it."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class _OpenOriginal:
    """Open original with its tile tables; closed when it is no longer referenced."""

    descriptor: int
    version: FileVersion
    threads: StorageThreads
    tables: Mapping[int, TileTable]

    @property
    def gone(self) -> bool:
        """Whether the file was removed or replaced."""
        return os.fstat(self.descriptor).st_nlink == 0

    def extents(self, scale_factor: int, tiles: Iterable[int]) -> list[Extent]:
        """Extents of tiles of a level in the file; raises NoSuchTileError."""
        try:
            entries = [self.tables[scale_factor].entry(tile) for tile in tiles]
        except (KeyError, struct.error) as error:
            raise NoSuchTileError from error
        return [(offset, offset + length) for offset, length in entries]

    def read(self, tile: StoredTile, expected: StoredTiles) -> bytes:
        """JPEG of a tile; raises NoSuchTileError, or OriginalChangedError."""
        table = self.tables.get(tile.scale_factor)
        if table is None:
            raise NoSuchTileError
        try:
            offset, length = table.entry(tile.number)
            data = os.pread(self.descriptor, length, offset)
        except (OSError, struct.error) as error:
            raise NoSuchTileError from error
        if not self.version.matches_descriptor(self.descriptor):
            raise replaced_error()
        jpeg = table.prefix + data[2:]
        if (
            data[:2] != b"\xff\xd8"
            or _END not in data[-_PADDING:]
            or frame(jpeg) != (expected.tile, expected.components)
        ):
            raise NoSuchTileError
        return jpeg


_WHOLE_FILE = 0, False
"""Part of a key for a complete file, with the tables of all levels."""
_Key = tuple[str, FileVersion, int, bool]
"""Fingerprint and version; for an original that is fetched in parts also the scale factor of its
level, and whether everything is fetched that a decoder needs besides tiles."""


class TiledOriginals:
    """Most recently used tiled TIFFs, open, by fingerprint and version."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._open: Lru[_Key, _OpenOriginal] = Lru(_MAX_OPEN)
        self._flights: SingleFlight[_Key, None] = SingleFlight()

    def __repr__(self) -> str:
        return f"<TiledOriginals {len(self._open)} open>"

    def __len__(self) -> int:
        return len(self._open)

    async def tile(self, original: Original, header: ImageHeader, tile: StoredTile) -> bytes:
        """Complete JPEG of a tile, with the coefficients as stored in the original.

        Raises NoSuchTileError, OriginalChangedError, or the errors of reading a header.
        """
        part = _WHOLE_FILE if original.parts is None else (tile.scale_factor, False)
        opened = await self._opened(original, header, part)
        if opened is None or header.tiles is None:
            raise NoSuchTileError
        if original.parts is not None:
            await original.parts.fetch(opened.extents(tile.scale_factor, [tile.number]))
        return await opened.threads.run(opened.read, tile, header.tiles)

    async def fetch_pixels(
        self, original: Original, header: ImageHeader, operations: PixelOperations
    ) -> None:
        """Fetch the bytes that a decoder needs of an original that is fetched in parts.

        Fetches the whole file if the operations need most of it, or if the tiles are unknown.
        """
        parts, factor = original.parts, operations.shrink
        # For other colours, Pillow may decode what libvips refuses, and reads other bytes.
        known = header.reader is Reader.LIBVIPS and header.colour is not Colour.OTHER
        if parts is not None and header.tiles is not None and known:
            opened = await self._opened(original, header, (factor, True))
            if opened is not None and factor in opened.tables:
                tiles = tiles_to_decode(header.tiles, operations)
                with suppress(NoSuchTileError):
                    extents = opened.extents(factor, tiles)
                    if _MAX_OF * total_length(merge_extents(extents)) < parts.size:
                        await parts.fetch(extents)
                        return
        await original.fetch_whole()

    async def _opened(
        self, original: Original, header: ImageHeader, part: tuple[int, bool]
    ) -> _OpenOriginal | None:
        key = original.fingerprint, original.file.version, *part
        if key not in self._open:
            await self._flights.run(key, lambda: self._open_original(original, header, key))
        return self._open.get(key)

    def close(self) -> None:
        """Close all files."""
        self._open.clear()

    async def _open_original(self, original: Original, header: ImageHeader, key: _Key) -> None:
        threads = original.threads
        if threads is None or original.opened is None:
            raise removed_error()
        tables = await self._tables(original, header, key[2:])
        # Opened again, without the lock that protects a fetched original from eviction.
        own = await threads.run(original.file.open, undo=os.close)
        opened = _OpenOriginal(own, original.file.version, threads, tables)
        # In a thread: closing a file on a network mount may take as long as opening it.
        weakref.finalize(opened, threads.begin, os.close, own).atexit = False
        # An open file that was removed would still occupy disk space.
        items = list(zip(self._open, self._open.values(), strict=True))
        for other in await threads.run(_gone, threads, items):
            self._open.remove(other)
        self._open.put(key, opened)

    async def _tables(
        self, original: Original, header: ImageHeader, part: tuple[int, bool]
    ) -> Mapping[int, TileTable]:
        keep_profile = tile_profile(header) is ProfileAction.KEEP
        page = original.page or 1
        factor, decoder = part
        if factor:
            read_parts = partial(
                READ_PARTIAL_TILE_TABLES,
                page=page,
                scale_factor=factor,
                keep_profile=keep_profile,
                decoder=decoder,
            )
            return await from_parts(self._pool, read_parts, original, timeout=_TIMEOUT)
        read = partial(READ_TILE_TABLES, page=page, keep_profile=keep_profile)
        async with original.for_worker() as descriptors:
            return await self._pool.run(
                read, original.file, timeout=_TIMEOUT, descriptors=descriptors
            )


def _gone(threads: StorageThreads, items: Sequence[tuple[_Key, _OpenOriginal]]) -> list[_Key]:
    """Keys of the open originals of one storage that were removed or replaced."""
    return [key for key, opened in items if opened.threads is threads and opened.gone]
