"""Upscaling: never beyond the limits in info.json."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from support.apps import Server, assert_problem, decode_image, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUND = 90_000
"""Pixels; `small.jpg` has a third of them, `large.jpg` twelve times as many."""
TYPES: dict[str, Any] = {"disk": {"source": "disk"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    limits = {"max_upscale_area": BOUND, "max_area": 2_000_000}
    settings = settings_below(tmp_path_factory.mktemp("upscaling"), types=TYPES, limits=limits)
    async with running_app(settings) as server:
        server.put("disk", "small.jpg", picture(200, 150))
        server.put("disk", "large.jpg", picture(1200, 900))
        server.put("disk", "vast.jpg", picture(2000, 1500))
        yield server


async def published(server: Server, name: str) -> set[int]:
    """The `maxArea` of an image in both versions."""
    three = (await server.get(f"/iiif/3/disk:{name}/info.json")).json()
    two = (await server.get(f"/iiif/2/disk:{name}/info.json")).json()
    return {three["maxArea"], two["profile"][1]["maxArea"]}


async def test_each_image_publishes_the_bound_or_its_own_area_and_never_more_than_max_area(
    server: Server,
) -> None:
    assert await published(server, "small.jpg") == {BOUND}
    assert await published(server, "large.jpg") == {1200 * 900}
    assert await published(server, "vast.jpg") == {2_000_000}


@pytest.mark.parametrize("size", ["^max", "^!99999,99999", "^!9999,99999", "^!999999999,999999999"])
async def test_as_large_as_possible_is_as_large_as_published(server: Server, size: str) -> None:
    image = decode_image(await server.get(f"/disk:small.jpg/full/{size}/0/default.jpg"))
    assert image.size == (346, 260)  # the last whole pixels of 4:3 within 90,000
    again = decode_image(await server.get(f"/disk:small.jpg/full/{size}/0/default.jpg"))
    assert again.size == image.size


@pytest.mark.parametrize(
    "request_",
    [
        "/disk:small.jpg/full/^99999,/0",
        "/disk:small.jpg/full/^,99999/0",
        "/disk:small.jpg/full/^pct:10000/0",
        "/disk:small.jpg/full/^9000,9000/0",
        "/disk:small.jpg/full/^301,300/0",
        "/disk:small.jpg/0,0,1,1/^301,300/0",
        "/disk:small.jpg/0,0,2,1/^99999,/45",
        "/disk:small.jpg/square/^,301/90",
        "/iiif/3/disk:small.jpg/full/^99999,/0",
        # 2.1 writes no ^ where it may scale up (sizeAboveFull)
        "/iiif/2/disk:small.jpg/full/99999,/0",
        "/iiif/2/disk:small.jpg/full/,99999/0",
        "/iiif/2/disk:small.jpg/full/pct:10000/0",
        "/iiif/2/disk:small.jpg/full/301,300/0",
    ],
)
async def test_more_than_is_published_is_a_bad_request(server: Server, request_: str) -> None:
    """400: "greater than the server-imposed limits" (3.0, 4.2)."""
    for _ in range(2):  # the second time, the image is known
        response = await server.get(f"{request_}/default.jpg")
        assert_problem(response, 400, "maxArea 90000")


@pytest.mark.parametrize(
    ("request_", "size"),
    [
        ("/disk:small.jpg/full/^300,300/0", (300, 300)),
        ("/disk:small.jpg/full/^400,225/0", (400, 225)),
        ("/disk:small.jpg/0,0,1,1/^max/0", (300, 300)),
        ("/disk:small.jpg/0,0,2,1/^max/0", (424, 212)),
        ("/disk:small.jpg/full/max/0", (200, 150)),
        ("/iiif/2/disk:small.jpg/full/300,/0", (300, 225)),
        ("/iiif/2/disk:small.jpg/full/!99999,99999/0", (200, 150)),
        ("/disk:large.jpg/full/max/0", (1200, 900)),
        ("/disk:large.jpg/full/^max/0", (1200, 900)),
        ("/disk:large.jpg/0,0,3,3/^max/0", (1039, 1039)),
        ("/disk:vast.jpg/full/max/0", (1632, 1225)),
    ],
)
async def test_up_to_what_is_published_images_are_made(
    server: Server, request_: str, size: tuple[int, int]
) -> None:
    assert decode_image(await server.get(f"{request_}/default.jpg")).size == size


async def test_a_turned_canvas_has_at_most_twice_the_bound(server: Server) -> None:
    """The bound is on the scaled region (3.0, 4.2); its bounding box is at most twice as large."""
    for degrees in ("45", "!22.5", "30"):
        address = f"/disk:small.jpg/square/^max/{degrees}/default.png"
        image = decode_image(await server.get(address))
        assert BOUND < image.width * image.height <= 2.02 * BOUND
