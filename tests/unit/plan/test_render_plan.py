"""Pixel operations in the plan of a worker's job."""

from dataclasses import replace
from fractions import Fraction

import pytest

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.iiif.rotation import Rotation, parse_rotation
from iiif_server.plan.engine_choice import choose_engine
from iiif_server.plan.header import Colour, ImageHeader, JpegFacts, Profile
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT, Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import (
    MAX_PROFILE_BYTES,
    Engine,
    PixelOperations,
    ProfileAction,
    choose_shrink,
    plan_operations,
)
from iiif_server.plan.stored_tiles import StoredLevel, StoredTiles
from support import headers

STORED = Dimensions(1000, 600)
MCU = Dimensions(16, 16)
WHOLE = Box(0, 0, 1000, 600)
NO_ROTATION = Rotation(Fraction(0), mirror=False)
JPEG = headers.JPEG
TIFF = replace(JPEG, format=OriginalFormat.TIFF, max_shrink=1, jpeg=None)
RENDITION = Rendition(WHOLE, STORED, NO_ROTATION, Quality.DEFAULT, Format.JPG)
AS_IT_IS = PixelOperations(
    box=WHOLE,
    size=STORED,
    orientation=UPRIGHT,
    degrees=0.0,
    quality=Quality.DEFAULT,
    format=Format.JPG,
    profile=ProfileAction.DROP,
    shrink=1,
)


def with_facts(
    mcu: Dimensions | None = MCU, *, plain: bool = True, complete: bool = True
) -> ImageHeader:
    return replace(JPEG, jpeg=JpegFacts(plain=plain, mcu=mcu, complete=complete))


def tile(x: int, y: int, width: int, height: int) -> PixelOperations:
    box = Box(x, y, width, height)
    return replace(AS_IT_IS, box=box, size=box.dimensions)


# --- what has to be done ----------------------------------------------------------------------


def test_an_upright_original_is_worked_on_as_the_request_says() -> None:
    rendition = replace(
        RENDITION,
        region=Box(100, 200, 300, 400),
        size=Dimensions(30, 40),
        rotation=parse_rotation("!90"),
        quality=Quality.GRAY,
        format=Format.PNG,
    )
    operations = plan_operations(TIFF, rendition)
    assert operations == PixelOperations(
        box=Box(100, 200, 300, 400),
        size=Dimensions(30, 40),
        orientation=Orientation(True, 1),
        degrees=0.0,
        quality=Quality.GRAY,
        format=Format.PNG,
        profile=ProfileAction.DROP,
        shrink=1,
    )


@pytest.mark.parametrize(
    ("rotation", "turn", "degrees"),
    [
        ("0", Orientation(False, 0), 0.0),
        ("180", Orientation(False, 2), 0.0),
        ("!0", Orientation(True, 0), 0.0),
        ("!270", Orientation(True, 3), 0.0),
        ("22.5", Orientation(False, 0), 22.5),
        ("!345", Orientation(True, 0), 345.0),
    ],
)
def test_right_angles_are_turns_and_others_are_rotations(
    rotation: str, turn: Orientation, degrees: float
) -> None:
    operations = plan_operations(JPEG, replace(RENDITION, rotation=parse_rotation(rotation)))
    assert (operations.orientation, operations.degrees) == (turn, degrees)


@pytest.mark.parametrize(
    ("orientation", "box"),
    [
        # a 10x20 region at the top left of the upright image, in the stored 1000x600 pixels
        (1, Box(0, 0, 10, 20)),
        (2, Box(990, 0, 10, 20)),
        (3, Box(990, 580, 10, 20)),
        (4, Box(0, 580, 10, 20)),
        (5, Box(0, 0, 20, 10)),
        (6, Box(0, 590, 20, 10)),
        (7, Box(980, 590, 20, 10)),
        (8, Box(980, 0, 20, 10)),
    ],
)
def test_a_region_of_the_upright_image_is_cut_from_the_stored_pixels(
    orientation: int, box: Box
) -> None:
    header = replace(JPEG, orientation=FROM_EXIF[orientation])
    rendition = replace(RENDITION, region=Box(0, 0, 10, 20), size=Dimensions(5, 10))
    operations = plan_operations(header, rendition)
    assert operations.box == box
    assert operations.size == (Dimensions(5, 10) if orientation < 5 else Dimensions(10, 5))
    assert operations.orientation == FROM_EXIF[orientation]


