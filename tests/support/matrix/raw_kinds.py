"""Raw photographs: DNGs of sensors whose own colours are known (Adobe DNG Specification 1.4)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from support.matrix.chart import FRACTIONS, Array, Kind, grays, painted
from support.matrix.colours import P3, SRGB, linear, own_xyz
from support.tiff_samples import TiffFile

_CFA, _LINEAR = 32_803, 34_892
_BLACK, _WHITE = 1_000, 61_000
_SCALE = 10_000
_XYZ = linear(FRACTIONS) @ own_xyz(SRGB).T


def _fractions(values: Array) -> list[int]:
    return [part for value in np.ravel(values) for part in (round(value * _SCALE), _SCALE)]


def dng(
    light: Array,
    primaries: tuple[float, ...] = SRGB,
    neutral: Sequence[float] = (1, 1, 1),
    orientation: int = 1,
    *,
    mosaic: Sequence[int] = (0, 1, 1, 2),
    order: str = "<",
    scale: tuple[int, int] = (1, 1),
    before: bytes = b"",
    values: Array | None = None,
    **options: Any,
) -> bytes:
    """A DNG of rows of linear light of the chart in the sensor's colours; gray, or RGB.

    `neutral` is what the sensor sees of white. Without a mosaic, each pixel has all colours.
    `values` take the place of what it sees; `options` are those of a TiffFile.
    """
    gray = light.shape[1] == 1
    seen = np.rint(light * (1 if gray else neutral) * (_WHITE - _BLACK) + _BLACK)
    pixels = painted(seen.astype(np.uint16), orientation)
    tags: dict[int, tuple[int, Sequence[float]]] = {
        **({} if scale == (1, 1) else {50_718: (5, [scale[0], 1, scale[1], 1])}),
        271: (2, b"By hand\0"),
        272: (2, b"A chart\0"),
        274: (3, [orientation]),
        315: (2, b"A. Photographer\0"),
        50_706: (1, [1, 4, 0, 0]),
        50_708: (2, b"By hand, a chart\0"),
        50_714: (4, [_BLACK]),
        50_717: (4, [_WHITE]),
    }
    if not gray:
        tags |= {
            50_721: (10, _fractions(np.linalg.inv(own_xyz(primaries)))),
            50_728: (5, _fractions(np.array(neutral))),
            50_778: (3, [21]),  # D65
        }
    if not gray and mosaic:
        tags |= {33_421: (3, [2, 2]), 33_422: (1, mosaic)}
        pixels = _through(pixels, mosaic)
    photometric = _CFA if not gray and mosaic else _LINEAR
    pixels = pixels if values is None else values
    return TiffFile(pixels, photometric, 16, tags=tags, order=order, **options).write(before)


def _through(pixels: Array, mosaic: Sequence[int]) -> Array:
    """The colours that filters of 2 x 2 pixels let through."""
    found = np.empty((*pixels.shape[:2], 1), np.uint16)
    for at, colour in enumerate(mosaic):
        y, x = divmod(at, 2)
        found[y::2, x::2, 0] = pixels[y::2, x::2, colour]
    return found


def kinds() -> Iterator[Kind]:
    """All kinds of raw photographs."""
    srgb = _XYZ @ np.linalg.inv(own_xyz(SRGB)).T
    wide = _XYZ @ np.linalg.inv(own_xyz(P3)).T
    yield Kind("raw DNG", partial(dng, srgb))
    yield Kind("raw DNG big-endian", partial(dng, srgb, order=">", mosaic=(2, 1, 1, 0)))
    yield Kind("raw DNG of a sensor", partial(dng, wide, P3, (0.5, 1, 0.625), mosaic=(1, 0, 2, 1)))
    yield Kind("raw linear DNG", partial(dng, wide, P3, mosaic=()))
    for orientation in (3, 6, 8):
        write = partial(dng, srgb, orientation=orientation)
        yield Kind(f"raw DNG orientation {orientation}", write)
    levels, lab = grays()
    yield Kind("raw gray", partial(dng, linear(levels)[:, None].reshape(-1, 1)), lab)
