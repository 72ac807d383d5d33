"""Paths of image requests, relative to an image, the same for every server."""

import math
import random

from bench.images import BenchImage

TILE = 512
VIEWPORT = (1200, 800)
ASPECT = 0.7
"""Height over width of the regions."""


def scale_factors(image: BenchImage, tile: int = TILE) -> list[int]:
    """Return 1, 2, 4, ... up to the level that is one tile."""
    factors = [1]
    while max(image.width, image.height) > tile * factors[-1]:
        factors.append(factors[-1] * 2)
    return factors


def tile_path(image: BenchImage, factor: int, column: int, row: int, tile: int = TILE) -> str:
    """Return the request of a viewer for one tile (Image API 3.0, 4.7, in canonical form)."""
    step = tile * factor
    x, y = column * step, row * step
    width, height = min(step, image.width - x), min(step, image.height - y)
    size = f"{math.ceil(width / factor)},{math.ceil(height / factor)}"
    return f"/{x},{y},{width},{height}/{size}/0/default.jpg"


def all_tiles(image: BenchImage, tile: int = TILE) -> list[str]:
    """Return the tiles of all levels."""
    return [
        tile_path(image, factor, column, row, tile)
        for factor in scale_factors(image, tile)
        for row in range(math.ceil(image.height / (tile * factor)))
        for column in range(math.ceil(image.width / (tile * factor)))
    ]


def first_view(image: BenchImage) -> tuple[list[str], list[str]]:
    """What OpenSeadragon asks for on opening an image, and when one zooms in by two.

    It asks for the visible tiles of every level, from the one that fits one tile to the last that
    is not reduced by more than two on the screen (`minPixelRatio` 0.5); coarse levels first and, in
    a level, from the middle outward.
    """
    fit = min(VIEWPORT[0] / image.width, VIEWPORT[1] / image.height)
    opening = _visible(image, fit)
    step_in = [path for path in _visible(image, min(1.0, fit * 2)) if path not in opening]
    return opening, step_in


def _visible(image: BenchImage, zoom: float) -> list[str]:
    paths = []
    across, down = VIEWPORT[0] / zoom, VIEWPORT[1] / zoom  # in pixels of the original
    left, top = max(0.0, (image.width - across) / 2), max(0.0, (image.height - down) / 2)
    right, bottom = min(image.width, left + across), min(image.height, top + down)
    for factor in reversed(scale_factors(image)):
        if zoom * factor < 0.5:  # noqa: PLR2004 - OpenSeadragon's default
            break
        step = TILE * factor
        places = [
            (column, row)
            for row in range(int(top // step), math.ceil(bottom / step))
            for column in range(int(left // step), math.ceil(right / step))
        ]
        middle = (image.width / 2 / step - 0.5, image.height / 2 / step - 0.5)
        places.sort(key=lambda place: (math.dist(place, middle), place))
        paths += [tile_path(image, factor, column, row) for column, row in places]
    return paths


def regions(image: BenchImage, count: int, seed: int) -> list[str]:
    """Return regions off every grid, 800-4000 pixels wide, reduced to 400-900."""
    return [_region(image, random.Random(f"{seed} {n}"), "0") for n in range(count)]


def rotations(image: BenchImage, count: int, seed: int) -> list[str]:
    """Return such regions, rotated by quarters."""
    return [
        _region(image, random.Random(f"{seed} {n}"), ("90", "180", "270")[n % 3])
        for n in range(count)
    ]


def thumbnails(count: int, seed: int) -> list[str]:
    """Return whole images 150-600 pixels wide, each width once."""
    widths = random.Random(seed).sample(range(150, 600), count)
    return [f"/full/{width},/0/default.jpg" for width in widths]


def _region(image: BenchImage, chance: random.Random, rotation: str) -> str:
    width = chance.randint(800, min(4000, image.width - 1))
    height = int(width * ASPECT)
    x, y = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
    size = chance.randint(400, min(900, width))
    return f"/{x},{y},{width},{height}/{size},/{rotation}/default.jpg"
