"""Requests are tiles of the grid if, and only if, viewers request them as tiles."""

from itertools import product
from math import ceil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions, Limits, square
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.region import parse_region
from iiif_server.iiif.request import ImageFacts, ImageRequest, Rendition
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import parse_size
from iiif_server.iiif.versions import V3
from iiif_server.plan.grid import Grid, Tile

images = st.builds(Dimensions, st.integers(1, 40_000), st.integers(1, 40_000))
tile_sizes = st.sampled_from([128, 256, 512, 1024, 4096]) | st.integers(1, 1000)


def factors_of(image: Dimensions, tile_size: int) -> list[int]:
    """Compute the scale factors of info.json from their definition."""
    factors = [1]
    while image.width > tile_size * factors[-1] or image.height > tile_size * factors[-1]:
        factors.append(factors[-1] * 2)
    return factors


def asked_by_a_viewer(
    image: Dimensions, tile_size: int, tile: Tile
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Return region and size of a tile (Image API 3.0, implementation notes, 1: image tiles)."""
    step = tile_size * tile.scale_factor
    x, y = tile.column * step, tile.row * step
    width, height = min(step, image.width - x), min(step, image.height - y)
    return (x, y, width, height), (
        ceil(width / tile.scale_factor),
        ceil(height / tile.scale_factor),
    )


def resolved(image: Dimensions, region: str, size: str) -> Rendition:
    request = ImageRequest(
        parse_region(region),
        parse_size(size, V3),
        parse_rotation("0"),
        Quality.DEFAULT,
        Format.JPG,
    )
    return request.resolve(ImageFacts(image, gray=False), Limits())


def rendition(image: Dimensions, box: tuple[int, ...], size: tuple[int, ...]) -> Rendition:
    return resolved(image, ",".join(map(str, box)), ",".join(map(str, size)))


@st.composite
def tiles(draw: st.DrawFn) -> tuple[Dimensions, int, Tile]:
    """Generate an image, a tile size, and a tile of any level, preferably at an edge."""
    image, tile_size = draw(images), draw(tile_sizes)
    factor = draw(st.sampled_from(factors_of(image, tile_size)))
    last = [ceil(side / (tile_size * factor)) - 1 for side in (image.width, image.height)]
    column, row = (draw(st.just(end) | st.integers(0, end)) for end in last)
    return image, tile_size, Tile(factor, column, row)


def ambiguous(size: tuple[int, int]) -> bool:
    """Whether the request is for one pixel, which can be the corner tile of two levels."""
    return size == (1, 1)


@given(tiles())
def test_the_request_for_a_tile_is_that_tile(asked: tuple[Dimensions, int, Tile]) -> None:
    image, tile_size, tile = asked
    box, size = asked_by_a_viewer(image, tile_size, tile)
    found = Grid(image, square(tile_size)).tile_of(rendition(image, box, size))
    assert found is not None
    if ambiguous(size):
        assert asked_by_a_viewer(image, tile_size, found) == (box, size)
    else:
        assert found == tile


@given(tiles())
def test_a_tile_that_hangs_over_the_edge_is_the_same(asked: tuple[Dimensions, int, Tile]) -> None:
    """Regions are clipped to the image (3.0, 4.1), so some viewers request whole tiles."""
    image, tile_size, tile = asked
    (x, y, *_), size = asked_by_a_viewer(image, tile_size, tile)
    assume(not ambiguous(size))
    step = tile_size * tile.scale_factor
    found = Grid(image, square(tile_size)).tile_of(rendition(image, (x, y, step, step), size))
    assert found == tile


@given(images, tile_sizes)
def test_the_last_level_is_the_full_image(image: Dimensions, tile_size: int) -> None:
    grid = Grid(image, square(tile_size))
    last = grid.scale_factors[-1]
    size = f"{ceil(image.width / last)},{ceil(image.height / last)}"
    assert grid.tile_of(resolved(image, "full", size)) == Tile(last, 0, 0)


@given(tiles())
def test_the_box_of_a_tile_has_the_size_asked_for(asked: tuple[Dimensions, int, Tile]) -> None:
    image, tile_size, tile = asked
    assume((image.width // tile_size + 1) * (image.height // tile_size + 1) < 3000)
    _, size = asked_by_a_viewer(image, tile_size, tile)
    box = dict(Grid(image, square(tile_size)).tiles(tile.scale_factor))[tile]
    assert (box.width, box.height) == size
    assert (box.x, box.y) == (tile.column * tile_size, tile.row * tile_size)


@given(tiles(), st.data())
def test_a_request_beside_a_tile_is_none(
    asked: tuple[Dimensions, int, Tile], data: st.DataObject
) -> None:
    """Slightly changed numbers are at most the request of another tile."""
    image, tile_size, tile = asked
    box, size = asked_by_a_viewer(image, tile_size, tile)
    numbers = [*box, *size]
    place = data.draw(st.integers(0, 5))
    numbers[place] += data.draw(st.sampled_from([-2, -1, 1, 2]))
    x, y, width, height, *_ = numbers
    assume(x >= 0 and y >= 0 and min(numbers[2:]) > 0)
    assume(x + width <= image.width and y + height <= image.height)
    beside = Rendition(
        Box(x, y, width, height),
        Dimensions(numbers[4], numbers[5]),
        parse_rotation("0"),
        Quality.DEFAULT,
        Format.JPG,
    )
    found = Grid(image, square(tile_size)).tile_of(beside)
    if found is not None:
        assert asked_by_a_viewer(image, tile_size, found) == (
            (x, y, width, height),
            (numbers[4], numbers[5]),
        )


@pytest.mark.parametrize("tile_size", [1, 2, 3])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (4, 3), (5, 5), (7, 2), (6, 4)])
def test_of_all_requests_for_a_small_image_exactly_the_tiles_are_tiles(
    width: int, height: int, tile_size: int
) -> None:
    image = Dimensions(width, height)
    grid = Grid(image, square(tile_size))
    expected: dict[tuple[tuple[int, ...], tuple[int, ...]], set[Tile]] = {}
    for factor in factors_of(image, tile_size):
        columns, rows = (ceil(side / (tile_size * factor)) for side in (width, height))
        for column, row in product(range(columns), range(rows)):
            tile = Tile(factor, column, row)
            expected.setdefault(asked_by_a_viewer(image, tile_size, tile), set()).add(tile)
    for x, y in product(range(width), range(height)):
        for w, h in product(range(1, width - x + 1), range(1, height - y + 1)):
            for size in product(range(1, w + 1), range(1, h + 1)):
                found = grid.tile_of(rendition(image, (x, y, w, h), size))
                wanted = expected.get(((x, y, w, h), size))
                assert found is None if wanted is None else found in wanted
