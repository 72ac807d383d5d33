"""Image information, info.json (Image API 3.0, 5; 2.1.1, 5)."""

from dataclasses import replace
from typing import Any

import pytest

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Dimensions, Limits
from iiif_server.iiif.information import Service, image_information
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

ID = "https://example.org/iiif/specimens:1"
IMAGE = Dimensions(6000, 4000)
LIMITS = Limits(3000, 2000, 4_000_000)
RIGHTS = "http://rightsstatements.org/vocab/InC-EDU/1.0/"

LEVEL_2_OF_3_0 = {
    "baseUriRedirect",
    "cors",
    "jsonldMediaType",
    "regionByPct",
    "regionByPx",
    "regionSquare",
    "rotationBy90s",
    "sizeByConfinedWh",
    "sizeByH",
    "sizeByPct",
    "sizeByW",
    "sizeByWh",
}
LEVEL_2_OF_2_1 = (LEVEL_2_OF_3_0 | {"sizeByDistortedWh"}) - {"regionSquare"}
OPTIONAL_IN_3_0 = {
    "canonicalLinkHeader",
    "mirroring",
    "profileLinkHeader",
    "rotationArbitrary",
    "sizeUpscaling",
}
OPTIONAL_IN_2_1 = (OPTIONAL_IN_3_0 | {"regionSquare", "sizeAboveFull"}) - {"sizeUpscaling"}


