"""Security headers of a running server."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urljoin

import pytest
import pytest_asyncio

from support.apps import Server, picture, running_app, settings_below
from support.pages import use_bundle, write_bundle

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE = "/disk:pic.jpg/full/50,/0/default"
PATHS = [
    f"{IMAGE}.jpg",
    f"{IMAGE}.pdf",
    "/disk:pic.jpg/info.json",
    "/disk:pic.jpg",
    "/status",
    "/health",
    "/openapi.json",
    "/docs",
    "/",
    "/nothing:x/info.json",
    f"{IMAGE}.svg",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("headers")
    async with running_app(settings_below(root, types={"disk": {"source": "disk"}})) as server:
        use_bundle(server, write_bundle(root / "bundle"))
        server.put("disk", "pic.jpg", picture())
        yield server


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
async def test_every_answer_is_what_it_says_and_says_not_who_made_it(
    server: Server, path: str, method: str
) -> None:
    headers = (await server.client.request(method, path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "x-powered-by" not in headers
    assert ("content-security-policy" in headers) == ("content-type" in headers)
    for name in set(headers):
        assert len(headers.get_list(name)) == 1, name


async def test_images_are_embedded_anywhere_and_run_nothing(server: Server) -> None:
    headers = (await server.get(f"{IMAGE}.jpg")).headers
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-disposition"] == 'inline; filename="pic_full_50x38.jpg"'
    unchanged = await server.get(f"{IMAGE}.jpg", If_None_Match=headers["etag"])
    assert unchanged.status_code == 304
    assert "content-security-policy" not in unchanged.headers


async def test_a_pdf_is_not_opened_where_it_is(server: Server) -> None:
    headers = (await server.get(f"{IMAGE}.pdf")).headers
    assert headers["content-type"] == "application/pdf"
    assert headers["content-disposition"] == 'attachment; filename="pic_full_50x38.pdf"'


async def test_there_is_no_svg(server: Server) -> None:
    assert (await server.get(f"{IMAGE}.svg")).status_code == 400
    server.put("disk", "evil.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
    assert (await server.get("/disk:evil.svg/full/max/0/default.jpg")).status_code == 415


@pytest.mark.parametrize("path", ["/", "/?folder=disk", "/disk:pic.jpg/view", "/docs"])
async def test_the_page_runs_its_own_scripts_and_no_other(server: Server, path: str) -> None:
    response = await server.get(path)
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in response.headers
    policy = dict(
        part.split(" ", 1) for part in response.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    for kind in ("script-src", "style-src", "connect-src", "form-action"):
        assert policy[kind] == "'self'"
    # Swagger UI shows the images that it gets as blobs of its own.
    assert policy["img-src"] == ("'self' data: blob:" if path == "/docs" else "'self' data:")
    assert not re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", response.text)
    loaded = re.findall(
        r'<(?:script|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="([^"]+)"', response.text
    )
    assert len(loaded) >= 3
    for address in loaded:
        file = await server.client.get(urljoin(f"http://test{path}", address))
        assert file.status_code == 200, address
        assert file.headers["content-type"].partition(";")[0] in {
            "text/javascript",
            "text/css",
            "image/svg+xml",
        }


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (b"/" + b"a" * 60_000, [(b"host", b"test")], 414),
        (b"/health?" + b"a" * 60_000, [(b"host", b"test")], 414),
        (b"/health", [(b"host", b"test"), *[(b"x", b"")] * 200], 431),
        (b"/health", [(b"host", b"test"), (b"cookie", b"a" * 40_000)], 431),
        (b"/health", [(b"host", b"test"), (b"host", b"evil.example")], 400),
        (b"/health", [(b"host", b"test"), (b"content-length", b"5")], 413),
        (b"/health", [(b"host", b"test"), (b"transfer-encoding", b"chunked")], 413),
    ],
)
async def test_what_no_request_needs_ends_the_connection(
    server: Server, target: bytes, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    response = await server.get_raw(target, headers)
    assert response.status_code == status
    assert response.headers["connection"] == "close"
    assert response.json()["error"].endswith(".")
