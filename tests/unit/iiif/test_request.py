"""Requests resolved and written canonically (Image API 3.0, 4.6 and 4.8; 2.1.1, 4.6 and 4.7)."""

import pytest

from iiif_server.errors import MalformedParameterError, OutOfBoundsError, SizeRefusedError
from iiif_server.iiif.formats import Format, parse_format
from iiif_server.iiif.geometry import Box, Dimensions, Limits
from iiif_server.iiif.quality import Quality, parse_quality
from iiif_server.iiif.region import parse_region
from iiif_server.iiif.request import (
    ImageFacts,
    ImageRequest,
    Rendition,
    canonical_parameters,
    lacks_format,
    parse_whole_request,
)
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import parse_size
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

SPECIMEN = ImageFacts(Dimensions(300, 200), gray=False)
ENGRAVING = ImageFacts(Dimensions(300, 200), gray=True)
UNLIMITED = Limits()


def parse(text: str, version: ImageApiVersion) -> ImageRequest:
    region, size, rotation, file = text.split("/")
    quality, _, format_ = file.partition(".")
    return ImageRequest(
        parse_region(region),
        parse_size(size, version),
        parse_rotation(rotation),
        parse_quality(quality),
        parse_format(format_),
    )


def canonical(
    text: str,
    version: ImageApiVersion,
    image: ImageFacts = SPECIMEN,
    limits: Limits = UNLIMITED,
) -> str:
    rendition = parse(text, version).resolve(image, limits)
    return canonical_parameters(rendition, image, limits, version)


def test_the_region_is_cut_before_it_is_scaled() -> None:
    # the example of the specification: 120x140 pixels, 90 wide, then mirrored and turned
    rendition = parse("125,15,120,140/90,/!345/gray.jpg", V3).resolve(SPECIMEN, UNLIMITED)
    assert rendition == Rendition(
        Box(125, 15, 120, 140),
        Dimensions(90, 105),
        parse_rotation("!345"),
        Quality.GRAY,
        Format.JPG,
    )


def test_the_size_is_that_before_rotation() -> None:
    rendition = parse("full/150,/90/default.jpg", V3).resolve(SPECIMEN, UNLIMITED)
    assert rendition.size == Dimensions(150, 100)


def test_upscaling_is_measured_against_the_region_and_not_the_image() -> None:
    with pytest.raises(SizeRefusedError):
        parse("0,0,100,100/101,/0/default.jpg", V3).resolve(SPECIMEN, UNLIMITED)


def test_a_region_cropped_at_the_edge_is_scaled_as_what_is_left_of_it() -> None:
    rendition = parse("200,0,1000,100/50,/0/default.jpg", V3).resolve(SPECIMEN, UNLIMITED)
    assert (rendition.region, rendition.size) == (Box(200, 0, 100, 100), Dimensions(50, 50))


def test_a_region_outside_the_image_is_refused() -> None:
    with pytest.raises(OutOfBoundsError):
        parse("300,0,10,10/max/0/default.jpg", V3).resolve(SPECIMEN, UNLIMITED)


@pytest.mark.parametrize(
    ("quality", "image", "settled"),
    [
        ("default", SPECIMEN, Quality.DEFAULT),
        ("color", SPECIMEN, Quality.DEFAULT),
        ("gray", SPECIMEN, Quality.GRAY),
        ("bitonal", SPECIMEN, Quality.BITONAL),
        ("default", ENGRAVING, Quality.DEFAULT),
        # "a request for the color quality MUST NOT result in an error" -- Image API 3.0, 4.4
        ("color", ENGRAVING, Quality.DEFAULT),
        ("gray", ENGRAVING, Quality.DEFAULT),
        ("bitonal", ENGRAVING, Quality.BITONAL),
    ],
)
def test_a_quality_that_the_image_has_anyway_is_its_default(
    quality: str, image: ImageFacts, settled: Quality
) -> None:
    rendition = parse(f"full/max/0/{quality}.jpg", V3).resolve(image, UNLIMITED)
    assert rendition.quality is settled


