"""Similarity of two pictures, and reference pictures of reduced tiles."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float64]
_MARGIN = 4
"""Pixels of the level around a tile: Lanczos-3 reaches three."""
_WINDOW = 5
_SIGMA = 1.5


def read_pixels(path: Path) -> Image.Image:
    """Return all pixels of an original."""
    Image.MAX_IMAGE_PIXELS = None
    image: Image.Image = Image.open(path)
    image.load()
    return image


def reference_tile(original: Image.Image, factor: int, x: int, y: int, tile: int) -> Image.Image:
    """Return a tile of the Lanczos-3 rendering of the whole original; `x` and `y` in tiles."""
    margin = _MARGIN * factor
    step = tile * factor
    box = (x * step - margin, y * step - margin, (x + 1) * step + margin, (y + 1) * step + margin)
    side = tile + 2 * _MARGIN
    rendered = original.crop(box).resize((side, side), Image.Resampling.LANCZOS)
    return rendered.crop((_MARGIN, _MARGIN, _MARGIN + tile, _MARGIN + tile))


def similarity(data: bytes, expected: Image.Image) -> float:
    """Return the mean structural similarity (SSIM) of the luminance of a JPEG and a picture.

    As Wang et al. 2004: a Gaussian window of 11 x 11 pixels, sigma 1.5, K1 0.01, K2 0.03.
    """
    one = np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=np.float64)
    two = np.asarray(expected.convert("L"), dtype=np.float64)
    if one.shape != two.shape:
        raise ValueError(f"a tile is {one.shape}, not {two.shape}")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean1, mean2 = _blur(one), _blur(two)
    variance1 = _blur(one * one) - mean1 * mean1
    variance2 = _blur(two * two) - mean2 * mean2
    covariance = _blur(one * two) - mean1 * mean2
    upper = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    lower = (mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2)
    return float(np.mean(upper / lower))


def _blur(pixels: Pixels) -> Pixels:
    """Return the Gaussian mean around each pixel whose whole window is inside."""
    places = np.arange(-_WINDOW, _WINDOW + 1)
    weights: Any = np.exp(-(places**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        length = pixels.shape[axis] - 2 * _WINDOW
        pixels = sum(
            (
                weight * np.take(pixels, range(start, start + length), axis=axis)
                for start, weight in enumerate(weights)
            ),
            start=np.zeros(1),
        )
    return pixels
