"""The island of the sample sheet: heights, and the map of them in colours."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import pyvips

Pixels: TypeAlias = Any
"""A `pyvips.Image`: the library declares no types."""
Point: TypeAlias = tuple[float, float]

_DESIGN_WIDTH = 9000.0
"""The width of the sheet in design units, at every size in pixels."""
_MARGIN = 400.0
_STEP = 5
"""Design units to one pixel of a field of heights; a height of 1 is the highest imaginable."""
_LOWLAND = 0.004
_CELL = 25.0
_SHRINK = 5

_PAPER = [241, 231, 205]
_INK = [58, 45, 36]
_BROWN = [150, 104, 66]
_SHADOW = [74, 62, 78]
_LIGHT = [255, 248, 224]
_BLUE = [66, 110, 128]

# Tables of colours: an index, and red, green and blue there.
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
    """An upright rectangle in design units."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two rectangles share any ground."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def grown(self, by: float) -> "Box":
        """The rectangle with every side moved outwards."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


class Sheet(NamedTuple):
    """The size of the sheet in pixels, and what follows from it in design units."""

    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels to one design unit."""
        return self.width / _DESIGN_WIDTH

    @property
    def middle(self) -> Point:
        """The middle of the sheet."""
        return _DESIGN_WIDTH / 2, self.height / self.scale / 2

    @property
    def unit(self) -> float:
        """The measure that the island is laid out by: not quite half the height of the sheet."""
        return min(_DESIGN_WIDTH * 0.375, self.middle[1]) * 0.89

    @property
    def chart(self) -> Box:
        """The inside of the frame, where the map is."""
        x, y = self.middle
        return Box(0, 0, 2 * x, 2 * y).grown(-_MARGIN)


class Spot(NamedTuple):
    """A place on land: where it is, how high, and how good for trees."""

    x: float
    y: float
    height: float
    growth: float


def _noise(size: tuple[int, int], octaves: Sequence[tuple[int, float]], seed: int) -> Pixels:
    """Perlin noise of several cell sizes, each with its own strength."""
    return sum(
        pyvips.Image.perlin(*size, cell_size=cell, seed=seed + number) * strength
        for number, (cell, strength) in enumerate(octaves)
    )


def _warped(size: tuple[int, int], octaves: Sequence[tuple[int, float]], seed: int) -> Pixels:
    """The coordinates of every pixel, pushed about by noise."""
    pushes = _noise(size, octaves, seed).bandjoin(_noise(size, octaves, seed + 10))
    return pyvips.Image.xyz(*size) + pushes


def heights(sheet: Sheet) -> Pixels:
    """Heights over the whole sheet, zero at the shore, before rivers have worn them."""
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
    # Warping the noise hides the grid that Perlin noise is made on.
    bent = _warped(size, ((128, 36), (40, 11)), seed=70)
    bilinear = pyvips.Interpolate.new("bilinear")
    both = detail.bandjoin(crests).copy_memory()
    detail, crests = both.mapim(bent, interpolate=bilinear, extend="mirror").bandsplit()
    land = mass + detail * 0.25
    inner = (land - 0.02) * 1.25
    inner = (inner < 0).ifthenelse(0, inner)
    return (land * 0.27 + inner * (crests * 0.85 + 0.05)).cast("float").copy_memory()


def spots(field: Pixels) -> list[Spot]:
    """Places all over the land, a little off a grid so that no grid shows."""
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
    """The map within the frame, and paper around it."""
    slope = pyvips.Image.new_from_array([[-1, 0, 1]], scale=2)
    fall = [heights.conv(mask, precision="float") for mask in (slope, slope.rot90())]
    steep = (fall[0] * fall[0] + fall[1] * fall[1]) ** 0.5 / (_STEP * sheet.scale)
    pitch = _enlarged(steep.gaussblur(1, precision="float") + 1e-6, sheet, "linear")
    full = _enlarged(heights, sheet)
    tints = pyvips.Image.new_from_array(_LAND_TINTS).buildlut().cast("uchar")
    land = (full * tints.width).cast("ushort").maplut(tints)
    land = _contoured(_shaded(land, heights, fall[0] + fall[1], sheet), full, pitch, sheet)
    # How far off the shore is, in pixels.
    shore = full / pitch
    map_ = (shore * -255 + 127).cast("uchar").ifthenelse(_sea(heights, sheet), land, blend=True)
    coast = (shore.abs() * -255 + max(1.0, 5 * sheet.scale) * 128 + 60).cast("uchar")
    map_ = coast.ifthenelse(_INK, map_, blend=True)
    left, top, right, bottom = (round(edge * sheet.scale) for edge in sheet.chart)
    return map_.crop(left, top, max(1, right - left), max(1, bottom - top)).embed(
        left, top, sheet.width, sheet.height, extend="background", background=_PAPER
    )


def _enlarged(field: Pixels, sheet: Sheet, kernel: str = "cubic") -> Pixels:
    """A field over the terrain grid, brought to the size of the sheet."""
    scale = sheet.width / field.width
    fitted = field.copy_memory().resize(scale, kernel="linear" if scale < 1 else kernel)
    return fitted.embed(0, 0, sheet.width, sheet.height, extend="copy")


def _shaded(land: Pixels, heights: Pixels, fall: Pixels, sheet: Sheet) -> Pixels:
    """The land lit from the north-west: ground falling that way is light, the rest in shade."""
    relief = fall / (0.02 + heights.abs() * 0.02) * 150
    size = heights.width, heights.height
    light = _enlarged(relief + _noise(size, [(4, 16.0)], seed=90), sheet, "linear")
    land = (light * -0.8).cast("uchar").ifthenelse(_SHADOW, land, blend=True)
    return (light * 0.55).cast("uchar").ifthenelse(_LIGHT, land, blend=True)


def _contoured(land: Pixels, full: Pixels, pitch: Pixels, sheet: Sheet) -> Pixels:
    """The land with contour lines, every fifth of them bold."""
    for step, wide, strength in ((_CONTOUR, 1.7, 0.55), (5 * _CONTOUR, 3.4, 0.75)):
        turns = full / step
        away = (turns - turns.rint()).abs() * step / pitch
        # A line thinner than a pixel is drawn a pixel wide, but fainter.
        pixels = wide * sheet.scale
        share = (away * -255 + 255 * (max(1.0, pixels) / 2 + 0.5)).cast("uchar")
        ink = share.linear(strength * min(1.0, pixels), 0, uchar=True)
        land = ink.ifthenelse(_BROWN, land, blend=True)
    return land


def _sea(heights: Pixels, sheet: Sheet) -> Pixels:
    """The sea everywhere, as if there were no land, with water-lines along the shores."""
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
