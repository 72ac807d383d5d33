"""Geometry of views: everything lies where it should, to a tenth of a pixel of the view.

The chart is a grid of round spots, whose centres are measured. Tiles and full views, with and
without a pyramid, show them in the same places, reduced by each factor and enlarged.

The pixels of a tile are those of its level, squares of whole pixels, as viewers place them: the
last may be partly beyond the image (docs/architecture.md, "Edge tiles"). All other views fill their
size, and so does the whole image, unless it is a stored tile.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from iiif_server.images.limits import LimitsOptions
from iiif_server.images.pyramid_options import PyramidOptions
from support.apps import Server, decode_image, running_app, settings_below
from support.matrix.jpegs import Jpeg
from support.matrix.png_kinds import png
from support.matrix.views import SIDE, running_servers
from support.tiff_samples import TiffFile

WIDTH, HEIGHT = 1021, 767
"""Multiples of nothing: all levels are rounded."""
FACTORS = (1, 2, 4, 8)
NEAR = 0.1
SPREAD = 14.0
"""Of a spot, in pixels: at an eighth, it still has some."""
CENTRES = [(x, y) for x in range(64, WIDTH - 63, 128) for y in range(64, HEIGHT - 63, 128)]


def spots() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    across, down = (x - 64 + 64) % 128 - 64, (y - 64 + 64) % 128 - 64
    whole = np.exp(-(across**2 + down**2) / (2 * SPREAD**2)) * 240
    values: NDArray[np.uint8] = np.rint(whole).astype(np.uint8)
    return values[:, :, np.newaxis]


ORIGINALS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(spots(), 0),
    "tiff": lambda: TiffFile(spots(), 1, rows=64).write(),
    "tiff-tiles": lambda: TiffFile(spots(), 1, tile=(128, 128), deflate=True).write(),
    "jpeg": lambda: Jpeg(spots()).write(),
    "jpeg-halved": lambda: Jpeg(
        np.dstack((spots(), spots() * 0 + 128, spots() * 0 + 128)), [(2, 2), (1, 1), (1, 1)]
    ).write(),
}


Region = tuple[int, int, int, int]
WHOLE = 0, 0, WIDTH, HEIGHT


def off(pixels: NDArray[Any], region: Region, scale: float = 0.0) -> float:
    """By how much spots in a view are displaced at most, in pixels of the view.

    `scale` is that of a level; without it, the view is the whole region.
    """
    height, width = pixels.shape
    across, down = scale or width / region[2], scale or height / region[3]
    found = []
    for x, y in CENTRES:
        # The middle of the pixel x is at x + 0.5.
        at = (x + 0.5 - region[0]) * across - 0.5, (y + 0.5 - region[1]) * down - 0.5
        reach = round(40 * across), round(40 * down)
        left, top = round(at[0]) - reach[0], round(at[1]) - reach[1]
        part = pixels[max(0, top) : top + 2 * reach[1] + 1, max(0, left) : left + 2 * reach[0] + 1]
        if left < 0 or top < 0 or part.shape != (2 * reach[1] + 1, 2 * reach[0] + 1):
            continue
        values = np.where(part < 24, 0, part.astype(float))
        rows, columns = np.mgrid[0 : part.shape[0], 0 : part.shape[1]]
        total = values.sum()
        centre = (values * columns).sum() / total + left, (values * rows).sum() / total + top
        found.append(max(abs(centre[0] - at[0]), abs(centre[1] - at[1])))
    assert found, region
    return float(max(found))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Server, Server]]:
    folder: Path = tmp_path_factory.mktemp("geometry")
    async with running_servers(folder) as both:
        for server in both:
            for name, write in ORIGINALS.items():
                server.put("disk", name, write())
        yield both


async def shown(
    server: Server,
    name: str,
    region: tuple[int, int, int, int],
    size: tuple[int, int],
    format_: str,
) -> NDArray[Any]:
    place, up = ",".join(map(str, region)), "^" if size[0] > region[2] else ""
    answer = await server.get(f"/disk:{name}/{place}/{up}{size[0]},{size[1]}/0/default.{format_}")
    return np.asarray(decode_image(answer).convert("L"))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ORIGINALS)
async def test_tiles_and_full_views_agree(
    name: str, factor: int, pair: tuple[Server, Server]
) -> None:
    step = SIDE * factor
    regions = [(0, 0, WIDTH, HEIGHT)]
    regions += [
        (x, y, min(step, WIDTH - x), min(step, HEIGHT - y))
        for x in range(0, WIDTH, step)
        for y in range(0, HEIGHT, step)
    ]
    wrong = {}
    for server in pair:
        pyramid = server.settings.pyramids.enabled
        for region in regions:
            if min(region[2:]) < 128:
                continue
            size = -(-region[2] // factor), -(-region[3] // factor)
            for format_ in ("jpg", "png"):
                view = await shown(server, name, region, size, format_)
                whole = region[2:] == (WIDTH, HEIGHT)
                stored = pyramid and format_ == "jpg" and step >= WIDTH
                by = off(view, region, 1 / factor if stored or not whole else 0)
                if by > NEAR:
                    wrong[pyramid, region, format_] = by
    assert wrong == {}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ORIGINALS)
async def test_whole_images_of_any_size_agree(name: str, pair: tuple[Server, Server]) -> None:
    wrong = {}
    sizes = ("511,", "!500,500", "pct:37", "300,", "!256,256", "255,", "170,")
    views = [f"full/{size}/0/default.{format_}" for size in sizes for format_ in ("jpg", "png")]
    for server in pair:
        for view in (*views, "thumbnail", "preview"):
            by = off(
                np.asarray(decode_image(await server.get(f"/disk:{name}/{view}")).convert("L")),
                WHOLE,
            )
            if by > NEAR:
                wrong[server.settings.pyramids.enabled, view] = by
    assert wrong == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("pyramids", [False, True])
async def test_limited_images_and_their_smaller_tiles_lie_right(
    pyramids: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        pyramids=PyramidOptions(enabled=pyramids, min_pixels=1),
        limits=LimitsOptions(max_width=300),
    )
    async with running_app(settings) as server:
        server.put("disk", "png", ORIGINALS["png"]())
        whole = np.asarray(
            decode_image(await server.get("/disk:png/full/max/0/default.jpg")).convert("L")
        )
        assert whole.shape == (225, 300)
        assert off(whole, WHOLE) <= NEAR
        info = (await server.get("/disk:png/info.json")).json()
        assert info["tiles"][0]["width"] == 256
        region = (512, 512, 509, 255)
        assert off(await shown(server, "png", region, (255, 128), "jpg"), region, 1 / 2) <= NEAR


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scale", [1.5, 2, 3.3])
@pytest.mark.parametrize("name", ORIGINALS)
async def test_enlarged_views_are_the_same_with_a_pyramid(
    name: str, scale: float, pair: tuple[Server, Server]
) -> None:
    await shown(pair[1], name, (0, 0, SIDE, SIDE), (SIDE, SIDE), "jpg")  # makes the pyramid
    for region in ((300, 200, 201, 203), (128, 128, 256, 256), (700, 500, 321, 267)):
        size = round(region[2] * scale), round(region[3] * scale)
        views = [await shown(server, name, region, size, "jpg") for server in pair]
        for view in views:
            assert off(view, region) <= NEAR * scale, (region, size)
        difference = np.abs(views[0].astype(int) - views[1])
        assert difference.max() <= 6, (region, size)
