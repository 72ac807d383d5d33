"""OpenSeadragon shows each level at the same place, also at the right and lower edges.

The page gets the tiles of one level at a time, and its screenshots are compared. An image of
1021 pixels ends with a part of a pixel in every level.
"""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, Route

from e2e.browsers import Visitor
from e2e.static import running_web_server
from iiif_server import pages
from support.servers import Server, running_server

WIDTH, HEIGHT, STEP = 1021, 767, 128
BUNDLE = Path(pages.__file__).parent / "bundle" / "openseadragon"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Tiles</title>
<link rel="icon" href="data:,"><style>body { margin: 0; background: black }</style>
<div id="viewer" style="width: 1021px; height: 767px"></div>
<script src="openseadragon/openseadragon.min.js"></script>
<script>
const options = { drawer: "canvas", showNavigationControl: false, blendTime: 0, minPixelRatio: 0.1,
                  crossOriginPolicy: "Anonymous" };
const info = new URLSearchParams(location.search).get("info");
window.viewer = OpenSeadragon({ id: "viewer", tileSources: info, ...options });
</script>
"""
COVERED = "viewer.world.getItemAt(0)?.getFullyLoaded()"
PLACED = 1.5
"""Pixels of the screen by which a level may be off: the canvas places tiles to half a pixel. Tiles
into which their regions are stretched are off by 2 at a quarter."""


def draw_spots() -> Image.Image:
    """Return an image of round spots in a grid."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    across, down = x % STEP - STEP / 2, y % STEP - STEP / 2
    return Image.fromarray(np.rint(240 * np.exp(-(across**2 + down**2) / 400)).astype(np.uint8))


def spot_centres(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the centres of the spots in a screenshot, in pixels."""
    found = []
    for top in range(0, HEIGHT - STEP + 1, STEP):
        for left in range(0, WIDTH - STEP + 1, STEP):
            values = picture[top : top + STEP, left : left + STEP].astype(float)
            values[values < 24] = 0
            rows, columns = np.mgrid[0:STEP, 0:STEP]
            total = values.sum()
            assert total > 0, (left, top)
            found.append(((values * columns).sum() / total, (values * rows).sum() / total))
    return np.array(found)


@pytest.fixture(scope="module", params=["", "min_pixels = 1"], ids=["plain", "pyramid"])
def images(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = f"[pyramids]\ntile_size = {STEP}\n{request.param}"
    with running_server(tmp_path_factory.mktemp("places"), settings) as server:
        draw_spots().save(server.source / "spots.png")
        yield server


def serve_only_level(page: Page, factor: int) -> None:
    """Answer 404 to the tiles of all other levels."""

    def filter_tile(filter_tile: Route) -> None:
        region, size = filter_tile.request.url.split("/")[-4:-2]
        width = WIDTH if region == "full" else int(region.split(",")[2])
        of_level = ceil(width / factor) == int(size.split(",")[0])
        filter_tile.continue_() if of_level else filter_tile.fulfill(status=404)

    page.route("**/default.jpg", filter_tile)


@pytest.mark.e2e
def test_levels_are_shown_at_the_same_place(
    images: Server, visitor: Visitor, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "openseadragon").symlink_to(BUNDLE)
    seen = {}
    with running_web_server(tmp_path) as url:
        for factor in (1, 2, 4):
            visit = visitor(url, viewport={"width": WIDTH, "height": HEIGHT})
            serve_only_level(visit.page, factor)
            visit.page.goto(f"{url}/?info={quote(f'{images.url}/pictures:spots.png/info.json')}")
            visit.page.wait_for_function(COVERED)
            picture = visit.screenshot(f"tile-places-{factor}")
            seen[factor] = spot_centres(np.asarray(Image.open(picture).convert("L")))
    off = {factor: np.abs(places - seen[1]).max() for factor, places in seen.items()}
    assert max(off.values()) < PLACED, off
