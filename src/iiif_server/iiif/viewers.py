"""Requests of viewers: what OpenSeadragon, Mirador and Universal Viewer request for an image.

`tests/e2e/test_warm.py` compares this with what the real ones request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions, scale_factors, tile_boxes
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

_THUMBNAIL_WIDTH = 90
"""Of Universal Viewer."""
_THUMBNAIL_HEIGHT = 120
"""Of Mirador."""
_GALLERY = "full/!400,400/0/default"
"""Of the gallery of this server."""
_PIXEL_RATIO = 2
"""How many pixels of a level viewers request for one of the screen, at most."""
_MOST_TILES = 1_000_000
_LARGEST_SIDE = 1 << 31


@dataclass(frozen=True, slots=True)
class Announced:
    """What viewers read in the info.json of an image."""

    version: ImageApiVersion
    dimensions: Dimensions
    tile: Dimensions
    thumbnail: Format = Format.JPG
    """The format of thumbnails in the gallery."""

    @classmethod
    def read(cls, document: Any) -> "Announced":
        """What an info.json announces, from whomever it comes; ValueError if that is no image."""
        try:
            version = V2 if V2.context in document["@context"] else V3
            dimensions = _dimensions(document)
            tiles = document.get("tiles")
            tile = _dimensions({"height": tiles[0]["width"], **tiles[0]}) if tiles else dimensions
            return cls(version, dimensions, tile, _thumbnail_format(version, document))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError("it is no info.json of an image") from error

    def requests(self, screen: Dimensions | None) -> Iterator[str]:
        """The paths `region/size/0/default.jpg` that are requested on a screen.

        These are the tiles of the levels that a first view on a screen of this size needs, the
        smallest level first, and thumbnails; without a screen, the tiles of all levels. Raises
        ValueError if there are more than a million tiles.
        """
        factors = self._factors(screen)
        if sum(self._count(factor) for factor in factors) > _MOST_TILES:
            raise ValueError(f"viewers would request more than {_MOST_TILES:,} tiles of it")
        return self._paths(factors)

    def _factors(self, screen: Dimensions | None) -> list[int]:
        """The scale factors of the levels, descending; there is always one."""
        first, *others = reversed(scale_factors(self.dimensions, self.tile))
        return [
            first,
            *(factor for factor in others if screen is None or self._fits(factor, screen)),
        ]

    def _fits(self, factor: int, screen: Dimensions) -> bool:
        """Whether a level is at most twice as large as on the screen, into which it is fitted."""
        within = _PIXEL_RATIO * factor
        width, height = self.dimensions.width, self.dimensions.height
        return width <= within * screen.width and height <= within * screen.height

    def _count(self, factor: int) -> int:
        tiles = self.dimensions.reduced(self.tile.width * factor).width
        return tiles * self.dimensions.reduced(self.tile.height * factor).height

    def _paths(self, factors: list[int]) -> Iterator[str]:
        for factor in factors:
            for text, _ in tile_requests(self.version, self.dimensions, self.tile, factor):
                yield jpeg_path(text)
            if self.version is V2:
                yield from self._heights(factor)
        width, height = self.dimensions.width, self.dimensions.height
        if width >= _THUMBNAIL_WIDTH or self.version is V2:
            yield jpeg_path(f"full/{_THUMBNAIL_WIDTH},")
        if height >= _THUMBNAIL_HEIGHT or self.version is V2:
            yield jpeg_path(f"full/,{_THUMBNAIL_HEIGHT}")
        yield f"{_GALLERY}.{self.thumbnail}"

    def _heights(self, factor: int) -> Iterator[str]:
        """The tiles as OpenSeadragon 6 requests them of version 2: by width and height."""
        for box in tile_boxes(self.dimensions, self.tile, factor):
            size = box.dimensions.reduced(factor)
            if size.width != self.dimensions.width:
                yield jpeg_path(f"{_region(box, self.dimensions)}/{size.width},{size.height}")


def tile_requests(
    version: ImageApiVersion, dimensions: Dimensions, tile: Dimensions, factor: int
) -> Iterator[tuple[str, Dimensions]]:
    """`region/size` of each tile of a level, and its size (Image API 3.0, 12; 2.1.1, 11).

    In version 2, a tile as wide as the image has two: viewers spell it differently.
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
    """The path of an image below its base URI."""
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
    """WebP where that is made (`composition.services`)."""
    if version is V3:
        return Format.WEBP if Format.WEBP in document.get("extraFormats", ()) else Format.JPG
    formats = [entry.get("formats", ()) for entry in document["profile"] if type(entry) is dict]
    return Format.WEBP if any(Format.WEBP in found for found in formats) else Format.JPG
