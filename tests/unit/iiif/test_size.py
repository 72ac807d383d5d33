"""The size parameter (Image API 3.0, 4.2; 2.1.1, 4.2)."""

from fractions import Fraction

import pytest

from iiif_server.errors import MalformedParameterError, SizeRefusedError
from iiif_server.iiif.geometry import Dimensions, Limits
from iiif_server.iiif.size import (
    ConfinedSize,
    ExactSize,
    FullSize,
    HeightSize,
    MaxSize,
    PercentSize,
    Size,
    WidthSize,
    parse_size,
    resolve_size,
    size_text,
)
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

SPECIMEN = Dimensions(300, 200)
"""The region of the specification's examples."""
UNLIMITED = Limits()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("max", MaxSize(upscale=False)),
        ("^max", MaxSize(upscale=True)),
        ("150,", WidthSize(150, upscale=False)),
        ("^360,", WidthSize(360, upscale=True)),
        (",150", HeightSize(150, upscale=False)),
        ("^,240", HeightSize(240, upscale=True)),
        ("pct:50", PercentSize(Fraction(50), upscale=False)),
        ("pct:0.05", PercentSize(Fraction(1, 20), upscale=False)),
        ("^pct:120", PercentSize(Fraction(120), upscale=True)),
        ("225,100", ExactSize(225, 100, upscale=False)),
        ("^360,360", ExactSize(360, 360, upscale=True)),
        ("!225,100", ConfinedSize(225, 100, upscale=False)),
        ("^!360,360", ConfinedSize(360, 360, upscale=True)),
        ("0150,", WidthSize(150, upscale=False)),
    ],
)
def test_size_forms_of_3_0_are_read(text: str, size: Size) -> None:
    assert parse_size(text, V3) == size


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("full", FullSize),
        ("max", MaxSize),
        ("150,", WidthSize),
        (",150", HeightSize),
        ("pct:50", PercentSize),
        ("225,100", ExactSize),
        ("!225,100", ConfinedSize),
    ],
)
def test_size_forms_of_2_1_are_read(text: str, type_: type[Size]) -> None:
    assert isinstance(parse_size(text, V2), type_)


MALFORMED = [
    "",
    ",",
    "0,",
    ",0",
    "0,0",
    "0,1",
    "1,0",
    "!0,1",
    "!1,0",
    "00,",
    "150",
    "-150,",
    "+150,",
    "150.0,",
    "1.5,1",
    "1e2,",
    "0x1,",
    "150,,",
    ",,150",
    "1,1,1",
    "150, 100",
    " 150,",
    "150, ",
    "150,\n",
    "max\n",
    "Max",
    "MAX",
    " max",
    "maximum",
    "!150,",
    "!,150",
    "!max",
    "!pct:50",
    "!!1,1",
    "1,!1",
    "1,^1",
    ",^240",
    "^",
    "^^max",
    "!^1,1",
    "^full",
    "pct:",
    "pct:0",
    "pct:0.0",
    "pct:-1",
    "pct:+1",
    "pct:1e1",
    "pct:1e+1",
    "pct:0e-7",
    "pct:50.",
    f"pct:0.{'1' * 101}",
    f"pct:0.{'9' * 100_000}",
    "pct:.",
    "pct:50%",
    "pct:nan",
    "pct:inf",
    "pct:50,50",
    "pct: 50",
    "pct:50\n",
    "PCT:50",
    "\u0661,",
    "\uff11\uff10,",
    "\xb2,",
    "square",
    "\x00",
    "\ud800",
    "9" * 5000 + ",",
]


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@pytest.mark.parametrize("text", MALFORMED)
def test_any_other_size_is_malformed(text: str, version: ImageApiVersion) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_size(text, version)
    assert refused.value.parameter == "size"


def test_full_is_no_size_in_3_0() -> None:
    with pytest.raises(MalformedParameterError):
        parse_size("full", V3)


@pytest.mark.parametrize("text", ["^max", "^150,", "^,150", "^pct:50", "^1,1", "^!1,1"])
def test_a_caret_is_no_size_in_2_1(text: str) -> None:
    with pytest.raises(MalformedParameterError):
        parse_size(text, V2)


