"""Stored tiles: levels and tile tables of a tiled TIFF. Pure."""

import struct
from dataclasses import dataclass

from iiif_server.iiif.geometry import Dimensions

TILE_ENTRY = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """Stored level of a tiled TIFF."""

    scale_factor: int
    dimensions: Dimensions
    directory: int
    """Offset of the directory in the file."""


@dataclass(frozen=True, slots=True)
class StoredTiles:
    """Levels of a tiled TIFF, from full resolution down, with tiles of one size."""

    tile: Dimensions
    levels: tuple[StoredLevel, ...]
    components: int
    """Components of the JPEG tiles; 0: the tiles cannot be sent as JPEGs."""

    @property
    def factors(self) -> tuple[int, ...]:
        """Scale factors of the levels, ascending."""
        return tuple(level.scale_factor for level in self.levels)

    @property
    def last_contiguous(self) -> int:
        """Last of the scale factors 1, 2, 4, ... without a gap."""
        factor, factors = 1, set(self.factors)
        while factor * 2 in factors:
            factor *= 2
        return factor

    def level(self, scale_factor: int) -> StoredLevel:
        """Return the level of one of the scale factors."""
        return next(level for level in self.levels if level.scale_factor == scale_factor)


@dataclass(frozen=True, slots=True)
class TileTable:
    """Tile table of one level: offsets and lengths, in rows from the top left."""

    entries: bytes
    """Offset and length of each tile, as pairs of 64-bit integers."""
    prefix: bytes
    """Bytes that replace the first marker of a tile to make it a complete JPEG."""

    def entry(self, number: int) -> tuple[int, int]:
        """Return offset and length of a tile in the file."""
        offset, length = TILE_ENTRY.unpack_from(self.entries, number * TILE_ENTRY.size)
        return offset, length