@pytest.mark.parametrize(("format_", "side"), [("jpg", 65_500), ("gif", 65_535), ("webp", 16_383)])
def test_a_side_longer_than_the_encoder_can_write_is_refused(format_: str, side: int) -> None:
    scroll = ImageFacts(Dimensions(100_000, 10), gray=False)
    fits = parse(f"full/{side},10/0/default.{format_}", V3)
    assert fits.resolve(scroll, UNLIMITED).size == Dimensions(side, 10)
    with pytest.raises(SizeRefusedError, match=format_):
        parse(f"full/{side + 1},10/0/default.{format_}", V3).resolve(scroll, UNLIMITED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("full/max/0/default.jpg", "full/max/0/default.jpg"),
        # region: full if it is the full image, otherwise x,y,w,h
        ("0,0,300,200/max/0/default.jpg", "full/max/0/default.jpg"),
        ("0,0,999,999/max/0/default.jpg", "full/max/0/default.jpg"),
        ("pct:0,0,100,100/max/0/default.jpg", "full/max/0/default.jpg"),
        ("square/max/0/default.jpg", "50,0,200,200/max/0/default.jpg"),
        ("pct:41.6,7.5,66.6,100/max/0/default.jpg", "125,15,175,185/max/0/default.jpg"),
        # size: max, ^max, w,h or ^w,h
        ("full/300,/0/default.jpg", "full/max/0/default.jpg"),
        ("full/300,200/0/default.jpg", "full/max/0/default.jpg"),
        ("full/pct:100/0/default.jpg", "full/max/0/default.jpg"),
        ("full/!900,900/0/default.jpg", "full/max/0/default.jpg"),
        ("full/^max/0/default.jpg", "full/max/0/default.jpg"),
        ("full/^300,/0/default.jpg", "full/max/0/default.jpg"),
        ("full/150,/0/default.jpg", "full/150,100/0/default.jpg"),
        ("full/,100/0/default.jpg", "full/150,100/0/default.jpg"),
        ("full/pct:50/0/default.jpg", "full/150,100/0/default.jpg"),
        ("full/!225,100/0/default.jpg", "full/150,100/0/default.jpg"),
        ("full/225,100/0/default.jpg", "full/225,100/0/default.jpg"),
        ("full/^360,/0/default.jpg", "full/^360,240/0/default.jpg"),
        ("full/^!360,360/0/default.jpg", "full/^360,240/0/default.jpg"),
        ("full/^360,360/0/default.jpg", "full/^360,360/0/default.jpg"),
        ("full/^301,1/0/default.jpg", "full/^301,1/0/default.jpg"),
        ("full/^1,201/0/default.jpg", "full/^1,201/0/default.jpg"),
        # a caret that is not needed goes
        ("full/^150,/0/default.jpg", "full/150,100/0/default.jpg"),
        ("full/^pct:50/0/default.jpg", "full/150,100/0/default.jpg"),
        # rotation: an integer if possible
        ("full/max/22.50/default.jpg", "full/max/22.5/default.jpg"),
        ("full/max/.5/default.jpg", "full/max/0.5/default.jpg"),
        ("full/max/!180.0/default.jpg", "full/max/!180/default.jpg"),
        # quality: default if it is the default
        ("full/max/0/color.png", "full/max/0/default.png"),
        ("full/max/0/gray.png", "full/max/0/gray.png"),
        ("full/max/0/bitonal.png", "full/max/0/bitonal.png"),
    ],
)
def test_canonical_form_of_3_0(text: str, expected: str) -> None:
    assert canonical(text, V3) == expected


@pytest.mark.parametrize(
    ("text", "limits", "expected"),
    [
        ("full/max/0/default.jpg", Limits(max_width=150), "full/max/0/default.jpg"),
        ("full/150,/0/default.jpg", Limits(max_width=150), "full/max/0/default.jpg"),
        ("full/^max/0/default.jpg", Limits(max_width=150), "full/max/0/default.jpg"),
        ("full/max/0/default.jpg", Limits(max_width=360), "full/max/0/default.jpg"),
        ("full/300,/0/default.jpg", Limits(max_width=360), "full/max/0/default.jpg"),
        ("full/^max/0/default.jpg", Limits(max_width=360), "full/^max/0/default.jpg"),
        ("full/^360,/0/default.jpg", Limits(max_width=360), "full/^max/0/default.jpg"),
        ("full/^!900,900/0/default.jpg", Limits(max_width=360), "full/^max/0/default.jpg"),
        ("full/^330,/0/default.jpg", Limits(max_width=360), "full/^330,220/0/default.jpg"),
        ("0,0,30,20/^max/0/default.jpg", Limits(max_width=360), "0,0,30,20/^max/0/default.jpg"),
    ],
)
def test_canonical_form_of_3_0_with_limits(text: str, limits: Limits, expected: str) -> None:
    assert canonical(text, V3, limits=limits) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("full/full/0/default.jpg", "full/full/0/default.jpg"),
        ("full/max/0/default.jpg", "full/full/0/default.jpg"),
        ("0,0,300,200/full/0/default.jpg", "full/full/0/default.jpg"),
        ("square/full/0/default.jpg", "50,0,200,200/full/0/default.jpg"),
        ("pct:41.6,7.5,40,70/full/0/default.jpg", "125,15,120,140/full/0/default.jpg"),
        # size: full if it is not scaled, w, if the aspect ratio is kept, otherwise w,h
        ("full/300,/0/default.jpg", "full/full/0/default.jpg"),
        ("full/300,200/0/default.jpg", "full/full/0/default.jpg"),
        ("full/!900,900/0/default.jpg", "full/full/0/default.jpg"),
        ("full/150,/0/default.jpg", "full/150,/0/default.jpg"),
        ("full/150,100/0/default.jpg", "full/150,/0/default.jpg"),
        ("full/,100/0/default.jpg", "full/150,/0/default.jpg"),
        ("full/pct:50/0/default.jpg", "full/150,/0/default.jpg"),
        ("full/!225,100/0/default.jpg", "full/150,/0/default.jpg"),
        ("full/225,100/0/default.jpg", "full/225,100/0/default.jpg"),
        ("full/360,/0/default.jpg", "full/360,/0/default.jpg"),
        ("full/360,240/0/default.jpg", "full/360,/0/default.jpg"),
        ("full/360,360/0/default.jpg", "full/360,360/0/default.jpg"),
        ("full/full/90.0/default.jpg", "full/full/90/default.jpg"),
        ("full/full/!22.50/color.png", "full/full/!22.5/default.png"),
        ("full/full/0/gray.png", "full/full/0/gray.png"),
    ],
)
def test_canonical_form_of_2_1(text: str, expected: str) -> None:
    assert canonical(text, V2) == expected