@pytest.mark.parametrize(
    ("text", "region", "limits", "size"),
    [
        # the examples of the specification
        ("max", SPECIMEN, Limits(max_width=200), (200, 133)),
        ("^max", SPECIMEN, Limits(max_width=360), (360, 240)),
        ("150,", SPECIMEN, UNLIMITED, (150, 100)),
        ("^360,", SPECIMEN, UNLIMITED, (360, 240)),
        (",150", SPECIMEN, UNLIMITED, (225, 150)),
        ("^,240", SPECIMEN, UNLIMITED, (360, 240)),
        ("pct:50", SPECIMEN, UNLIMITED, (150, 100)),
        ("^pct:120", SPECIMEN, UNLIMITED, (360, 240)),
        ("225,100", SPECIMEN, UNLIMITED, (225, 100)),
        ("^360,360", SPECIMEN, UNLIMITED, (360, 360)),
        ("!225,100", SPECIMEN, UNLIMITED, (150, 100)),
        ("^!360,360", SPECIMEN, UNLIMITED, (360, 240)),
        # max: the region's own size unless limits make it smaller, never upscaled
        ("max", SPECIMEN, UNLIMITED, (300, 200)),
        ("max", SPECIMEN, Limits(max_width=1000), (300, 200)),
        ("max", SPECIMEN, Limits(max_width=300), (300, 200)),
        ("max", SPECIMEN, Limits(300, 100), (150, 100)),
        ("max", SPECIMEN, Limits(max_area=150 * 100), (150, 100)),
        ("max", Dimensions(200, 300), Limits(max_width=150), (100, 150)),
        # ^max: the largest of width, height and area; without any, nothing to grow to
        ("^max", SPECIMEN, UNLIMITED, (300, 200)),
        ("^max", SPECIMEN, Limits(max_width=150), (150, 100)),
        ("^max", SPECIMEN, Limits(900, 400), (600, 400)),
        ("^max", SPECIMEN, Limits(max_area=600 * 400), (600, 400)),
        ("^max", SPECIMEN, Limits(1000, 1000, 600 * 400), (600, 400)),
        # w, and ,h: exactly that side, the other rounded, halves upward, at least one pixel
        ("300,", SPECIMEN, UNLIMITED, (300, 200)),
        ("500,", Dimensions(1000, 667), UNLIMITED, (500, 334)),
        ("1,", SPECIMEN, UNLIMITED, (1, 1)),
        ("1,", Dimensions(1000, 3), UNLIMITED, (1, 1)),
        (",1", Dimensions(3, 1000), UNLIMITED, (1, 1)),
        (",500", Dimensions(667, 1000), UNLIMITED, (334, 500)),
        ("^150,", SPECIMEN, UNLIMITED, (150, 100)),
        # pct: nearest pixels, halves upward
        ("pct:100", SPECIMEN, UNLIMITED, (300, 200)),
        ("pct:50", Dimensions(5, 3), UNLIMITED, (3, 2)),
        ("pct:50", Dimensions(1, 1), UNLIMITED, (1, 1)),
        ("pct:33.3", Dimensions(10, 10), UNLIMITED, (3, 3)),
        ("pct:33.333333333333336", SPECIMEN, UNLIMITED, (100, 67)),
        ("pct:5000e-2", SPECIMEN, UNLIMITED, (150, 100)),
        ("pct:50.00000000000001", Dimensions(5, 3), UNLIMITED, (3, 2)),
        ("pct:49.99999999999999", Dimensions(5, 3), UNLIMITED, (2, 1)),
        ("^pct:100", SPECIMEN, UNLIMITED, (300, 200)),
        ("^pct:250", Dimensions(1, 3), UNLIMITED, (3, 8)),
        # w,h: exactly that, even distorted
        ("300,1", SPECIMEN, UNLIMITED, (300, 1)),
        ("1,200", SPECIMEN, UNLIMITED, (1, 200)),
        ("^301,1", SPECIMEN, UNLIMITED, (301, 1)),
        # !w,h: as large as fits, never larger than the region
        ("!100,225", SPECIMEN, UNLIMITED, (100, 67)),
        ("!1000,1000", SPECIMEN, UNLIMITED, (300, 200)),
        ("!300,1000", SPECIMEN, UNLIMITED, (300, 200)),
        ("!300,200", SPECIMEN, UNLIMITED, (300, 200)),
        ("!1000,100", SPECIMEN, UNLIMITED, (150, 100)),
        ("!1,1", SPECIMEN, UNLIMITED, (1, 1)),
        ("!5,1000", Dimensions(1000, 3), UNLIMITED, (5, 1)),
        ("!1000,1000", SPECIMEN, Limits(max_width=150), (150, 100)),
        ("!1000,1000", SPECIMEN, Limits(max_area=150 * 100), (150, 100)),
        ("!200,200", SPECIMEN, Limits(max_width=150), (150, 100)),
        ("!120,200", SPECIMEN, Limits(max_width=150), (120, 80)),
        # ^!w,h: the region does not count
        ("^!600,600", SPECIMEN, UNLIMITED, (600, 400)),
        ("^!600,600", SPECIMEN, Limits(max_width=450), (450, 300)),
        ("^!600,600", SPECIMEN, Limits(max_area=450 * 300), (450, 300)),
        ("^!150,150", SPECIMEN, UNLIMITED, (150, 100)),
        ("^!7,7", Dimensions(2, 1), UNLIMITED, (7, 4)),
    ],
)
def test_a_size_of_3_0_comes_out_as_whole_pixels(
    text: str, region: Dimensions, limits: Limits, size: tuple[int, int]
) -> None:
    assert resolve_size(parse_size(text, V3), region, limits) == Dimensions(*size)


