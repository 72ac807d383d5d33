"""The last tiles of each level lie where viewers place them, to a tenth of a pixel of the level.

The originals are waves along their long side, which ends with a part of a pixel of most levels. A
viewer takes pixel i of a tile for what lies i times the scale factor from the edge of its region.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from iiif_server.images.limits import LimitsOptions
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.plan.encoding import EncodingOptions
from support.apps import Server, decode_image, running_app, settings_below
from support.matrix.jpegs import JFIF, Jpeg, exif
from support.matrix.png_kinds import png
from support.tiff_samples import TiffFile

Array = NDArray[Any]

LENGTH, THICK = 8092, 120
"""A bit less than 64 tiles of 128: the last tile of each level has most of its pixels."""
PERIODS = (24, 48, 96, 192, 384)
NEAR = 0.1
SIDES = (128, 256, 512)
ALONG = 97
"""Pixels at the end of a tile that are looked at; the last, which may be a part, is left out."""


def waves(residue: int) -> Array:
    """A gray image, one sample a pixel."""
    x = np.arange(LENGTH + residue) + 0.5
    profile = 128 + 22 * sum(np.sin(2 * np.pi * x / period) for period in PERIODS)
    return np.broadcast_to(np.rint(profile).astype(np.uint8)[:, None], (THICK, len(x), 1))


def _colours(pixels: Array) -> Array:
    return np.dstack((pixels, np.full_like(pixels, 128), np.full_like(pixels, 128)))


KINDS: dict[str, Callable[[Array], bytes]] = {
    "png": lambda pixels: png(pixels, 0),
    "png-alpha": lambda pixels: png(np.dstack((pixels, np.full_like(pixels, 255))), 4),
    "jpeg-gray": lambda pixels: Jpeg(pixels).write(),
    "jpeg-444": lambda pixels: Jpeg(_colours(pixels)).write(),
    "jpeg-420": lambda pixels: Jpeg(_colours(pixels), [(2, 2), (1, 1), (1, 1)]).write(),
    "jpeg-upside-down": lambda pixels: Jpeg(pixels[::-1, ::-1], segments=JFIF + exif(3)).write(),
    "tiff": lambda pixels: TiffFile(pixels, 1, rows=64).write(),
}


def shift(view: Array, start: int, factor: int) -> float:
    """By how much a tile is displaced at its end, in its pixels; its rows are along the waves."""
    profile = view.astype(float).mean(axis=0)[-ALONG:-1]
    first = view.shape[1] - 1 - len(profile)
    x = start + factor * (first + np.arange(len(profile)) + 0.5)
    angles = [2 * np.pi * x / period for period in PERIODS if period >= 4 * factor]
    terms = [np.ones_like(x), *(wave(angle) for angle in angles for wave in (np.sin, np.cos))]
    solved = np.linalg.lstsq(np.stack(terms, axis=1), profile, rcond=None)[0][1:].reshape(-1, 2)
    found = dict(zip(PERIODS[-len(angles) :], solved, strict=True))
    period = next(period for period in found if period >= 12 * factor)
    return float(-np.arctan2(found[period][1], found[period][0]) * period / (2 * np.pi * factor))


Servers = dict[tuple[int, bool], Server]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Servers by size of tiles, without and with pyramids."""
    folder: Path = tmp_path_factory.mktemp("edges")
    async with AsyncExitStack() as stack:
        found = {}
        for side in SIDES:
            for kept in (False, True):
                options = {"tile_size": side, "min_pixels": 1, "quality": 95, "enabled": kept}
                settings = settings_below(
                    folder / f"{side}{kept}",
                    types={"disk": {"source": "disk"}},
                    pyramids=PyramidOptions.model_validate(options),
                    encoding=EncodingOptions(jpeg_quality=95),
                    limits=LimitsOptions(),
                )
                found[side, kept] = await stack.enter_async_context(running_app(settings))
        yield found


async def shifts(
    server: Server, name: str, side: int, length: int, *, upright: bool, formats: tuple[str, ...]
) -> dict[tuple[int, str], float]:
    """Those of the last tiles of all levels in each format; `upright`: from top to bottom."""
    found = {}
    for factor in (2, 4, 8, 16, 32):
        start = (length - 1) // (side * factor) * side * factor
        if start == 0:
            continue
        box = [start, 0, length - start, THICK]
        if upright:
            box = [box[1], box[0], box[3], box[2]]
        size = -(-box[2] // factor), -(-box[3] // factor)
        region = ",".join(map(str, box))
        for format_ in formats:
            path = f"{region}/{size[0]},{size[1]}/0/default.{format_}"
            view = np.asarray(decode_image(await server.get(f"/disk:{name}/{path}")).convert("L"))
            found[factor, format_] = shift(view.T if upright else view, start, factor)
    return found


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("upright", [False, True], ids=["right", "lower"])
@pytest.mark.parametrize("residue", range(8))
async def test_the_last_tiles_of_any_length(residue: int, upright: bool, servers: Servers) -> None:  # noqa: FBT001
    pixels = waves(residue)
    data = png(pixels.transpose(1, 0, 2) if upright else pixels, 0)
    for kept in (False, True):
        server = servers[128, kept]
        server.put("disk", "long", data)
        found = await shifts(
            server, "long", 128, LENGTH + residue, upright=upright, formats=("jpg", "png")
        )
        assert len(found) == 10
        assert {key: by for key, by in found.items() if abs(by) > NEAR} == {}, kept
        server.remove("disk", "long")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_last_tiles_of_any_kind(kind: str, side: int, servers: Servers) -> None:
    data = KINDS[kind](waves(5))
    for kept in (False, True):
        server = servers[side, kept]
        server.put("disk", kind, data)
        found = await shifts(
            server, kind, side, LENGTH + 5, upright=False, formats=("jpg", "png", "webp")
        )
        assert len(found) == {128: 15, 256: 12, 512: 9}[side]
        assert {key: by for key, by in found.items() if abs(by) > NEAR} == {}, kept
        server.remove("disk", kind)
