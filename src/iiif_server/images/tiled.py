"""The tiles that originals hold themselves: read where they lie, and made complete JPEGs."""

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
from iiif_server.plan.extents import Extent, joined, length_of
from iiif_server.plan.header import Colour, ImageHeader, Reader
from iiif_server.plan.jobs import READ_TABLES_OF_PARTS, READ_TILE_TABLES
from iiif_server.plan.local_file import FileVersion, removed, replaced
from iiif_server.plan.own_tiles import StoredTile, tiles_to_decode
from iiif_server.plan.render_plan import PixelOperations, ProfileAction, tile_profile
from iiif_server.plan.stored_tiles import StoredTiles, TileTable
from iiif_server.workers.pool import WorkerPool

_KEPT_OPEN = 64
"""Originals whose tables and file stay open: 16 bytes a tile, and a descriptor."""
_END = b"\xff\xd9"
_PADDING = 16
"""Bytes that may stand behind the end of a tile's JPEG."""
_MOST_OF = 2
"""An original of which more than the half of its bytes is needed is brought as a whole."""
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

    def extents(self, scale_factor: int, tiles: Iterable[int]) -> list[Extent]:
        """Where tiles of a level are; raises NoSuchTileError."""
        try:
            places = [self.tables[scale_factor].place(tile) for tile in tiles]
        except (KeyError, struct.error) as error:
            raise NoSuchTileError from error
        return [(offset, offset + length) for offset, length in places]

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


_WHOLE_FILE = 0, False
"""In a key, of the tables of all levels."""
_Key = tuple[str, FileVersion, int, bool]
"""Fingerprint and version; and the level of an original that is read in parts, and whether all is
present that a decoder needs besides the tiles."""


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
        part = _WHOLE_FILE if original.parts is None else (tile.scale_factor, False)
        opened = await self._opened(original, header, part)
        if opened is None or header.tiles is None:
            raise NoSuchTileError
        if original.parts is not None:
            await original.parts.bring(opened.extents(tile.scale_factor, [tile.number]))
        return await opened.threads.run(opened.read, tile, header.tiles)

    async def bring_pixels(
        self, original: Original, header: ImageHeader, operations: PixelOperations
    ) -> None:
        """Have present what a decoder needs of an original that is read in parts.

        That is all of it where the operations take most of it, or it is not surely known.
        """
        parts, factor = original.parts, operations.shrink
        # Pillow reads whatever libvips refuses of other colours.
        known = header.reader is Reader.LIBVIPS and header.colour is not Colour.OTHER
        if parts is not None and header.tiles is not None and known:
            opened = await self._opened(original, header, (factor, True))
            if opened is not None and factor in opened.tables:
                tiles = tiles_to_decode(header.tiles, operations)
                with suppress(NoSuchTileError):
                    extents = opened.extents(factor, tiles)
                    if _MOST_OF * length_of(joined(extents)) < parts.size:
                        await parts.bring(extents)
                        return
        await original.bring_whole()

    async def _opened(
        self, original: Original, header: ImageHeader, part: tuple[int, bool]
    ) -> _OpenOriginal | None:
        key = original.fingerprint, original.file.version, *part
        if key not in self._open:
            await self._flights.run(key, lambda: self._open_original(original, header, key))
        return self._open.get(key)

    def close(self) -> None:
        """Give all files back."""
        self._open.clear()

    async def _open_original(self, original: Original, header: ImageHeader, key: _Key) -> None:
        threads = original.threads
        if threads is None or original.opened is None:
            raise removed()
        tables = await self._tables(original, header, key[2:])
        # Opened again: the lock that keeps a fetched original from being evicted is not shared.
        own = await threads.run(original.file.open, undo=os.close)
        opened = _OpenOriginal(own, original.file.version, threads, tables)
        # Not here: closing a file of a network mount may take as long as opening one.
        weakref.finalize(opened, threads.begin, os.close, own).atexit = False
        # Lest a file that was removed keeps its place on the disk:
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
                READ_TABLES_OF_PARTS,
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
    """Those of the originals of one storage that were removed or replaced."""
    return [key for key, opened in items if opened.threads is threads and opened.gone]
