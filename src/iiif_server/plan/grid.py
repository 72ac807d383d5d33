"""Tile grid: levels and tiles of an image (Image API 3.0, 5.4), stored in two parts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from iiif_server.iiif.geometry import Box, Dimensions, scale_factors
from iiif_server.iiif.request import Rendition


class Part(StrEnum):
    """Part of a pyramid, one file each."""

    REDUCED = "reduced"
    DETAIL = "detail"


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Tile: scale factor, column and row."""

    scale_factor: int
    column: int
    row: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Tile grid, as info.json announces it (Image API 3.0, 5.4)."""

    dimensions: Dimensions
    tile: Dimensions
    """Dimensions of a full tile."""

    @property
    def scale_factors(self) -> tuple[int, ...]:
        """Scale factors 1, 2, 4, ... up to the level that is one tile."""
        return scale_factors(self.dimensions, self.tile)

    def level(self, scale_factor: int) -> Dimensions:
        """Return the dimensions of a level."""
        return self.dimensions.reduced(scale_factor)

    def tiles(self, scale_factor: int) -> Iterator[tuple[Tile, Box]]:
        """Yield the tiles of a level with their boxes, row by row from the top left."""
        level, full = self.level(scale_factor), self.tile
        for row, y in enumerate(range(0, level.height, full.height)):
            for column, x in enumerate(range(0, level.width, full.width)):
                width, height = min(full.width, level.width - x), min(full.height, level.height - y)
                yield Tile(scale_factor, column, row), Box(x, y, width, height)

    def tile_of(self, rendition: Rendition) -> Tile | None:
        """Return the tile with the region and size of a rendition, whatever its format; or None."""
        box, size = rendition.region, rendition.size
        for scale_factor in self.scale_factors:
            across, down = self.tile.width * scale_factor, self.tile.height * scale_factor
            if box.x % across or box.y % down:
                return None
            if (
                box.width == min(across, self.dimensions.width - box.x)
                and box.height == min(down, self.dimensions.height - box.y)
                and size == box.dimensions.reduced(scale_factor)
            ):
                return Tile(scale_factor, box.x // across, box.y // down)
        return None

    def aligned(self, rendition: Rendition) -> Rendition:
        """Return the rendition; that of a tile with the region that its pixels cover in viewers.

        The last pixels of a tile may be partly outside the image, and so is the region. The whole
        image is not changed: it fills its size.
        """
        box, image = rendition.region, self.dimensions
        inside = box.x + box.width < image.width and box.y + box.height < image.height
        tile = None if inside or box.covers(image) else self.tile_of(rendition)
        if tile is None:
            return rendition
        width, height = (
            side * tile.scale_factor for side in (rendition.size.width, rendition.size.height)
        )
        return replace(rendition, region=Box(box.x, box.y, width, height))

    def full_tile_around(self, box: Box) -> tuple[Tile, Box] | None:
        """Return the full-resolution tile around a box, and the box in pixels of the tile."""
        column, row = box.x // self.tile.width, box.y // self.tile.height
        x, y = box.x - column * self.tile.width, box.y - row * self.tile.height
        if x + box.width > self.tile.width or y + box.height > self.tile.height:
            return None
        return Tile(1, column, row), Box(x, y, box.width, box.height)
