"""Requests of viewers. `tests/e2e/test_warm.py` has the real viewers."""

from typing import Any

import pytest

from iiif_server.iiif.geometry import Dimensions, Limits, square
from iiif_server.iiif.information import Service, image_information
from iiif_server.iiif.request import parse_whole_request
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.iiif.viewers import InfoJson

SCREEN = Dimensions(1280, 800)


def announced(width: int, height: int, version: ImageApiVersion = V3, tile: int = 512) -> InfoJson:
    return InfoJson(version, Dimensions(width, height), square(tile))


def requests(image: InfoJson, screen: Dimensions | None = SCREEN) -> list[str]:
    return [path.removesuffix("/0/default.jpg") for path in image.requests(screen)]


def test_a_first_view_needs_levels_up_to_twice_the_size_on_the_screen() -> None:
    assert requests(announced(2400, 1800)) == [
        "full/300,225",
        "0,0,2048,1800/512,450",
        "2048,0,352,1800/88,450",
        "0,0,1024,1024/512,512",
        "1024,0,1024,1024/512,512",
        "2048,0,352,1024/176,512",
        "0,1024,1024,776/512,388",
        "1024,1024,1024,776/512,388",
        "2048,1024,352,776/176,388",
        "full/90,",
        "full/,120",
        "full/!400,400",
    ]
    assert "0,0,512,512/512,512" in requests(announced(2400, 1800), Dimensions(1280, 900))
    assert "0,0,512,512/512,512" in requests(announced(2400, 1800), None)


def test_the_smallest_level_is_requested_on_any_screen() -> None:
    assert requests(announced(900, 700), square(1))[0] == "full/450,350"


def test_tiles_of_version_2_are_requested_by_width_and_by_width_and_height() -> None:
    found = requests(announced(1000, 700, V2), None)
    assert {"full/500,", "512,0,488,512/488,", "512,0,488,512/488,512", "full/,120"} <= set(found)
    assert requests(announced(300, 600, V2), None)[:4] == [
        "full/150,",
        "full/150,300",
        "0,0,300,512/full",
        "0,0,300,512/300,",
    ]


def test_a_thumbnail_that_would_be_larger_than_the_image_is_not_requested_of_version_3() -> None:
    assert requests(announced(89, 120)) == ["full/max", "full/,120", "full/!400,400"]
    assert requests(announced(90, 119)) == ["full/max", "full/90,", "full/!400,400"]


@pytest.mark.parametrize("version", [V2, V3])
@pytest.mark.parametrize("size", [(1, 1), (1500, 1), (1031, 3000), (513, 513)])
def test_every_request_is_well_formed(size: tuple[int, int], version: ImageApiVersion) -> None:
    for path in announced(*size, version).requests(None):
        parse_whole_request(path, version)


@pytest.mark.parametrize("version", [V2, V3])
def test_our_own_information_is_read(version: ImageApiVersion) -> None:
    service = Service(Limits(), (), 200, square(256))
    document = image_information(version, "https://example.org/a", Dimensions(900, 700), service)
    assert InfoJson.read(document) == announced(900, 700, version, 256)


INFORMATION: dict[str, Any] = {"@context": V3.context, "width": 900, "height": 700}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {"width": 900, "height": 700},
        INFORMATION | {"@context": 3},
        INFORMATION | {"width": "900"},
        INFORMATION | {"width": True},
        INFORMATION | {"height": 0},
        INFORMATION | {"height": 1 << 40},
        INFORMATION | {"tiles": 5},
        INFORMATION | {"tiles": [[]]},
        INFORMATION | {"tiles": [{"width": -1}]},
        INFORMATION | {"extraFormats": 3},
    ],
)
def test_what_is_no_information_of_an_image_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"no info\.json"):
        InfoJson.read(document)


def test_there_are_no_more_requests_than_a_million() -> None:
    with pytest.raises(ValueError, match="more than 1,000,000 tiles"):
        announced(1 << 30, 1 << 30).requests(None)
    with pytest.raises(ValueError, match="more than 1,000,000 tiles"):
        announced(4000, 4000, tile=1).requests(SCREEN)
    assert len(requests(announced(1 << 30, 1 << 30))) < 100
