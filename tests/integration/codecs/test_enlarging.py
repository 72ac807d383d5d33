"""Enlarged images are aligned to a hundredth of a pixel, for every kind of sample."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iiif_server import open_image

SIDE, MIDDLE = 64, 30
CASES = [
    ("full", "^128,"),
    ("full", "^100,"),
    ("full", "^640,"),
    ("full", "^128,40"),
    ("10,10,40,40", "^128,"),
    ("20,20,21,21", "^300,"),
]


def blob() -> NDArray[Any]:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    values: NDArray[Any] = np.exp(-((x - MIDDLE) ** 2 + (y - MIDDLE) ** 2) / 18)
    return values


def original(kind: str, folder: Path) -> Path:
    gray = Image.fromarray((blob() * 240).astype(np.uint8))
    images = {
        "gray": gray,
        "RGB": Image.merge("RGB", [gray] * 3),
        "alpha": Image.merge("RGBA", [*[gray] * 3, Image.new("L", gray.size, 255)]),
        "16 bits": Image.fromarray((blob() * 60_000).astype(np.uint16)),
    }
    path = folder / "original.png"
    images[kind].save(path)
    return path


def centre(image: Image.Image) -> NDArray[Any]:
    values = np.asarray(image.convert("L")).astype(float)
    values[values < 20] = 0
    y, x = np.mgrid[0 : values.shape[0], 0 : values.shape[1]]
    moments = np.array(((values * x).sum(), (values * y).sum()))
    found: NDArray[Any] = moments / values.sum()
    return found


@pytest.mark.parametrize("kind", ["gray", "RGB", "alpha", "16 bits"])
@pytest.mark.parametrize(("region", "size"), CASES)
def test_nothing_moves(kind: str, region: str, size: str, tmp_path: Path) -> None:
    with open_image(original(kind, tmp_path)) as image:
        made = Image.open(BytesIO(image.render(region=region, size=size, format="png")))
    x, y, width, height = (0, 0, SIDE, SIDE) if region == "full" else map(int, region.split(","))
    scale = np.array((made.width / width, made.height / height))
    expected = (np.array((MIDDLE - x, MIDDLE - y)) + 0.5) * scale - 0.5
    assert np.abs(centre(made) - expected).max() < 0.05
