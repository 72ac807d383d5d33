"""Image information in both versions of the Image API."""

from collections.abc import AsyncIterator
from email.utils import formatdate

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from support.apps import (
    Server,
    assert_problem,
    decode_image,
    picture,
    running_app,
    settings_below,
    stable_headers,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LD_JSON = "application/ld+json"
V3_CONTEXT = "http://iiif.io/api/image/3/context.json"
V2_CONTEXT = "http://iiif.io/api/image/2/context.json"


def turned(orientation: int) -> bytes:
    """An image of 200x150 stored pixels that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(200, 150, exif=exif.tobytes())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("information"),
        min_sizes_size=100,
        types={
            "disk": {"source": "disk", "cache_for": 123},
            "rights": {
                "source": "disk",
                "rights": "https://creativecommons.org/licenses/by/4.0/",
                "info": {"seeAlso": [{"id": "https://example.org/x", "type": "Dataset"}]},
            },
        },
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture(1000, 750))
        server.put("rights", "pic.jpg", picture())
        for orientation in range(1, 9):
            server.put("disk", f"turned-{orientation}.jpg", turned(orientation))
        yield server


@pytest.mark.parametrize("prefix", ["", "/iiif/3"])
async def test_version_3(server: Server, prefix: str) -> None:
    response = await server.get(f"{prefix}/disk:pic.jpg/info.json")
    assert response.status_code == 200
    information = response.json()
    assert information["@context"] == V3_CONTEXT
    assert information["id"] == f"http://test{prefix}/disk:pic.jpg"
    assert information["type"] == "ImageService3"
    assert information["protocol"] == "http://iiif.io/api/image"
    assert information["profile"] == "level2"
    assert (information["width"], information["height"]) == (1000, 750)
    assert information["tiles"] == [{"width": 512, "height": 512, "scaleFactors": [1, 2]}]
    assert information["sizes"][-1] == {"width": 1000, "height": 750}
    widths = [size["width"] for size in information["sizes"]]
    assert widths == sorted(widths)
    assert min(min(size.values()) for size in information["sizes"]) >= 100
    assert "rights" not in information


async def test_version_2(server: Server) -> None:
    response = await server.get("/iiif/2/disk:pic.jpg/info.json")
    assert response.status_code == 200
    information = response.json()
    assert information["@context"] == V2_CONTEXT
    assert information["@id"] == "http://test/iiif/2/disk:pic.jpg"
    assert information["protocol"] == "http://iiif.io/api/image"
    assert (information["width"], information["height"]) == (1000, 750)
    assert information["profile"][0] == "http://iiif.io/api/image/2/level2.json"
    assert "id" not in information


@pytest.mark.parametrize(("prefix", "version"), [("", 3), ("/iiif/3", 3), ("/iiif/2", 2)])
async def test_headers(server: Server, prefix: str, version: int) -> None:
    response = await server.get(f"{prefix}/disk:pic.jpg/info.json")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "max-age=123"
    assert response.headers["vary"] == "Accept"
    assert response.headers["x-content-type-options"] == "nosniff"
    links = response.headers["link"]
    assert f'<http://iiif.io/api/image/{version}/level2.json>;rel="profile"' in links
    assert f"<http://iiif.io/api/image/{version}/context.json>" in links


@pytest.mark.parametrize(
    ("prefix", "context"), [("", V3_CONTEXT), ("/iiif/3", V3_CONTEXT), ("/iiif/2", V2_CONTEXT)]
)
async def test_linked_data_for_those_who_ask_for_it(
    server: Server, prefix: str, context: str
) -> None:
    response = await server.get(f"{prefix}/disk:pic.jpg/info.json", Accept=LD_JSON)
    assert response.headers["content-type"] == f'{LD_JSON};profile="{context}"'
    assert response.json()["@context"] == context


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/html,application/xhtml+xml,*/*;q=0.8"]
)
async def test_plain_json_for_all_others(server: Server, accept: str) -> None:
    response = await server.get("/disk:pic.jpg/info.json", Accept=accept)
    assert response.headers["content-type"] == "application/json"


async def test_every_size_and_tile_that_is_offered_can_be_had(server: Server) -> None:
    for prefix in ("", "/iiif/2"):
        information = (await server.get(f"{prefix}/disk:pic.jpg/info.json")).json()
        base = information.get("id") or information["@id"]
        for size in information["sizes"]:
            text = f"{size['width']},{size['height']}"
            response = await server.get(f"{base}/full/{text}/0/default.jpg")
            assert decode_image(response).size == (size["width"], size["height"])
        response = await server.get(f"{base}/512,512,488,238/488,/0/default.jpg")
        assert decode_image(response).size == (488, 238)


async def test_rights_and_further_properties_of_the_type(server: Server) -> None:
    licence = "https://creativecommons.org/licenses/by/4.0/"
    version_3 = (await server.get("/rights:pic.jpg/info.json")).json()
    assert version_3["rights"] == licence
    assert version_3["seeAlso"] == [{"id": "https://example.org/x", "type": "Dataset"}]
    version_2 = (await server.get("/iiif/2/rights:pic.jpg/info.json")).json()
    assert version_2["license"] == licence


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_an_image_that_is_turned_by_its_metadata_is_described_upright(
    server: Server, orientation: int
) -> None:
    upright = (200, 150) if orientation < 5 else (150, 200)
    for prefix in ("", "/iiif/2"):
        name = f"{prefix}/disk:turned-{orientation}.jpg"
        information = (await server.get(f"{name}/info.json")).json()
        assert (information["width"], information["height"]) == upright
        for size in ("max", f"{upright[0]},"):
            image = decode_image(await server.get(f"{name}/full/{size}/0/default.png"))
            assert image.size == upright


async def test_the_base_uri_redirects_to_the_information(server: Server) -> None:
    for prefix in ("", "/iiif/3", "/iiif/2"):
        response = await server.get(f"{prefix}/disk:pic.jpg")
        assert response.status_code == 303
        assert response.headers["location"] == f"http://test{prefix}/disk:pic.jpg/info.json"
        assert response.headers["access-control-allow-origin"] == "*"


async def test_the_base_uri_keeps_the_spelling_of_the_identifier(server: Server) -> None:
    response = await server.get_raw(b"/disk:a%2Fb%20c%3F/d")
    assert response.status_code == 303
    assert response.headers["location"] == "http://test/disk:a%2Fb%20c%3F/d/info.json"


async def test_a_client_that_has_the_information_gets_a_304(server: Server) -> None:
    first = await server.get("/disk:pic.jpg/info.json")
    tag = first.headers["etag"]
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = await server.get("/disk:pic.jpg/info.json", If_None_Match=value)
        assert response.status_code == 304
        assert response.content == b""
        for name in ("etag", "cache-control", "vary", "access-control-allow-origin"):
            assert response.headers[name] == first.headers[name]
    response = await server.get("/disk:pic.jpg/info.json", If_None_Match='"other"')
    assert response.status_code == 200


async def test_a_client_that_has_seen_the_file_since_it_changed_gets_a_304(
    server: Server,
) -> None:
    first = await server.get("/disk:pic.jpg/info.json")
    path = "/disk:pic.jpg/info.json"
    last = first.headers["last-modified"]
    assert (await server.get(path, If_Modified_Since=last)).status_code == 304
    assert (await server.get(path, If_Modified_Since=formatdate(0, usegmt=True))).status_code == 200
    assert (await server.get(path, If_Modified_Since="yesterday")).status_code == 200
    both = await server.get(path, If_Modified_Since=last, If_None_Match='"other"')
    assert both.status_code == 200


async def test_information_differs_by_version_and_so_do_its_tags(server: Server) -> None:
    paths = ("/disk:pic.jpg/info.json", "/iiif/2/disk:pic.jpg/info.json")
    tags = {(await server.get(path)).headers["etag"] for path in paths}
    assert len(tags) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/disk:pic.jpg/info.json",
        "/iiif/2/disk:pic.jpg/info.json",
        "/disk:pic.jpg/full/max/0/default.jpg",
        "/disk:pic.jpg/full/50,/90/gray.png",
        "/disk:pic.jpg",
        "/disk:nothing/info.json",
        "/disk:pic.jpg/full/wrong/0/default.jpg",
        "/health",
        "/docs",
        "/openapi.json",
    ],
)
async def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    got = await server.get(path)
    head = await server.get_raw(path.encode(), method="HEAD")
    assert head.status_code == got.status_code
    assert stable_headers(head.headers) == stable_headers(got.headers)
    assert head.content == b""


def stages_of(response: httpx.Response) -> list[str]:
    return [item.partition(";")[0] for item in response.headers["server-timing"].split(", ")]


async def test_server_timing_says_what_was_chosen_and_how_long_each_stage_took(
    server: Server,
) -> None:
    server.put("disk", "timed.jpg", picture())
    path = "/disk:timed.jpg/full/51,/90/gray.png"
    made, kept = await server.get(path), await server.get(path)
    found, worked = ["engine", "fetch", "header"], ["cache", "queue", "open", "decode", "encode"]
    assert stages_of(made) == [*found, *worked]
    assert made.headers["server-timing"].startswith('engine;desc="raster"')
    assert kept.headers["server-timing"].startswith('engine;desc="cache"')
    assert made.headers["timing-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/disk:pic.jpg/info.json", "/nothing", "/disk:x", "/status"])
async def test_options(server: Server, path: str) -> None:
    response = await server.client.options(path)
    assert response.status_code == 204
    assert response.content == b""
    assert response.headers["access-control-allow-origin"] == "*"
    assert "GET" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "*, Authorization"


async def test_default_type(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = settings_below(
        tmp_path_factory.mktemp("default"),
        default_type="disk",
        types={"disk": {"source": "disk"}, "other": {"source": "disk"}},
    )
    async with running_app(settings) as server:
        server.put("disk", "folder/pic.jpg", picture())
        for identifier in ("folder/pic.jpg", "folder%2Fpic.jpg", "disk:folder/pic.jpg"):
            response = await server.get_raw(f"/{identifier}/info.json".encode())
            assert response.json()["id"] == f"http://test/{identifier}"
            image = await server.get_raw(f"/{identifier}/full/max/0/default.jpg".encode())
            assert decode_image(image).size == (200, 150)
        assert_problem(await server.get("/other:folder/pic.jpg/info.json"), 404)
        assert_problem(await server.get("/pic.jpg/info.json"), 404)
