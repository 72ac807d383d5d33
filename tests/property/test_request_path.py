"""One request path: the edge and the typed routes parse alike, and only `respond` sends."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.routing import Match

from iiif_server.app import create_app
from iiif_server.errors import IiifServerError
from iiif_server.iiif.identifier import percent_decode
from iiif_server.routes.parameters import ImageParametersV2, ImageParametersV3
from iiif_server.server import respond as responding
from iiif_server.server.call import IMAGE_PATH, INFORMATION_PATH, ImageCall, parse_call
from support.apps import (
    Server,
    all_routes,
    picture,
    raw_request,
    running_app,
    settings_below,
    stable_headers,
)
from support.servers import ADMIN_TOKEN

URLS = 10_000
PREFIXES = ["", "", "/iiif/2", "/iiif/3", "/iiif/4", "/iiif", "/admin/explain", "/assets/x"]
NAMES = [
    "disk:pic.jpg",
    "disk%3Apic.jpg",
    "disk:a/b.jpg",
    "disk:a%2Fb.jpg",
    "disk:%E4%BD%A0.jpg",
    "disk:a%252Fb.jpg",
    "disk:%FF.jpg",
    "disk:100%.jpg",
    "disk:",
    ":x",
    "pic.jpg",
    "none:pic.jpg",
    "signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/disk:pic.jpg",
    "signed/x/disk:pic.jpg",
    "disk:a b.jpg",
    "disk:full/max/0/default.jpg",
    "",
]
REGIONS = ["full", "square", "0,0,10,10", "pct:1,2,3,4", "0,0,0,1", "1,2,3", "FULL", "", "%66ull"]
SIZES = [
    "max",
    "full",
    "^max",
    "90,",
    ",90",
    "!9,9",
    "pct:50",
    "^pct:150",
    "0,",
    "9,9,9",
    "",
    "%39,",
]
ROTATIONS = ["0", "90", "!0", "22.5", "360", "361", "-1", "!!0", "", "%30"]
ENDS = [
    "default.jpg",
    "gray.png",
    "color.tif",
    "bitonal.webp",
    "native.jpg",
    "default.gif",
    "default",
    ".jpg",
    "default.",
    "default.jpg.jpg",
    "default%2Ejpg",
    "..jpg",
    "manifest.json",
    "info.json",
    "collection.json",
]


def random_urls(seed: int) -> Iterator[str]:
    """Yield paths of images and info.json; a third is valid, each other has one fault."""
    chance = random.Random(seed)  # noqa: S311 - of a test

    def choose(choices: list[str]) -> str:
        return choices[0] if chance.random() < 0.7 else chance.choice(choices)

    for _ in range(URLS):
        start = f"{chance.choice(PREFIXES)}/{chance.choice(NAMES)}"
        if chance.random() < 0.15:
            yield start + chance.choice(
                ["/info.json", "%2Finfo.json", "/info%2Ejson", "//info.json"]
            )
            continue
        separators = [chance.choice(["/"] * 30 + ["%2F", "//", ""]) for _ in range(4)]
        parts = [choose(REGIONS), choose(SIZES), choose(ROTATIONS), choose(ENDS)]
        yield start + "".join(a + b for a, b in zip(separators, parts, strict=True))


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}, "closed": {"source": "disk", "access": "signed"}},
        signing={"keys": ["a-key-of-these-tests-with-enough-letters"]},
        cache={"memory_bytes": 10_000_000},
        pyramids={"min_pixels": 100_000, "tile_size": 128},
        metrics={"allow_networks": ["127.0.0.0/8"]},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        server.put("disk", "large.jpg", picture(700, 500))
        yield server


def scope_of(url: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": unquote(url),
        "raw_path": url.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test")],
    }


def matching_route(app: FastAPI, scope: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the route that FastAPI chooses, and its path parameters."""
    for route in all_routes(app):
        match, found = route.matches(scope)
        if match is Match.FULL:
            return str(getattr(route, "path", "")), dict(found["path_params"])
    return "", {}


def validate(path: str, parameters: dict[str, str]) -> Any:
    """Return the request that the model of a route parses, or the error."""
    model = ImageParametersV2 if path.startswith("/iiif/2") else ImageParametersV3
    names = ("region", "size", "rotation", "quality", "format")
    try:
        return model.model_validate({name: parameters[name] for name in names}).request
    except IiifServerError as error:
        return error


