"""16 bits with and without a pyramid: its levels have 8, so it does not answer."""

from pathlib import Path

import numpy as np
import pytest

from support.apps import running_app, settings_below
from support.deep import samples_of
from support.matrix.png_kinds import png
from support.tiff_samples import TiffFile

pytestmark = pytest.mark.asyncio

WORDS = np.random.default_rng(2).integers(0, 65_536, (400, 600, 3), np.uint16)


@pytest.mark.parametrize("depth", [8, 16])
async def test_a_pyramid_does_not_take_bits_away(depth: int, tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        encoding={"depth": depth},
        pyramids={"min_pixels": 1_000, "tile_size": 128},
    )
    async with running_app(settings) as server:
        server.put("disk", "a.png", png(WORDS, 2, 16))
        server.put("disk", "a.tif", TiffFile(WORDS, 2, 16, tile=(128, 128)).write())
        for name in ("a.png", "a.tif"):
            for top in (20, 40):  # in between, the pyramid is made
                for format_ in ("png", "tif"):
                    path = f"/disk:{name}/10,{top},64,50/max/0/default.{format_}"
                    made = samples_of((await server.get(path)).content)
                    assert made.dtype == (np.uint16 if depth == 16 else np.uint8)
                    if depth == 16:
                        assert (made == WORDS[top : top + 50, 10:74]).all()
                    small = await server.get(f"/disk:{name}/full/300,{top}/0/default.{format_}")
                    assert samples_of(small.content).dtype == made.dtype
                tile = await server.get(f"/disk:{name}/0,0,128,128/128,/0/default.jpg")
                assert tile.status_code == 200
