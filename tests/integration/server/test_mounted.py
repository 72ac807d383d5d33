"""The application mounted in another one, as docs/library.md describes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import httpx
from fastapi import FastAPI
from PIL import Image

from iiif_server.app import create_app, services_lifespan
from support.apps import picture, settings_below

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