def test_edge_and_typed_routes_parse_10_000_urls_alike(server: Server) -> None:
    counts = {"call": 0, "problem": 0, "other": 0}
    for url in random_urls(0):
        scope = scope_of(url)
        path, parameters = matching_route(server.app, scope)
        call: ImageCall | IiifServerError | None
        try:
            call = parse_call(scope, server.services)
        except IiifServerError as error:
            call = error
        template = path.removeprefix("/iiif/3").removeprefix("/iiif/2")
        if template not in {IMAGE_PATH, INFORMATION_PATH}:
            counts["other"] += 1
            assert call is None or path.startswith("/admin"), url
            continue
        assert call is not None, url
        if template == IMAGE_PATH:
            request = validate(path, parameters)
            if isinstance(request, IiifServerError):
                assert (type(call), str(call)) == (type(request), str(request)), url
            elif isinstance(call, ImageCall):
                assert call.request == request, url
        if isinstance(call, ImageCall):
            counts["call"] += 1
            assert percent_decode(call.raw_identifier) == parameters["identifier"], url
            expected = "2.1" if path.startswith("/iiif/2") else "3.0"
            assert call.version.number == expected, url
        else:
            counts["problem"] += 1
    assert min(counts.values()) > 500, counts


GOOD = [
    "/disk:pic.jpg/info.json",
    "/iiif/2/disk:pic.jpg/info.json",
    "/disk:pic.jpg/full/90,/0/default.jpg",
    "/disk:pic.jpg/full/max/0/default.jpg",
    "/disk:pic.jpg/0,0,50,50/20,/90/gray.png",
    "/iiif/2/disk:pic.jpg/full/full/!0/bitonal.webp",
    "/disk:large.jpg/0,0,128,128/128,/0/default.jpg",
    "/iiif/3/disk:large.jpg/0,0,256,256/128,128/0/default.jpg",
    "/disk:pic.jpg/full/90,/0/default.pdf",
    "/disk:pic.jpg/manifest.json",
    "/disk:none.jpg/info.json",
    "/disk:pic.jpg/full/0,/0/default.jpg",
    "/closed:pic.jpg/info.json",
]


async def test_fast_path_and_routes_answer_alike(server: Server) -> None:
    """Each URL is answered by the routes, by the fast path, and by the routes alone."""
    without_edge = create_app(server.settings)
    without_edge.user_middleware.clear()
    without_edge.state.services = server.services
    for url in GOOD:
        first, again, third = [await server.get_raw(url.encode()) for _ in range(3)]
        alone = await raw_request(without_edge, url.encode())
        for other in (again, third, alone):
            assert other.status_code == first.status_code, url
            assert other.content == first.content, url
            assert stable_headers(other.headers) == stable_headers(first.headers), url


ROUTES = [
    "/",
    "/_:pages/latest/pages.css",
    "/?folder=disk",
    "/docs",
    "/openapi.json",
    "/favicon.ico",
    "/robots.txt",
    "/health",
    "/health/ready",
    "/status",
    "/metrics",
    "/admin/status",
    "/admin/explain/disk:pic.jpg/full/90,/0/default.jpg",
    "/admin/explain/iiif/3/disk:pic.jpg/full/90,/0/default.jpg",
    "/admin/explain/iiif/2/disk:pic.jpg/full/90,/0/default.jpg",
    "/admin/cache",
    "/admin/cache/disk:pic.jpg",
    "/admin/none",
    "/originals.zip?identifiers=disk:pic.jpg",
    "/collection.json",
    "/disk/collection.json",
    "/manifest.json?identifiers=disk:pic.jpg",
    "/disk:pic.jpg",
    "/disk:pic.jpg/view",
    "/disk:pic.jpg/embed",
    "/disk:pic.jpg/original",
    "/disk:pic.jpg/metadata.json",
    "/disk:pic.jpg/thumbnail",
    "/disk:pic.jpg/preview",
    "/nothing/at/all",
    *GOOD,
]


def test_the_urls_reach_every_route(server: Server) -> None:
    def template(path: str) -> str:
        return path.replace("/iiif/3", "").replace("/iiif/2", "")

    reached = set()
    for url in ROUTES:
        for method in ("GET", "DELETE"):
            scope = {**scope_of(url.partition("?")[0]), "method": method}
            reached.add(template(matching_route(server.app, scope)[0]))
    routes = {template(str(getattr(route, "path", ""))) for route in all_routes(server.app)}
    assert len(routes) > 20
    assert routes - reached == set()


async def test_only_respond_sends_responses(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    for url in ROUTES:
        assert (await server.client.get(url, headers=headers)).status_code, url
    server.services.responses.clear()

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(responding, "complete", broken)
    monkeypatch.setattr("iiif_server.server.fast_path.complete", broken)
    for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
        for url in ROUTES:
            with pytest.raises(ZeroDivisionError):
                await server.client.request(method, url, headers=headers)
