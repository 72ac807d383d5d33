from typing import Any

import pytest

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Dimensions, Limits
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.information import Service
from iiif_server.iiif.request import parse_image_request
from iiif_server.iiif.static import StaticImage, folder_of
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

LIMITS = Limits(max_area=400_000_000)
ID = "https://images.example.org/specimens/1.jpg"


def static(width: int, height: int, version: ImageApiVersion = V3, **changes: Any) -> StaticImage:
    service: dict[str, Any] = {"limits": LIMITS, "formats": (Format.JPG,), "min_sizes_size": 200}
    return StaticImage(version, Dimensions(width, height), Service(**(service | changes)))


def paths(image: StaticImage) -> list[str]:
    return [file.path.removesuffix("/0/default.jpg") for file in image.files()]


def test_version_3_asks_for_tiles_by_width_and_height() -> None:
    assert paths(static(1000, 700)) == [
        "0,0,512,512/512,512",
        "512,0,488,512/488,512",
        "0,512,512,188/512,188",
        "512,512,488,188/488,188",
        "full/500,350",
        "full/max",
    ]


def test_version_2_asks_for_tiles_by_width() -> None:
    assert paths(static(1000, 700, V2)) == [
        "0,0,512,512/512,",
        "512,0,488,512/488,",
        "0,512,512,188/512,",
        "512,512,488,188/488,",
        "full/500,",
        "full/full",
    ]


def test_in_version_2_a_tile_as_wide_as_the_image_is_there_by_both_of_its_names() -> None:
    assert paths(static(300, 600, V2)) == [
        "0,0,300,512/full",
        "0,0,300,512/300,",
        "0,512,300,88/full",
        "0,512,300,88/300,",
        "full/150,",
        "full/full",
    ]


@pytest.mark.parametrize("size", [(1, 1), (300, 400), (100, 50)])
def test_an_image_of_one_tile_is_one_file(size: tuple[int, int]) -> None:
    assert paths(static(*size)) == ["full/max"]
    assert paths(static(*size, version=V2)) == ["full/full"]
    assert "sizes" not in static(*size).information(ID)


def test_tiles_need_not_be_square() -> None:
    found = paths(static(500, 300, tile=Dimensions(256, 128)))
    assert found[:4] == [
        "0,0,256,128/256,128",
        "256,0,244,128/244,128",
        "0,128,256,128/256,128",
        "256,128,244,128/244,128",
    ]


@pytest.mark.parametrize("version", [V2, V3])
@pytest.mark.parametrize(
    "size", [(1, 1500), (1500, 1), (513, 513), (1031, 1553), (2053, 97), (3000, 1999)]
)
def test_every_request_can_be_asked_and_none_stands_twice(
    version: ImageApiVersion, size: tuple[int, int]
) -> None:
    files = list(static(*size, version=version).files())
    assert len({file.path for file in files}) == len(files)
    for file in files:
        assert parse_image_request(file.request, version) is not None
        assert file.pixels > 0


@pytest.mark.parametrize("version", [V2, V3])
def test_what_is_announced_is_there(version: ImageApiVersion) -> None:
    image = static(3001, 1999, version)
    information = image.information(ID)
    there = set(paths(image))
    for size in information["sizes"]:
        height = "" if version is V2 else size["height"]
        assert f"full/{size['width']},{height}" in there
    (tiles,) = information["tiles"]
    assert tiles["scaleFactors"] == [1, 2, 4, 8]


def test_the_information_is_of_level_0_in_each_versions_words() -> None:
    three = static(1000, 700, rights="https://example.org/rights").information(ID)
    assert (three["id"], three["type"], three["profile"]) == (ID, "ImageService3", "level0")
    assert three["rights"] == "https://example.org/rights"
    assert not {"extraFormats", "extraQualities", "extraFeatures"} & set(three)
    two = static(1000, 700, V2, rights="https://example.org/rights").information(ID)
    assert (two["@id"], two["profile"]) == (ID, ["http://iiif.io/api/image/2/level0.json"])
    assert two["license"] == "https://example.org/rights"


def test_max_is_what_the_limits_allow_and_that_is_announced() -> None:
    image = static(3000, 2000, limits=Limits(max_width=1500))
    assert image.information(ID)["maxWidth"] == 1500
    assert list(image.files())[-1].path == "full/max/0/default.jpg"
    assert list(image.files())[-1].pixels == 1500 * 1000
    two = static(3000, 2000, V2, limits=Limits(max_width=1500)).information(ID)
    assert two["profile"][1] == {"maxWidth": 1500, "maxHeight": 1000}


def test_an_image_too_wide_for_a_jpeg_is_there_as_wide_as_one_can_be() -> None:
    last = list(static(100_000, 1000).files())[-1]
    assert last.path == "full/max/0/default.jpg"
    assert last.request == "full/65500,655/0/default.jpg"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("1.jpg", "specimens/1.jpg"),
        ("IMG-0001.TIF", "specimens/IMG-0001.TIF"),
        ("a/1.jpg", "specimens/a_1.jpg-"),
        ("a_1.jpg", "specimens/a_1.jpg"),
        ("über uns.jpg", "specimens/ber_uns.jpg-"),
        ("100%25.jpg", "specimens/100_25.jpg-"),
        (".hidden", "specimens/hidden-"),
        ("..", "specimens/"),
        ("コード", "specimens/"),
        ("a" * 500, f"specimens/{'a' * 80}-"),
    ],
)
def test_folders_have_names_that_every_server_and_store_takes(name: str, folder: str) -> None:
    found = folder_of(Identifier("specimens", name))
    assert found.startswith(folder)
    assert found.isascii()
    type_, _, last = found.partition("/")
    assert type_ == "specimens"
    assert last
    assert not set(last) & set('/\\:%?#*"<>| ')
    assert not last.startswith(".")


def test_no_two_names_share_a_folder() -> None:
    names = ["a/1.jpg", "a_1.jpg", "a 1.jpg", "a%2F1.jpg", "a:1.jpg", "_a_1.jpg", "a-1.jpg"]
    assert len({folder_of(Identifier("specimens", name)) for name in names}) == len(names)
