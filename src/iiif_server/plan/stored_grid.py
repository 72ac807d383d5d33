"""Stored tiles of a tiled TIFF, as tiles of the published grid. Pure."""

from dataclasses import dataclass

from iiif_server.plan.grid import Grid, Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.render_plan import PixelOperations, ProfileAction, tile_profile
from iiif_server.plan.stored_tiles import StoredTiles

MIN_TILE, MAX_TILE = 64, 4096
"""Range of the sides of stored tiles that info.json announces: smaller tiles mean too many
requests, and larger ones too much data per request."""
_PIXELS_AROUND = 32
"""Pixels around a region, in the result and in a level, that may have to be decoded."""
MAX_STORED_REDUCTION = 4
"""Maximum reduction from a stored level for a request."""


def stored_grid(header: ImageHeader) -> Grid | None:
    """Return the grid of stored tiles of a tiled TIFF, if info.json announces it.

    The image must be stored upright. Either every level is near a stored one, or stored tiles at
    full resolution can be sent and the server builds the others (square tiles, for `dzsave`).
    """
    tiles = header.tiles
    if tiles is None or header.orientation != UPRIGHT:
        return None
    full = tiles.tile
    if min(full.width, full.height) < MIN_TILE or max(full.width, full.height) > MAX_TILE:
        return None
    grid = Grid(header.dimensions, full)
    to_be_made = can_send_tiles(header) and full.width == full.height
    return grid if to_be_made or has_all_levels(tiles, grid) else None


def has_all_levels(tiles: StoredTiles, grid: Grid) -> bool:
    """Whether every level of a grid is stored, or a reduction of a stored one by at most 4."""
    return all(
        any(factor // MAX_STORED_REDUCTION <= held <= factor for held in tiles.factors)
        for factor in grid.scale_factors
    )


def can_send_tiles(header: ImageHeader) -> bool:
    """Whether the stored tiles of a TIFF are JPEGs that can be sent unchanged."""
    return (
        header.tiles is not None
        and header.tiles.components > 0
        and header.orientation == UPRIGHT
        and tile_profile(header) is not ProfileAction.CONVERT
    )


def tiles_to_decode(tiles: StoredTiles, operations: PixelOperations) -> list[int]:
    """Return the indices of the stored tiles that a decoder may read for operations on a level.

    These contain the region, and the pixels around it that scaling reads or that are cropped again
    (`codecs/alignment.py`).
    """
    factor, box, size = operations.shrink, operations.box, operations.size
    level, tile = tiles.level(factor).dimensions, tiles.tile
    step = max(box.width / size.width, box.height / size.height) / factor
    margin = _PIXELS_AROUND * (1 + int(step))
    left, right = box.x // factor - margin, -(-(box.x + box.width) // factor) + margin
    top, bottom = box.y // factor - margin, -(-(box.y + box.height) // factor) + margin
    across, down = -(-level.width // tile.width), -(-level.height // tile.height)
    columns = range(max(0, left // tile.width), min(across, -(-right // tile.width)))
    rows = range(max(0, top // tile.height), min(down, -(-bottom // tile.height)))
    return [row * across + column for row in rows for column in columns]


@dataclass(frozen=True, slots=True)
class StoredTile:
    """Stored tile that is the requested tile, or contains it in its upper left."""

    scale_factor: int
    number: int
    """Index in the level, in rows from the top left."""
    whole: bool
    """Whether it is sent unchanged; else it is a padded tile at the edge."""


def stored_tile(header: ImageHeader, tile: Tile) -> StoredTile | None:
    """Return the stored tile for a tile of the `stored_grid`; None if none is stored.

    A level whose sides were rounded down ends before the last tiles do: those are not stored.
    """
    tiles = header.tiles
    if tiles is None or not can_send_tiles(header) or tile.scale_factor not in tiles.factors:
        return None
    level, full = tiles.level(tile.scale_factor).dimensions, tiles.tile
    asked = header.dimensions.reduced(tile.scale_factor)
    x, y = tile.column * full.width, tile.row * full.height
    if (asked.width - x < full.width and asked.width != level.width) or (
        asked.height - y < full.height and asked.height != level.height
    ):
        return None
    if level.width <= x or level.height <= y:
        return None
    whole = level.width - x >= full.width and level.height - y >= full.height
    across = -(-level.width // full.width)
    return StoredTile(tile.scale_factor, tile.row * across + tile.column, whole)