def test_canonical_form_of_2_1_calls_a_square_of_a_square_image_full() -> None:
    tile = ImageFacts(Dimensions(200, 200), gray=False)
    assert canonical("square/full/0/default.jpg", V2, tile) == "full/full/0/default.jpg"


@pytest.mark.parametrize(
    ("image", "limits", "expected"),
    [
        (Dimensions(300, 200), Limits(max_width=150), "full/150,/0/default.jpg"),
        (Dimensions(300, 200), Limits(max_width=300), "full/full/0/default.jpg"),
        (Dimensions(1000, 667), Limits(max_width=500), "full/500,/0/default.jpg"),
        (Dimensions(300, 200), Limits(max_width=200), "full/200,/0/default.jpg"),
    ],
)
def test_canonical_form_of_2_1_writes_max_as_a_width_unless_it_is_full(
    image: Dimensions, limits: Limits, expected: str
) -> None:
    # "the w, syntax should be considered the canonical form of request for the max size, unless
    #  max is equivalent to full" -- Image API 2.1.1, 4.2
    facts = ImageFacts(image, gray=False)
    assert canonical("full/max/0/default.jpg", V2, facts, limits) == expected


@pytest.mark.parametrize(("version", "size"), [(V2, "full"), (V3, "max")], ids=["2.1", "3.0"])
def test_canonical_form_of_gray_in_a_gray_image_is_default(
    version: ImageApiVersion, size: str
) -> None:
    expected = f"full/{size}/0/default.jpg"
    assert canonical("full/max/0/gray.jpg", version, ENGRAVING) == expected
    assert canonical("full/max/0/color.jpg", version, ENGRAVING) == expected


def test_spellings_of_one_request_make_equal_renditions_in_both_versions() -> None:
    spellings = [
        ("full/150,/0/default.jpg", V3),
        ("0,0,300,200/,100/360/color.jpg", V3),
        ("pct:0,0,100,100/!150,900/0.0/default.jpg", V3),
        ("full/^pct:50/0/default.jpg", V3),
        ("full/150,100/0/default.jpg", V2),
    ]
    renditions = {parse(text, version).resolve(SPECIMEN, UNLIMITED) for text, version in spellings}
    assert len(renditions) == 1


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("full/max/0/default", True),
        ("full/full/0/default", True),
        ("square/^!500,500/!22.5/gray", True),
        ("pct:1,1,50,50/,200/90/bitonal", True),
        ("full/max/0/default.jpg", False),
        ("full/max/0/default.", True),
        ("full/max/0", False),
        ("a/full/max/0/default", False),
        ("full/max/0/native", False),
        ("full/maximal/0/default", False),
        ("", False),
    ],
)
def test_a_request_that_is_complete_but_for_the_format_is_told(
    text: str,
    lacking: bool,  # noqa: FBT001
) -> None:
    assert lacks_format(text) is lacking


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("full/max/0/default", "Invalid format"),
        ("full/max/0", "Invalid request"),
        ("", "Invalid request"),
        ("a/full/max/0/default.jpg", "Invalid request"),
        ("full/1,2,3/0/default.jpg", "Invalid size"),
    ],
)
def test_a_whole_request_lacks_no_part(text: str, said: str) -> None:
    assert parse_whole_request("full/max/0/default.jpg", V3).format is Format.JPG
    with pytest.raises(MalformedParameterError, match=said):
        parse_whole_request(text, V3)
