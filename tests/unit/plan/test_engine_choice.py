"""Choice of the engine, and of the pyramid levels for a rendition."""

from dataclasses import replace
from fractions import Fraction

import pytest

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions, square
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.iiif.rotation import Rotation, parse_rotation
from iiif_server.plan.build_plan import cuts_losslessly, first_reduced, part_of
from iiif_server.plan.engine_choice import (
    MAX_PIXELS_TO_CROP,
    choose_engine,
    is_plain_jpeg,
    levels_for,
    prefers_level,
    required_oversampling,
)
from iiif_server.plan.grid import Grid, Part
from iiif_server.plan.header import Colour, ImageHeader, JpegFacts, Profile
from iiif_server.plan.orientation import FROM_EXIF, Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import (
    MAX_PROFILE_BYTES,
    Engine,
    ProfileAction,
    operations_on_level,
    plan_operations,
)
from support import headers

STORED = Dimensions(4000, 3000)
GRID = Grid(STORED, square(512))  # 1, 2, 4, 8
NO_ROTATION = Rotation(Fraction(0), mirror=False)
RENDITION = Rendition(
    Box(0, 0, 4000, 3000), Dimensions(400, 300), NO_ROTATION, Quality.DEFAULT, Format.JPG
)
JPEG = replace(headers.JPEG, stored=STORED)
PNG = replace(JPEG, format=OriginalFormat.PNG, max_shrink=1, jpeg=None)
WIDE = replace(JPEG, profile=Profile.OTHER, profile_bytes=500)


def of(box: tuple[int, int, int, int], size: tuple[int, int]) -> Rendition:
    return replace(RENDITION, region=Box(*box), size=Dimensions(*size))


# --- levels_for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "size", "levels"),
    [
        ((0, 0, 4000, 3000), (4000, 3000), (1,)),
        ((0, 0, 4000, 3000), (2001, 1501), (1,)),
        ((0, 0, 4000, 3000), (2000, 1500), (2, 1)),
        ((0, 0, 4000, 3000), (1000, 750), (4, 2, 1)),
        ((0, 0, 4000, 3000), (999, 749), (4, 2, 1)),
        ((0, 0, 4000, 3000), (500, 375), (8, 4, 2, 1)),
        ((0, 0, 4000, 3000), (10, 10), (8, 4, 2, 1)),  # there is none below
        ((100, 100, 800, 800), (200, 200), (4, 2, 1)),
        ((100, 100, 800, 800), (800, 800), (1,)),
        # the side that is reduced less decides
        ((0, 0, 4000, 3000), (500, 1500), (2, 1)),
        ((0, 0, 4000, 3000), (2000, 10), (2, 1)),
        # upscaled: there is nothing larger than the full resolution
        ((100, 100, 200, 200), (400, 400), (1,)),
        ((100, 100, 200, 200), (400, 10), (1,)),
    ],
)
def test_levels_that_have_enough_pixels_the_least_first(
    box: tuple[int, int, int, int], size: tuple[int, int], levels: tuple[int, ...]
) -> None:
    assert levels_for(GRID, of(box, size)) == levels


def test_an_image_of_one_tile_has_one_level() -> None:
    assert levels_for(Grid(Dimensions(300, 200), square(512)), of((0, 0, 300, 200), (30, 20))) == (
        1,
    )


@pytest.mark.parametrize(
    ("size", "levels"),
    [((4000, 3000), ()), ((2001, 1500), ()), ((2000, 1500), (1,)), ((1000, 750), (2, 1))],
)
def test_levels_that_have_pixels_to_spare(size: tuple[int, int], levels: tuple[int, ...]) -> None:
    assert levels_for(GRID, of((0, 0, 4000, 3000), size), oversampling=2) == levels


@pytest.mark.parametrize(
    ("header", "format_", "spare"),
    [
        (PNG, Format.PNG, 2),
        (PNG, Format.TIF, 2),
        (PNG, Format.JPG, 1),
        (PNG, Format.WEBP, 1),
        (JPEG, Format.PNG, 1),
        (replace(PNG, format=OriginalFormat.WEBP), Format.PNG, 1),
        (replace(PNG, format=OriginalFormat.TIFF), Format.PNG, 2),
    ],
)
def test_what_goes_without_loss_from_end_to_end_shows_no_trace_of_compression(
    header: ImageHeader, format_: Format, spare: int
) -> None:
    assert required_oversampling(header, replace(RENDITION, format=format_)) == spare


# --- prefers_level ----------------------------------------------------------------------------


