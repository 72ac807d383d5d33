"""Description of a derivative: credits and resolution in its file. Pure."""

from iiif_server.plan.grid import Grid, Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.orientation import Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import Description, PixelOperations

_CREDITED_PIXELS = 100_000
"""Pixels from which a derivative carries the credits of its original, some 500 bytes."""
_MIN_DPI, _MAX_DPI = 10, 65_535
"""Range of a derivative's resolution, in integers as in JFIF."""
_DEFAULTS = frozenset({(72, 72), (96, 96)})
"""Default resolutions of programs, which mean that it is unknown."""
_MAX_ASPECT = 4


def believable_resolution(header: ImageHeader) -> tuple[float, float] | None:
    """Return dots per inch of the stored pixels; None if they are a default or implausible."""
    if header.resolution is None:
        return None
    x, y = header.resolution
    default = (round(x), round(y)) in _DEFAULTS and header.format is not OriginalFormat.PDF
    sound = min(x, y) >= _MIN_DPI and max(x, y) <= _MAX_ASPECT * min(x, y)
    return (x, y) if sound and not default else None


def inches_per_pixel(header: ImageHeader) -> float | None:
    """Return the side of a pixel in inches; None if unknown, or if pixels are not square."""
    resolution = believable_resolution(header)
    if resolution is None or round(resolution[0]) != round(resolution[1]):
        return None
    return 1 / resolution[0]


def describe(header: ImageHeader, operations: PixelOperations, *, tile: bool) -> Description:
    """Return the description of a derivative; tiles carry no credits."""
    credited = not tile and operations.size.area >= _CREDITED_PIXELS
    box, size = operations.box, operations.size
    resolution = None
    if not operations.degrees:
        across, down = size.width / box.width, size.height / box.height
        resolution = _scaled(header, across, down, operations.orientation)
    return Description(resolution, header.credits if credited else ())


def describe_tile(header: ImageHeader, grid: Grid, tile: Tile) -> Description:
    """Return the description of a tile of a pyramid."""
    scale = 1 / tile.scale_factor
    credited = not is_part(grid, tile) and grid.level(tile.scale_factor).area >= _CREDITED_PIXELS
    resolution = _scaled(header, scale, scale, header.orientation)
    return Description(resolution, header.credits if credited else ())


def is_part(grid: Grid, tile: Tile | None) -> bool:
    """Whether a tile of a grid is not the whole image."""
    if tile is None:
        return False
    level = grid.level(tile.scale_factor)
    return level.width > grid.tile.width or level.height > grid.tile.height


def _scaled(
    header: ImageHeader, across: float, down: float, orientation: Orientation
) -> tuple[int, int] | None:
    """Return the resolution after scaling and turning."""
    resolution = believable_resolution(header)
    if resolution is None:
        return None
    x, y = round(resolution[0] * across), round(resolution[1] * down)
    if min(x, y) < _MIN_DPI or max(x, y) > _MAX_DPI:
        return None
    return (y, x) if orientation.transposes else (x, y)
