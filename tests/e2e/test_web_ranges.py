"""Gigapixel image on a web server, with and without range requests."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from support import pictures, tiffs
from support.gigapixel import SIDE, TILE, gigapixel
from support.relay import Relay
from support.servers import TRUST, Server, running_server
from support.upstream import Upstream, ranged, running_upstream, send

pytestmark = pytest.mark.e2e

MAX_REQUESTS, MAX_BYTES = 8, 1_000_000


@dataclass(frozen=True)
class Site:
    server: Server
    upstream: Upstream
    relay: Relay
    tiles: dict[str, bytes]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.server.url}/{path}", trust_env=False, verify=TRUST, timeout=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ranges")
    with running_upstream() as upstream, Relay(upstream.port).running() as relay:
        tiles = {}
        for name, big in (("classic", False), ("big", True)):
            tiles[name] = gigapixel(folder / name, big=big)
            upstream.replies[f"/{name}.tif"] = ranged((folder / name).read_bytes())
            (folder / name).unlink()
        pyramid = tiffs.tiled(pictures.photograph(900, 700))
        for name in ("same",):
            upstream.replies[f"/{name}.tif"] = ranged(pyramid)
        upstream.replies["/no-ranges.tif"] = send(pyramid, "image/tiff", ETag='"one"')
        flat = tiffs.tiled(pictures.photograph(3000, 2000), compression="deflate", pyramid=False)
        upstream.replies["/flat.tif"] = ranged(flat)
        settings = (
            'fetch.allow_networks = ["127.0.0.0/8"]\n'
            f'[types.web]\nsource = "web"\nurl = "{relay.url}/{{name}}.tif"\n'
            f'[types.whole]\nsource = "web"\nurl = "{relay.url}/{{name}}.tif"\nranges = "never"\n'
            'bearer_token = "of-this-test"\n'
        )
        with running_server(folder, settings) as server:
            yield Site(server, upstream, relay, tiles)


@pytest.mark.parametrize("name", ["classic", "big"])
def test_tile_of_a_gigapixel_takes_few_requests_and_bytes(site: Site, name: str) -> None:
    site.relay.reset()
    information = site.get(f"web:{name}/info.json").json()
    assert (information["width"], information["height"]) == (SIDE, SIDE)
    at = 77 * TILE
    tile = site.get(f"web:{name}/{at},{at},{TILE},{TILE}/{TILE},/0/default.jpg")
    assert tile.content.endswith(site.tiles[name][2:])
    assert len(site.relay.requests) <= MAX_REQUESTS
    assert site.relay.received <= MAX_BYTES


REQUESTS = [
    "full/300,/0/default.jpg",
    "0,0,128,128/128,/0/default.jpg",
    "640,512,128,128/128,/0/default.png",
    "100,100,333,222/100,/90/gray.jpg",
    "full/max/0/default.png",
]


def test_images_of_partial_and_whole_originals_are_equal(site: Site) -> None:
    for request in REQUESTS:
        in_parts, whole = (site.get(f"{type_}:same/{request}") for type_ in ("web", "whole"))
        assert in_parts.status_code == whole.status_code == 200
        assert in_parts.content == whole.content


def test_upstream_without_ranges_sends_the_original_once(site: Site) -> None:
    for _ in range(2):
        assert site.get("web:no-ranges/full/200,/0/default.jpg").status_code == 200
    asked = [item for item in site.upstream.requests if item.target == "/no-ranges.tif"]
    assert [item.headers["Range"] is None for item in asked] == [False, True]


def test_region_of_an_image_without_levels_fetches_only_its_tiles(site: Site) -> None:
    site.relay.reset()
    answer = site.get("web:flat/1280,1280,128,128/128,/0/default.png")
    assert answer.status_code == 200
    assert site.relay.received < 2_000_000
    assert answer.content == site.get("whole:flat/1280,1280,128,128/128,/0/default.png").content
