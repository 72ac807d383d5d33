"""Cost estimates of jobs, from header and plan."""

from dataclasses import replace
from pathlib import Path

import pytest

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions, square
from iiif_server.iiif.quality import Quality
from iiif_server.plan.build_plan import BuildPlan
from iiif_server.plan.cost import cost_of_build, cost_of_render
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.grid import Grid, Part
from iiif_server.plan.header import ImageHeader, JpegFacts
from iiif_server.plan.local_file import FileVersion, LocalFile
from iiif_server.plan.orientation import UPRIGHT, Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import Engine, Level, PixelOperations, ProfileAction, RenderPlan
from support import headers

MB = 1_000_000
STORED = Dimensions(12_000, 9_000)
WHOLE = Box(0, 0, 12_000, 9_000)
TILE = Box(4096, 4096, 512, 512)
JPEG = replace(
    headers.JPEG,
    stored=STORED,
    jpeg=JpegFacts(plain=True, mcu=Dimensions(16, 16), complete=True, coefficient_bytes=3),
    pixel_bytes=3,
)
PROGRESSIVE = replace(JPEG, interleaved=True)
PNG = replace(JPEG, format=OriginalFormat.PNG, max_shrink=1, jpeg=None)
INTERLACED = replace(PNG, interleaved=True)
JP2 = replace(PNG, format=OriginalFormat.JPEG2000, max_shrink=32)
FILE = LocalFile(Path("original"), FileVersion(1, 1, 30 * MB, (0, 1), (0, 1)))


def plan(
    header: ImageHeader = JPEG,
    box: Box = TILE,
    size: Dimensions | None = None,
    engine: Engine = Engine.RASTER,
    **operations: object,
) -> RenderPlan:
    done = PixelOperations(
        box=box,
        size=size or box.dimensions,
        orientation=UPRIGHT,
        degrees=0.0,
        quality=Quality.DEFAULT,
        format=Format.JPG,
        profile=ProfileAction.DROP,
        shrink=1,
    )
    done = replace(done, **operations)  # type: ignore[arg-type]
    return RenderPlan(FILE, header, engine, done, EncodingOptions(), None)


def megabytes(planned: RenderPlan) -> float:
    return cost_of_render(planned).bytes / MB


@pytest.mark.parametrize(
    ("planned", "least", "most"),
    [
        # measured on 108 megapixels, or scaled from 24: what is meant to be between the bounds
        (plan(), 20, 100),
        (plan(PNG), 20, 100),
        (plan(engine=Engine.JPEGTRAN), 324, 450),
        (plan(box=WHOLE, engine=Engine.JPEGTRAN, orientation=Orientation(False, 1)), 720, 900),
        (plan(PROGRESSIVE), 324, 500),
        (plan(PROGRESSIVE, WHOLE, Dimensions(400, 300), shrink=8), 324, 450),
        (plan(INTERLACED), 324, 500),
        (plan(JP2), 2_000, 3_500),
        (plan(JP2, shrink=8), 324, 450),  # the file itself, whatever is decoded of it
        (plan(PNG, WHOLE), 60, 300),
        (plan(PNG, WHOLE, orientation=Orientation(False, 1)), 400, 700),
        (
            replace(plan(PNG, WHOLE), encoding=EncodingOptions(jpeg_progressive=True)),
            690,
            1_100,
        ),
        (plan(PNG, WHOLE, format=Format.AVIF), 2_300, 3_500),
        (plan(PNG, WHOLE, format=Format.JP2), 4_400, 6_000),
        (plan(PNG, WHOLE, format=Format.PNG, quality=Quality.BITONAL), 20, 200),
    ],
)
def test_memory_is_that_of_the_decoder_the_work_and_the_encoder(
    planned: RenderPlan, least: int, most: int
) -> None:
    assert least < megabytes(planned) < most


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (plan(PROGRESSIVE), plan()),
        (plan(INTERLACED), plan(PNG)),
        (plan(replace(PNG, pixel_bytes=6)), plan(PNG)),
        (plan(PNG, WHOLE, degrees=33.0), plan(PNG, WHOLE)),
        (plan(PNG, WHOLE, orientation=Orientation(False, 2)), plan(PNG, WHOLE)),
        (plan(box=TILE, size=Dimensions(20_000, 20_000)), plan()),
        (
            plan(
                replace(JPEG, jpeg=JpegFacts(True, Dimensions(8, 8), True, 6)),
                engine=Engine.JPEGTRAN,
            ),
            plan(engine=Engine.JPEGTRAN),
        ),
        (
            replace(plan(PNG, WHOLE), encoding=EncodingOptions(jpeg_quality=95)),
            plan(PNG, WHOLE),
        ),
        (
            replace(
                plan(PNG, WHOLE, format=Format.TIF),
                encoding=EncodingOptions(tiff_compression="none"),
            ),
            plan(PNG, WHOLE, format=Format.TIF),
        ),
    ],
)
def test_what_takes_more_is_said_to(more: RenderPlan, less: RenderPlan) -> None:
    assert megabytes(more) > megabytes(less)


