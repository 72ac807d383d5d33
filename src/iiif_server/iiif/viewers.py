"""Requests that OpenSeadragon, Mirador and Universal Viewer send for an image.

`tests/e2e/test_warm.py` compares them with the requests of the real viewers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions, scale_factors, tile_boxes
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

_THUMBNAIL_WIDTH = 90
"""Width of thumbnails of Universal Viewer, in pixels."""
_THUMBNAIL_HEIGHT = 120
"""Height of thumbnails of Mirador, in pixels."""
_GALLERY = "full/!400,400/0/default"
"""Path of thumbnails of this server's gallery, without the format."""
_PIXEL_RATIO = 2
"""Maximum pixels of a level per pixel of the screen, in one direction."""
_MAX_TILES = 1_000_000
_LARGEST_SIDE = 1 << 31


@dataclass(frozen=True, slots=True)
class InfoJson:
    """Properties of an info.json from which viewers derive their requests."""

    version: ImageApiVersion
    dimensions: Dimensions
    tile: Dimensions
    thumbnail: Format = Format.JPG
    """Format of thumbnails in the gallery."""

    @classmethod
    def read(cls, document: Any) -> "InfoJson":
        """Read an info.json of any server; ValueError if it describes no image."""
        try:
            version = V2 if V2.context in document["@context"] else V3
            dimensions = _dimensions(document)
            tiles = document.get("tiles")
            tile = _dimensions({"height": tiles[0]["width"], **tiles[0]}) if tiles else dimensions
            return cls(version, dimensions, tile, _thumbnail_format(version, document))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError("it is no info.json of an image") from error

    def requests(self, screen: Dimensions | None) -> Iterator[str]:
        """Paths `region/size/0/default.jpg` that viewers request.

        These are thumbnails, and the tiles of the levels that the first view on a screen of this
        size needs, the smallest level first. Without a screen, the tiles of all levels. Raises
        ValueError if there are more than a million tiles.
        """
        factors = self._factors(screen)
        if sum(self._count(factor) for factor in factors) > _MAX_TILES:
            raise ValueError(f"viewers would request more than {_MAX_TILES:,} tiles of it")
        return self._paths(factors)

    def _factors(self, screen: Dimensions | None) -> list[int]:
        """Scale factors of the levels to request, descending; at least one."""
        first, *others = reversed(scale_factors(self.dimensions, self.tile))
        return [
            first,
            *(
                factor
                for factor in others
                if screen is None or self._is_in_first_view(factor, screen)
            ),
        ]

    def _is_in_first_view(self, factor: int, screen: Dimensions) -> bool:
        """Whether a level is at most twice as wide and high as the screen."""
        scale = _PIXEL_RATIO * factor
        width, height = self.dimensions.width, self.dimensions.height
        return width <= scale * screen.width and height <= scale * screen.height

    def _count(self, factor: int) -> int:
        tiles = self.dimensions.reduced(self.tile.width * factor).width
        return tiles * self.dimensions.reduced(self.tile.height * factor).height

    def _paths(self, factors: list[int]) -> Iterator[str]:
        for factor in factors:
            for text, _ in tile_requests(self.version, self.dimensions, self.tile, factor):
                yield jpeg_path(text)
            if self.version is V2:
                yield from self._paths_with_height(factor)
        width, height = self.dimensions.width, self.dimensions.height
        if width >= _THUMBNAIL_WIDTH or self.version is V2:
            yield jpeg_path(f"full/{_THUMBNAIL_WIDTH},")
        if height >= _THUMBNAIL_HEIGHT or self.version is V2:
            yield jpeg_path(f"full/,{_THUMBNAIL_HEIGHT}")
        yield f"{_GALLERY}.{self.thumbnail}"

    def _paths_with_height(self, factor: int) -> Iterator[str]:
        """Tile paths of version 2 as OpenSeadragon 6 writes them, with width and height."""
        for box in tile_boxes(self.dimensions, self.tile, factor):
            size = box.dimensions.reduced(factor)
            if size.width != self.dimensions.width:
                yield jpeg_path(f"{_region(box, self.dimensions)}/{size.width},{size.height}")


def tile_requests(
    version: ImageApiVersion, dimensions: Dimensions, tile: Dimensions, factor: int
) -> Iterator[tuple[str, Dimensions]]:
    """`region/size` and dimensions of each tile of a level (Image API 3.0, 12; 2.1.1, 11).

    In version 2, a tile as wide as the image has two paths, since viewers write it differently.
    """
    for box in tile_boxes(dimensions, tile, factor):
        size, region = box.dimensions.reduced(factor), _region(box, dimensions)
        if version is V3:
            text = version.full_size if size == dimensions else f"{size.width},{size.height}"
            yield f"{region}/{text}", size
            continue
        if size.width == dimensions.width:
            yield f"{region}/{version.full_size}", size
        if region != "full" or size.width != dimensions.width:
            yield f"{region}/{size.width},", size


def jpeg_path(region_and_size: str) -> str:
    """Path of a JPEG below the base URI of its image."""
    return f"{region_and_size}/0/default.{Format.JPG}"


def _region(box: Box, dimensions: Dimensions) -> str:
    return "full" if box.covers(dimensions) else f"{box.x},{box.y},{box.width},{box.height}"


def _dimensions(sides: Mapping[str, Any]) -> Dimensions:
    width, height = sides["width"], sides["height"]
    for side in (width, height):
        if type(side) is not int or not 0 < side < _LARGEST_SIDE:
            raise ValueError(side)
    return Dimensions(width, height)


def _thumbnail_format(version: ImageApiVersion, document: Mapping[str, Any]) -> Format:
    """WebP if the server offers it, else JPEG: the format of the gallery's thumbnails."""
    if version is V3:
        return Format.WEBP if Format.WEBP in document.get("extraFormats", ()) else Format.JPG
    formats = [entry.get("formats", ()) for entry in document["profile"] if type(entry) is dict]
    return Format.WEBP if any(Format.WEBP in found for found in formats) else Format.JPG
