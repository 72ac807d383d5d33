"""info.json claims exactly what the server does; all else is refused."""

from io import BytesIO
from itertools import product
from typing import Any

import httpx
import pytest
from PIL import Image

from support.servers import Server

pytestmark = pytest.mark.e2e

WIDTH, HEIGHT = 1200, 900
LEVEL_2_FORMATS = {"jpg", "png"}
ALL_FORMATS = {"jpg", "tif", "png", "gif", "jp2", "pdf", "webp", "avif", "bmp", "jxl", "svg", "xyz"}
ALL_QUALITIES = {"default", "color", "gray", "bitonal", "native", "grey", "Default", "sepia"}

FEATURE_REQUESTS = {
    "regionByPx": "10,20,300,200/max/0/default.jpg",
    "regionByPct": "pct:10,20,30,40/max/0/default.jpg",
    "regionSquare": "square/max/0/default.jpg",
    "sizeByW": "full/300,/0/default.jpg",
    "sizeByH": "full/,300/0/default.jpg",
    "sizeByPct": "full/pct:25/0/default.jpg",
    "sizeByWh": "full/300,100/0/default.jpg",
    "sizeByConfinedWh": "full/!300,300/0/default.jpg",
    "sizeUpscaling": "100,100,100,100/^300,/0/default.jpg",
    "rotationBy90s": "full/300,/90/default.jpg",
    "rotationArbitrary": "full/300,/12.5/default.jpg",
    "mirroring": "full/300,/!0/default.jpg",
    "sizeAboveFull": "100,100,100,100/300,/0/default.jpg",
}
LEVEL_2_FEATURES = {
    "regionByPx",
    "regionByPct",
    "sizeByW",
    "sizeByH",
    "sizeByPct",
    "sizeByWh",
    "sizeByConfinedWh",
    "rotationBy90s",
}
HEADER_FEATURES = {"canonicalLinkHeader", "profileLinkHeader", "cors", "baseUriRedirect"}


@pytest.fixture(scope="module", params=["/iiif/3", "/iiif/2"])
def claims_of_info_json(
    server: Server, request: pytest.FixtureRequest
) -> tuple[str, dict[str, Any]]:
    """Base URI of an image, and what its info.json claims beyond level 2."""
    path = server.source / "claims.jpg"
    if not path.exists():
        Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB").save(path)
    uri = f"{server.url}{request.param}/pictures:claims.jpg"
    document = httpx.get(f"{uri}/info.json").raise_for_status().json()
    if request.param == "/iiif/2":
        assert document["profile"][0] == "http://iiif.io/api/image/2/level2.json"
        extra = document["profile"][1]
        return uri, {
            "formats": extra["formats"],
            "qualities": extra["qualities"],
            "features": extra["supports"],
            "maxArea": extra["maxArea"],
            **document,
        }
    assert document["profile"] == "level2"
    return uri, {
        "formats": document["extraFormats"],
        "qualities": document["extraQualities"],
        "features": document["extraFeatures"],
        **document,
    }


def test_only_claimed_formats_are_served(claims_of_info_json: tuple[str, dict[str, Any]]) -> None:
    uri, claims = claims_of_info_json
    made = LEVEL_2_FORMATS | set(claims["formats"])
    assert made <= ALL_FORMATS
    for format_ in ALL_FORMATS:
        response = httpx.get(f"{uri}/full/200,/0/default.{format_}", timeout=30)
        if format_ in made:
            assert response.status_code == 200, format_
            if format_ != "pdf":
                assert Image.open(BytesIO(response.content)).size == (200, 150), format_
        else:
            assert response.status_code == 400, format_
            assert all(name in response.json()["error"] for name in made)


def test_only_claimed_qualities_are_served(claims_of_info_json: tuple[str, dict[str, Any]]) -> None:
    uri, claims = claims_of_info_json
    made = {"default", *claims["qualities"]}
    for quality in ALL_QUALITIES:
        status = httpx.get(f"{uri}/full/200,/0/{quality}.jpg").status_code
        assert status == (200 if quality in made else 400), quality


def test_only_claimed_features_are_served(claims_of_info_json: tuple[str, dict[str, Any]]) -> None:
    uri, claims = claims_of_info_json
    features = set(claims["features"])
    assert features <= set(FEATURE_REQUESTS) | HEADER_FEATURES
    level_2 = LEVEL_2_FEATURES | ({"regionSquare"} if claims.get("profile") == "level2" else set())
    for feature, path in FEATURE_REQUESTS.items():
        status = httpx.get(f"{uri}/{path}").status_code
        assert status == (200 if feature in features | level_2 else 400), feature
    answer = httpx.get(f"{uri}/full/100,/0/default.jpg")
    links = answer.headers["link"]
    assert ('rel="canonical"' in links) == ("canonicalLinkHeader" in features)
    assert ('rel="profile"' in links) == ("profileLinkHeader" in features)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert httpx.get(uri, follow_redirects=False).status_code == 303


def test_claimed_sizes_and_tiles_are_served(
    claims_of_info_json: tuple[str, dict[str, Any]],
) -> None:
    uri, claims = claims_of_info_json
    widths = [size["width"] for size in claims["sizes"]]
    assert widths == sorted(widths)
    for size in claims["sizes"]:
        answer = httpx.get(f"{uri}/full/{size['width']},{size['height']}/0/default.jpg")
        assert Image.open(BytesIO(answer.content)).size == (size["width"], size["height"])
    for tiles in claims["tiles"]:
        for factor in tiles["scaleFactors"]:
            step = tiles["width"] * factor
            for x, y in product(range(0, WIDTH, step), range(0, HEIGHT, step)):
                width, height = min(step, WIDTH - x), min(step, HEIGHT - y)
                size = f"{-(-width // factor)},{-(-height // factor)}"
                answer = httpx.get(f"{uri}/{x},{y},{width},{height}/{size}/0/default.jpg")
                assert answer.status_code == 200, (factor, x, y)


def test_sizes_above_the_claimed_limits_are_400(
    claims_of_info_json: tuple[str, dict[str, Any]],
) -> None:
    uri, claims = claims_of_info_json
    upscale = "^" if "sizeUpscaling" in claims["features"] else ""
    side = int(claims["maxArea"] ** 0.5)
    for over, status in ((0, 200), (1, 400)):
        answer = httpx.get(f"{uri}/square/{upscale}{side + over},/0/default.jpg", timeout=60)
        assert answer.status_code == status, answer.text[:200]
