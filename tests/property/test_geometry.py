"""Geometry: tiles, sizes and limits of every image."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iiif_server.iiif.geometry import (
    Dimensions,
    Limits,
    announced_sizes,
    offered_sizes,
    offered_tile,
    scale_factors,
    square,
    tile_boxes,
)

images = st.builds(Dimensions, st.integers(1, 20_000), st.integers(1, 20_000))
bounds = st.none() | st.integers(1, 30_000)
areas = st.none() | st.integers(1, 10**9)
limits_on_size = st.one_of(
    st.just(Limits()),
    st.builds(Limits, st.integers(1, 30_000), bounds, areas),
    st.builds(Limits, st.none(), st.none(), areas),
)


@pytest.mark.parametrize("tile_size", [1, 2, 3, 4])
@pytest.mark.parametrize(("width", "height"), list(product(range(1, 10), range(1, 10))))
def test_tiles_of_each_level_cover_a_small_image_exactly(
    width: int, height: int, tile_size: int
) -> None:
    image = Dimensions(width, height)
    for factor in scale_factors(image, square(tile_size)):
        covered = sorted(
            (x, y)
            for box in tile_boxes(image, square(tile_size), factor)
            for x in range(box.x, box.x + box.width)
            for y in range(box.y, box.y + box.height)
        )
        assert covered == sorted(product(range(width), range(height)))


@given(images, st.sampled_from([64, 256, 512, 1000, 1024]))
def test_tiles_of_each_level_cover_the_image_exactly(image: Dimensions, tile_size: int) -> None:
    for factor in scale_factors(image, square(tile_size)):
        boxes = list(tile_boxes(image, square(tile_size), factor))
        columns = sorted({(box.x, box.width) for box in boxes})
        rows = sorted({(box.y, box.height) for box in boxes})
        # a grid: every column meets every row once, and they follow each other without a gap
        assert len(boxes) == len(columns) * len(rows) == len(set(boxes))
        for spans, side in ((columns, image.width), (rows, image.height)):
            assert spans[0][0] == 0
            assert all(start + extent == then for (start, extent), (then, _) in pairwise(spans))
            assert sum(spans[-1]) == side
            assert all(0 < extent <= tile_size * factor for _, extent in spans)


@given(images, st.integers(1, 2048))
def test_scale_factors_are_powers_of_two_up_to_one_tile(image: Dimensions, tile_size: int) -> None:
    factors = scale_factors(image, square(tile_size))
    assert factors == tuple(2**level for level in range(len(factors)))
    *more, last = (
        len(list(tile_boxes(image, square(tile_size), factor))) for factor in factors[-2:]
    )
    assert last == 1
    assert all(count > 1 for count in more)


@given(images, st.integers(1, 500), limits_on_size)
def test_offered_sizes_are_ascending(image: Dimensions, min_size: int, limits: Limits) -> None:
    sizes = offered_sizes(image, min_size, limits)
    assert sizes
    for smaller, larger in pairwise(sizes):
        assert smaller.width <= larger.width
        assert smaller.height <= larger.height
        assert smaller != larger


@given(images, st.integers(1, 500), limits_on_size)
def test_offered_sizes_are_within_the_limits(
    image: Dimensions, min_size: int, limits: Limits
) -> None:
    assert all(limits.allow(size) for size in offered_sizes(image, min_size, limits))


@given(images, st.integers(1, 500), limits_on_size)
def test_offered_sizes_are_the_image_divided_by_a_scale_factor(
    image: Dimensions, min_size: int, limits: Limits
) -> None:
    levels = {image.reduced(2**level) for level in range(16)}
    sizes = set(offered_sizes(image, min_size, limits))
    assert sizes <= levels or sizes == {limits.largest(image)}
    if limits.allow(image):
        assert image in sizes


@given(images, st.integers(1, 500), limits_on_size, st.integers(1, 2048))
def test_sizes_of_info_json_are_levels_for_openseadragon(
    image: Dimensions, min_size: int, limits: Limits, tile_size: int
) -> None:
    factors = scale_factors(image, offered_tile(square(tile_size), limits))
    sizes = list(announced_sizes(image, min_size, limits, factors))
    levels = [image.reduced(factor) for factor in reversed(factors)]
    highest = len(factors) - 1
    if len(sizes) in {highest, highest + 1}:  # as in OpenSeadragon 5.0.1
        taken = sorted(sizes, key=lambda size: size.width)
        assert levels == (taken if len(sizes) == highest + 1 else [*taken, image])
    assert set(offered_sizes(image, min_size, limits)) <= set(sizes)


@given(limits_on_size)
def test_full_tile_is_within_the_limits(limits: Limits) -> None:
    size = offered_tile(square(512), limits).width
    assert limits.allow(Dimensions(size, size))
    assert size == 512 or not limits.allow(Dimensions(size * 2, size * 2))


@given(images, limits_on_size)
def test_largest_size_is_within_the_limits(image: Dimensions, limits: Limits) -> None:
    largest = limits.largest(image)
    assert largest == image or limits.allow(largest)


@given(images, limits_on_size)
def test_largest_size_plus_one_pixel_exceeds_the_limits(image: Dimensions, limits: Limits) -> None:
    largest = limits.largest(image)
    assert limits == Limits() or not limits.allow(Dimensions(largest.width + 1, largest.height + 1))


@given(images, st.integers(0, 15))
def test_dimensions_at_a_scale_factor_are_rounded_up(image: Dimensions, level: int) -> None:
    reduced = image.reduced(2**level)
    for side, whole in ((reduced.width, image.width), (reduced.height, image.height)):
        assert (side - 1) * 2**level < whole <= side * 2**level
