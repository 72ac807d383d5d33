"""Admin API: purge and explain; closed without a token."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from iiif_server.telemetry.events import AccessRefused
from support.apps import (
    Server,
    decode_image,
    picture,
    running_app,
    settings_below,
    stable_headers,
)
from support.servers import ADMIN_TOKEN
from support.waiting import async_wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = {
    "disk": {"source": "disk"},
    "other": {"source": "disk"},
    "web": {"source": "web", "url": "https://upstream.invalid/secret/{name}"},
}
DOORS = [
    ("GET", "/admin/status"),
    ("DELETE", "/admin/cache"),
    ("DELETE", "/admin/cache?type=disk"),
    ("DELETE", "/admin/cache/disk:pic.jpg"),
    ("GET", "/admin/explain/disk:pic.jpg/full/max/0/default.jpg"),
    ("GET", "/admin/explain/disk:pic.jpg/full/max/0/worst.jpg"),
    ("GET", "/admin/explain/iiif/2/disk:pic.jpg/full/full/0/default.jpg"),
    ("GET", "/admin/disk:pic.jpg/info.json"),
    ("GET", "/admin/"),
    ("POST", "/admin/status"),
    ("PUT", "/admin/nothing"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(tmp_path_factory.mktemp("admin"), types=TYPES, default_type="disk")
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server without a token."""
    settings = settings_below(
        tmp_path_factory.mktemp("closed"), types={"disk": {"source": "disk"}}, admin={}
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


@pytest.mark.parametrize(("method", "path"), DOORS)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {ADMIN_TOKEN}",
        ADMIN_TOKEN,
        f"Bearer {ADMIN_TOKEN[:-1]}",
        f"Bearer {ADMIN_TOKEN}0",
        f"Bearer {ADMIN_TOKEN.upper()}",
        f"Bearer {ADMIN_TOKEN}, Bearer {ADMIN_TOKEN}",
    ],
)
async def test_nobody_comes_in_without_the_token(
    server: Server, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await server.client.request(method, path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert list(response.json()) == ["error"]
    assert ADMIN_TOKEN not in response.text
    assert "secret" not in response.text


@pytest.mark.parametrize("where", ["query", "cookie"])
async def test_the_token_counts_in_no_other_place(server: Server, where: str) -> None:
    headers = {"Cookie": f"token={ADMIN_TOKEN}; Authorization=Bearer {ADMIN_TOKEN}"}
    response = await server.client.get(
        f"/admin/status?token={ADMIN_TOKEN}" if where == "query" else "/admin/status",
        headers=headers if where == "cookie" else None,
    )
    assert response.status_code == 401


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_no_other_origin_may_read_what_is_answered(
    server: Server, method: str, path: str
) -> None:
    for headers in ({}, {"Authorization": f"Bearer {ADMIN_TOKEN}"}):
        response = await server.client.request(
            method, path, headers={"Origin": "https://evil.example", **headers}
        )
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert response.headers["cache-control"] == "no-store"
    preflight = await server.client.options(path, headers={"Origin": "https://evil.example"})
    assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_a_wrong_token_is_told_and_none_is_not(server: Server) -> None:
    before = len(server.events_of(AccessRefused))
    await server.get("/admin/status")
    assert len(server.events_of(AccessRefused)) == before
    await server.get("/admin/status", Authorization="Bearer wrong-wrong-wrong")
    await server.get("/admin/status", Authorization=ADMIN_TOKEN)
    events = server.events_of(AccessRefused)[before:]
    assert [event.peer for event in events] == ["127.0.0.1", "127.0.0.1"]
    assert ADMIN_TOKEN not in repr(events)


async def test_nothing_below_admin_is_taken_for_an_image(server: Server) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/disk:pic.jpg/info.json"),
        ("GET", "/cache"),
        ("DELETE", "/nothing"),
        ("POST", "/status"),
    ):
        response = await server.admin(method, path)
        assert response.status_code in {404, 405}, path
        assert list(response.json()) == ["error"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path", ["status", "cache", "cache/disk:pic.jpg", "explain/disk:pic.jpg/full/max/0/default.jpg"]
)
async def test_without_a_token_admin_routes_are_not_found(
    closed: Server, method: str, path: str
) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    hidden = await closed.client.request(method, f"/admin/{path}", headers=headers)
    nothing = await closed.client.request(method, f"/amdin/{path}", headers=headers)
    assert hidden.status_code == nothing.status_code
    assert hidden.status_code in {404, 405}
    # An unknown type is named, whichever it is.
    assert hidden.text == nothing.text.replace("amdin", "admin")
    assert stable_headers(hidden.headers) == stable_headers(nothing.headers)


async def test_without_a_token_the_document_names_no_doors(closed: Server, server: Server) -> None:
    assert "admin" not in (await closed.get("/openapi.json")).text
    document = (await server.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["admin"]["scheme"] == "bearer"
    for path, method in (
        ("/admin/status", "get"),
        ("/admin/cache", "delete"),
        ("/admin/cache/{identifier}", "delete"),
        ("/admin/explain/{identifier}/{region}/{size}/{rotation}/{quality}.{format}", "get"),
    ):
        operation = document["paths"][path][method]
        assert operation["security"] == [{"admin": []}]
        assert "- 401: The token" in operation["responses"]["4XX"]["description"]
    assert "security" not in document["paths"]["/status"]["get"]


class TestPurge:
    """What is removed, and what is left."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def filled(self, tmp_path: Path) -> AsyncIterator[Server]:
        """Two derivatives of disk:a/1.jpg, and one each of three other originals."""
        async with running_app(settings_below(tmp_path, types=TYPES)) as server:
            for type_, name, width in (
                ("disk", "a/1.jpg", 20),
                ("disk", "a/1.jpg", 30),
                ("disk", "a/2 ü.jpg", 20),
                ("disk", "b.jpg", 20),
                ("other", "a/1.jpg", 20),
            ):
                server.put(type_, name, picture())
                decode_image(await server.get(f"/{type_}:{name}/full/{width},/0/default.jpg"))
            assert len(server.services.store.paths()) == 5
            yield server

    @pytest.mark.parametrize(
        ("path", "query", "removed"),
        [
            ("/cache", {}, 5),
            ("/cache", {"type": "disk"}, 4),
            ("/cache", {"type": "other"}, 1),
            ("/cache", {"type": "disk", "prefix": "a/"}, 3),
            ("/cache", {"type": "disk", "prefix": "a/2 ü"}, 1),
            ("/cache", {"type": "disk", "prefix": "nothing"}, 0),
            ("/cache/disk:a/1.jpg", {}, 2),
            ("/cache/disk:a%2F1.jpg", {}, 2),
            ("/cache/disk:a/2%20%C3%BC.jpg", {}, 1),
            ("/cache/disk:missing.jpg", {}, 0),
            ("/cache/gone:1.jpg", {}, 0),
        ],
    )
    async def test_what_is_named_goes_and_the_rest_stays(
        self, filled: Server, path: str, query: dict[str, str], removed: int
    ) -> None:
        response = await filled.admin("DELETE", path, **query)
        assert (response.status_code, response.json()) == (200, {"removed": removed})
        assert len(filled.services.store.paths()) == 5 - removed
        assert (await filled.status())["cache"]["files"] == 5 - removed
        assert filled.original_path("disk", "a/1.jpg").is_file()
        decode_image(await filled.get("/disk:a/1.jpg/full/20,/0/default.jpg"))

    @pytest.mark.parametrize(
        ("path", "query", "status"),
        [
            ("/cache", {"typ": "disk"}, 400),
            ("/cache", {"type": "disk", "prefx": "a/"}, 400),
            ("/cache", {"prefix": "a/"}, 400),
            ("/cache", {"type": "web"}, 400),
            ("/cache", {"type": "nothing"}, 404),
            ("/cache", {"type": ""}, 404),
            ("/cache/", {}, 400),
            ("/cache/disk:", {}, 400),
            ("/cache/disk:100%", {}, 400),
        ],
    )
    async def test_what_is_not_understood_removes_nothing(
        self, filled: Server, path: str, query: dict[str, str], status: int
    ) -> None:
        response = await filled.admin("DELETE", path, **query)
        assert response.status_code == status, response.text
        assert len(filled.services.store.paths()) == 5

    async def test_a_pyramid_goes_too_and_at_once(self, tmp_path: Path) -> None:
        settings = settings_below(
            tmp_path, types=TYPES, pyramids={"min_pixels": 1, "tile_size": 128}
        )
        tile = "/disk:large.jpg/0,0,128,128/128,128/0/default.jpg"
        async with running_app(settings) as server:
            server.put("disk", "large.jpg", picture(600, 400))
            decode_image(await server.get(tile))
            await async_wait_until(lambda: server.services.pyramids.building == 0)
            assert len(server.services.pyramids) > 0
            response = await server.admin("DELETE", "/cache/disk:large.jpg")
            assert response.json()["removed"] > 0
            assert server.services.store.paths() == []
            assert len(server.services.pyramids) == 0
            decode_image(await server.get(tile))
            assert server.services.store.paths() != []


class TestExplain:
    """How a request would be answered, without answering it."""

    async def test_an_image_that_has_to_be_made(self, server: Server) -> None:
        image = "/disk:pic.jpg/0,0,100,100/^200,/!90/gray.png"
        await server.admin("GET", f"/explain{image}")  # makes nothing, so that it is not kept now
        found = (await server.admin("GET", f"/explain{image}")).raise_for_status().json()
        assert found["kept"] is False
        assert found["identifier"] == "disk:pic.jpg"
        assert found["version"] == "3.0"
        assert found["request"] == {
            "region": "0,0,100,100",
            "size": "^200,",
            "rotation": "!90",
            "quality": "gray",
            "format": "png",
        }
        assert found["canonical"] == ("http://test/disk:pic.jpg/0,0,100,100/^200,200/!90/gray.png")
        assert (found["original"]["width"], found["original"]["height"]) == (200, 150)
        assert found["rendition"]["size"] == {"width": 200, "height": 200}
        assert found["engine"] == "raster"
        assert found["level"] is None
        assert set(found["seconds"]) >= {"fetch", "header"}
        decode_image(await server.get(image))
        found = (await server.admin("GET", f"/explain{image}")).json()
        assert found["kept"] is True
        group, _, digest = found["key"].partition("/")
        assert any(digest in path.name for path in server.services.store.paths(group))

    async def test_the_original_itself(self, server: Server) -> None:
        path = "/explain/iiif/2/disk:pic.jpg/full/full/0/default.jpg"
        found = (await server.admin("GET", path)).json()
        assert (found["version"], found["engine"], found["kept"]) == ("2.1", "original", True)
        assert found["canonical"] == "http://test/iiif/2/disk:pic.jpg/full/full/0/default.jpg"

    async def test_a_tile_and_a_level_of_a_pyramid(self, tmp_path: Path) -> None:
        settings = settings_below(
            tmp_path, types=TYPES, pyramids={"min_pixels": 1, "tile_size": 128}
        )
        tile = "/disk:large.jpg/0,0,256,256/128,128/0/default.jpg"
        async with running_app(settings) as server:
            server.put("disk", "large.jpg", picture(1200, 900))
            found = (await server.admin("GET", f"/explain{tile}")).json()
            assert (found["engine"], found["level"], found["kept"]) == ("tile", 2, False)
            assert server.services.store.paths() == []
            decode_image(await server.get(tile))
            found = (await server.admin("GET", f"/explain{tile}")).json()
            assert (found["engine"], found["level"], found["kept"]) == ("tile", 2, True)
            scaled = "/disk:large.jpg/full/200,/0/gray.png"
            found = (await server.admin("GET", f"/explain{scaled}")).json()
            assert (found["engine"], found["level"], found["kept"]) == ("raster", 4, False)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/explain/disk:pic.jpg/full/max/0/best.jpg", 400),
            ("/explain/disk:missing.jpg/full/max/0/default.jpg", 404),
            ("/explain/nothing:pic.jpg/full/max/0/default.jpg", 404),
            ("/explain/disk:pic.jpg/info.json", 404),
        ],
    )
    async def test_what_would_be_refused_is_refused(
        self, server: Server, path: str, status: int
    ) -> None:
        assert (await server.admin("GET", path)).status_code == status

    async def test_it_says_nothing_of_where_things_are(self, server: Server) -> None:
        text = (await server.admin("GET", "/explain/disk:pic.jpg/full/50,/0/default.jpg")).text
        assert str(server.settings.source_path) not in text
        assert str(server.settings.cache_path) not in text
