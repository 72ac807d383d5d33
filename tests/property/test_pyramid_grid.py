"""Requests of viewers for tiles, and no others, are tiles of the grid."""

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
    """Return the scale factors of info.json, from their definition."""
    factors = [1]
    while image.width > tile_size * factors[-1] or image.height > tile_size * factors[-1]:
        factors.append(factors[-1] * 2)
    return factors


def viewer_request(
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
def any_tile(draw: st.DrawFn) -> tuple[Dimensions, int, Tile]:
    """Draw an image, a tile size, and a tile of any level, at the edges more often."""
    image, tile_size = draw(images), draw(tile_sizes)
    factor = draw(st.sampled_from(factors_of(image, tile_size)))
    last = [ceil(side / (tile_size * factor)) - 1 for side in (image.width, image.height)]
    column, row = (draw(st.just(end) | st.integers(0, end)) for end in last)
    return image, tile_size, Tile(factor, column, row)


def ambiguous(size: tuple[int, int]) -> bool:
    """Return whether the request is for one pixel, which may be the corner tile of two levels."""
    return size == (1, 1)


@given(any_tile())
def test_request_of_a_viewer_is_its_tile(example: tuple[Dimensions, int, Tile]) -> None:
    image, tile_size, tile = example
    box, size = viewer_request(image, tile_size, tile)
    found = Grid(image, square(tile_size)).tile_of(rendition(image, box, size))
    assert found is not None
    if ambiguous(size):
        assert viewer_request(image, tile_size, found) == (box, size)
    else:
        assert found == tile


@given(any_tile())
def test_tile_region_beyond_the_edge_is_the_same_tile(
    example: tuple[Dimensions, int, Tile],
) -> None:
    """The region is cropped at the edge (3.0, 4.1), so some viewers request whole steps."""
    image, tile_size, tile = example
    (x, y, *_), size = viewer_request(image, tile_size, tile)
    assume(not ambiguous(size))
    step = tile_size * tile.scale_factor
    found = Grid(image, square(tile_size)).tile_of(rendition(image, (x, y, step, step), size))
    assert found == tile


@given(images, tile_sizes)
def test_last_level_is_the_full_image(image: Dimensions, tile_size: int) -> None:
    grid = Grid(image, square(tile_size))
    last = grid.scale_factors[-1]
    size = f"{ceil(image.width / last)},{ceil(image.height / last)}"
    assert grid.tile_of(resolved(image, "full", size)) == Tile(last, 0, 0)


@given(any_tile())
def test_box_of_a_tile_has_the_requested_size(example: tuple[Dimensions, int, Tile]) -> None:
    image, tile_size, tile = example
    assume((image.width // tile_size + 1) * (image.height // tile_size + 1) < 3000)
    _, size = viewer_request(image, tile_size, tile)
    box = dict(Grid(image, square(tile_size)).tiles(tile.scale_factor))[tile]
    assert (box.width, box.height) == size
    assert (box.x, box.y) == (tile.column * tile_size, tile.row * tile_size)


@given(any_tile(), st.data())
def test_request_next_to_a_tile_is_not_that_tile(
    example: tuple[Dimensions, int, Tile], data: st.DataObject
) -> None:
    """Each number differs a little: it may be another tile's request, never this tile's."""
    image, tile_size, tile = example
    box, size = viewer_request(image, tile_size, tile)
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
        assert viewer_request(image, tile_size, found) == (
            (x, y, width, height),
            (numbers[4], numbers[5]),
        )


@pytest.mark.parametrize("tile_size", [1, 2, 3])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (4, 3), (5, 5), (7, 2), (6, 4)])
def test_exactly_the_tile_requests_of_a_small_image_are_tiles(
    width: int, height: int, tile_size: int
) -> None:
    image = Dimensions(width, height)
    grid = Grid(image, square(tile_size))
    expected: dict[tuple[tuple[int, ...], tuple[int, ...]], set[Tile]] = {}
    for factor in factors_of(image, tile_size):
        columns, rows = (ceil(side / (tile_size * factor)) for side in (width, height))
        for column, row in product(range(columns), range(rows)):
            tile = Tile(factor, column, row)
            expected.setdefault(viewer_request(image, tile_size, tile), set()).add(tile)
    for x, y in product(range(width), range(height)):
        for w, h in product(range(1, width - x + 1), range(1, height - y + 1)):
            for size in product(range(1, w + 1), range(1, h + 1)):
                found = grid.tile_of(rendition(image, (x, y, w, h), size))
                tiles_at = expected.get(((x, y, w, h), size))
                assert found is None if tiles_at is None else found in tiles_at
