"""Requests of `iiif-server warm`, compared with those of the real viewers."""

import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page

from e2e.browsers import Visit, Visitor
from e2e.replay import openseadragon_tiles
from e2e.static import running_web_server
from e2e.test_openseadragon import AWKWARD_SIZES
from e2e.test_viewers import MIRADOR, PACKAGES
from iiif_server.iiif.geometry import Dimensions
from iiif_server.iiif.viewers import InfoJson
from support.servers import Server

VIEWPORT = Dimensions(1280, 800)
"""That of the browser."""
SIZES = [(2400, 2400), (1031, 3000), (1000, 350), (3001, 1999), (300, 200), (4800, 3600), (1500, 1)]
SMALL = (60, 40)
"""Its thumbnails, which viewers request enlarged, are refused in version 3."""
_SCRIPT = Path(__file__).parent / "openseadragon/node_modules/openseadragon/build/openseadragon"
_STEPS = 8
_MAX_LOOKS = 60

OPENSEADRAGON = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<div id="osd" style="position: absolute; inset: 0"></div>
<script src="openseadragon/openseadragon.js"></script>
<script>
OpenSeadragon({ id: "osd", tileSources: new URLSearchParams(location.search).get("info"),
                showNavigationControl: false });
</script>
"""
STRIP = "windows: [{ thumbnailNavigationPosition: 'far-bottom', "


@pytest.fixture(scope="module")
def viewers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a web server with the three viewers."""
    folder = tmp_path_factory.mktemp("viewers")
    (folder / "openseadragon").symlink_to(_SCRIPT)
    (folder / "mirador").symlink_to(PACKAGES / "mirador" / "dist")
    (folder / "uv").symlink_to(PACKAGES / "universalviewer" / "dist")
    (folder / "openseadragon.html").write_text(OPENSEADRAGON)
    (folder / "mirador.html").write_text(MIRADOR.replace("windows: [{ ", STRIP))
    with running_web_server(folder) as url:
        yield url


@pytest.fixture(scope="module")
def images(server: Server) -> Server:
    for width, height in (*SIZES, SMALL):
        image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
        image.save(server.source / file_name(width, height))
    return server


def file_name(width: int, height: int) -> str:
    return f"{width}x{height}.jpg"


def warm_requests(server: Server, identifier: str, screen: Dimensions | None) -> set[str]:
    """Return the URLs that warm requests of an image, in both versions."""
    found = set()
    for prefix in ("", "/iiif/2"):
        uri = f"{server.url}{prefix}/{identifier}"
        information = httpx.get(f"{uri}/info.json").raise_for_status().json()
        found |= {f"{uri}/info.json"}
        found |= {f"{uri}/{path}" for path in InfoJson.read(information).requests(screen)}
    return found


def requests_when_idle(visit: Visit, server: Server) -> set[str]:
    """Return the requests to the server, once there are no more: viewers report no such event."""
    for _ in range(_MAX_LOOKS):
        before = len(visit.requested)
        visit.page.wait_for_timeout(700)
        if len(visit.requested) == before and any(".jpg/full" in url for url in visit.requested):
            break
    images = (url for url in visit.requested if url.startswith(server.url))
    return {url for url in images if not url.split("?")[0].endswith("/manifest.json")}


def zoom_in(page: Page) -> None:
    page.mouse.move(VIEWPORT.width / 2, VIEWPORT.height / 2)
    for _ in range(_STEPS):
        page.mouse.wheel(0, -500)
        page.wait_for_timeout(300)


def viewer_urls(viewers: str, server: Server, identifier: str) -> dict[str, str]:
    uri = f"{server.url}/{identifier}"
    return {
        "openseadragon": f"{viewers}/openseadragon.html?info={uri}/info.json",
        "mirador": f"{viewers}/mirador.html?manifest={uri}/manifest.json",
        "uv": f"{viewers}/uv/uv.html#?manifest={uri}/manifest.json",
    }


