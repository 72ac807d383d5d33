"""The application mounted in another one, as docs/library.md describes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from iiif_server.app import create_app, services_lifespan
from support.apps import picture, settings_below

PAGE = Path(__file__).parents[3] / "docs/library.md"
TILE = "/images/disk:pic.jpg/0,0,100,100/50,50/0/default.jpg"


async def test_images_are_served_below_the_path_of_the_mount(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}})
    folder = tmp_path / "source" / "disk"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pic.jpg").write_bytes(picture())
    iiif = create_app(settings, lambda _: None)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services_lifespan(iiif):
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    app.mount("/images", iiif)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://museum.test") as client,
    ):
        assert (await client.get("/hello")).json() == "hello"
        information = (await client.get("/images/disk:pic.jpg/info.json")).json()
        assert information["id"] == "http://museum.test/images/disk:pic.jpg"
        for _ in range(3):  # made, stored, from memory
            tile = await client.get(TILE)
            assert tile.status_code == 200
            assert Image.open(BytesIO(tile.content)).size == (50, 50)
            assert "<http://museum.test/images/disk:pic.jpg/" in tile.headers["link"]
        version_2 = (await client.get("/images/iiif/2/disk:pic.jpg/info.json")).json()
        assert version_2["@id"] == "http://museum.test/images/iiif/2/disk:pic.jpg"
        assert (await client.get("/images/disk:none.jpg/info.json")).status_code == 404
        assert (await client.get("/images/docs")).status_code in {200, 503}


async def test_a_mount_without_its_lifespan_says_what_is_missing(tmp_path: Path) -> None:
    app = FastAPI()
    app.mount("/images", create_app(settings_below(tmp_path), lambda _: None))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://museum.test") as client:
        with pytest.raises(RuntimeError, match=r"services_lifespan\(app\)"):
            await client.get("/images/status")


async def test_the_example_of_the_page_serves_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the cache is there, as the example names none
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.jpg").write_bytes(picture())
    part = PAGE.read_text().partition("## The server inside your own application")[2]
    example = part.partition("```python\n")[2].partition("```")[0]
    assert "/home/me" in example
    made: dict[str, FastAPI] = {}
    exec(example.replace("/home/me", str(tmp_path)), made)  # noqa: S102 - it is ours
    app = made["app"]
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://museum.test") as client,
    ):
        information = (await client.get("/images/scans:a.jpg/info.json")).json()
        assert information["id"] == "http://museum.test/images/scans:a.jpg"
