"""Exported images on a static web server: in OpenSeadragon, and compared with the server's."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.browsers import Visitor
from e2e.replay import openseadragon_tiles
from e2e.static import running_web_server
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.static import folder_of
from support.apps import picture
from support.servers import Server

SIZES = [(1, 1), (1, 1500), (1500, 1), (512, 512), (513, 513), (1031, 1553), (2053, 97), (300, 700)]
LARGE = (3000, 1999)


@dataclass(frozen=True)
class Export:
    """Folder of an export, and the URL of its web server."""

    folder: Path
    url: str


@pytest.fixture(scope="module", params=["3.0", "2.1"])
def version(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture(scope="module")
def exported(
    server: Server, version: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Export]:
    for width, height in (*SIZES, LARGE):
        (server.source / f"{width}x{height}.jpg").write_bytes(picture(width, height))
    folder = tmp_path_factory.mktemp("exported")
    config = server.source.parents[1] / "settings.toml"
    with running_web_server(folder) as url:
        command = [sys.executable, "-m", "iiif_server", "export", "--config", str(config)]
        command += ["--to", str(folder), "--base-url", url, "--version", version]
        done = subprocess.run(
            [*command, "--type", "pictures"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Export(folder, url)


@pytest.mark.e2e
def test_exported_tiles_are_identical_to_the_servers(
    server: Server, exported: Export, version: str
) -> None:
    live = f"{server.url}/iiif/{version[0]}"
    names = [f"{width}x{height}.jpg" for width, height in (*SIZES, LARGE)]
    addresses = [f"{exported.url}/{folder_of(Identifier('pictures', name))}" for name in names]
    with httpx.Client(timeout=60) as client:
        documents = [client.get(f"{address}/info.json").json() for address in addresses]
        compared = 0
        for name, address, tiles in zip(
            names, addresses, openseadragon_tiles(documents), strict=True
        ):
            assert tiles
            for tile in tiles:
                assert tile["url"].startswith(f"{address}/")
                static = client.get(tile["url"])
                assert static.status_code == 200, tile["url"]
                assert static.headers["content-type"] == "image/jpeg"
                asked = tile["url"].removeprefix(address)
                answer = client.get(f"{live}/pictures:{name}{asked}")
                assert answer.status_code == 200, asked
                assert static.content == answer.content, asked
                compared += 1
    assert compared > 80


@pytest.mark.e2e
def test_killed_export_is_resumed(
    server: Server, exported: Export, version: str, tmp_path: Path
) -> None:
    config = server.source.parents[1] / "settings.toml"
    command = [sys.executable, "-m", "iiif_server", "export", "--config", str(config)]
    command += ["--to", str(tmp_path), "--base-url", exported.url, "--version", version]
    command += ["--type", "pictures"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        until = time.monotonic() + 60
        while not any(tmp_path.rglob("default.jpg")):
            assert time.monotonic() < until
            time.sleep(0.01)
        run.kill()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("default.jpg")}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert _read_files(tmp_path) == _read_files(exported.folder)


def _read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of all exported files by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.e2e
def test_exported_page_shows_the_image_from_static_files(
    exported: Export, version: str, visitor: Visitor
) -> None:
    address = f"{exported.url}/{folder_of(Identifier('pictures', '3000x1999.jpg'))}"
    visit = visitor(f"{address}/")
    page = visit.page
    page.wait_for_function("viewer.world.getItemAt(0)?.getFullyLoaded()")
    page.get_by_role("button", name="Zoom in").click(click_count=2)
    page.wait_for_function(
        "viewer.viewport.getZoom() === viewer.viewport.zoomSpring.target.value"
        " && viewer.world.getItemAt(0).getFullyLoaded()"
    )
    visit.screenshot(f"export-{version}")
    visit.assert_clean()
    tiles = [url for url in visit.requested if url.endswith(".jpg")]
    assert all(url.startswith(f"{address}/") for url in tiles)
    # The nearest of them are at full resolution.
    assert any(re.search(r"/\d+,\d+,512,512/512,", url) for url in tiles)


@pytest.mark.e2e
def test_exported_page_works_from_file_urls(exported: Export, visitor: Visitor) -> None:
    path = exported.folder / folder_of(Identifier("pictures", "513x513.jpg")) / "index.html"
    visit = visitor(path.as_uri())
    visit.page.wait_for_function("viewer.world.getItemAt(0)?.getFullyLoaded()")
    visit.assert_clean()