@pytest.mark.parametrize(
    ("orientation", "rotation", "turn"),
    [
        (6, "90", Orientation(False, 2)),
        (6, "270", UPRIGHT),
        (8, "90", UPRIGHT),
        (3, "180", UPRIGHT),
        (2, "!0", UPRIGHT),
        (6, "!0", Orientation(True, 3)),
    ],
)
def test_the_requested_turn_follows_the_orientation(
    orientation: int, rotation: str, turn: Orientation
) -> None:
    header = replace(JPEG, orientation=FROM_EXIF[orientation])
    region = Box(0, 0, header.dimensions.width, header.dimensions.height)
    rendition = replace(
        RENDITION, region=region, size=region.dimensions, rotation=parse_rotation(rotation)
    )
    assert plan_operations(header, rendition).orientation == turn


# --- profiles ---------------------------------------------------------------------------------

PROFILED = replace(JPEG, profile=Profile.OTHER, profile_bytes=500)


@pytest.mark.parametrize(
    ("header", "rendition", "action"),
    [
        (JPEG, RENDITION, ProfileAction.DROP),
        (replace(PROFILED, profile=Profile.SRGB), RENDITION, ProfileAction.DROP),
        (PROFILED, RENDITION, ProfileAction.KEEP),
        (replace(PROFILED, profile_bytes=MAX_PROFILE_BYTES), RENDITION, ProfileAction.KEEP),
        (replace(PROFILED, profile_bytes=MAX_PROFILE_BYTES + 1), RENDITION, ProfileAction.CONVERT),
        (replace(PROFILED, colour=Colour.OTHER), RENDITION, ProfileAction.CONVERT),
        (PROFILED, replace(RENDITION, quality=Quality.GRAY), ProfileAction.CONVERT),
        (PROFILED, replace(RENDITION, quality=Quality.BITONAL), ProfileAction.CONVERT),
        (PROFILED, replace(RENDITION, format=Format.PNG), ProfileAction.KEEP),
        (PROFILED, replace(RENDITION, format=Format.GIF), ProfileAction.CONVERT),
        (PROFILED, replace(RENDITION, format=Format.PDF), ProfileAction.CONVERT),
        (PROFILED, replace(RENDITION, format=Format.JP2), ProfileAction.CONVERT),
    ],
)
def test_a_profile_goes_with_the_pixels_or_is_applied_to_them(
    header: ImageHeader, rendition: Rendition, action: ProfileAction
) -> None:
    assert plan_operations(header, rendition).profile is action


# --- engines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "operations", "engine"),
    [
        # all that is asked for is the file itself
        (JPEG, AS_IT_IS, Engine.ORIGINAL),
        (with_facts(mcu=None), AS_IT_IS, Engine.ORIGINAL),
        (PROFILED, replace(AS_IT_IS, profile=ProfileAction.KEEP), Engine.ORIGINAL),
        # coefficients can be cut on the grid, turned, and robbed of their chroma
        (JPEG, tile(512, 0, 488, 512), Engine.JPEGTRAN),
        (JPEG, tile(16, 32, 1, 1), Engine.JPEGTRAN),
        (JPEG, replace(AS_IT_IS, quality=Quality.GRAY), Engine.JPEGTRAN),
        (with_facts(mcu=Dimensions(8, 16)), tile(8, 16, 50, 50), Engine.JPEGTRAN),
        (PROFILED, replace(tile(0, 0, 512, 512), profile=ProfileAction.KEEP), Engine.JPEGTRAN),
        # off the grid
        (JPEG, tile(8, 0, 512, 512), Engine.RASTER),
        (JPEG, tile(0, 8, 512, 512), Engine.RASTER),
        (JPEG, tile(1, 1, 512, 512), Engine.RASTER),
        (with_facts(mcu=None), tile(0, 0, 512, 512), Engine.RASTER),
        # pixels have to be made
        (JPEG, replace(AS_IT_IS, size=Dimensions(500, 300)), Engine.RASTER),
        (JPEG, replace(AS_IT_IS, size=Dimensions(1000, 599)), Engine.RASTER),
        (JPEG, replace(AS_IT_IS, degrees=22.5), Engine.RASTER),
        (JPEG, replace(AS_IT_IS, quality=Quality.BITONAL), Engine.RASTER),
        (JPEG, replace(AS_IT_IS, format=Format.PNG), Engine.RASTER),
        (PROFILED, replace(AS_IT_IS, profile=ProfileAction.CONVERT), Engine.RASTER),
        # the original is not what everybody understands
        (with_facts(plain=False), AS_IT_IS, Engine.RASTER),
        (with_facts(complete=False), AS_IT_IS, Engine.RASTER),
        (with_facts(plain=False), tile(0, 0, 512, 512), Engine.RASTER),
        (with_facts(complete=False), tile(0, 0, 512, 512), Engine.RASTER),
        (TIFF, AS_IT_IS, Engine.RASTER),
        (TIFF, tile(0, 0, 512, 512), Engine.RASTER),
    ],
)
def test_the_engine_does_least_to_the_originals_data(
    header: ImageHeader, operations: PixelOperations, engine: Engine
) -> None:
    assert choose_engine(header, operations, lossless=True) is engine


