from typing import Any

import pytest

from iiif_server.iiif.geometry import Dimensions, Limits
from iiif_server.iiif.manifest import (
    ImageService,
    Picture,
    label_of,
    level_2_services,
    manifest,
    rights_uri,
)
from support.presentation import parse_with_prezi

BASE = "https://images.example.org/specimens:a%2F1.jpg"
MANIFEST = f"{BASE}/manifest.json"
BY = "https://creativecommons.org/licenses/by/4.0/"


def picture(name: str = "1.jpg", **changes: Any) -> Picture:
    base = f"https://images.example.org/specimens:a%2F{name}"
    values: dict[str, Any] = {
        "base_uri": base,
        "services": level_2_services(base, base.replace("/specimens", "/iiif/2/specimens")),
        "label": name,
        "dimensions": Dimensions(3000, 2000),
        "limits": Limits(max_area=400_000_000),
        "min_sizes_size": 200,
    }
    return Picture(**(values | changes))


def test_an_image_is_one_canvas_of_its_size_with_the_image_on_it() -> None:
    document = manifest(MANIFEST, "1.jpg", [picture()])
    parse_with_prezi(document)
    assert (document["id"], document["type"]) == (MANIFEST, "Manifest")
    assert document["label"] == {"none": ["1.jpg"]}
    (canvas,) = document["items"]
    assert (canvas["width"], canvas["height"]) == (3000, 2000)
    (annotation,) = canvas["items"][0]["items"]
    assert annotation["motivation"] == "painting"
    assert annotation["target"] == canvas["id"]
    body = annotation["body"]
    assert body["id"] == f"{BASE}/full/max/0/default.jpg"
    assert (body["width"], body["height"]) == (3000, 2000)


def test_no_address_of_a_canvas_has_a_fragment() -> None:
    """Presentation API 3.0, 5.3: annotations need a stable id to refer to a part."""
    document = manifest(f"{MANIFEST}?identifiers=a,b", "2", [picture(), picture("2.jpg")])
    assert not [canvas["id"] for canvas in document["items"] if "#" in canvas["id"]]


def test_an_image_has_services_of_both_versions_in_their_own_words() -> None:
    (canvas,) = manifest(MANIFEST, "1.jpg", [picture()])["items"]
    three, two = canvas["items"][0]["items"][0]["body"]["service"]
    assert three == {"id": BASE, "type": "ImageService3", "profile": "level2"}
    assert two == {
        "@id": BASE.replace("/specimens", "/iiif/2/specimens"),
        "@type": "ImageService2",
        "profile": "http://iiif.io/api/image/2/level2.json",
    }


def test_images_stand_in_the_order_in_which_they_are_given() -> None:
    names = ["3.jpg", "1.jpg", "2.jpg"]
    document = manifest(MANIFEST, "3 images", [picture(name) for name in names])
    parse_with_prezi(document)
    assert [canvas["label"]["none"][0] for canvas in document["items"]] == names
    assert len({canvas["id"] for canvas in document["items"]}) == 3


def test_where_max_is_limited_the_image_is_said_to_be_as_large_as_it_comes() -> None:
    document = manifest(MANIFEST, "1.jpg", [picture(limits=Limits(max_width=1500))])
    (canvas,) = document["items"]
    body = canvas["items"][0]["items"][0]["body"]
    assert (canvas["width"], canvas["height"]) == (3000, 2000)
    assert (body["width"], body["height"]) == (1500, 1000)


def test_more_than_a_jpeg_can_hold_is_not_asked_for() -> None:
    document = manifest(MANIFEST, "1.jpg", [picture(dimensions=Dimensions(100_000, 1000))])
    body = document["items"][0]["items"][0]["items"][0]["body"]
    assert body["id"] == f"{BASE}/full/65500,655/0/default.jpg"
    assert body["width"] == 65_500