@pytest.mark.parametrize(
    ("text", "region", "limits", "size"),
    [
        # the examples of the specification
        ("full", SPECIMEN, UNLIMITED, (300, 200)),
        ("max", SPECIMEN, Limits(max_width=200), (200, 133)),
        ("150,", SPECIMEN, UNLIMITED, (150, 100)),
        (",150", SPECIMEN, UNLIMITED, (225, 150)),
        ("pct:50", SPECIMEN, UNLIMITED, (150, 100)),
        ("225,100", SPECIMEN, UNLIMITED, (225, 100)),
        ("!225,100", SPECIMEN, UNLIMITED, (150, 100)),
        # max "is the same as full if none of these properties are provided"
        ("max", SPECIMEN, UNLIMITED, (300, 200)),
        ("max", SPECIMEN, Limits(max_width=600), (300, 200)),
        ("full", SPECIMEN, Limits(max_width=600), (300, 200)),
        # sizeAboveFull is offered
        ("360,", SPECIMEN, UNLIMITED, (360, 240)),
        (",240", SPECIMEN, UNLIMITED, (360, 240)),
        ("pct:120", SPECIMEN, UNLIMITED, (360, 240)),
        ("360,360", SPECIMEN, UNLIMITED, (360, 360)),
        # yet !w,h fits the image into a box and never blows it up
        ("!1000,1000", SPECIMEN, UNLIMITED, (300, 200)),
    ],
)
def test_a_size_of_2_1_comes_out_as_whole_pixels(
    text: str, region: Dimensions, limits: Limits, size: tuple[int, int]
) -> None:
    assert resolve_size(parse_size(text, V2), region, limits) == Dimensions(*size)


@pytest.mark.parametrize(
    "text", ["301,", ",201", "pct:100.5", "pct:101", "301,1", "1,201", "360,240"]
)
def test_3_0_refuses_to_upscale_without_a_caret(text: str) -> None:
    with pytest.raises(SizeRefusedError, match=r"\^"):
        resolve_size(parse_size(text, V3), SPECIMEN, UNLIMITED)


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("200,", Limits(max_width=199)),
        (",150", Limits(300, 149)),
        (",150", Limits(max_width=149)),
        ("pct:50", Limits(max_width=149)),
        ("pct:50", Limits(max_area=150 * 100 - 1)),
        ("150,100", Limits(max_area=150 * 100 - 1)),
        ("100,150", Limits(max_width=149)),
    ],
)
def test_a_size_above_the_limits_is_refused(
    text: str, limits: Limits, version: ImageApiVersion
) -> None:
    with pytest.raises(SizeRefusedError, match=r"max"):
        resolve_size(parse_size(text, version), SPECIMEN, limits)


@pytest.mark.parametrize("text", ["^360,", "^,240", "^pct:120", "^360,240"])
def test_an_upscaled_size_above_the_limits_is_refused(text: str) -> None:
    with pytest.raises(SizeRefusedError):
        resolve_size(parse_size(text, V3), SPECIMEN, Limits(max_width=359))


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("pct:0.1", SPECIMEN),
        ("pct:49", Dimensions(1, 1)),
        ("pct:10", Dimensions(100, 4)),
        ("pct:10", Dimensions(4, 100)),
        ("pct:0.0000000001", Dimensions(1000, 1000)),
    ],
)
def test_a_percentage_that_leaves_less_than_a_pixel_is_refused(
    text: str, region: Dimensions, version: ImageApiVersion
) -> None:
    with pytest.raises(SizeRefusedError):
        resolve_size(parse_size(text, version), region, UNLIMITED)


