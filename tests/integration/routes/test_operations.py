"""Status, health and API documentation for operators."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from iiif_server import __version__
from support.apps import Server, picture, running_app, settings_below
from support.pages import use_bundle, write_bundle

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("operations"),
        types={
            "disk": {"source": "disk"},
            "web": {"source": "web", "url": "https://upstream.invalid/secret/{name}"},
        },
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


async def test_health(server: Server) -> None:
    response = await server.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["access-control-allow-origin"] == "*"


async def test_status(server: Server) -> None:
    await server.get("/disk:pic.jpg/full/60,/0/default.jpg")
    await server.get("/disk:pic.jpg/full/60,/0/default.jpg")
    status = await server.status()
    assert status["version"] == __version__
    assert status["uptime"] >= 0
    assert status["types"] == {"disk": "disk", "web": "web"}
    assert {"jpg", "png"} <= set(status["formats"])
    assert status["engines"]["libvips"] is True
    assert (status["cache"]["files"], status["cache"]["hits"], status["cache"]["misses"]) == (
        1,
        1,
        1,
    )
    assert status["cache"]["size"] > 0
    assert status["headers"] == 1
    assert status["fetching"] == 0
    assert status["pools"]["size"] == {
        "workers": 1, "busy": 0, "waiting": 0, "done": 1, "replaced": 0, "renewed": 0,
    }  # fmt: skip
    assert status["pools"]["image"]["workers"] == 1
    assert status["pools"]["image"]["replaced"] == 0


async def test_status_does_not_say_where_things_are(server: Server) -> None:
    for text in ((await server.get("/status")).text, (await server.admin("GET", "/status")).text):
        for word in (str(server.settings.source_path), "upstream.invalid", "secret"):
            assert word not in text


async def test_public_status_says_what_can_be_seen_anyway_and_no_more(server: Server) -> None:
    response = await server.get("/status")
    assert set(response.json()) == {"name", "uptime", "engines", "formats"}
    assert __version__ not in response.text
    for path in ("/openapi.json", "/docs", "/health"):
        assert __version__ not in (await server.get(path)).text


async def test_docs(server: Server, tmp_path: Path) -> None:
    use_bundle(server, write_bundle(tmp_path))
    response = await server.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


async def test_docs_give_an_image_that_there_is_as_the_example(
    server: Server, tmp_path: Path
) -> None:
    use_bundle(server, write_bundle(tmp_path))
    assert 'data-example="disk:pic.jpg"' in (await server.get("/docs")).text
    server.put("sample", "atlas.jpg", picture())
    assert "sample:" not in (await server.get("/docs")).text  # there is no such type


@pytest.mark.parametrize(
    ("files", "example"),
    [
        (["maps/1901/a & b.jpg"], "maps:maps/1901/a &amp; b.jpg"),
        (["a/notes.txt", "b/c/d.jpg", "e/f.jpg"], "maps:e/f.jpg"),
        ([], ""),
        (["notes.txt"], ""),
    ],
)
async def test_the_example_is_found_in_folders_too_and_is_none_if_there_is_none(
    tmp_path: Path, files: list[str], example: str
) -> None:
    """An example that is not there made the first request of /docs a 404."""
    types = {
        "elsewhere": {"source": "web", "url": "https://upstream.invalid/{name}"},
        "maps": {"source": "disk"},
    }
    async with running_app(settings_below(tmp_path, types=types)) as server:
        use_bundle(server, write_bundle(tmp_path / "bundle"))
        for name in files:
            server.put("maps", name, picture(20, 20))
        assert f'data-example="{example}"' in (await server.get("/docs")).text


async def test_each_route_is_in_a_group_that_is_described(server: Server) -> None:
    document = (await server.get("/openapi.json")).json()
    described = {group["name"] for group in document["tags"] if group["description"]}
    used = {
        tag
        for path in document["paths"].values()
        for route in path.values()
        for tag in route["tags"]
    }
    assert used == described
    assert document["paths"]["/{identifier}/info.json"]["get"]["tags"] == ["Images"]


async def test_openapi_describes_every_route(server: Server) -> None:
    document = (await server.get("/openapi.json")).json()
    parameters = "{identifier}/{region}/{size}/{rotation}/{quality}.{format}"
    for prefix in ("", "/iiif/3", "/iiif/2"):
        for path in ("{identifier}", "{identifier}/info.json", parameters):
            assert set(document["paths"][f"{prefix}/{path}"]) == {"get"}
    image = document["paths"][f"/{parameters}"]["get"]
    assert {item["name"] for item in image["parameters"]} == {
        "identifier", "region", "size", "rotation", "quality", "format",
        "download", "response-content-disposition",
    }  # fmt: skip
    assert all(item["description"] for item in image["parameters"])
    assert "image/jpeg" in image["responses"]["200"]["content"]
    assert "/health" in document["paths"]
    assert "/status" in document["paths"]


def _operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation


async def test_openapi_groups_errors_and_says_what_each_status_means(server: Server) -> None:
    """Fifteen equal responses hid what an operation answers."""
    document = (await server.get("/openapi.json")).json()
    for path, operation in _operations(document):
        responses = operation["responses"]
        assert len(responses) <= (4 if "206" in responses else 3), path
        if "4XX" in responses:
            said = responses["4XX"]["description"] + responses["5XX"]["description"]
            for status in (400, 401, 403, 404, 406, 413, 414, 415, 422, 431, 500, 502, 503, 504):
                assert f"- {status}: " in said
            for group in ("4XX", "5XX"):
                ((type_, content),) = responses[group]["content"].items()
                page = type_ == "text/html"
                problem = {"$ref": "#/components/schemas/Problem"}
                assert content["schema"] == ({"type": "string"} if page else problem)
    assert document["components"]["schemas"]["Problem"]["required"] == ["error"]


async def test_openapi_has_a_schema_for_every_content(server: Server) -> None:
    """Clients that are generated return nothing where there is none."""
    document = (await server.get("/openapi.json")).json()
    for path, operation in _operations(document):
        for status, response in operation["responses"].items():
            assert status == "303" or response["content"], path
            for content in response.get("content", {}).values():
                assert content["schema"], path
    image = "/{identifier}/{region}/{size}/{rotation}/{quality}.{format}"
    for content in document["paths"][image]["get"]["responses"]["200"]["content"].values():
        assert content["schema"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize(
    ("path", "requested"),
    [
        ("/{identifier}/info.json", "/disk:pic.jpg/info.json"),
        ("/iiif/3/{identifier}/info.json", "/iiif/3/disk:pic.jpg/info.json"),
        ("/iiif/2/{identifier}/info.json", "/iiif/2/disk:pic.jpg/info.json"),
        ("/{identifier}/manifest.json", "/disk:pic.jpg/manifest.json"),
        ("/manifest.json", "/manifest.json?identifiers=disk:pic.jpg"),
        ("/collection.json", "/collection.json"),
        ("/{place}/collection.json", "/disk/collection.json"),
        ("/{identifier}/info.json", "/missing:x/info.json"),
    ],
)
async def test_documents_are_as_the_schemas_have_them(
    server: Server, path: str, requested: str
) -> None:
    document = (await server.get("/openapi.json")).json()
    response = await server.get(requested)
    responses = document["paths"][path]["get"]["responses"]
    found = responses["200" if response.status_code == 200 else "4XX"]
    schema = found["content"][response.headers["content-type"].partition(";")[0]]["schema"]
    resolved = {**schema, "components": document["components"]}
    jsonschema.validate(response.json(), resolved)
    broken = dict.fromkeys(response.json())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, resolved)