@pytest.mark.parametrize(
    ("dimensions", "size"),
    [
        ((3000, 2000), (375, 250)),  # the smallest of info.json
        ((900, 700), (450, 350)),
        ((100, 80), (100, 80)),  # what is small is not made smaller
        ((20_000, 500), (400, 10)),  # the smallest of info.json would be 10,000 pixels wide
        ((300, 60_000), (2, 400)),
    ],
)
def test_thumbnails_are_small(dimensions: tuple[int, int], size: tuple[int, int]) -> None:
    document = manifest(MANIFEST, "1.jpg", [picture(dimensions=Dimensions(*dimensions))])
    (thumbnail,) = document["thumbnail"]
    assert (thumbnail["width"], thumbnail["height"]) == size


def test_where_only_what_is_offered_is_there_no_other_thumbnail_is_asked_for() -> None:
    wide = picture(dimensions=Dimensions(20_000, 500), only_offered=True)
    (thumbnail,) = manifest(MANIFEST, "1.jpg", [wide])["thumbnail"]
    assert (thumbnail["width"], thumbnail["height"]) == (10_000, 250)


def test_a_thumbnail_is_asked_for_as_its_version_writes_sizes() -> None:
    def address(**changes: Any) -> str:
        document = manifest(MANIFEST, "1.jpg", [picture(**changes)])
        found: str = document["thumbnail"][0]["id"]
        return found.removeprefix(BASE)

    two = (ImageService(BASE, "ImageService2", "http://iiif.io/api/image/2/level0.json"),)
    small = Dimensions(100, 80)
    assert address() == "/full/375,250/0/default.jpg"
    assert address(services=two) == "/full/375,/0/default.jpg"
    assert address(dimensions=small) == "/full/max/0/default.jpg"
    assert address(dimensions=small, services=two) == "/full/full/0/default.jpg"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, None),
        ("urn:free", None),
        (BY, "http://creativecommons.org/licenses/by/4.0/"),
        ("https://www.rightsstatements.org/vocab/InC/1.0/",
         "http://rightsstatements.org/vocab/InC/1.0/"),
        ("http://rightsstatements.org/vocab/InC/1.0/",
         "http://rightsstatements.org/vocab/InC/1.0/"),
        ("https://museum.example.org/rights", "https://museum.example.org/rights"),
    ],
)  # fmt: skip
def test_rights_are_named_as_those_who_name_them_do(written: str | None, said: str | None) -> None:
    assert rights_uri(written) == said


def test_what_holds_of_all_images_is_said_once_and_all_else_of_each() -> None:
    extra = {"attribution": "The Museum"}
    both = [picture(rights=BY, extra=extra), picture("2.jpg", extra=extra)]
    document = manifest(MANIFEST, "2 images", both)
    parse_with_prezi(document)
    assert "rights" not in document
    assert document["items"][0]["rights"] == "http://creativecommons.org/licenses/by/4.0/"
    assert "rights" not in document["items"][1]
    assert document["requiredStatement"]["value"] == {"none": ["The Museum"]}
    assert "requiredStatement" not in document["items"][0]


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        ({"attribution": ["One", "Two"]}, {"none": ["One", "Two"]}),
        ({"attribution": 7}, None),
        ({"attribution": []}, None),
        ({"requiredStatement": {"label": {"de": ["Quelle"]}, "value": {"de": ["Wir"]}}},
         {"de": ["Wir"]}),
        ({"requiredStatement": {"label": "Quelle", "value": "Wir"}}, None),
        ({"requiredStatement": {"label": {"de": "Quelle"}, "value": {"de": ["Wir"]}}}, None),
        ({"seeAlso": "https://example.org/"}, None),
    ],
)  # fmt: skip
def test_only_what_is_well_formed_becomes_a_required_statement(extra: Any, value: Any) -> None:
    document = manifest(MANIFEST, "1.jpg", [picture(extra=extra)])
    parse_with_prezi(document)
    assert document.get("requiredStatement", {}).get("value") == value


@pytest.mark.parametrize(
    ("name", "label"),
    [("banana", "banana"), ("a/b/c d.jpg", "c d.jpg"), ("a/", "a"), ("/", "/")],
)
def test_a_label_is_the_last_part_of_a_name(name: str, label: str) -> None:
    assert label_of(name) == label
