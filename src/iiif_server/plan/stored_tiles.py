"""Tile index of a tiled TIFF, level by level. Pure."""

import struct
from dataclasses import dataclass

from iiif_server.iiif.geometry import Dimensions

TILE_PLACE = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """One resolution at which a TIFF holds its image."""

    scale_factor: int
    dimensions: Dimensions
    directory: int
    """Offset of its directory in the file."""


@dataclass(frozen=True, slots=True)
class StoredTiles:
    """The levels of a tiled TIFF, from full resolution down, all with tiles of one extent."""

    tile: Dimensions
    levels: tuple[StoredLevel, ...]
    components: int
    """Components of the JPEG tiles; 0: the tiles cannot be sent as JPEGs."""

    @property
    def factors(self) -> tuple[int, ...]:
        """The scale factors of the levels, ascending."""
        return tuple(level.scale_factor for level in self.levels)

    @property
    def contiguous(self) -> int:
        """The last of the scale factors 1, 2, 4, ... up to which no level is missing."""
        factor, factors = 1, set(self.factors)
        while factor * 2 in factors:
            factor *= 2
        return factor

    def level(self, scale_factor: int) -> StoredLevel:
        """The level of a scale factor that is among `factors`."""
        return next(level for level in self.levels if level.scale_factor == scale_factor)


@dataclass(frozen=True, slots=True)
class TileTable:
    """Tile table of one level: offsets and lengths, in rows from the top left."""

    places: bytes
    """Offset and length of each, as pairs of 64-bit numbers: plain data, also between processes."""
    before: bytes
    """Bytes that replace the first marker of a tile to make it a complete JPEG."""

    def place(self, number: int) -> tuple[int, int]:
        """Offset and length of a tile in the file."""
        offset, length = TILE_PLACE.unpack_from(self.places, number * TILE_PLACE.size)
        return offset, length