@pytest.mark.parametrize(
    ("turn", "width", "height", "engine"),
    [
        # whole MCUs turn any way
        *((turn, 512, 512, Engine.JPEGTRAN) for turn in FROM_EXIF.values()),
        # a partial last column can stay last, not become first
        (Orientation(True, 0), 488, 512, Engine.RASTER),
        (Orientation(False, 2), 488, 512, Engine.RASTER),
        (Orientation(False, 3), 488, 512, Engine.RASTER),
        (Orientation(True, 1), 488, 512, Engine.RASTER),
        (Orientation(True, 2), 488, 512, Engine.JPEGTRAN),
        (Orientation(False, 1), 488, 512, Engine.JPEGTRAN),
        (Orientation(True, 3), 488, 512, Engine.JPEGTRAN),
        # nor a partial last row
        (Orientation(True, 2), 512, 500, Engine.RASTER),
        (Orientation(False, 2), 512, 500, Engine.RASTER),
        (Orientation(False, 1), 512, 500, Engine.RASTER),
        (Orientation(True, 1), 512, 500, Engine.RASTER),
        (Orientation(True, 0), 512, 500, Engine.JPEGTRAN),
        (Orientation(False, 3), 512, 500, Engine.JPEGTRAN),
        (Orientation(True, 3), 512, 500, Engine.JPEGTRAN),
    ],
)
def test_a_side_that_is_reversed_consists_of_whole_mcus(
    turn: Orientation, width: int, height: int, engine: Engine
) -> None:
    operations = replace(tile(0, 0, width, height), orientation=turn)
    assert choose_engine(JPEG, operations, lossless=True) is engine


@pytest.mark.parametrize(
    ("operations", "engine"),
    [
        (AS_IT_IS, Engine.ORIGINAL),
        (tile(0, 0, 512, 512), Engine.RASTER),
        (replace(AS_IT_IS, quality=Quality.GRAY), Engine.RASTER),
    ],
)
def test_without_the_lossless_engine_pixels_are_made(
    operations: PixelOperations, engine: Engine
) -> None:
    assert choose_engine(JPEG, operations, lossless=False) is engine


@pytest.mark.parametrize(
    ("orientation", "rotation"), [(6, "270"), (8, "90"), (3, "180"), (2, "!0"), (4, "!180")]
)
def test_an_original_that_calls_for_a_turn_is_not_handed_out_as_it_is(
    orientation: int, rotation: str
) -> None:
    # Its Orientation tag would make whoever shows it undo the rotation that was asked for.
    stored = Dimensions(1024, 512)
    header = replace(JPEG, stored=stored, orientation=FROM_EXIF[orientation])
    region = Box(0, 0, header.dimensions.width, header.dimensions.height)
    rendition = replace(
        RENDITION, region=region, size=region.dimensions, rotation=parse_rotation(rotation)
    )
    operations = plan_operations(header, rendition)
    assert choose_engine(header, operations, lossless=True) is Engine.JPEGTRAN
    assert choose_engine(header, operations, lossless=False) is Engine.RASTER


