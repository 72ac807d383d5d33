"""Applications with types of several colour settings, and the colours of their responses."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from iiif_server.images.pyramid_options import PyramidOptions
from support import pictures
from support.apps import Server, decode_image, running_app, settings_below

SIZE, SIDE = (512, 384), 128
ANSWERS = {
    "whole": "full/max/0/default.jpg",
    "tile": "128,128,128,128/128,128/0/default.jpg",
    "reduced tile": "0,0,512,384/128,96/0/default.jpg",
    "region": "33,40,200,200/100,100/0/default.jpg",
    "turned": "full/max/90/default.jpg",
    "PNG": "full/max/0/default.png",
    "WebP": "full/256,/0/default.webp",
}


@asynccontextmanager
async def app(folder: Path, pyramid: bool = True, **types: Any) -> AsyncIterator[Server]:  # noqa: FBT001, FBT002
    options = {"min_pixels": 1 if pyramid else 10**9, "tile_size": SIDE}
    chosen = settings_below(
        folder,
        types={name: {"source": "disk", **one} for name, one in types.items()},
        pyramids=PyramidOptions.model_validate(options),
    )
    async with running_app(chosen) as server:
        yield server


def jpeg(pixels: pictures.Pixels | Image.Image, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, "JPEG", **({"quality": 95, "subsampling": 0} | options))
    return file.getvalue()


def profile(answer: httpx.Response) -> bytes | None:
    found: bytes | None = decode_image(answer).info.get("icc_profile")
    return found


def middle(answer: httpx.Response) -> pictures.Floats:
    """Return the mean colour of the middle of a response."""
    image = decode_image(answer).convert("RGB")
    width, height = image.size
    part = image.crop((width // 3, height // 3, 2 * width // 3, 2 * height // 3))
    found: pictures.Floats = np.asarray(part, np.float64).mean(axis=(0, 1))
    return found


def engine(answer: httpx.Response) -> str:
    """Return the engine that made a response."""
    return str(answer.headers["server-timing"].partition('desc="')[2].partition('"')[0])
