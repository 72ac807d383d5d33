"""Tile URLs of OpenSeadragon, replayed: each image has the size that OpenSeadragon expects."""

import asyncio
import math
import re
import time
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from e2e.replay import openseadragon_tiles
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.signing import Signatures
from support.servers import Server, running_server

AWKWARD_SIZES = [
    (1, 1),
    (1, 1500),
    (1500, 1),
    (2, 3),
    (512, 512),  # exactly one tile
    (513, 513),  # one more
    (511, 1023),
    (1024, 2048),  # exact multiples
    (1025, 700),
    (1031, 1553),  # primes
    (2053, 97),
    (3000, 1999),
]
_WHOLE_WIDTH_ONLY = re.compile(r"/full/(\d+),/")


async def _fetch_sizes(urls: list[str]) -> list[tuple[int, int]]:
    slots = asyncio.Semaphore(8)
    async with httpx.AsyncClient(timeout=60) as client:

        async def size(url: str) -> tuple[int, int]:
            async with slots:
                response = await client.get(url)
            assert response.status_code == 200, (url, response.text)
            return Image.open(BytesIO(response.content)).size

        return await asyncio.gather(*(size(url) for url in urls))


@pytest.mark.e2e
@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
async def test_tiles_have_the_size_that_openseadragon_expects(server: Server, prefix: str) -> None:
    documents = []
    async with httpx.AsyncClient() as client:
        for width, height in AWKWARD_SIZES:
            path = server.source / f"{width}x{height}.jpg"
            if not path.exists():
                Image.linear_gradient("L").resize((width, height)).convert("RGB").save(path)
            answer = await client.get(f"{server.url}{prefix}/pictures:{path.name}/info.json")
            documents.append(answer.raise_for_status().json())

    tiles = [tile for found in openseadragon_tiles(documents) for tile in found]

    assert len(tiles) > len(AWKWARD_SIZES)
    sizes = await _fetch_sizes([tile["url"] for tile in tiles])
    for tile, (width, height) in zip(tiles, sizes, strict=True):
        assert width == max(1, math.ceil(tile["width"] - 1e-6)), tile
        if width == 1 and "/full/0/" in tile["url"]:
            continue  # in 2.1 it takes every level that is as wide as the image for the full one
        if width_only := _WHOLE_WIDTH_ONLY.search(tile["url"]):
            # The specification keeps the aspect ratio of the width that was asked for, which
            # OpenSeadragon has rounded up.
            assert width == int(width_only[1])
            name = re.search(r"(\d+)x(\d+)\.jpg", tile["url"])
            assert name is not None
            assert height == max(1, math.floor(int(name[2]) * width / int(name[1]) + 0.5)), tile
        else:
            assert height == max(1, math.ceil(tile["height"] - 1e-6)), tile


@pytest.mark.e2e
@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
async def test_openseadragon_tiles_of_a_signed_image_are_signed(
    tmp_path: Path, prefix: str
) -> None:
    key = "a-key-of-these-tests-with-enough-letters"
    settings = f'signing.keys = ["{key}"]\n[types.closed]\nsource = "disk"\naccess = "signed"\n'
    with running_server(tmp_path, settings) as server:
        folder = server.source.parent / "closed"
        folder.mkdir()
        Image.linear_gradient("L").resize((1031, 1553)).convert("RGB").save(folder / "pic.jpg")
        identifier = Identifier("closed", "pic.jpg")
        address = Signatures([key.encode()]).sign(identifier, int(time.time()) + 600)
        async with httpx.AsyncClient() as client:
            start = f"{server.url}{prefix}/{address}/{identifier.encoded}"
            document = await client.get(start, follow_redirects=True)
            (tiles,) = openseadragon_tiles([document.raise_for_status().json()])
            assert len(tiles) > 5
            for tile in tiles:
                assert tile["url"].startswith(f"{start}/")
            await _fetch_sizes([tile["url"] for tile in tiles])  # each is answered with an image
            unsigned = tiles[0]["url"].replace(f"{address}/", "")
            assert (await client.get(unsigned)).status_code == 403
