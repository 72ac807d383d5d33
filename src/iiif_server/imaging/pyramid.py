"""Pyramids: the tiled, multi-resolution copy of one original, and how it lies in files.

A pyramid has two parts, each one file: the *reduced* levels, which cost little and answer the first
view, and the *detail*. A part is an uncompressed zip in Deep Zoom layout, which any tool opens; its
tiles are complete JPEGs that are sent as they are.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from iiif_server.image_api.geometry import Box, Dimensions, scale_factors
from iiif_server.image_api.request import Rendition

_LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before its name (APPNOTE 4.3.7); ours have no extra field."""
_DAMAGED = "the pyramid is not what was written"


class Part(StrEnum):
    """One file of a pyramid."""

    REDUCED = "reduced"
    DETAIL = "detail"


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A place in the grid of one level."""

    scale_factor: int
    column: int
    row: int


@dataclass(frozen=True, slots=True)
class Grid:
    """The levels and tiles of an image: what info.json announces (Image API 3.0, 5.4)."""

    dimensions: Dimensions
    tile_size: int

    @property
    def scale_factors(self) -> tuple[int, ...]:
        """1, 2, 4, ... up to the level that is one tile."""
        return scale_factors(self.dimensions, self.tile_size)

    def level(self, scale_factor: int) -> Dimensions:
        """The dimensions of one level."""
        return self.dimensions.reduced(scale_factor)

    def tiles(self, scale_factor: int) -> Iterator[tuple[Tile, Box]]:
        """The tiles of one level in rows from the top left, with their boxes in that level."""
        level, size = self.level(scale_factor), self.tile_size
        for row, y in enumerate(range(0, level.height, size)):
            for column, x in enumerate(range(0, level.width, size)):
                box = Box(x, y, min(size, level.width - x), min(size, level.height - y))
                yield Tile(scale_factor, column, row), box

    def tile_of(self, rendition: Rendition) -> Tile | None:
        """The tile whose region and size a rendition has, or None; its format does not count."""
        box, size = rendition.region, rendition.size
        for scale_factor in self.scale_factors:
            step = self.tile_size * scale_factor
            if box.x % step or box.y % step:
                return None
            if (
                box.width == min(step, self.dimensions.width - box.x)
                and box.height == min(step, self.dimensions.height - box.y)
                and size == box.dimensions.reduced(scale_factor)
            ):
                return Tile(scale_factor, box.x // step, box.y // step)
        return None


def write_part(target: Path, tiles: Iterable[tuple[Tile, bytes]], grid: Grid) -> None:
    """Write the tiles into one file, as they come. Raises OSError."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as container:
        container.writestr(_entry("image.dzi"), _description(grid))
        for tile, data in tiles:
            container.writestr(_entry(_name(tile, grid)), data)


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an entry lies, its local header first, and how long its data are."""

    offset: int
    length: int
    checksum: int


class OpenPart:
    """A part of a pyramid, open: tiles are read where they lie. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where there is no such part, or none that is whole."""
        self._entries: Mapping[str, _Entry] = _entries(path)
        self._descriptor = os.open(path, os.O_RDONLY)

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

    def read(self, tile: Tile, grid: Grid) -> bytes:
        """The JPEG of a tile; KeyError if the part does not have it, OSError if it is damaged."""
        name = _name(tile, grid)
        entry = self._entries[name]
        start = _LOCAL_HEADER + len(name)
        found = os.pread(self._descriptor, start + entry.length, entry.offset)
        data = found[start:]
        # The table says where a tile is, the tile's own header says which one it is.
        if found[_LOCAL_HEADER:start] != name.encode() or len(data) != entry.length:
            raise OSError(_DAMAGED)
        if zlib.crc32(data) != entry.checksum:
            raise OSError(_DAMAGED)
        return data

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


def _entries(path: Path) -> dict[str, _Entry]:
    """The table at the end of a part; OSError where it is not one of ours."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as container:
            entries = {
                info.filename: _Entry(info.header_offset, info.file_size, info.CRC)
                for info in container.infolist()
            }
            count = len(container.infolist())
    except OSError:
        raise
    except Exception as error:  # `zipfile` on a garbled table raises whatever Python has
        raise OSError(_DAMAGED) from error
    whole = all(
        entry.offset >= 0 and entry.offset + _LOCAL_HEADER + entry.length <= size
        for entry in entries.values()
    )
    if not whole or len(entries) != count:
        raise OSError(_DAMAGED)
    return entries


def _name(tile: Tile, grid: Grid) -> str:
    """The place of a tile in the Deep Zoom layout, whose levels count up to full resolution."""
    top = max(grid.dimensions.width, grid.dimensions.height, 1)
    level = (top - 1).bit_length() - (tile.scale_factor.bit_length() - 1)
    return f"image_files/{level}/{tile.column}_{tile.row}.jpg"


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without the time of writing, so that the same pyramid is the same file."""
    return zipfile.ZipInfo(name)


def _description(grid: Grid) -> str:
    size = grid.dimensions
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpg" Overlap="0" '
        f'TileSize="{grid.tile_size}"><Size Width="{size.width}" Height="{size.height}"/></Image>'
    )
