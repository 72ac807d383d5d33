"""Chart of 24 patches of known colours, of which no two orientations are alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageCms

from support.matrix.colours import lab_of_srgb
from support.pictures import oriented

Array = NDArray[Any]

COLUMNS, ROWS = 6, 4
WIDTH, HEIGHT = 211, 141
"""Multiples of nothing, so that all kinds of blocks end in partial ones."""
RGB = np.array(
    (
        (115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177),
        (103, 189, 170), (214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108),
        (157, 188, 64), (224, 163, 46), (0, 0, 255), (0, 255, 0), (255, 0, 0), (231, 199, 31),
        (187, 86, 149), (8, 133, 161), (255, 255, 255), (200, 200, 200), (160, 160, 160),
        (122, 122, 121), (64, 64, 64), (0, 0, 0),
    ),
    np.uint8,
)  # fmt: skip
"""SRGB of the patches, row by row: those of a well-known chart, primaries, white and black."""
FRACTIONS = RGB / 255
LAB = lab_of_srgb(FRACTIONS)
GRAYS = np.array(
    (0, 90, 60, 180, 20, 255, 110, 40, 230, 70, 160, 130,
     200, 10, 100, 240, 50, 190, 150, 220, 80, 120, 30, 170),
    np.uint8,
)  # fmt: skip
"""Grays of the patches, for kinds without colours."""
BITS = ((np.arange(COLUMNS) + np.arange(ROWS)[:, None] + 1).ravel() % 2).astype(np.uint8)
"""Black and white of the patches. Turned by 180 degrees it looks alike, mirrored it does not."""


def _edges(side: int, count: int) -> Array:
    return np.array([side * number // count for number in range(count + 1)])


ACROSS, DOWN = _edges(WIDTH, COLUMNS), _edges(HEIGHT, ROWS)
INDEX = np.zeros((HEIGHT, WIDTH), np.intp)
"""The number of the patch of each pixel."""
for _row in range(ROWS):
    for _column in range(COLUMNS):
        INDEX[DOWN[_row] : DOWN[_row + 1], ACROSS[_column] : ACROSS[_column + 1]] = (
            _row * COLUMNS + _column
        )


def painted(values: ArrayLike, orientation: int = 1) -> Array:
    """Return the chart with these values of its patches: rows, columns, samples; stored rotated."""
    values = np.asarray(values)
    pixels = values.reshape(len(values), -1)[INDEX]
    back = {6: 8, 8: 6}.get(orientation, orientation)
    return np.ascontiguousarray(oriented(pixels, back))


def grays(levels: int = 256) -> tuple[Array, Array]:
    """Return so many grays from 0 to 1, and their Lab."""
    values = np.rint(GRAYS / 255 * (levels - 1)) / (levels - 1)
    return values, lab_of_srgb(np.repeat(values[:, None], 3, axis=1))


@dataclass(frozen=True)
class Kind:
    """Kind of original that shows the chart."""

    name: str
    write: Callable[[], bytes]
    lab: Array = field(default_factory=lambda: LAB)
    """Lab under D50 of the patches."""
    near: float = 0.0
    """Delta E by which it may be off beyond what all may."""
    dithered: bool = False
    """Whether a GIF, which has no half transparency, shows other colours."""

    def __str__(self) -> str:
        return self.name


def measured(image: Image.Image, region: tuple[int, int, int, int]) -> dict[int, Array]:
    """Return by number the Lab of the middle of all patches of which a region shows enough."""
    across, down = image.width / region[2], image.height / region[3]
    image, profile = _flatten(image), image.info.get("icc_profile")
    values = np.asarray(image).reshape(image.height, image.width, -1)
    means = {}
    for number in range(COLUMNS * ROWS):
        row, column = divmod(number, COLUMNS)
        left, right = (round((x - region[0]) * across) for x in _middle(ACROSS, column))
        top, bottom = (round((y - region[1]) * down) for y in _middle(DOWN, row))
        if min(left, top) >= 0 and right <= image.width and bottom <= image.height:
            means[number] = values[top:bottom, left:right].mean(axis=(0, 1))
    if not means:
        return {}
    lab = _to_lab(np.array(list(means.values())), profile)
    return dict(zip(means, lab, strict=True))


def _middle(edges: Array, number: int) -> tuple[float, float]:
    start, end = edges[number], edges[number + 1]
    return start + 0.35 * (end - start), start + 0.65 * (end - start)


def _flatten(image: Image.Image) -> Image.Image:
    """Return the image as gray or RGB, on white."""
    gray = image.mode in {"1", "L", "LA"}
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if gray else "RGB")


def _to_lab(colours: Array, profile: bytes | None) -> Array:
    """Return Lab of gray or RGB values by a profile, as lcms converts them; without one by sRGB."""
    gray = colours.shape[1] == 1
    by_srgb = lab_of_srgb(np.repeat(colours, 3, axis=1) / 255 if gray else colours / 255)
    if profile is None:
        return by_srgb
    mode = "L" if gray else "RGB"
    try:
        to_lab = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("LAB"),
            mode,
            "LAB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (OSError, ImageCms.PyCMSError):  # an original that is passed on as it is
        return by_srgb
    pixels = np.rint(colours).astype(np.uint8).tobytes()
    lab = np.asarray(to_lab.apply(Image.frombytes(mode, (len(colours), 1), pixels))).astype(float)[
        0
    ]
    signed = (lab[:, 1:] + 128) % 256 - 128
    return np.concatenate((lab[:, :1] * (100 / 255), signed), axis=1)


def join_kinds(*kinds: Sequence[Kind]) -> list[Kind]:
    """All kinds; raises ValueError if two have one name."""
    every = [kind for some in kinds for kind in some]
    names = [kind.name for kind in every]
    if len(set(names)) < len(names):
        raise ValueError({name for name in names if names.count(name) > 1})
    return every
