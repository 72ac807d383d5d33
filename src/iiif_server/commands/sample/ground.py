"""The map without its ink: tints, relief, contours, shore, water-lines and old paper.

All of it is computed per pixel at full size, so that it stays crisp at 100 %.
"""

import math

import pyvips

from iiif_server.commands.sample.sheet import Pixels, Sheet
from iiif_server.commands.sample.terrain import STEP, noise

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


def ground(heights: Pixels, sheet: Sheet) -> Pixels:
    """The map within the frame, and paper around it."""
    slope = pyvips.Image.new_from_array([[-1, 0, 1]], scale=2)
    fall = [heights.conv(mask, precision="float") for mask in (slope, slope.rot90())]
    steep = (fall[0] * fall[0] + fall[1] * fall[1]) ** 0.5 / (STEP * sheet.scale)
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
    light = _enlarged(relief + noise(size, [(4, 16.0)], seed=90), sheet, "linear")
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
    away = away.gaussblur(1.2, precision="float") * (2 * STEP * _SEA_STEPS)
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


def aged(image: Pixels, sheet: Sheet) -> Pixels:
    """The picture as if printed on old paper: grain, stains, and edges gone brown."""
    small = 32
    size = math.ceil(sheet.width / small), math.ceil(sheet.height / small)
    edge = (pyvips.Image.xyz(*size) / [size[0] / 2, size[1] / 2] - 1).abs() ** 7
    stains = noise(size, ((60, 1.0), (24, 0.5), (9, 0.25)), seed=110)
    worn = stains * 4.5 - (edge[0] + edge[1]) * (10 + stains * 9)
    worn = _enlarged((worn * [1.0, 1.15, 1.5]).cast("short"), sheet, "linear")
    grain = pyvips.Image.perlin(*sheet, cell_size=max(2, round(7 * sheet.scale)), seed=120) * 5
    # Whole numbers are enough here, and much quicker than fractions on this many pixels.
    return (image + worn + grain.cast("char")).cast("uchar").copy(interpretation="srgb")
