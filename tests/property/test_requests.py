"""Requests as texts in URLs, resolved against images."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from iiif_server.errors import MalformedParameterError, OutOfBoundsError, SizeRefusedError
from iiif_server.iiif.formats import parse_format
from iiif_server.iiif.geometry import Dimensions, Limits
from iiif_server.iiif.quality import parse_quality
from iiif_server.iiif.region import parse_region
from iiif_server.iiif.request import ImageFacts, ImageRequest, Rendition, canonical_parameters
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import MaxSize, parse_size, resolve_size
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

VERSIONS = pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])

sides = st.integers(1, 50) | st.integers(1, 5000)
dimensions = st.builds(Dimensions, sides, sides)
images = st.builds(ImageFacts, dimensions, gray=st.booleans())
limits_on_size = st.one_of(
    st.just(Limits()),
    st.builds(Limits, sides, st.none() | sides, st.none() | st.integers(1, 10**7)),
    st.builds(Limits, st.none(), st.none(), st.integers(1, 10**7)),
)

percents = st.one_of(
    st.integers(0, 130).map(str),
    st.decimals(0, 130, places=2).map(str),
    st.sampled_from([".5", "33.3333333333", "0.0000000001", "99.9999999999", "50", "100"]),
)
rotation_texts = st.one_of(
    st.sampled_from(["0", "90", "180", "270", "360", "!0", "!90", "!180", "!270"]),
    st.decimals(0, 360, places=3).map(str),
    st.decimals(0, 360, places=3).map(lambda degrees: f"!{degrees}"),
)
file_texts = st.builds(
    "{}.{}".format,
    st.sampled_from(["default", "color", "gray", "bitonal"]),
    st.sampled_from(["jpg", "png", "webp", "tif"]),
)


@dataclass(frozen=True)
class RequestExample:
    """Request as in a URL, with its image and limits."""

    text: str
    image: ImageFacts
    limits: Limits


@st.composite
def region_texts(draw: st.DrawFn, image: Dimensions) -> str:
    """Draw a region that mostly begins inside the image, and often ends outside."""
    x, y = draw(st.integers(0, image.width)), draw(st.integers(0, image.height))
    width, height = (draw(st.integers(1, side + 10)) for side in (image.width, image.height))
    percent = draw(st.tuples(percents, percents, percents, percents))
    texts = ["full", "full", "square", f"{x},{y},{width},{height}", f"pct:{','.join(percent)}"]
    return draw(st.sampled_from(texts))


@st.composite
def size_texts(draw: st.DrawFn, image: Dimensions, carets: Sequence[str]) -> str:
    """Draw a size of the image's order of magnitude, in the forms of both versions."""
    width, height = (draw(st.integers(1, side + side // 4)) for side in (image.width, image.height))
    forms = [
        "max",
        f"{width},",
        f",{height}",
        f"pct:{draw(percents)}",
        f"{width},{height}",
        f"!{width},{height}",
    ]
    return draw(st.sampled_from(carets)) + draw(st.sampled_from(forms))


@st.composite
def requests(draw: st.DrawFn, *, caret: bool | None = None) -> RequestExample:
    """Draw a request; its size begins with `^` always, never, or (None) sometimes."""
    image, limits = draw(images), draw(limits_on_size)
    carets = {True: ["^"], False: [""], None: ["", "^"]}[caret]
    region = draw(region_texts(image.dimensions))
    size = draw(size_texts(image.dimensions, carets))
    text = f"{region}/{size}/{draw(rotation_texts)}/{draw(file_texts)}"
    return RequestExample(text, image, limits)


REQUESTS = {V2: requests(caret=False), V3: requests()}


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


def resolve_or_reject(example: RequestExample, version: ImageApiVersion) -> Rendition:
    """Return the rendition of a request; reject the example if it is refused."""
    try:
        return parse(example.text, version).resolve(example.image, example.limits)
    except (MalformedParameterError, OutOfBoundsError, SizeRefusedError):
        reject()


@VERSIONS
@given(data=st.data())
def test_region_is_inside_its_image(version: ImageApiVersion, data: st.DataObject) -> None:
    example = data.draw(REQUESTS[version])
    box, image = resolve_or_reject(example, version).region, example.image.dimensions
    assert min(box.x, box.y) >= 0
    assert min(box.width, box.height) >= 1
    assert box.x + box.width <= image.width
    assert box.y + box.height <= image.height


@VERSIONS
@given(data=st.data())
def test_size_is_positive_and_within_the_limits(
    version: ImageApiVersion, data: st.DataObject
) -> None:
    example = data.draw(REQUESTS[version])
    size = resolve_or_reject(example, version).size
    assert min(size.width, size.height) >= 1
    assert example.limits.allow(size)


@given(requests(caret=False))
def test_3_0_does_not_upscale_without_a_caret(example: RequestExample) -> None:
    rendition = resolve_or_reject(example, V3)
    assert rendition.size.width <= rendition.region.width
    assert rendition.size.height <= rendition.region.height


@pytest.mark.parametrize(
    ("version", "caret"), [(V2, ""), (V3, ""), (V3, "^")], ids=["2.1", "3.0", "3.0 upscaling"]
)
@given(box=dimensions, region=dimensions, limits=limits_on_size)
@example(box=Dimensions(500, 500), region=Dimensions(5000, 496), limits=Limits(max_area=24_900))
def test_confined_size_fits_its_box(
    version: ImageApiVersion, caret: str, box: Dimensions, region: Dimensions, limits: Limits
) -> None:
    size = parse_size(f"{caret}!{box.width},{box.height}", version)
    with suppress(SizeRefusedError):
        fitted = resolve_size(size, region, limits)
        assert fitted.width <= box.width
        assert fitted.height <= box.height
        assert caret or (fitted.width <= region.width and fitted.height <= region.height)


@given(sides, sides, dimensions)
def test_confined_size_touches_its_box_or_is_the_region(
    width: int, height: int, region: Dimensions
) -> None:
    fitted = resolve_size(parse_size(f"!{width},{height}", V3), region, Limits())
    assert fitted == region or fitted.width == width or fitted.height == height
    upscaled = resolve_size(parse_size(f"^!{width},{height}", V3), region, Limits())
    assert upscaled.width == width or upscaled.height == height


@pytest.mark.parametrize("upscale", [False, True])
@given(region=dimensions, limits=limits_on_size)
@example(region=Dimensions(10_000, 1), limits=Limits(max_area=100))
def test_maximum_size_is_never_refused(
    region: Dimensions, limits: Limits, *, upscale: bool
) -> None:
    # "The full image will be available at the max size" -- Image API 3.0, compliance, 3.2
    assert limits.allow(resolve_size(MaxSize(upscale), region, limits))


@VERSIONS
@given(data=st.data())
def test_canonical_form_is_the_same_rendition(
    version: ImageApiVersion, data: st.DataObject
) -> None:
    example = data.draw(REQUESTS[version])
    rendition = resolve_or_reject(example, version)
    canonical = canonical_parameters(rendition, example.image, example.limits, version)
    again = parse(canonical, version).resolve(example.image, example.limits)
    assert again == rendition
    assert canonical_parameters(again, example.image, example.limits, version) == canonical


@given(requests(caret=False))
def test_both_versions_resolve_a_common_request_alike(example: RequestExample) -> None:
    assert resolve_or_reject(example, V2) == resolve_or_reject(example, V3)


@given(requests())
def test_canonical_form_of_2_1_is_the_same_rendition_in_3_0(
    example: RequestExample,
) -> None:
    rendition = resolve_or_reject(example, V3)
    in_2_1 = canonical_parameters(rendition, example.image, example.limits, V2)
    assert parse(in_2_1, V2).resolve(example.image, example.limits) == rendition


@given(dimensions, st.lists(st.integers(1, 9_999), min_size=1, max_size=5, unique=True))
def test_neighbouring_percent_regions_meet_without_gap_or_overlap(
    image: Dimensions, cuts: list[int]
) -> None:
    edges = [0, *sorted(cuts), 10_000]
    position = 0
    for left, right in pairwise(edges):
        text = f"pct:{left / 100:.2f},0,{(right - left) / 100:.2f},100"
        with suppress(OutOfBoundsError):  # a strip of less than half a pixel
            box = parse_region(text).resolve(image)
            assert box.x == position
            position += box.width
    assert position == image.width
