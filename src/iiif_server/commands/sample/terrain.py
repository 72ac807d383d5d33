"""Terrain of the sample image: heights, and the coloured map of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import pyvips

Pixels: TypeAlias = Any
"""Type of a `pyvips.Image`; pyvips declares no types."""
Point: TypeAlias = tuple[float, float]

_DESIGN_WIDTH = 9000.0
"""Width of the sheet in design units, at every size in pixels."""
_MARGIN = 400.0
_STEP = 5
"""Design units per pixel of the height field, whose values are at most 1."""
_LOWLAND = 0.004
_CELL = 25.0
_SHRINK = 5

_PAPER = [241, 231, 205]
_INK = [58, 45, 36]
_BROWN = [150, 104, 66]
_SHADOW = [74, 62, 78]
_LIGHT = [255, 248, 224]
_BLUE = [66, 110, 128]

# Colour tables: index, red, green, blue.
_LAND_TINTS = [
    [0, 205, 208, 158], [205, 213, 212, 160], [573, 228, 217, 165], [1065, 229, 205, 150],
    [1638, 214, 178, 126], [2294, 195, 155, 114], [2949, 205, 181, 152], [3523, 240, 234, 222],
    [4095, 250, 248, 242],
]  # fmt: skip
_SEA_STEPS = 8
_SEA_TINTS = [
    [0, 156, 190, 184], [480, 176, 203, 192], [1440, 194, 213, 198], [3840, 207, 217, 196],
    [8800, 216, 219, 193], [16383, 221, 221, 192],
]  # fmt: skip
_WATER_LINES = 14
_CONTOUR = 1 / 68

# Land is where these hills overlap: centre, radii (in units of the sheet) and weight.
_HILLS = (
    (0.26, -0.03, 0.58, 0.44, 1.00), (0.78, -0.45, 0.34, 0.24, 0.75),
    (-0.34, 0.42, 0.46, 0.22, 0.72), (0.66, 0.52, 0.26, 0.28, 0.56),
    (-0.12, -0.58, 0.22, 0.20, 0.52), (-1.02, 0.02, 0.12, 0.10, 0.60),
    (1.16, 0.36, 0.09, 0.15, 0.58), (-0.66, -0.06, 0.09, 0.07, 0.50),
    (-0.86, 0.80, 0.10, 0.07, 0.54), (0.22, 0.86, 0.10, 0.05, 0.50),
    (1.18, -0.02, 0.06, 0.05, 0.48),
)  # fmt: skip


class Box(NamedTuple):
    """Rectangle in design units."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two rectangles overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def grown(self, by: float) -> "Box":
        """Return the rectangle with all sides moved outwards."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


class Sheet(NamedTuple):
    """Size of the sheet in pixels, with its measures in design units."""

    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels per design unit."""
        return self.width / _DESIGN_WIDTH

    @property
    def middle(self) -> Point:
        """Middle of the sheet."""
        return _DESIGN_WIDTH / 2, self.height / self.scale / 2

    @property
    def unit(self) -> float:
        """Scale of the island: slightly less than half the height of the sheet."""
        return min(_DESIGN_WIDTH * 0.375, self.middle[1]) * 0.89

    @property
    def chart(self) -> Box:
        """Area of the map inside the frame."""
        x, y = self.middle
        return Box(0, 0, 2 * x, 2 * y).grown(-_MARGIN)


class Spot(NamedTuple):
    """Point on land, with height and vegetation."""

    x: float
    y: float
    height: float
    growth: float


def _noise(size: tuple[int, int], octaves: Sequence[tuple[int, float]], seed: int) -> Pixels:
    """Return the sum of Perlin noises; `octaves` are pairs of cell size and strength."""
    return sum(
        pyvips.Image.perlin(*size, cell_size=cell, seed=seed + number) * strength
        for number, (cell, strength) in enumerate(octaves)
    )


def _warped(size: tuple[int, int], octaves: Sequence[tuple[int, float]], seed: int) -> Pixels:
    """Return the coordinates of all pixels, displaced by noise."""
    pushes = _noise(size, octaves, seed).bandjoin(_noise(size, octaves, seed + 10))
    return pyvips.Image.xyz(*size) + pushes


def heights(sheet: Sheet) -> Pixels:
    """Return the height field of the whole sheet, with 0 at the shore."""
    columns, rows = int(_DESIGN_WIDTH / _CELL), max(8, math.ceil(2 * sheet.middle[1] / _CELL))
    size = columns * _SHRINK, rows * _SHRINK
    place = _warped(size, ((336, 104), (112, 42), (38, 15)), seed=1)
    place = (place - [size[0] / 2, size[1] / 2]) / (sheet.unit / _STEP)
    mass = -0.44
    for x, y, wide, high, weight in _HILLS:
        across, down = (place[0] - x) / wide, (place[1] - y) / high
        mass += (across * across + down * down).linear(-1, 0).exp() * weight
    detail = _noise(size, [(192 >> n, 0.56**n) for n in range(6)], seed=30)
    crests = 0.0
    for n in range(5):
        folds = _noise(size, [(208 >> n, 1.0)], seed=50 + n).abs().linear(-1.6, 1)
        crests += folds * folds * 0.5 ** (n + 1)
    # Warping hides the grid of the Perlin noise.
    bent = _warped(size, ((128, 36), (40, 11)), seed=70)
    bilinear = pyvips.Interpolate.new("bilinear")
    both = detail.bandjoin(crests).copy_memory()
    detail, crests = both.mapim(bent, interpolate=bilinear, extend="mirror").bandsplit()
    land = mass + detail * 0.25
    inner = (land - 0.02) * 1.25
    inner = (inner < 0).ifthenelse(0, inner)
    return (land * 0.27 + inner * (crests * 0.85 + 0.05)).cast("float").copy_memory()