@pytest.mark.parametrize("format_", [Format.PNG, Format.TIF])
def test_images_of_16_bits_take_twice_as_much(format_: Format) -> None:
    turned = Orientation(False, 1)
    eight, sixteen = (
        megabytes(plan(PNG, WHOLE, format=format_, orientation=turned, depth=depth))
        for depth in (8, 16)
    )
    assert 2 < sixteen / eight < 2.4


def test_a_level_takes_what_the_tiles_under_the_box_do() -> None:
    level = Level(Path("part"), Grid(STORED, square(512)), plan(box=WHOLE, shrink=8).operations)
    on_level = replace(plan(PROGRESSIVE, WHOLE, Dimensions(750, 562)), level=level)
    assert megabytes(on_level) < 1100
    small = replace(
        level, operations=plan(box=WHOLE, size=Dimensions(750, 562), shrink=8).operations
    )
    assert megabytes(replace(on_level, level=small)) < 100


def test_what_is_made_larger_of_a_level_is_there_more_than_once() -> None:
    turned = Orientation(mirror=True, quarters=1)
    operations = plan(box=Box(0, 0, 40, 40), size=square(1990), orientation=turned).operations
    level = Level(Path("part"), Grid(STORED, square(512)), operations)
    assert 48 < megabytes(replace(plan(), level=level)) < 100, "48 MB are taken"


def test_effort_is_that_of_decoding_down_to_the_region_and_of_encoding() -> None:
    top = Box(0, 0, 512, 512)
    assert cost_of_render(plan(box=top)).effort < cost_of_render(plan()).effort < STORED.area
    avif, jpeg = plan(box=top, format=Format.AVIF), plan(box=top)
    assert cost_of_render(avif).effort > 5 * cost_of_render(jpeg).effort


@pytest.mark.parametrize(
    ("header", "part", "lossless", "least", "most"),
    [
        (JPEG, Part.DETAIL, True, 648, 1_100),
        (JPEG, Part.DETAIL, False, 20, 300),
        (JPEG, Part.REDUCED, True, 20, 150),
        (PROGRESSIVE, Part.REDUCED, True, 324, 500),
        (replace(JPEG, orientation=Orientation(False, 1)), Part.DETAIL, True, 400, 800),
        (PNG, Part.DETAIL, True, 100, 400),
    ],
)
def test_a_build_takes_the_coefficients_twice_or_the_tiles_of_a_level(
    header: ImageHeader, part: Part, *, lossless: bool, least: int, most: int
) -> None:
    planned = BuildPlan(
        original=FILE,
        header=header,
        part=part,
        grid=Grid(header.dimensions, square(512)),
        profile=ProfileAction.DROP,
        lossless=lossless,
        reduced_quality=80,
        full_quality=85,
        target=Path("part"),
    )
    assert least < cost_of_build(planned).bytes / MB < most


@pytest.mark.parametrize(("quality", "chroma"), [(89, 1), (90, 2), (100, 2)])
def test_chroma_is_whole_from_quality_90_on(quality: int, chroma: int) -> None:
    """Below this quality libvips subsamples chroma, which halves the memory per pixel."""
    made = Dimensions(2000, 1000)
    coarse, fine = (
        replace(plan(size=made), encoding=EncodingOptions(jpeg_quality=q)) for q in (80, quality)
    )
    more = cost_of_render(fine).bytes - cost_of_render(coarse).bytes
    assert more == (chroma - 1) * made.area