# --- reducing while decoding ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "size", "max_shrink", "shrink"),
    [
        # at least twice the target remains
        (Box(0, 0, 4096, 4096), Dimensions(4096, 4096), 8, 1),
        (Box(0, 0, 4096, 4096), Dimensions(2048, 2048), 8, 1),
        (Box(0, 0, 4096, 4096), Dimensions(1025, 1025), 8, 1),
        (Box(0, 0, 4096, 4096), Dimensions(1024, 1024), 8, 2),
        (Box(0, 0, 4096, 4096), Dimensions(512, 512), 8, 4),
        (Box(0, 0, 4096, 4096), Dimensions(256, 256), 8, 8),
        # no further than the decoder can
        (Box(0, 0, 4096, 4096), Dimensions(16, 16), 8, 8),
        (Box(0, 0, 4096, 4096), Dimensions(16, 16), 32, 32),
        (Box(0, 0, 4096, 4096), Dimensions(16, 16), 1, 1),
        # the side that is reduced least decides
        (Box(0, 0, 4096, 4096), Dimensions(256, 4096), 8, 1),
        (Box(0, 0, 4096, 4096), Dimensions(1024, 256), 8, 2),
        # upscaling
        (Box(0, 0, 100, 100), Dimensions(400, 400), 8, 1),
        # a region whose corner is on the reduced grid
        (Box(8, 16, 4096, 4096), Dimensions(256, 256), 8, 8),
        (Box(4, 16, 4096, 4096), Dimensions(256, 256), 8, 4),
        # off the grid the edge may be an eighth of a target pixel away, and no more
        (Box(1, 0, 4096, 4096), Dimensions(256, 256), 8, 2),
        (Box(0, 1, 4096, 4096), Dimensions(256, 256), 8, 2),
        (Box(1, 0, 4096, 4096), Dimensions(257, 257), 8, 1),
        (Box(1, 1, 4096, 4096), Dimensions(128, 128), 8, 4),
        (Box(1, 1, 4096, 4096), Dimensions(64, 64), 8, 8),
    ],
)
def test_decoding_reduces_by_the_largest_power_of_two_that_does_no_harm(
    box: Box, size: Dimensions, max_shrink: int, shrink: int
) -> None:
    assert choose_shrink(box, size, max_shrink) == shrink


def test_a_plan_says_how_far_to_reduce() -> None:
    assert plan_operations(JPEG, replace(RENDITION, size=Dimensions(250, 150))).shrink == 2
    assert plan_operations(TIFF, replace(RENDITION, size=Dimensions(250, 150))).shrink == 1


LEVELS = StoredTiles(
    tile=Dimensions(64, 64),
    levels=tuple(
        StoredLevel(factor, Dimensions(300 // factor, -(-200 // factor)), number)
        for number, factor in enumerate((1, 2, 8))
    ),
    components=3,
)


@pytest.mark.parametrize(
    ("box", "size", "factor"),
    [
        (Box(0, 0, 300, 200), Dimensions(38, 25), 8),
        (Box(0, 0, 300, 200), Dimensions(39, 25), 2),
        # a tile within the level, exact and with one pixel less than it needs
        (Box(64, 64, 64, 64), Dimensions(8, 8), 8),
        (Box(64, 64, 63, 64), Dimensions(8, 8), 2),
        # the last tile of a level is rounded up; a region beside the edge is not
        (Box(256, 0, 44, 64), Dimensions(6, 8), 8),
        (Box(255, 0, 44, 64), Dimensions(6, 8), 2),
        (Box(257, 0, 43, 64), Dimensions(6, 8), 2),
        # one pixel as it is
        (Box(17, 9, 1, 1), Dimensions(1, 1), 1),
        (Box(16, 8, 1, 1), Dimensions(1, 1), 1),
        # beyond the last pixel of a level whose width was rounded down
        (Box(296, 0, 4, 64), Dimensions(1, 8), 2),
        (Box(296, 0, 1, 1), Dimensions(1, 1), 1),
    ],
)
def test_a_stored_level_is_read_if_it_has_enough_pixels(
    box: Box, size: Dimensions, factor: int
) -> None:
    header = replace(TIFF, stored=Dimensions(300, 200), tiles=LEVELS)
    rendition = replace(RENDITION, region=box, size=size)
    assert plan_operations(header, rendition).shrink == factor
