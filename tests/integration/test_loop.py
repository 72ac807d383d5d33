"""The event loop is never held up: what takes long is done in threads and in other processes."""

import asyncio
import gc
import time
from pathlib import Path

import pytest
from PIL import Image

from iiif_server.cache.options import CacheOptions
from iiif_server.images.pyramid_options import PyramidOptions
from support import pictures
from support.apps import Server, running_app, settings_below

_FEW_MILLISECONDS = 0.05
"""Of processor time. What is measured is far below; other work on the machine does not count."""
_WIDTH, _HEIGHT = 2200, 1700
_ASKED = [
    "/disk:large.jpg/info.json",
    "/disk:large.jpg/full/max/0/default.jpg",
    "/disk:large.jpg/full/max/0/default.png",
    "/disk:large.png/full/1500,/22.5/default.jpg",
    *(f"/disk:large.jpg/full/{width},/0/default.jpg" for width in range(200, 215)),
    *(f"/disk:large.jpg/{x},{x},512,512/512,512/0/default.jpg" for x in (0, 512, 1024)),
    *(f"/disk:{name}/0,0,1024,1024/512,512/0/default.jpg" for name in ("large.jpg", "large.png")),
    "/",
    "/docs",
    "/openapi.json",
    "/disk:large.jpg/view",
    "/disk:large.jpg/manifest.json",
    "/disk:missing.jpg/info.json",
]


class Callbacks:
    """How much of the loop's time each callback takes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.longest: tuple[float, str] = (0.0, "")
        self.count = 0
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            started = time.thread_time()
            run(handle)
            taken = time.thread_time() - started
            self.count += 1
            if taken > self.longest[0]:
                self.longest = taken, repr(handle)

        patch.setattr(asyncio.Handle, "_run", timed)


async def test_no_callback_takes_more_than_a_few_milliseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        pyramids=PyramidOptions(min_pixels=1_000_000),
        cache=CacheOptions.model_validate({"memory_bytes": 20_000_000}),
    )
    async with running_app(settings) as server:
        pixels = pictures.photograph(_WIDTH, _HEIGHT)
        server.put("disk", "large.jpg", pictures.jpeg(pixels))
        server.put("disk", "large.png", pictures.saved(Image.fromarray(pixels), "PNG"))
        await asyncio.gather(*(ask(server, path) for path in _ASKED))  # what is done but once
        gc.collect()
        gc.freeze()  # what other tests have left is not looked through for garbage
        callbacks = Callbacks(monkeypatch)
        await server.admin("DELETE", "/cache")
        for _ in range(3):
            await asyncio.gather(*(ask(server, path) for path in _ASKED))
        gc.unfreeze()
    assert callbacks.count > 1000
    assert callbacks.longest[0] < _FEW_MILLISECONDS, callbacks.longest


async def ask(server: Server, path: str) -> None:
    assert (await server.get(path)).status_code != 500
