"""Pyramid files: the tiled, multi-resolution copy of one original.

A pyramid has two parts, each one file: the *reduced* levels, which cost little and answer the first
view, and the *detail*. A part is an uncompressed zip in Deep Zoom layout, which any tool opens; its
tiles are complete JPEGs that are sent as they are.

A part can be checked piece by piece, so that nobody has to read 100 MB before the first tile: the
zip has a CRC-32 of each tile, and its comment is the CRC-32 of the table that says where they lie.
"""

import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from iiif_server.digests import crc32
from iiif_server.plan.grid import Grid, Tile

_LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before its name (APPNOTE 4.3.7); ours have no extra field."""
_DAMAGED = "the pyramid is not what was written"
LAYOUT = 2
"""Version of the layout, to be raised when parts are written differently."""


def write_part(target: Path, tiles: Iterable[tuple[Tile, bytes]], grid: Grid) -> None:
    """Write the tiles, in the order of the iterable, into an existing file. Raises OSError."""
    # Not made here: its owner may have given it up, and would leave it lying.
    with target.open("r+b") as file:
        file.truncate()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as container:
            container.writestr(_entry("image.dzi"), _description(grid))
            for tile, data in tiles:
                container.writestr(_entry(_name(tile, grid)), data)
            container.comment = _checksum(_table(container))


@dataclass(frozen=True, slots=True)
class _Entry:
    """Place of the data of a zip entry, and their checksum."""

    offset: int
    length: int
    checksum: int

    def checked(self, data: bytes) -> bytes:
        """The bytes; raises OSError if their checksum is not that of the entry."""
        if len(data) != self.length or crc32(data) != self.checksum:
            raise OSError(_DAMAGED)
        return data


class OpenPart:
    """Open part of a pyramid, from which tiles are read; a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file is missing or damaged."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._tells = hasattr(os, "RWF_NOWAIT")
        """Whether the system has non-blocking reads (RWF_NOWAIT)."""
        try:
            self._entries: Mapping[str, _Entry] = _read_table(self._descriptor)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<OpenPart {len(self._entries)} entries>"

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
    def gone(self) -> bool:
        """Whether the file was removed; the open file could still be read."""
        try:
            return os.fstat(self._descriptor).st_nlink == 0
        except OSError:  # on another machine
            return True

    def read(self, tile: Tile, grid: Grid) -> bytes:
        """The JPEG of a tile; KeyError if the part does not have it, OSError if it is damaged."""
        entry = self._entries[_name(tile, grid)]
        return entry.checked(os.pread(self._descriptor, entry.length, entry.offset))

    def read_nowait(self, tile: Tile, grid: Grid) -> bytes | None:
        """The JPEG of a tile if it is in the page cache; None if the read would block.

        Where the system cannot tell, the disk is read.
        """
        entry = self._entries[_name(tile, grid)]
        if not self._tells:
            return self.read(tile, grid)
        data = bytearray(entry.length)
        try:
            count = os.preadv(self._descriptor, [data], entry.offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError:  # this file system has no such flag
            self._tells = False
            return self.read(tile, grid)
        return entry.checked(bytes(data)) if count == entry.length else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _read_table(descriptor: int) -> dict[str, _Entry]:
    """The entries of a part; raises OSError if its table is damaged."""
    try:
        with (
            os.fdopen(descriptor, "rb", closefd=False) as file,
            zipfile.ZipFile(file) as container,
        ):
            table, comment = _table(container), container.comment
    except Exception as error:  # `zipfile` on a garbled table raises whatever Python has
        raise OSError(_DAMAGED) from error
    if _checksum(table) != comment:
        raise OSError(_DAMAGED)
    return table


def _table(container: zipfile.ZipFile) -> dict[str, _Entry]:
    return {
        info.filename: _Entry(
            info.header_offset + _LOCAL_HEADER + len(info.filename), info.file_size, info.CRC
        )
        for info in container.infolist()
    }


def _checksum(table: Mapping[str, _Entry]) -> bytes:
    """The CRC-32 of a table, as written in the comment of the zip."""
    value = 0
    for name, entry in table.items():
        line = f"{name} {entry.offset} {entry.length} {entry.checksum}\n"
        value = crc32(line.encode("utf-8", "surrogatepass"), value)
    return f"{value:08x}".encode()


def _name(tile: Tile, grid: Grid) -> str:
    """The name of a tile in the Deep Zoom layout, whose levels count up to full resolution."""
    top = max(grid.dimensions.width, grid.dimensions.height, 1)
    level = (top - 1).bit_length() - (tile.scale_factor.bit_length() - 1)
    return f"image_files/{level}/{tile.column}_{tile.row}.jpg"


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry without time stamp, so that equal pyramids are equal files."""
    return zipfile.ZipInfo(name)


def _description(grid: Grid) -> str:
    size = grid.dimensions
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpg" Overlap="0" '
        f'TileSize="{grid.tile.width}"><Size Width="{size.width}" Height="{size.height}"/></Image>'
    )