@pytest.mark.parametrize(
    ("text", "region", "limits", "message"),
    [
        (
            "360,", SPECIMEN, UNLIMITED,
            ("The size would be 360x240 pixels, larger than the region of 300x200; "
            "put ^ before the size to upscale."),
        ),
        (
            ",201", SPECIMEN, UNLIMITED,
            ("The size would be 302x201 pixels, larger than the region of 300x200; "
            "put ^ before the size to upscale."),
        ),
        (
            "10,201", SPECIMEN, UNLIMITED,
            ("The size would be 10x201 pixels, larger than the region of 300x200; put ^ before the "
            "size to upscale."),
        ),
        (
            "pct:120.5", SPECIMEN, UNLIMITED,
            "The size pct:120.5 is above the region's own; put ^ before it to upscale.",
        ),
        (
            "pct:0.1", SPECIMEN, UNLIMITED,
            "pct:0.1 of a region 300 pixels wide and 200 high leaves less than one pixel.",
        ),
        (
            "^360,", SPECIMEN, Limits(max_width=359),
            ("The size would be 360x240 pixels, above this server's limits: maxWidth 359, "
            "maxHeight 359. Request max for the largest allowed size."),
        ),
        (
            "200,", SPECIMEN, Limits(200, 100, 19_999),
            ("The size would be 200x133 pixels, above this server's limits: maxWidth 200, "
            "maxHeight 100, maxArea 19999. Request max for the largest allowed size."),
        ),
        (
            "pct:50", SPECIMEN, Limits(max_area=14_999),
            ("The size would be 150x100 pixels, above this server's limits: maxArea 14999. Request "
            "max for the largest allowed size."),
        ),
    ],
)  # fmt: skip
def test_a_refusal_tells_the_size_what_it_exceeds_and_what_to_do(
    text: str, region: Dimensions, limits: Limits, message: str
) -> None:
    with pytest.raises(SizeRefusedError) as refused:
        resolve_size(parse_size(text, V3), region, limits)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        (
            "0,", V3,
            ('Invalid size "0,": expected max, w, or ,h or w,h or !w,h in whole pixels above zero, '
            "or pct:n; each with ^ before it to upscale."),
        ),
        (
            "^9,", V2,
            ('Invalid size "^9,": expected full, max, w, or ,h or w,h or !w,h in whole pixels '
            "above zero, or pct:n."),
        ),
        (
            "full", V3,
            ('Invalid size "full": expected max, or a URL of Image API 2.1, which begins with '
            "/iiif/2/."),
        ),
    ],
)  # fmt: skip
def test_a_malformed_size_is_told_with_what_is_expected(
    text: str, version: ImageApiVersion, message: str
) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_size(text, version)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "region", "limits"),
    [
        # maxArea refuses the 500x50 that rounding makes of 500x49.6
        ("!500,500", Dimensions(5000, 496), Limits(max_area=24_900)),
        ("^!500,500", Dimensions(5000, 496), Limits(max_area=24_900)),
        ("!500,500", Dimensions(496, 5000), Limits(max_area=24_900)),
    ],
)
def test_a_confined_size_stays_in_its_box_when_an_area_limit_is_near(
    text: str, region: Dimensions, limits: Limits
) -> None:
    # "MUST be as large as possible but not larger than the extracted region, w or h, or
    #  server-imposed limits" -- Image API 3.0, 4.2
    size = resolve_size(parse_size(text, V3), region, limits)
    assert size.width <= 500
    assert size.height <= 500


@pytest.mark.parametrize("text", ["max", "^max", "!5000,5000"])
@pytest.mark.parametrize("region", [Dimensions(10_000, 1), Dimensions(1, 10_000)])
def test_the_maximum_size_of_a_very_thin_region_is_within_the_area_limit(
    text: str, region: Dimensions
) -> None:
    limits = Limits(max_area=100)
    assert limits.allow(resolve_size(parse_size(text, V3), region, limits))


def test_full_of_2_1_is_never_scaled() -> None:
    # "full: The image or region is not scaled, and is returned at its full size"; of sizes above
    # maxWidth "clients should expect requests [...] to be rejected" -- Image API 2.1.1, 4.2, 5.3
    with pytest.raises(SizeRefusedError):
        resolve_size(parse_size("full", V2), SPECIMEN, Limits(max_width=150))


@pytest.mark.parametrize(
    "text",
    [
        "max",
        "^max",
        "150,",
        "^150,",
        ",150",
        "^,150",
        "pct:50",
        "^pct:0.5",
        "225,100",
        "^225,100",
        "!225,100",
        "^!225,100",
    ],
)
def test_a_size_of_3_0_is_written_as_it_was_read(text: str) -> None:
    assert size_text(parse_size(text, V3), V3) == text


@pytest.mark.parametrize("text", ["max", "150,", ",150", "pct:50", "225,100", "!225,100"])
def test_a_size_of_2_1_is_written_as_it_was_read(text: str) -> None:
    assert size_text(parse_size(text, V2), V2) == text


def test_the_word_of_older_links_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(MalformedParameterError, match=r'"full": expected max, .*/iiif/2/'):
        parse_size("full", V3)
    with pytest.raises(MalformedParameterError, match="each with \\^ before it"):
        parse_size("^full", V3)