@pytest.mark.parametrize("format_", Format)
def test_what_has_no_transparency_is_answered_from_levels(format_: Format) -> None:
    asked = replace(RENDITION, format=format_)
    assert prefers_level(PNG, asked, Engine.RASTER)
    assert prefers_level(JPEG, asked, Engine.RASTER)


@pytest.mark.parametrize(
    ("format_", "answers"),
    [
        (Format.JPG, True),
        (Format.PDF, True),
        (Format.PNG, False),
        (Format.WEBP, False),
        (Format.TIF, False),
        (Format.AVIF, False),
    ],
)
def test_transparency_that_can_be_kept_is_not_lost_to_a_level(
    format_: Format, *, answers: bool
) -> None:
    transparent = replace(PNG, transparent=True)
    assert prefers_level(transparent, replace(RENDITION, format=format_), Engine.RASTER) is answers


@pytest.mark.parametrize("engine", [Engine.ORIGINAL, Engine.TILE])
def test_what_needs_no_work_is_not_made_of_levels(engine: Engine) -> None:
    assert not prefers_level(JPEG, RENDITION, engine)


@pytest.mark.parametrize(
    ("stored", "answers"),
    [
        (Dimensions(MAX_PIXELS_TO_CROP // 1000, 1000), False),
        (Dimensions(MAX_PIXELS_TO_CROP // 1000, 1001), True),
    ],
)
def test_only_of_very_large_jpegs_is_a_cut_made_of_levels(
    stored: Dimensions, *, answers: bool
) -> None:
    header = replace(JPEG, stored=stored)
    assert prefers_level(header, of((0, 0, 160, 160), (160, 160)), Engine.JPEGTRAN) is answers


# --- work_on_level ----------------------------------------------------------------------------


def test_work_on_a_level_is_work_on_upright_pixels() -> None:
    header = replace(JPEG, orientation=FROM_EXIF[6])  # shown as 3000x4000
    asked = replace(
        of((100, 200, 400, 800), (50, 100)), rotation=parse_rotation("90"), format=Format.PNG
    )
    operations = operations_on_level(header, asked, 8)
    assert operations.box == Box(100, 200, 400, 800)
    assert operations.size == Dimensions(50, 100)
    assert operations.orientation == Orientation(False, 1)
    assert operations.shrink == 8
    assert operations.format is Format.PNG
    # whereas the stored pixels lie on their side
    assert plan_operations(header, asked).size == Dimensions(100, 50)


def test_work_on_a_level_rotates_and_colours_as_asked() -> None:
    asked = replace(RENDITION, rotation=parse_rotation("!22.5"), quality=Quality.BITONAL)
    operations = operations_on_level(PNG, asked, 4)
    assert (operations.orientation, operations.degrees) == (Orientation(True, 0), 22.5)
    assert operations.quality is Quality.BITONAL


@pytest.mark.parametrize(
    ("header", "format_", "action"),
    [
        (JPEG, Format.PNG, ProfileAction.DROP),
        # the tiles hold the profile
        (WIDE, Format.PNG, ProfileAction.KEEP),
        (WIDE, Format.GIF, ProfileAction.CONVERT),
        # the tiles were converted, and are not to be converted again
        (replace(WIDE, profile_bytes=MAX_PROFILE_BYTES + 1), Format.PNG, ProfileAction.DROP),
        (replace(WIDE, colour=Colour.OTHER), Format.PNG, ProfileAction.DROP),
        (replace(WIDE, colour=Colour.OTHER), Format.GIF, ProfileAction.DROP),
    ],
)
def test_profile_of_a_level_is_that_of_its_tiles(
    header: ImageHeader, format_: Format, action: ProfileAction
) -> None:
    assert operations_on_level(header, replace(RENDITION, format=format_), 2).profile is action


# --- what may be a tile -----------------------------------------------------------------------


def test_an_upright_jpeg_may_be_a_tile() -> None:
    assert is_plain_jpeg(RENDITION)


@pytest.mark.parametrize(
    "asked",
    [
        *(replace(RENDITION, format=format_) for format_ in Format if format_ is not Format.JPG),
        *(replace(RENDITION, rotation=parse_rotation(r)) for r in ("90", "180", "0.5", "!0")),
        replace(RENDITION, quality=Quality.GRAY),
        replace(RENDITION, quality=Quality.BITONAL),
    ],
    ids=lambda asked: f"{asked.rotation}-{asked.quality}.{asked.format}",
)
def test_anything_else_is_no_tile(asked: Rendition) -> None:
    assert not is_plain_jpeg(asked)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("header", [JPEG, PNG])
def test_a_tile_is_taken_as_it_is(header: ImageHeader, *, lossless: bool) -> None:
    for asked in (of((512, 512, 512, 512), (512, 512)), of((0, 0, 4000, 3000), (500, 375))):
        operations = plan_operations(header, asked)
        assert choose_engine(header, operations, lossless=lossless, tile=True) is Engine.TILE
        assert choose_engine(header, operations, lossless=lossless, tile=False) is not Engine.TILE


# --- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(6000, 4000), (10000, 5000), (2500, 2000), (1, 4_000_000)])
def test_the_half_size_level_of_a_jpeg_does_not_wait_for_full_resolution(
    size: tuple[int, int],
) -> None:
    header = replace(JPEG, stored=Dimensions(*size), max_shrink=8)
    assert first_reduced(header) == 2
    assert (part_of(header, 1), part_of(header, 2)) == (Part.DETAIL, Part.REDUCED)


@pytest.mark.parametrize(
    ("max_shrink", "first"),
    [(1, 2), (2, 4), (8, 4), (32, 4)],
)
@pytest.mark.parametrize(
    ("format_", "stored"),
    [
        (OriginalFormat.JPEG, Dimensions(12000, 9000)),
        (OriginalFormat.JPEG, Dimensions(10000, 5001)),
        (OriginalFormat.JPEG2000, Dimensions(12000, 9000)),
        (OriginalFormat.JPEG2000, Dimensions(4000, 3000)),
    ],
)
def test_reduced_part_begins_where_the_decoder_can_help(
    max_shrink: int, first: int, format_: OriginalFormat, stored: Dimensions
) -> None:
    header = replace(JPEG, max_shrink=max_shrink, format=format_, stored=stored)
    assert first_reduced(header) == first
    for factor in (1, 2, 4, 8, 16):
        expected = Part.REDUCED if factor >= first else Part.DETAIL
        assert part_of(header, factor) is expected


@pytest.mark.parametrize(
    ("header", "tile_size", "profile", "lossless"),
    [
        (JPEG, 512, ProfileAction.DROP, True),
        (JPEG, 512, ProfileAction.KEEP, True),
        (JPEG, 512, ProfileAction.CONVERT, False),
        (PNG, 512, ProfileAction.DROP, False),
        (replace(JPEG, orientation=FROM_EXIF[6]), 512, ProfileAction.DROP, False),
        (replace(JPEG, jpeg=JpegFacts(False, Dimensions(8, 8), True)), 512, "drop", False),
        (replace(JPEG, jpeg=JpegFacts(True, Dimensions(8, 8), False)), 512, "drop", False),
        (replace(JPEG, jpeg=JpegFacts(True, None, True)), 512, "drop", False),
        (replace(JPEG, jpeg=JpegFacts(True, Dimensions(32, 8), True)), 128, "drop", True),
        (JPEG, 8, ProfileAction.DROP, False),
        (replace(JPEG, jpeg=JpegFacts(True, Dimensions(8, 16), True)), 8, "drop", False),
    ],
)
def test_which_originals_give_their_own_coefficients(
    header: ImageHeader, tile_size: int, profile: str, *, lossless: bool
) -> None:
    grid = Grid(STORED, square(tile_size))
    assert cuts_losslessly(header, grid, ProfileAction(profile)) is lossless


def test_levels_of_a_pyramid_have_8_bits() -> None:
    deep, rendition = replace(PNG, bits=16), replace(RENDITION, format=Format.PNG)
    work = plan_operations(deep, rendition, 16)
    assert prefers_level(deep, rendition, Engine.RASTER, plan_operations(deep, rendition).depth)
    assert not prefers_level(deep, rendition, Engine.RASTER, work.depth)


@pytest.mark.parametrize(
    ("bits", "asked", "depth"),
    [
        (16, replace(RENDITION, format=Format.PNG), 16),
        (9, replace(RENDITION, format=Format.TIF, quality=Quality.GRAY), 16),
        (8, replace(RENDITION, format=Format.PNG), 8),
        (16, RENDITION, 8),
        (16, replace(RENDITION, format=Format.WEBP), 8),
        (16, replace(RENDITION, format=Format.TIF, quality=Quality.BITONAL), 8),
    ],
)
def test_which_renditions_keep_16_bits(bits: int, asked: Rendition, depth: int) -> None:
    assert plan_operations(replace(PNG, bits=bits), asked, 16).depth == depth
