"""Pyramid files: the tiled, multi-resolution copy of one original.

A pyramid has two parts, each one file: the *reduced* levels, which are cheap and serve the first
view, and the *detail*. A part is an uncompressed zip in Deep Zoom layout, which any tool opens; its
tiles are complete JPEGs that the server sends unchanged.

Readers verify single tiles, so that they need not read 100 MB before the first tile: the zip has a
CRC-32 of each tile, and its comment is the CRC-32 of the table of tiles.
"""

import io
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from iiif_server.digests import crc32
from iiif_server.plan.extents import BytesMissingError
from iiif_server.plan.grid import Grid, Tile

_LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before its name (APPNOTE 4.3.7); there is no extra field."""
_DAMAGED = "the pyramid file is damaged"
LAYOUT = 2
"""Version of the layout. Raise it when parts are written differently."""


def write_part(target: Path, tiles: Iterable[tuple[Tile, bytes]], grid: Grid) -> None:
    """Write the tiles, in the order of the iterable, into an existing file. Raises OSError."""
    # The file must exist: a file created here would remain if its owner has given up.
    with target.open("r+b") as file:
        file.truncate()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as container:
            container.writestr(_entry("image.dzi"), _description(grid))
            for tile, data in tiles:
                container.writestr(_entry(_name(tile, grid)), data)
            container.comment = _checksum(_read_table(container))


@dataclass(frozen=True, slots=True)
class PartEntry:
    """Tile entry: offset, length and checksum of a tile in its part."""

    offset: int
    length: int
    checksum: int

    def matches(self, data: bytes) -> bool:
        """Whether the bytes have the length and the checksum of the tile."""
        return len(data) == self.length and crc32(data) == self.checksum

    def verify(self, data: bytes) -> bytes:
        """Return the bytes; raises OSError if length or checksum is wrong."""
        if not self.matches(data):
            raise OSError(_DAMAGED)
        return data


class PartTable:
    """Tile table of a part: an entry for each tile."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the table. Raises OSError if it is damaged."""
        try:
            with zipfile.ZipFile(file) as container:
                self._entries, comment = _read_table(container), container.comment
        except BytesMissingError:
            raise
        except Exception as error:  # `zipfile` on a garbled table raises whatever Python has
            raise OSError(_DAMAGED) from error
        if _checksum(self._entries) != comment:
            raise OSError(_DAMAGED)

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, tile: Tile, grid: Grid) -> PartEntry | None:
        """Return the entry of a tile; None if the part does not have the tile."""
        return self._entries.get(_name(tile, grid))

    @classmethod
    def from_end(cls, end: bytes, size: int) -> Self:
        """Read the table of a part of `size` bytes from its last bytes.

        Raises BytesMissingError if more of them are needed, or OSError if the table is damaged.
        """
        with _EndOfFile(end, size) as file:
            return cls(cast("BinaryIO", file))


class _EndOfFile(io.RawIOBase):
    """File of the whole size, of which only the last bytes can be read."""

    def __init__(self, end: bytes, size: int) -> None:
        self._end = end
        self._size = size
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(_DAMAGED)
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        first = self._size - len(self._end)
        if self._at < first:
            raise BytesMissingError((self._at, first))
        start = self._at - first
        data = self._end[start:] if size < 0 else self._end[start : start + size]
        self._at += len(data)
        return data


class OpenPart:
    """Open part of a pyramid, for reading tiles; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError if it is missing or damaged."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._supports_nowait = hasattr(os, "RWF_NOWAIT")
        """Whether the system has non-blocking reads (RWF_NOWAIT)."""
        try:
            with os.fdopen(self._descriptor, "rb", closefd=False) as file:
                self._table = PartTable(file)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<OpenPart {len(self._table)} entries>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def deleted(self) -> bool:
        """Whether the file was removed; the open file could still be read."""
        try:
            return os.fstat(self._descriptor).st_nlink == 0
        except OSError:  # on another machine
            return True

    def read(self, tile: Tile, grid: Grid) -> bytes:
        """Return the JPEG of a tile. Raises KeyError if missing, OSError if damaged."""
        entry = self._entry(tile, grid)
        return entry.verify(os.pread(self._descriptor, entry.length, entry.offset))

    def read_nowait(self, tile: Tile, grid: Grid) -> bytes | None:
        """Return the JPEG of a tile from the page cache; None if the read would block.

        Without support by the system, the read may block.
        """
        entry = self._entry(tile, grid)
        if not self._supports_nowait:
            return self.read(tile, grid)
        data = bytearray(entry.length)
        try:
            count = os.preadv(self._descriptor, [data], entry.offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError:  # this file system has no such flag
            self._supports_nowait = False
            return self.read(tile, grid)
        return entry.verify(bytes(data)) if count == entry.length else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _entry(self, tile: Tile, grid: Grid) -> PartEntry:
        entry = self._table.entry(tile, grid)
        if entry is None:
            raise KeyError(tile)
        return entry


def _read_table(container: zipfile.ZipFile) -> dict[str, PartEntry]:
    return {
        info.filename: PartEntry(
            info.header_offset + _LOCAL_HEADER + len(info.filename), info.file_size, info.CRC
        )
        for info in container.infolist()
    }


def _checksum(table: Mapping[str, PartEntry]) -> bytes:
    """Return the CRC-32 of a table, as written in the comment of the zip."""
    value = 0
    for name, entry in table.items():
        line = f"{name} {entry.offset} {entry.length} {entry.checksum}\n"
        value = crc32(line.encode("utf-8", "surrogatepass"), value)
    return f"{value:08x}".encode()


def _name(tile: Tile, grid: Grid) -> str:
    """Return the name of a tile in the Deep Zoom layout: levels count up to full resolution."""
    top = max(grid.dimensions.width, grid.dimensions.height, 1)
    level = (top - 1).bit_length() - (tile.scale_factor.bit_length() - 1)
    return f"image_files/{level}/{tile.column}_{tile.row}.jpg"


def _entry(name: str) -> zipfile.ZipInfo:
    """Return a zip entry without time stamp, so that equal pyramids are equal files."""
    return zipfile.ZipInfo(name)


def _description(grid: Grid) -> str:
    size = grid.dimensions
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpg" Overlap="0" '
        f'TileSize="{grid.tile.width}"><Size Width="{size.width}" Height="{size.height}"/></Image>'
    )