def spots(field: Pixels) -> list[Spot]:
    """Return points all over the land, on a grid with irregular offsets."""
    small = field.shrink(_SHRINK, _SHRINK)
    growth = _noise((small.width, small.height), ((30, 1.0), (12, 0.5), (5, 0.25)), seed=140)
    values = memoryview(small.bandjoin(growth).cast("float").write_to_memory()).cast("f")
    found = []
    for cell, height in enumerate(values[::2]):
        if height > _LOWLAND:
            x = (cell % small.width + 0.1 + cell * 0.7549 % 0.8) * _CELL
            y = (cell // small.width + 0.1 + cell * 0.5698 % 0.8) * _CELL
            found.append(Spot(x, y, height, values[2 * cell + 1]))
    return found


def ground(heights: Pixels, sheet: Sheet) -> Pixels:
    """Return the map inside the frame, with paper around it."""
    slope = pyvips.Image.new_from_array([[-1, 0, 1]], scale=2)
    fall = [heights.conv(mask, precision="float") for mask in (slope, slope.rot90())]
    steep = (fall[0] * fall[0] + fall[1] * fall[1]) ** 0.5 / (_STEP * sheet.scale)
    pitch = _enlarged(steep.gaussblur(1, precision="float") + 1e-6, sheet, "linear")
    full = _enlarged(heights, sheet)
    tints = pyvips.Image.new_from_array(_LAND_TINTS).buildlut().cast("uchar")
    land = (full * tints.width).cast("ushort").maplut(tints)
    land = _contoured(_shaded(land, heights, fall[0] + fall[1], sheet), full, pitch, sheet)
    # Distance from the shore in pixels.
    shore = full / pitch
    map_ = (shore * -255 + 127).cast("uchar").ifthenelse(_sea(heights, sheet), land, blend=True)
    coast = (shore.abs() * -255 + max(1.0, 5 * sheet.scale) * 128 + 60).cast("uchar")
    map_ = coast.ifthenelse(_INK, map_, blend=True)
    left, top, right, bottom = (round(edge * sheet.scale) for edge in sheet.chart)
    return map_.crop(left, top, max(1, right - left), max(1, bottom - top)).embed(
        left, top, sheet.width, sheet.height, extend="background", background=_PAPER
    )


def _enlarged(field: Pixels, sheet: Sheet, kernel: str = "cubic") -> Pixels:
    """Scale a field of the terrain grid to the size of the sheet."""
    scale = sheet.width / field.width
    fitted = field.copy_memory().resize(scale, kernel="linear" if scale < 1 else kernel)
    return fitted.embed(0, 0, sheet.width, sheet.height, extend="copy")


def _shaded(land: Pixels, heights: Pixels, fall: Pixels, sheet: Sheet) -> Pixels:
    """Shade the land with light from the north-west."""
    relief = fall / (0.02 + heights.abs() * 0.02) * 150
    size = heights.width, heights.height
    light = _enlarged(relief + _noise(size, [(4, 16.0)], seed=90), sheet, "linear")
    land = (light * -0.8).cast("uchar").ifthenelse(_SHADOW, land, blend=True)
    return (light * 0.55).cast("uchar").ifthenelse(_LIGHT, land, blend=True)


def _contoured(land: Pixels, full: Pixels, pitch: Pixels, sheet: Sheet) -> Pixels:
    """Draw contour lines on the land, every fifth of them bold."""
    for step, wide, strength in ((_CONTOUR, 1.7, 0.55), (5 * _CONTOUR, 3.4, 0.75)):
        turns = full / step
        away = (turns - turns.rint()).abs() * step / pitch
        # Lines thinner than a pixel are one pixel wide and fainter.
        pixels = wide * sheet.scale
        share = (away * -255 + 255 * (max(1.0, pixels) / 2 + 0.5)).cast("uchar")
        ink = share.linear(strength * min(1.0, pixels), 0, uchar=True)
        land = ink.ifthenelse(_BROWN, land, blend=True)
    return land


def _sea(heights: Pixels, sheet: Sheet) -> Pixels:
    """Return the sea on the whole sheet, with lines along the shores."""
    away = (heights.shrink(2, 2) > 0).fill_nearest(distance=True)[1]["distance"]
    away = away.gaussblur(1.2, precision="float") * (2 * _STEP * _SEA_STEPS)
    table = pyvips.Image.new_from_array(_SEA_TINTS).buildlut()
    reach = max(1.8, 0.8 / sheet.scale)
    line = 16.0
    for number in range(_WATER_LINES):
        gap = (pyvips.Image.identity(ushort=True, size=table.width) / _SEA_STEPS - line).abs()
        ink = ((reach - gap) / max(1.0, 1 / sheet.scale) * 255 + 128).cast("uchar")
        fade = 0.62 * (1 - number / _WATER_LINES) ** 1.2 * min(1.0, 2.2 / reach)
        table += (table * -1 + _BLUE) * ink * (fade / 255)
        line += 15 + 4.2 * number
    return _enlarged(away, sheet).cast("ushort").maplut(table.cast("uchar").copy_memory())
