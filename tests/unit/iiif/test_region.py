"""The region parameter (Image API 3.0, 4.1; 2.1.1, 4.1)."""

from fractions import Fraction

import pytest

from iiif_server.errors import MalformedParameterError, OutOfBoundsError
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.region import (
    FullRegion,
    PercentRegion,
    PixelRegion,
    Region,
    SquareRegion,
    parse_region,
)

SPECIMEN = Dimensions(300, 200)
"""The image of the specification's examples."""


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("full", FullRegion()),
        ("square", SquareRegion()),
        ("125,15,120,140", PixelRegion(125, 15, 120, 140)),
        ("0,0,1,1", PixelRegion(0, 0, 1, 1)),
        ("007,0,010,1", PixelRegion(7, 0, 10, 1)),
        (
            "pct:41.6,7.5,40,70",
            PercentRegion(Fraction("41.6"), Fraction("7.5"), Fraction(40), Fraction(70)),
        ),
        (
            "pct:.5,0.50,100,0.001",
            PercentRegion(Fraction(1, 2), Fraction(1, 2), Fraction(100), Fraction(1, 1000)),
        ),
        (
            "pct:0,0,150,200",
            PercentRegion(Fraction(0), Fraction(0), Fraction(150), Fraction(200)),
        ),
    ],
)
def test_region_forms_are_read(text: str, region: Region) -> None:
    assert parse_region(text) == region


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Full",
        "FULL",
        "full ",
        " full",
        "full\n",
        "max",
        "squares",
        "0",
        "0,0,1",
        "0,0,1,1,1",
        "0,0,1,1,",
        ",0,0,1,1",
        "0,0,,1",
        "0,0,0,1",
        "0,0,1,0",
        "0,0,0,0",
        "-1,0,1,1",
        "0,-1,1,1",
        "0,0,-1,1",
        "+1,0,1,1",
        "0.5,0,1,1",
        "0,0,1.0,1",
        "0,0,1e2,1",
        "0x0,0,1,1",
        "0, 0, 1, 1",
        " 0,0,1,1",
        "0,0,1,1\n",
        "0;0;1;1",
        "a,b,c,d",
        "\u0660,\u0660,\u0661,\u0661",
        "\uff10,0,1,1",
        "0,0,1,\u00b2",
        "pct:",
        "pct",
        "pct:0,0,10",
        "pct:0,0,10,10,10",
        "pct:0,0,0,10",
        "pct:0,0,10,0",
        "pct:0,0,10,0.0",
        "pct:-1,0,10,10",
        "pct:+1,0,10,10",
        "pct:1e1,0,10,10",
        "pct:1e+1,0,10,10",
        "pct:1e-100,0,10,10",
        "pct:0,0,1e-,10",
        "pct:1.,0,10,10",
        "pct:0,0,0e-7,10",
        f"pct:0.{'1' * 101},0,10,10",
        f"pct:0,0,10,{'9' * 5000}",
        f"pct:0,0,10,0.{'9' * 100_000}",
        "pct:.,0,10,10",
        "pct:0,0,10%,10",
        "pct:nan,0,10,10",
        "pct:inf,0,10,10",
        "pct:0, 0,10,10",
        "pct:0,0,10,10\n",
        "PCT:0,0,10,10",
        "percent:0,0,10,10",
        "^0,0,1,1",
        "!0,0,1,1",
        "\x00",
        "\ud800",
        "9" * 5000 + ",0,1,1",
    ],
)
def test_any_other_region_is_malformed(text: str) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_region(text)
    assert refused.value.parameter == "region"


