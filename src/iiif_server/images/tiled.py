"""The tiles that originals hold themselves: read where they lie, and made complete JPEGs."""

import os
import struct
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.threads import StorageThreads
from iiif_server.formats.jpeg import frame
from iiif_server.images.originals import Original
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import READ_TILE_TABLES
from iiif_server.plan.local_file import FileVersion, removed, replaced
from iiif_server.plan.own_tiles import StoredTile
from iiif_server.plan.render_plan import ProfileAction, tile_profile
from iiif_server.plan.stored_tiles import StoredTiles, TileTable
from iiif_server.workers.pool import WorkerPool

_KEPT_OPEN = 64
"""Originals whose tables and file stay open: 16 bytes a tile, and a descriptor."""
_END = b"\xff\xd9"
_PADDING = 16
"""Bytes that may stand behind the end of a tile's JPEG."""
_TIMEOUT = 20.0
"""Seconds for reading the tables of an original."""


class NoSuchTileError(Exception):
    """The original does not hold this tile as a JPEG of the right extent; it may yet be decoded."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class _OpenOriginal:
    """An original that is open, and where its tiles lie; closed when nobody uses it any more."""

    descriptor: int
    version: FileVersion
    threads: StorageThreads
    tables: Mapping[int, TileTable]

    @property
    def gone(self) -> bool:
        """Whether the file was removed, or another took its place."""
        return os.fstat(self.descriptor).st_nlink == 0

    def read(self, tile: StoredTile, expected: StoredTiles) -> bytes:
        """The JPEG of a tile; raises NoSuchTileError, or OriginalChangedError."""
        table = self.tables.get(tile.scale_factor)
        if table is None:
            raise NoSuchTileError
        try:
            offset, length = table.place(tile.number)
            data = os.pread(self.descriptor, length, offset)
        except (OSError, struct.error) as error:
            raise NoSuchTileError from error
        if not self.version.is_of(self.descriptor):
            raise replaced()
        jpeg = table.before + data[2:]
        if (
            data[:2] != b"\xff\xd8"
            or _END not in data[-_PADDING:]
            or frame(jpeg) != (expected.tile, expected.components)
        ):
            raise NoSuchTileError
        return jpeg


_Key = tuple[str, FileVersion]


class TiledOriginals:
    """Tiled TIFFs that are open, by fingerprint and version; the ones used last."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._open: Lru[_Key, _OpenOriginal] = Lru(_KEPT_OPEN)
        self._flights: SingleFlight[_Key, None] = SingleFlight()

    def __repr__(self) -> str:
        return f"<TiledOriginals {len(self._open)} open>"

    def __len__(self) -> int:
        return len(self._open)

    async def tile(self, original: Original, header: ImageHeader, tile: StoredTile) -> bytes:
        """The JPEG of a tile, the whole of it, as the original has it.

        Raises NoSuchTileError, OriginalChangedError, or what reading a header raises.
        """
        key = original.fingerprint, original.file.version
        if key not in self._open:
            await self._flights.run(key, lambda: self._open_original(original, header))
        opened = self._open.get(key)
        if opened is None or header.tiles is None:
            raise NoSuchTileError
        return await opened.threads.run(opened.read, tile, header.tiles)

    def close(self) -> None:
        """Give all files back."""
        self._open.clear()

    async def _open_original(self, original: Original, header: ImageHeader) -> None:
        keep_profile = tile_profile(header) is ProfileAction.KEEP
        read = partial(READ_TILE_TABLES, keep_profile=keep_profile)
        threads, opened_file = original.threads, original.opened
        if threads is None or opened_file is None:
            raise removed()
        with opened_file.kept_open() as descriptor:
            async with original.for_worker() as descriptors:
                tables = await self._pool.run(
                    read, original.file, timeout=_TIMEOUT, descriptors=descriptors
                )
            own = os.dup(descriptor)
        opened = _OpenOriginal(own, original.file.version, threads, tables)
        # Not here: closing a file of a network mount may take as long as opening one.
        weakref.finalize(opened, threads.begin, os.close, own).atexit = False
        # Lest a file that was removed keeps its place on the disk:
        items = list(zip(self._open, self._open.values(), strict=True))
        for key in await threads.run(_gone, threads, items):
            self._open.remove(key)
        self._open.put((original.fingerprint, original.file.version), opened)


def _gone(threads: StorageThreads, items: Sequence[tuple[_Key, _OpenOriginal]]) -> list[_Key]:
    """Those of the originals of one storage that were removed or replaced."""
    return [key for key, opened in items if opened.threads is threads and opened.gone]
