"""The grid of a pyramid, and which renditions are its tiles."""

from dataclasses import replace
from fractions import Fraction

import pytest

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions, square
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.iiif.rotation import Rotation
from iiif_server.plan.engine_choice import is_plain_jpeg, levels_for
from iiif_server.plan.grid import Grid, Tile

GRID = Grid(Dimensions(1000, 700), square(256))
UPRIGHT = Rotation(Fraction(0), mirror=False)


def rendition(
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    rotation: Rotation = UPRIGHT,
    quality: Quality = Quality.DEFAULT,
    format_: Format = Format.JPG,
) -> Rendition:
    return Rendition(Box(*box), Dimensions(*size), rotation, quality, format_)


def test_levels_go_down_to_one_tile() -> None:
    assert GRID.scale_factors == (1, 2, 4)
    assert [GRID.level(factor) for factor in GRID.scale_factors] == [
        Dimensions(1000, 700),
        Dimensions(500, 350),
        Dimensions(250, 175),
    ]


@pytest.mark.parametrize(
    ("box", "tile", "inside"),
    [
        (Box(0, 0, 256, 256), Tile(1, 0, 0), Box(0, 0, 256, 256)),
        (Box(272, 528, 64, 32), Tile(1, 1, 2), Box(16, 16, 64, 32)),
        (Box(768, 512, 232, 188), Tile(1, 3, 2), Box(0, 0, 232, 188)),
    ],
)
def test_a_box_within_one_tile_has_it_around(box: Box, tile: Tile, inside: Box) -> None:
    assert GRID.full_tile_around(box) == (tile, inside)


@pytest.mark.parametrize("box", [Box(0, 0, 257, 16), Box(240, 0, 32, 16), Box(0, 255, 1, 2)])
def test_a_box_across_tiles_has_none_around(box: Box) -> None:
    assert GRID.full_tile_around(box) is None


def test_tiles_of_a_level_lie_in_rows_and_end_with_the_image() -> None:
    assert list(GRID.tiles(2)) == [
        (Tile(2, 0, 0), Box(0, 0, 256, 256)),
        (Tile(2, 1, 0), Box(256, 0, 244, 256)),
        (Tile(2, 0, 1), Box(0, 256, 256, 94)),
        (Tile(2, 1, 1), Box(256, 256, 244, 94)),
    ]


@pytest.mark.parametrize(
    ("box", "size", "tile"),
    [
        ((0, 0, 256, 256), (256, 256), Tile(1, 0, 0)),
        ((768, 512, 232, 188), (232, 188), Tile(1, 3, 2)),  # the corner
        ((512, 0, 488, 512), (244, 256), Tile(2, 1, 0)),
        ((0, 512, 512, 188), (256, 94), Tile(2, 0, 1)),
        ((0, 0, 1000, 700), (250, 175), Tile(4, 0, 0)),  # the whole
        ((0, 0, 256, 256), (128, 128), None),  # a tile's region, another size
        ((0, 0, 255, 256), (255, 256), None),
        ((128, 0, 256, 256), (256, 256), None),  # off the grid
        ((256, 0, 512, 512), (256, 256), None),  # on the grid of another level
        ((0, 0, 1000, 700), (1000, 700), None),
        ((0, 0, 1000, 700), (125, 88), None),  # smaller than the smallest level
    ],
)
def test_tile_of_a_rendition(
    box: tuple[int, int, int, int], size: tuple[int, int], tile: Tile | None
) -> None:
    assert GRID.tile_of(rendition(box, size)) == tile


@pytest.mark.parametrize(
    ("box", "size", "placed"),
    [
        ((768, 512, 233, 191), (117, 96), None),  # not a tile: it fills its size
        ((512, 0, 489, 512), (245, 256), (512, 0, 490, 512)),
        ((512, 512, 489, 191), (245, 96), (512, 512, 490, 192)),
        ((512, 0, 489, 512), (123, 128), None),
        ((0, 0, 512, 512), (256, 256), (0, 0, 512, 512)),
        ((768, 512, 233, 191), (233, 191), (768, 512, 233, 191)),
        ((0, 0, 1001, 703), (251, 176), (0, 0, 1001, 703)),  # the whole image fills its size
    ],
)
def test_a_tile_is_placed_by_whole_pixels_of_its_level(
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    placed: tuple[int, int, int, int] | None,
) -> None:
    grid, asked = Grid(Dimensions(1001, 703), square(256)), rendition(box, size)
    assert grid.aligned(asked) == replace(asked, region=Box(*(placed or box)))


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({}, True),
        ({"format_": Format.PNG}, False),
        ({"quality": Quality.GRAY}, False),
        ({"rotation": Rotation(Fraction(90), mirror=False)}, False),
        ({"rotation": Rotation(Fraction(0), mirror=True)}, False),
    ],
)
def test_only_an_upright_jpeg_is_a_tile(given: dict[str, object], plain: bool) -> None:  # noqa: FBT001
    asked = rendition((0, 0, 256, 256), (256, 256), **given)  # type: ignore[arg-type]
    assert is_plain_jpeg(asked) is plain


@pytest.mark.parametrize(
    ("size", "factors"),
    [
        ((1000, 700), (1,)),
        ((2000, 1400), (1,)),  # upscaled: there is nothing better than full resolution
        ((501, 351), (1,)),
        ((500, 350), (2, 1)),
        ((250, 175), (4, 2, 1)),
        ((10, 7), (4, 2, 1)),
        ((250, 600), (1,)),  # the side that is scaled less decides
    ],
)
def test_levels_with_enough_pixels_the_least_first(
    size: tuple[int, int], factors: tuple[int, ...]
) -> None:
    assert levels_for(GRID, rendition((0, 0, 1000, 700), size)) == factors
