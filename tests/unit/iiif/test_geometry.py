"""Whole-pixel geometry: rounding, limits, scale factors, tiles, sizes."""

from fractions import Fraction

import pytest

from iiif_server.iiif.geometry import (
    Box,
    Dimensions,
    Limits,
    OutputLimits,
    announced_sizes,
    offered_sizes,
    offered_tile,
    round_half_up,
    scale_factors,
    square,
    tile_boxes,
)

UNLIMITED = Limits()


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (Fraction(0), 0),
        (Fraction(1, 2), 1),
        (Fraction(3, 2), 2),
        (Fraction(5, 2), 3),
        (Fraction(49, 100), 0),
        (Fraction(149_999, 100_000), 1),
        (Fraction(7), 7),
        (Fraction(-1, 2), 0),
        (Fraction(2 * 10**20 + 1, 2), 10**20 + 1),
    ],
)
def test_halves_are_rounded_upward(value: Fraction, rounded: int) -> None:
    assert round_half_up(value) == rounded


@pytest.mark.parametrize(
    ("factor", "reduced"),
    [
        (1, Dimensions(1001, 701)),
        (2, Dimensions(501, 351)),
        (4, Dimensions(251, 176)),
        (1024, Dimensions(1, 1)),
    ],
)
def test_dimensions_at_a_scale_factor_are_rounded_up(factor: int, reduced: Dimensions) -> None:
    assert Dimensions(1001, 701).reduced(factor) == reduced


def test_a_quarter_turn_exchanges_width_and_height() -> None:
    assert Dimensions(3, 2).transposed() == Dimensions(2, 3)


@pytest.mark.parametrize(
    ("box", "covers"),
    [
        (Box(0, 0, 3, 2), True),
        (Box(0, 0, 2, 3), False),
        (Box(0, 0, 3, 1), False),
        (Box(1, 0, 3, 2), False),
        (Box(0, 1, 3, 2), False),
    ],
)
def test_a_box_covers_an_image_only_if_it_is_all_of_it(box: Box, *, covers: bool) -> None:
    assert box.covers(Dimensions(3, 2)) is covers


@pytest.mark.parametrize(
    ("limits", "size", "allowed"),
    [
        (UNLIMITED, Dimensions(10**6, 10**6), True),
        (Limits(max_width=100), Dimensions(100, 100), True),
        (Limits(max_width=100), Dimensions(101, 1), False),
        # "If maxWidth is specified and maxHeight is not, [...] maxHeight = maxWidth" (3.0, 5.2)
        (Limits(max_width=100), Dimensions(1, 101), False),
        (Limits(100, 50), Dimensions(100, 50), True),
        (Limits(100, 50), Dimensions(100, 51), False),
        (Limits(100, 200), Dimensions(100, 200), True),
        (Limits(max_area=5000), Dimensions(5000, 1), True),
        (Limits(max_area=5000), Dimensions(71, 71), False),
        (Limits(3000, 2000, 4_000_000), Dimensions(2000, 2000), True),
        (Limits(3000, 2000, 4_000_000), Dimensions(3000, 2000), False),
    ],
)
def test_width_height_and_area_limit_independently(
    limits: Limits, size: Dimensions, *, allowed: bool
) -> None:
    assert limits.allow(size) is allowed


@pytest.mark.parametrize(
    ("limits", "region", "largest"),
    [
        (UNLIMITED, Dimensions(300, 200), Dimensions(300, 200)),
        (Limits(max_width=360), Dimensions(300, 200), Dimensions(360, 240)),
        (Limits(max_width=150), Dimensions(300, 200), Dimensions(150, 100)),
        (Limits(max_width=150), Dimensions(200, 300), Dimensions(100, 150)),
        (Limits(150, 60), Dimensions(300, 200), Dimensions(90, 60)),
        (Limits(max_area=150 * 100), Dimensions(300, 200), Dimensions(150, 100)),
        (Limits(max_area=600 * 400), Dimensions(300, 200), Dimensions(600, 400)),
        (Limits(1000, 1000, 150 * 100), Dimensions(300, 200), Dimensions(150, 100)),
        (Limits(max_width=10), Dimensions(1000, 3), Dimensions(10, 1)),
        # the whole of the area, where the root of its ratio is no finite decimal too
        (Limits(max_area=100 * 100), Dimensions(300, 300), Dimensions(100, 100)),
        (Limits(max_area=4_000_000), Dimensions(6000, 6000), Dimensions(2000, 2000)),
        (Limits(max_area=2000 * 1000), Dimensions(6000, 3000), Dimensions(2000, 1000)),
    ],
)
def test_the_largest_size_keeps_the_aspect_ratio_and_touches_a_limit(
    limits: Limits, region: Dimensions, largest: Dimensions
) -> None:
    assert limits.largest(region) == largest


@pytest.mark.parametrize(
    ("limits", "region"),
    [
        (Limits(max_area=100), Dimensions(10_000, 1)),
        (Limits(max_area=100), Dimensions(1, 10_000)),
        (Limits(max_area=7), Dimensions(1_000, 3)),
        (Limits(max_width=1), Dimensions(10_000, 3)),
    ],
)
def test_the_largest_size_of_a_very_thin_region_is_within_the_limits(
    limits: Limits, region: Dimensions
) -> None:
    assert limits.allow(limits.largest(region))


