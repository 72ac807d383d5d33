"""The island itself: a field of heights."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pyvips

from iiif_server.commands.sample.sheet import DESIGN_WIDTH, Pixels, Sheet

STEP = 5
"""Design units to one pixel of a field of heights; a height of 1 is the highest imaginable."""
_LOWLAND = 0.004
_CELL = 25.0
_SHRINK = 5

# Land is where these hills overlap: centre, radii (in units of the sheet) and weight.
_HILLS = (
    (0.26, -0.03, 0.58, 0.44, 1.00), (0.78, -0.45, 0.34, 0.24, 0.75),
    (-0.34, 0.42, 0.46, 0.22, 0.72), (0.66, 0.52, 0.26, 0.28, 0.56),
    (-0.12, -0.58, 0.22, 0.20, 0.52), (-1.02, 0.02, 0.12, 0.10, 0.60),
    (1.16, 0.36, 0.09, 0.15, 0.58), (-0.66, -0.06, 0.09, 0.07, 0.50),
    (-0.86, 0.80, 0.10, 0.07, 0.54), (0.22, 0.86, 0.10, 0.05, 0.50),
    (1.18, -0.02, 0.06, 0.05, 0.48),
)  # fmt: skip


class Spot(NamedTuple):
    """A place on land: where it is, how high, and how good for trees."""

    x: float
    y: float
    height: float
    growth: float


def noise(size: tuple[int, int], octaves: Sequence[tuple[int, float]], seed: int) -> Pixels:
    """Perlin noise of several cell sizes, each with its own strength."""
    return sum(
        pyvips.Image.perlin(*size, cell_size=cell, seed=seed + number) * strength
        for number, (cell, strength) in enumerate(octaves)
    )


def _warped(size: tuple[int, int], octaves: Sequence[tuple[int, float]], seed: int) -> Pixels:
    """The coordinates of every pixel, pushed about by noise."""
    pushes = noise(size, octaves, seed).bandjoin(noise(size, octaves, seed + 10))
    return pyvips.Image.xyz(*size) + pushes


def heights(sheet: Sheet) -> Pixels:
    """Heights over the whole sheet, zero at the shore, before rivers have worn them."""
    columns, rows = int(DESIGN_WIDTH / _CELL), max(8, math.ceil(2 * sheet.middle[1] / _CELL))
    size = columns * _SHRINK, rows * _SHRINK
    place = _warped(size, ((336, 104), (112, 42), (38, 15)), seed=1)
    place = (place - [size[0] / 2, size[1] / 2]) / (sheet.unit / STEP)
    mass = -0.44
    for x, y, wide, high, weight in _HILLS:
        across, down = (place[0] - x) / wide, (place[1] - y) / high
        mass += (across * across + down * down).linear(-1, 0).exp() * weight
    detail = noise(size, [(192 >> n, 0.56**n) for n in range(6)], seed=30)
    crests = 0.0
    for n in range(5):
        folds = noise(size, [(208 >> n, 1.0)], seed=50 + n).abs().linear(-1.6, 1)
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
    growth = noise((small.width, small.height), ((30, 1.0), (12, 0.5), (5, 0.25)), seed=140)
    values = memoryview(small.bandjoin(growth).cast("float").write_to_memory()).cast("f")
    found = []
    for cell, height in enumerate(values[::2]):
        if height > _LOWLAND:
            x = (cell % small.width + 0.1 + cell * 0.7549 % 0.8) * _CELL
            y = (cell // small.width + 0.1 + cell * 0.5698 % 0.8) * _CELL
            found.append(Spot(x, y, height, values[2 * cell + 1]))
    return found
