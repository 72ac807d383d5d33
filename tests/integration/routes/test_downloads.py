"""Downloads: file names of images, attachments."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.apps import Server, opened, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE = "/disk:pic.jpg/full/50,/0/default.jpg"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("downloads")
    async with running_app(settings_below(root, types={"disk": {"source": "disk"}})) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


async def test_an_image_that_is_in_memory_is_an_attachment_where_it_is_asked_for(
    server: Server,
) -> None:
    for _ in range(2):
        shown = await server.get(IMAGE)
        assert shown.headers["content-disposition"] == 'inline; filename="pic_full_50x38.jpg"'
        saved = await server.get(f"{IMAGE}?download")
        assert saved.headers["content-disposition"] == 'attachment; filename="pic_full_50x38.jpg"'
        assert saved.content == shown.content
        assert saved.headers["etag"] == shown.headers["etag"]


async def test_what_cantaloupe_has_clients_ask_is_understood_and_not_repeated(
    server: Server,
) -> None:
    asked = "response-content-disposition=attachment%3B%20filename%3D%22evil%0D%0A.exe%22"
    answer = await server.get(f"{IMAGE}?{asked}")
    assert answer.headers["content-disposition"] == 'attachment; filename="pic_full_50x38.jpg"'
    refused = await server.get(f"{IMAGE}?response-content-disposition=form-data")
    assert refused.status_code == 400
    assert "attachment or inline" in refused.json()["error"]


async def test_a_name_is_in_both_alphabets(server: Server) -> None:
    server.put("disk", "Größe/…\u202e.jpg", picture())
    answer = await server.get("/disk:Gr%C3%B6%C3%9Fe%2F%E2%80%A6%E2%80%AE.jpg/full/max/0/gray.png")
    assert opened(answer).size == (200, 150)
    value = answer.headers["content-disposition"]
    assert value.startswith('inline; filename="Gro_e_')
    assert value.endswith("_full_200x150_gray.png")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe_" in value
    assert "%E2%80%AE" not in value


async def test_the_redirect_to_the_canonical_url_keeps_the_wish(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}}, canonical_redirect=True)
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        answer = await server.get("/disk:pic.jpg/0,0,200,150/50,/0/color.jpg?download")
        assert answer.status_code == 303
        assert answer.headers["location"].endswith("/full/50,38/0/default.jpg?download")
        image = await server.get(answer.headers["location"].removeprefix("http://test"))
        assert image.headers["content-disposition"].startswith("attachment; ")