@pytest.mark.parametrize(
    ("image", "tile_size", "factors"),
    [
        (Dimensions(6000, 4000), 512, (1, 2, 4, 8, 16)),  # the example of the specification
        (Dimensions(512, 512), 512, (1,)),
        (Dimensions(513, 1), 512, (1, 2)),
        (Dimensions(1, 513), 512, (1, 2)),
        (Dimensions(1024, 1024), 512, (1, 2)),
        (Dimensions(1025, 1024), 512, (1, 2, 4)),
        (Dimensions(1, 1), 512, (1,)),
        (Dimensions(5, 3), 1, (1, 2, 4, 8)),
    ],
)
def test_scale_factors_end_where_the_image_fits_into_one_tile(
    image: Dimensions, tile_size: int, factors: tuple[int, ...]
) -> None:
    assert scale_factors(image, square(tile_size)) == factors


@pytest.mark.parametrize(
    ("factor", "boxes"),
    [
        (
            1,
            [
                Box(0, 0, 512, 512),
                Box(512, 0, 488, 512),
                Box(0, 512, 512, 188),
                Box(512, 512, 488, 188),
            ],
        ),
        (2, [Box(0, 0, 1000, 700)]),
    ],
)
def test_tiles_come_in_rows_and_are_cut_at_the_edges(factor: int, boxes: list[Box]) -> None:
    assert list(tile_boxes(Dimensions(1000, 700), square(512), factor)) == boxes


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        (UNLIMITED, 512),
        (Limits(max_width=512), 512),
        (Limits(max_width=511), 256),
        (Limits(1024, 300), 256),
        (Limits(max_area=512 * 512), 512),
        (Limits(max_area=512 * 512 - 1), 256),
        (Limits(max_area=100), 8),
        (Limits(max_width=1), 1),
    ],
)
def test_full_tile_is_within_the_limits(limits: Limits, size: int) -> None:
    assert offered_tile(square(512), limits) == square(size)


@pytest.mark.parametrize(
    ("image", "min_size", "limits", "sizes"),
    [
        (
            Dimensions(6000, 4000),
            200,
            UNLIMITED,
            [(375, 250), (750, 500), (1500, 1000), (3000, 2000), (6000, 4000)],
        ),
        (
            Dimensions(6000, 4000),
            200,
            Limits(3000, 2000, 4_000_000),
            [(375, 250), (750, 500), (1500, 1000)],
        ),
        (Dimensions(6000, 4000), 200, Limits(max_width=1000), [(375, 250), (750, 500)]),
        # the height is bounded by maxWidth as well
        (Dimensions(400, 6000), 200, Limits(max_width=4000), [(200, 3000)]),
        # rounded up, as the levels of `tiles` are
        (Dimensions(1001, 701), 176, UNLIMITED, [(251, 176), (501, 351), (1001, 701)]),
        (Dimensions(1001, 701), 177, UNLIMITED, [(501, 351), (1001, 701)]),
        # the full size is offered however small
        (Dimensions(100, 50), 200, UNLIMITED, [(100, 50)]),
        (Dimensions(1, 1), 200, UNLIMITED, [(1, 1)]),
        (Dimensions(3, 2), 1, UNLIMITED, [(1, 1), (2, 1), (3, 2)]),
        # nothing fits: the largest that may be asked for
        (Dimensions(300, 300), 200, Limits(max_width=120), [(120, 120)]),
    ],
)
def test_offered_sizes_are_halvings_within_the_limits_ascending(
    image: Dimensions, min_size: int, limits: Limits, sizes: list[tuple[int, int]]
) -> None:
    assert offered_sizes(image, min_size, limits) == tuple(Dimensions(*size) for size in sizes)


@pytest.mark.parametrize(
    ("image", "sizes"),
    [
        ((1031, 3000), [(129, 375), (258, 750), (516, 1500), (1031, 3000)]),
        ((1000, 350), [(500, 175), (1000, 350)]),
        ((300, 200), [(300, 200)]),
        ((300, 3000), [(300, 3000)]),  # far fewer than levels
    ],
)
def test_there_is_one_size_for_each_level_where_all_but_one_would_be_announced(
    image: tuple[int, int], sizes: list[tuple[int, int]]
) -> None:
    dimensions = Dimensions(*image)
    factors = scale_factors(dimensions, square(512))
    assert announced_sizes(dimensions, 200, UNLIMITED, factors) == tuple(
        Dimensions(*size) for size in sizes
    )


def test_an_offered_size_of_a_very_thin_image_is_within_the_limits() -> None:
    # "Servers MUST ensure that sizes specified by any sizes or tiles properties are within any
    #  size limits expressed" -- Image API 3.0, 5.2
    limits = Limits(max_area=100)
    assert all(limits.allow(size) for size in offered_sizes(Dimensions(10_000, 1), 200, limits))


@pytest.mark.parametrize(
    ("limits", "image", "published"),
    [
        (OutputLimits(), square(200), Limits()),
        (OutputLimits(max_area=100), square(200), Limits(max_area=100)),
        (OutputLimits(max_upscale_area=50_000), square(200), Limits(max_area=50_000)),
        (OutputLimits(max_upscale_area=40_000), square(200), Limits(max_area=40_000)),
        (OutputLimits(max_upscale_area=39_999), square(200), Limits(max_area=40_000)),
        (OutputLimits(None, None, 30_000, 50_000), square(200), Limits(max_area=30_000)),
        (OutputLimits(None, None, 30_000, 10_000), square(200), Limits(max_area=30_000)),
        (OutputLimits(500, 300, None, 1), square(200), Limits(500, 300, 40_000)),
    ],
)
def test_an_image_publishes_the_bound_on_upscaling_or_its_own_area(
    limits: OutputLimits, image: Dimensions, published: Limits
) -> None:
    assert limits.of(image) == published