def service(
    limits: Limits = LIMITS,
    formats: tuple[Format, ...] = tuple(Format),
    rights: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Service:
    return Service(
        limits=limits, formats=formats, min_sizes_size=200, rights=rights, extra=extra or {}
    )


def information(
    version: ImageApiVersion, offered: Service, image: Dimensions = IMAGE
) -> dict[str, Any]:
    return image_information(version, ID, image, offered)


def test_required_properties_of_3_0() -> None:
    document = information(V3, service())
    assert document["@context"] == "http://iiif.io/api/image/3/context.json"
    assert document["id"] == ID
    assert document["type"] == "ImageService3"
    assert document["protocol"] == "http://iiif.io/api/image"
    assert document["profile"] == "level2"
    assert (document["width"], document["height"]) == (6000, 4000)


def test_required_properties_of_2_1() -> None:
    document = information(V2, service())
    assert document["@context"] == "http://iiif.io/api/image/2/context.json"
    assert document["@id"] == ID
    assert document["protocol"] == "http://iiif.io/api/image"
    assert document["profile"][0] == "http://iiif.io/api/image/2/level2.json"
    assert (document["width"], document["height"]) == (6000, 4000)


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
def test_the_context_comes_first(version: ImageApiVersion) -> None:
    assert next(iter(information(version, service()))) == "@context"


def test_a_version_does_not_use_the_other_ones_words() -> None:
    assert not {"@id", "license"} & set(information(V3, service(rights=RIGHTS)))
    assert not {
        "id",
        "type",
        "rights",
        "extraFormats",
        "extraQualities",
        "extraFeatures",
        "preferredFormats",
        "maxWidth",
        "maxHeight",
        "maxArea",
    } & set(information(V2, service(rights=RIGHTS)))


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
def test_sizes_are_ascending_rounded_up_and_within_the_limits(version: ImageApiVersion) -> None:
    assert information(version, service(Limits()), Dimensions(1001, 801))["sizes"] == [
        {"width": 251, "height": 201},
        {"width": 501, "height": 401},
        {"width": 1001, "height": 801},
    ]
    assert information(version, service(LIMITS))["sizes"] == [
        {"width": 375, "height": 250},
        {"width": 750, "height": 500},
        {"width": 1500, "height": 1000},
    ]


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@pytest.mark.parametrize(
    ("image", "limits", "side", "factors"),
    [
        (IMAGE, LIMITS, 512, [1, 2, 4, 8, 16]),
        (Dimensions(512, 100), Limits(), 512, [1]),
        (IMAGE, Limits(max_width=300), 256, [1, 2, 4, 8, 16, 32]),
        (IMAGE, Limits(max_area=128 * 128), 128, [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_tiles_are_square_within_the_limits_and_have_every_scale_factor(
    version: ImageApiVersion, image: Dimensions, limits: Limits, side: int, factors: list[int]
) -> None:
    assert information(version, service(limits), image)["tiles"] == [
        {"width": side, "height": side, "scaleFactors": factors}
    ]


@pytest.mark.parametrize(
    ("limits", "published"),
    [
        (LIMITS, {"maxWidth": 3000, "maxHeight": 2000, "maxArea": 4_000_000}),
        (Limits(max_area=4_000_000), {"maxArea": 4_000_000}),
        (Limits(max_width=3000), {"maxWidth": 3000, "maxHeight": 3000}),
        (Limits(3000, 2000), {"maxWidth": 3000, "maxHeight": 2000}),
        (Limits(), {}),
    ],
)
def test_limits_are_published(limits: Limits, published: dict[str, int]) -> None:
    names = ("maxWidth", "maxHeight", "maxArea")
    document_3, document_2 = information(V3, service(limits)), information(V2, service(limits))
    assert {name: document_3[name] for name in names if name in document_3} == published
    profile = document_2["profile"][1]
    assert {name: profile[name] for name in names if name in profile} == published


def test_features_of_3_0_are_those_that_level_2_does_not_promise() -> None:
    features = information(V3, service())["extraFeatures"]
    assert set(features) == OPTIONAL_IN_3_0
    assert not set(features) & LEVEL_2_OF_3_0
    assert len(features) == len(set(features))


def test_features_of_2_1_are_those_that_level_2_does_not_promise() -> None:
    features = information(V2, service())["profile"][1]["supports"]
    assert set(features) == OPTIONAL_IN_2_1
    assert not set(features) & LEVEL_2_OF_2_1
    assert len(features) == len(set(features))


def test_upscaling_is_offered_only_with_a_limit() -> None:
    # "A server that supports sizeUpscaling MUST specify maxWidth or maxArea" -- 3.0, 5.7
    document = information(V3, service(Limits()))
    assert "sizeUpscaling" not in document["extraFeatures"] or (
        "maxWidth" in document or "maxArea" in document
    )


def test_formats_are_those_made_here_that_level_2_does_not_promise() -> None:
    made = (Format.JPG, Format.TIF, Format.PNG, Format.WEBP)
    assert information(V3, service(formats=made))["extraFormats"] == ["tif", "webp"]
    assert information(V2, service(formats=made))["profile"][1]["formats"] == ["tif", "webp"]


def test_2_1_leaves_out_formats_where_level_2_names_them_all() -> None:
    # "If any of formats, qualities, or supports have no additional values beyond those specified
    #  in the referenced compliance level, then the property SHOULD be omitted from the response
    #  rather than being present with an empty list" -- Image API 2.1.1, 5.3
    document = information(V2, service(formats=(Format.JPG, Format.PNG)))
    assert "formats" not in document["profile"][1]


def test_preferred_formats_are_among_those_offered() -> None:
    document = information(V3, service())
    assert set(document["preferredFormats"]) <= {"jpg", "png", *document["extraFormats"]}


def test_qualities_beyond_default_are_listed() -> None:
    expected = {"color", "gray", "bitonal"}
    assert set(information(V3, service())["extraQualities"]) == expected
    assert set(information(V2, service())["profile"][1]["qualities"]) == expected


def test_rights_are_called_license_in_2_1() -> None:
    assert information(V3, service(rights=RIGHTS))["rights"] == RIGHTS
    assert information(V2, service(rights=RIGHTS))["license"] == RIGHTS


def test_no_rights_are_claimed_where_none_are_configured() -> None:
    assert "rights" not in information(V3, service())
    assert "license" not in information(V2, service())


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
def test_further_properties_of_the_type_are_repeated(version: ImageApiVersion) -> None:
    extra = {
        "service": [{"@id": "https://example.org/auth/login", "@type": "AuthCookieService1"}],
        "partOf": [{"id": "https://example.org/manifest/1", "type": "Manifest"}],
    }
    document = information(version, service(extra=extra))
    assert {name: document[name] for name in extra} == extra
    assert document["width"] == 6000


PHYSICAL_DIMENSIONS = {
    "@context": "http://iiif.io/api/annex/services/physdim/1/context.json",
    "profile": "http://iiif.io/api/annex/services/physdim",
    "physicalScale": 0.00333333,
    "physicalUnits": "in",
}


def test_physical_dimensions_are_a_service() -> None:
    scaled = replace(service(), inches_per_pixel=1 / 300)
    assert information(V2, scaled)["service"] == PHYSICAL_DIMENSIONS
    assert information(V3, scaled)["service"] == [PHYSICAL_DIMENSIONS]
    assert "service" not in information(V3, service())


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@pytest.mark.parametrize("several", [True, False])
def test_physical_dimensions_stand_beside_the_services_of_the_type(
    version: ImageApiVersion,
    several: bool,  # noqa: FBT001
) -> None:
    own = {"@id": "https://example.org/auth/login", "@type": "AuthCookieService1"}
    extra = {"service": [own] if several else own}
    scaled = replace(service(extra=extra), inches_per_pixel=1 / 300)
    assert information(version, scaled)["service"] == [own, PHYSICAL_DIMENSIONS]
