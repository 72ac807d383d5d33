"""The field "Open an image": identifiers, URLs, folders and words."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.apps import Server, picture, running_app, settings_below
from support.pages import parse_elements

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests-with-enough-letters"
TYPES: dict[str, Any] = {
    "maps": {"source": "disk"},
    "plates": {"source": "disk"},
    "closed": {"source": "disk", "access": "signed"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("opening")
    async with running_app(settings_below(root, types=TYPES, signing={"keys": [KEY]})) as server:
        for name in ("Zürich 1901.jpg", "old/Zürich 1850.jpg", "old/Bern <1850>.jpg"):
            server.put("maps", name, picture(20, 20))
        server.put("plates", "box 1/bird & nest.jpg", picture(20, 20))
        server.put("closed", "secret bird.jpg", picture(20, 20))
        yield server


async def opened_by(server: Server, typed: str) -> str:
    response = await server.client.get("/", params={"open": typed})
    assert response.status_code == 303, response.text
    return response.headers["location"].removeprefix("http://test")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/info.json",
        "/manifest.json",
        "/view",
        "/view?with=maps:x",
        "/embed#top",
        "/full/max/0/default.jpg",
        "/0,0,10,10/^!50,50/!90/gray.png",
        "/pct:10,10,50,50/%5E!50,50/0/default.webp",
    ],
)
@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
async def test_every_url_of_an_image_leads_to_its_viewer(
    server: Server, prefix: str, rest: str
) -> None:
    if prefix == "/iiif/2":
        rest = rest.replace("%5E", "").replace("^", "")
    name = "plates:box%201%2Fbird%20%26%20nest.jpg"
    for base in ("http://test", "https://test"):
        location = await opened_by(server, f" {base}{prefix}/{name}{rest}")
        assert location == "/plates:box%201/bird%20%26%20nest.jpg/view"


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        ("maps", "maps"),
        ("maps:", "maps"),
        ("maps:old", "maps:old"),
        ("maps:old/", "maps:old"),
        ("plates:box 1", "plates:box%201"),
        ("http://test/maps:old/collection.json", "maps:old"),
        ("http://test/?folder=plates:box%201&page=2", "plates:box%201"),
    ],
)
async def test_a_folder_leads_to_the_folder(server: Server, typed: str, folder: str) -> None:
    assert await opened_by(server, typed) == f"/?folder={folder}"


@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("bern", "/maps:old%2FBern%20%3C1850%3E.jpg/view"),
        ("ZÜRICH old", "/maps:old%2FZ%C3%BCrich%201850.jpg/view"),
        ("nest bird", "/plates:box%201%2Fbird%20%26%20nest.jpg/view"),
        ("1901", "/maps:Z%C3%BCrich%201901.jpg/view"),
    ],
)
async def test_words_of_one_name_lead_to_its_image(server: Server, typed: str, target: str) -> None:
    assert await opened_by(server, typed) == target


async def test_words_of_several_names_list_their_images(server: Server) -> None:
    response = await server.client.get("/", params={"open": "18 <b>"})
    assert response.status_code == 404
    response = await server.client.get("/", params={"open": "1850"})
    assert response.status_code == 200
    page = parse_elements(response.text)
    assert [link for link in page.all("a", "href") if link.endswith("/view")] == [
        "./maps:old%2FBern%20%3C1850%3E.jpg/view",
        "./maps:old%2FZ%C3%BCrich%201850.jpg/view",
    ]
    assert "<1850>" not in response.text


async def test_words_in_no_name_are_told_so(server: Server) -> None:
    for typed in ("whale", "secret bird", "<script>"):
        response = await server.client.get("/", params={"open": typed})
        assert response.status_code == 404
        assert "No image and no folder has a name with" in response.text
        assert "<script>" not in response.text.partition("<main")[2]


async def test_names_of_types_that_are_not_shown_are_not_searched_but_opened(
    server: Server,
) -> None:
    assert await opened_by(server, "closed:secret bird.jpg") == "/closed:secret%20bird.jpg/view"
    # The type has a folder, and nobody is told.
    response = await server.client.get("/", params={"open": "closed"})
    assert response.status_code == 404
    assert "No image and no folder has a name" in response.text


async def test_without_a_gallery_nothing_is_searched(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path, types={"maps": {"source": "disk"}}, pages={"gallery": False}
    )
    async with running_app(settings) as server:
        server.put("maps", "old/bern.jpg", picture(20, 20))
        for typed in ("bern", "maps", "maps:old", "whale"):
            assert await opened_by(server, typed) == f"/{typed}/view"


async def test_with_a_default_type_what_is_in_no_name_may_be_an_identifier(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types={"maps": {"source": "disk"}}, default_type="maps")
    async with running_app(settings) as server:
        server.put("maps", "old/bern.jpg", picture(20, 20))
        assert await opened_by(server, "bern") == "/maps:old%2Fbern.jpg/view"
        assert await opened_by(server, "whale") == "/whale/view"
