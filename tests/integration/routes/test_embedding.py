"""The viewer in frames of other sites: permitted sites, and content."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
import pytest_asyncio

from iiif_server.iiif.identifier import Identifier
from support.apps import Server, decode_image, picture, running_app, settings_below
from support.pages import BROWSER, parse_elements, use_bundle, write_bundle

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests-with-enough-letters"
EVIL = "<img src=x onerror=1>\"&'.jpg"
TYPES: dict[str, Any] = {
    "plates": {"source": "disk"},
    "closed": {"source": "disk", "access": "signed"},
}
SITE = "https://museum.example"


def serving(root: Path, *ancestors: str, **more: Any) -> Any:
    pages = {"frame_ancestors": ancestors}
    settings = settings_below(root, types=TYPES, signing={"keys": [KEY]}, pages=pages, **more)
    return running_app(settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("embedding")
    async with serving(root, "self", SITE) as server:
        use_bundle(server, write_bundle(root / "bundle"))
        for name in ("pic.jpg", "box 1/a&b.jpg", EVIL, "street/embed"):
            server.put("plates", name, picture())
        server.put("closed", "pic.jpg", picture())
        yield server


def framed_by(response: Any) -> tuple[str, str | None]:
    """Who may frame a page, by both headers that browsers have for it."""
    policy = dict(
        part.split(" ", 1) for part in response.headers["content-security-policy"].split("; ")
    )
    return policy["frame-ancestors"], response.headers.get("x-frame-options")


def signed(server: Server, name: str) -> str:
    assert server.services.signatures is not None
    identifier = Identifier("closed", name)
    return f"{server.services.signatures.sign(identifier, 10**11)}/{identifier.encoded}"


@pytest.mark.parametrize(
    "path",
    [
        "/plates:pic.jpg/view",
        "/plates:pic.jpg/embed",
        "/iiif/3/plates:pic.jpg/embed",
        # Errors of these pages are shown in the same frame.
        "/plates:missing.jpg/embed",
        "/plates:a%01b/embed",
        "/closed:pic.jpg/embed",
    ],
)
async def test_the_sites_of_the_settings_may_frame_the_viewer(server: Server, path: str) -> None:
    response = await server.get_raw(path.encode())
    assert framed_by(response) == (f"'self' {SITE}", None)


@pytest.mark.parametrize(
    "path", ["/", "/?folder=plates", "/?folder=nothing", "/?open=http://test/a%25zz", "/docs"]
)
async def test_no_site_may_frame_any_other_page(server: Server, path: str) -> None:
    assert framed_by(await server.get(path)) == ("'none'", "DENY")


@pytest.mark.parametrize(
    ("ancestors", "policy"),
    [
        ((), ("'none'", "DENY")),
        (("self",), ("'self'", None)),
        (("*",), ("*", None)),
        (("https://*.example.org", "http://localhost:8080"),
         ("https://*.example.org http://localhost:8080", None)),
    ],
)  # fmt: skip
async def test_who_may_frame_them_is_a_setting(
    tmp_path: Path, ancestors: tuple[str, ...], policy: tuple[str, str | None]
) -> None:
    async with serving(tmp_path, *ancestors) as server:
        server.put("plates", "pic.jpg", picture())
        for scripts in (write_bundle(tmp_path / "bundle"), tmp_path / "nothing"):
            use_bundle(server, scripts)
            for kind in ("view", "embed"):
                assert framed_by(await server.get(f"/plates:pic.jpg/{kind}")) == policy


async def test_the_code_of_the_frame_is_offered_only_where_it_works(tmp_path: Path) -> None:
    for number, ancestors in enumerate(((), ("*",))):
        root = tmp_path / str(number)
        async with serving(root, *ancestors) as server:
            use_bundle(server, write_bundle(root / "bundle"))
            server.put("plates", "pic.jpg", picture())
            text = (await server.get("/plates:pic.jpg/view")).text
            offered = parse_elements(text).all("textarea", "id")
            assert "share-openseadragon" in offered
            assert ("share-iframe" in offered) == bool(ancestors)
            assert ("does not allow other sites" in text) == (not ancestors)


@pytest.mark.parametrize("name", ["pic.jpg", "box 1/a&b.jpg", EVIL])
async def test_the_frame_holds_the_image_and_nothing_else(server: Server, name: str) -> None:
    path = f"/plates:{quote(name)}/embed"
    response = await server.get_raw(path.encode())
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-cache"
    page = parse_elements(response.text)
    assert page.all("body", "data-identifier") == [f"plates:{name}"]
    assert "onerror=1>" not in response.text
    assert "onerror" not in {attribute for _, found in page.found for attribute in found}
    assert page.all("header", "class") == []
    assert "?folder=" not in response.text
    for address in [*page.all("script", "src"), *page.all("link", "href"), *page.all("a", "href")]:
        found = urlsplit(urljoin(f"http://test{path}", address)).path
        assert (await server.get_raw(found.encode())).status_code == 200, found


async def test_version_2_has_the_same_frame(server: Server) -> None:
    response = await server.get("/iiif/2/plates:pic.jpg/embed")
    assert response.status_code == 303
    assert response.headers["location"] == "http://test/iiif/3/plates:pic.jpg/embed"


async def test_a_name_may_end_like_the_frame(server: Server) -> None:
    encoded = await server.get_raw(b"/plates:street%2Fembed")
    assert encoded.headers["location"] == "http://test/plates:street%2Fembed/info.json"
    assert (await server.get("/plates:street/embed/embed")).status_code == 200
    assert (await server.get("/plates:street/embed/info.json")).json()["width"] == 200


async def test_a_signed_image_has_its_frame_below_its_signed_address(server: Server) -> None:
    start = signed(server, "pic.jpg")
    response = await server.get(f"/{start}/embed")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert "until the signature expires" in (await server.get(f"/{start}/view")).text
    assert "until the signature" not in (await server.get("/plates:pic.jpg/view")).text
    assert (await server.get("/closed:pic.jpg/embed")).status_code == 403
    wrong = start.replace("closed:pic", "closed:other")
    assert (await server.get(f"/{wrong}/embed")).status_code == 403


async def test_the_script_that_the_code_names_is_for_all_sites(server: Server) -> None:
    """The copied code names no digest, so that it outlives the next version of the server."""
    address = "/_:pages/latest/openseadragon/openseadragon.min.js"
    response = await server.get(address)
    assert response.status_code == 200
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("kind", ["view", "embed"])
async def test_without_openseadragon_the_page_has_a_plain_picture(
    server: Server, tmp_path: Path, kind: str
) -> None:
    before = server.services
    use_bundle(server, tmp_path / "nothing")
    try:
        path = f"/plates:{quote(EVIL)}/{kind}"
        response = await server.get(path, Accept=BROWSER)
        assert response.status_code == 200
        assert "onerror=1>" not in response.text
        page = parse_elements(response.text)
        (source,) = page.all("img", "src")
        address = urlsplit(urljoin(f"http://test{path}", source)).path
        image = decode_image(await server.get_raw(address.encode()))
        assert image.size == (200, 150)
        for script in page.all("script", "src"):
            assert "openseadragon" not in script
        assert ("make assets" in response.text) == (kind == "view")  # for visitors, no hint
        # Who may see an image comes first.
        assert (await server.get(f"/closed:pic.jpg/{kind}")).status_code == 403
        assert (await server.get(f"/plates:missing.jpg/{kind}")).status_code == 404
    finally:
        server.app.state.services = before