@pytest.mark.e2e
@pytest.mark.parametrize("viewer", ["openseadragon", "mirador", "uv"])
@pytest.mark.parametrize("size", SIZES)
def test_warm_requests_all_that_a_viewer_requests_of_an_image(
    viewers: str, images: Server, visitor: Visitor, viewer: str, size: tuple[int, int]
) -> None:
    identifier = f"pictures:{file_name(*size)}"
    visit = visitor(viewer_urls(viewers, images, identifier)[viewer])
    first = requests_when_idle(visit, images)
    assert any("/info.json" in url for url in first)
    assert first <= warm_requests(images, identifier, VIEWPORT), first
    zoom_in(visit.page)
    zoomed = requests_when_idle(visit, images)
    everything = warm_requests(images, identifier, None)
    assert zoomed <= everything, zoomed - everything
    if min(size) > 2 * VIEWPORT.width:
        assert zoomed - warm_requests(images, identifier, VIEWPORT)
    assert not [failure for failure in visit.failed if images.url in failure], visit.failed


@pytest.mark.e2e
@pytest.mark.parametrize("viewer", ["mirador", "uv"])
def test_warm_requests_the_thumbnails_of_several_images(
    viewers: str, images: Server, visitor: Visitor, viewer: str
) -> None:
    identifiers = [f"pictures:{file_name(*size)}" for size in (*SIZES, SMALL)]
    several = f"{images.url}/manifest.json?identifiers={','.join(identifiers)}"
    page = "mirador.html?manifest=" if viewer == "mirador" else "uv/uv.html#?manifest="
    visit = visitor(f"{viewers}/{page}{several}")
    requested = requests_when_idle(visit, images)
    known = set().union(*(warm_requests(images, one, VIEWPORT) for one in identifiers))
    refused = {failure.partition(": ")[2] for failure in visit.failed if images.url in failure}
    assert requested - refused <= known, requested - refused - known
    assert all(file_name(*SMALL) in url or file_name(1500, 1) in url for url in refused), refused
    thumbnail = "full/,120/" if viewer == "mirador" else "full/90,/"
    assert len([url for url in requested if thumbnail in url]) >= 4


@pytest.mark.e2e
@pytest.mark.parametrize("prefix", ["", "/iiif/2"])
def test_warm_requests_exactly_the_tiles_of_openseadragon(server: Server, prefix: str) -> None:
    documents: list[dict[str, Any]] = []
    for width, height in AWKWARD_SIZES:
        path = server.source / f"a{file_name(width, height)}"
        Image.linear_gradient("L").resize((width, height)).convert("RGB").save(path)
        answer = httpx.get(f"{server.url}{prefix}/pictures:{path.name}/info.json")
        documents.append(answer.raise_for_status().json())
    for document, tiles in zip(documents, openseadragon_tiles(documents), strict=True):
        uri = document.get("id", document.get("@id"))
        paths = {f"{uri}/{path}" for path in InfoJson.read(document).requests(None)}
        requested = {tile["url"] for tile in tiles}
        zero = {url for url in requested if "/full/0," in url}  # of a version 2 without a width
        assert requested - zero <= paths, requested - paths
        if not prefix:
            thumbnails = {url for url in paths if "full/90," in url or "full/,120" in url}
            assert {url for url in paths - requested - thumbnails if "!400" not in url} == set()


@pytest.mark.e2e
def test_viewer_opens_a_warmed_image_without_rendering(
    viewers: str, server: Server, visitor: Visitor
) -> None:
    only_here = server.source / "warmed.jpg"  # other tests leave theirs in the memory cache
    Image.linear_gradient("L").resize((3001, 1999)).convert("RGB").save(only_here)
    config = server.source.parents[1] / "settings.toml"
    identifier = f"pictures:{only_here.name}"
    command = [sys.executable, "-m", "iiif_server", "warm", "--config", str(config), identifier]
    done = run(command, capture_output=True, text=True, check=True)
    assert "0 failed" in done.stdout
    answers: list[str] = []
    for viewer, url in viewer_urls(viewers, server, identifier).items():
        visit = visitor("about:blank")
        visit.page.on("response", lambda answer: answers.append(_engine(answer.headers)))
        visit.page.goto(url)
        assert requests_when_idle(visit, server), viewer
    assert set(answers) & {"cache", "tile"}
    assert not set(answers) & {"raster", "level", "jpegtran"}, answers


def _engine(headers: dict[str, str]) -> str:
    return headers.get("server-timing", "").partition('desc="')[2].partition('"')[0]