@pytest.mark.parametrize(
    ("text", "image", "box"),
    [
        # the examples of the specification
        ("full", SPECIMEN, Box(0, 0, 300, 200)),
        ("square", SPECIMEN, Box(50, 0, 200, 200)),
        ("125,15,120,140", SPECIMEN, Box(125, 15, 120, 140)),
        ("pct:41.6,7.5,40,70", SPECIMEN, Box(125, 15, 120, 140)),
        ("125,15,200,200", SPECIMEN, Box(125, 15, 175, 185)),
        ("pct:41.6,7.5,66.6,100", SPECIMEN, Box(125, 15, 175, 185)),
        # square: the shorter side, centred, inside the image for odd differences too
        ("square", Dimensions(200, 300), Box(0, 50, 200, 200)),
        ("square", Dimensions(200, 200), Box(0, 0, 200, 200)),
        ("square", Dimensions(4, 1), Box(1, 0, 1, 1)),
        ("square", Dimensions(1, 1), Box(0, 0, 1, 1)),
        # pixels, cropped at the image's edge
        ("0,0,300,200", SPECIMEN, Box(0, 0, 300, 200)),
        ("0,0,301,200", SPECIMEN, Box(0, 0, 300, 200)),
        ("299,199,1,1", SPECIMEN, Box(299, 199, 1, 1)),
        ("299,199,999999999,999999999", SPECIMEN, Box(299, 199, 1, 1)),
        # percent, whole pixels
        ("pct:0,0,100,100", SPECIMEN, Box(0, 0, 300, 200)),
        ("pct:0,0,200,200", SPECIMEN, Box(0, 0, 300, 200)),
        ("pct:25,25,50,50", SPECIMEN, Box(75, 50, 150, 100)),
        ("pct:99,99,1,1", SPECIMEN, Box(297, 198, 3, 2)),
        # percent, nearest pixels, halves upward; neighbours share their edge
        ("pct:0,0,50,50", Dimensions(101, 101), Box(0, 0, 51, 51)),
        ("pct:50,50,50,50", Dimensions(101, 101), Box(51, 51, 50, 50)),
        ("pct:0,0,33.3,100", Dimensions(10, 10), Box(0, 0, 3, 10)),
        # as programs print a third and what is left of a subtraction
        ("pct:33.333333333333336,0,33.33,50", Dimensions(300, 200), Box(100, 0, 100, 100)),
        ("pct:5.684341886080802e-14,0,50,50", Dimensions(300, 200), Box(0, 0, 150, 100)),
        ("pct:1e-7,1e-07,100,100", Dimensions(300, 200), Box(0, 0, 300, 200)),
        # exact: half a pixel, and a little less than that
        ("pct:0.5,0,50,100", Dimensions(100, 10), Box(1, 0, 50, 10)),
        (f"pct:0.4{'9' * 99},0,50,100", Dimensions(100, 10), Box(0, 0, 50, 10)),
        ("pct:33.3,0,33.3,100", Dimensions(10, 10), Box(3, 0, 4, 10)),
        ("pct:66.6,0,33.4,100", Dimensions(10, 10), Box(7, 0, 3, 10)),
        # exact where binary floating point is not: 0.07 * 100 is 7.000000000000001
        ("pct:7,0,7,100", Dimensions(100, 10), Box(7, 0, 7, 10)),
        ("pct:0.15,0,0.15,100", Dimensions(1000, 10), Box(2, 0, 1, 10)),
    ],
)
def test_a_region_is_the_part_of_the_rectangle_inside_the_image(
    text: str, image: Dimensions, box: Box
) -> None:
    assert parse_region(text).resolve(image) == box


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("300,0,1,1", SPECIMEN),
        ("0,200,1,1", SPECIMEN),
        ("300,200,10,10", SPECIMEN),
        ("999999999,999999999,999999999,999999999", SPECIMEN),
        ("pct:100,0,10,10", SPECIMEN),
        ("pct:0,100,10,10", SPECIMEN),
        ("pct:100.5,0,10,10", SPECIMEN),
        ("pct:0,0,0.1,100", SPECIMEN),
        ("pct:0,0,100,0.2", SPECIMEN),
        ("1,0,1,1", Dimensions(1, 1)),
    ],
)
def test_a_region_outside_the_image_or_without_a_pixel_is_refused(
    text: str, image: Dimensions
) -> None:
    with pytest.raises(OutOfBoundsError):
        parse_region(text).resolve(image)


@pytest.mark.parametrize(
    ("written", "shortest"),
    [
        ("full", "full"),
        ("square", "square"),
        ("007,0,010,1", "7,0,10,1"),
        ("pct:.5,00,50.50,100.0", "pct:0.5,0,50.5,100"),
    ],
)
def test_a_region_is_written_as_the_specification_recommends(written: str, shortest: str) -> None:
    assert str(parse_region(written)) == shortest
