"""Derivatives from `region/size/rotation/quality.format`, without server or pool."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

from iiif_server.codecs import jpegtran
from iiif_server.codecs.jobs import prepare_process, render
from iiif_server.codecs.probe import probe
from iiif_server.iiif.formats import Format, parse_format
from iiif_server.iiif.geometry import Limits
from iiif_server.iiif.quality import parse_quality
from iiif_server.iiif.region import parse_region
from iiif_server.iiif.request import ImageFacts, ImageRequest
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import parse_size
from iiif_server.iiif.versions import V3
from iiif_server.library import OpenImage
from iiif_server.plan.description import describe
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.engine_choice import choose_engine
from iiif_server.plan.header import Colour
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import DEFAULT_BOUNDS, Bounds, OriginalFormat
from iiif_server.plan.render_plan import Engine, RenderPlan, plan_operations

MAX_PIXELS = 100_000_000
BEST = EncodingOptions(jpeg_quality=100, webp_quality=100, avif_quality=95, jp2_ratio=1)


@contextmanager
def as_worker() -> Iterator[None]:
    """Set this process up as a worker; afterwards libvips reads SVG again."""
    prepare_process(4, 2)
    try:
        yield
    finally:
        pyvips.block_untrusted_set(False)


@dataclass(frozen=True, slots=True)
class Derived:
    """Derivative, and the engine that made it."""

    data: bytes
    planned: Engine
    made_by: Engine

    @property
    def image(self) -> Image.Image:
        """Return the derivative, opened by Pillow."""
        return Image.open(io.BytesIO(self.data))

    @property
    def pixels(self) -> npt.NDArray[np.float64]:
        """Return its RGB samples."""
        return np.asarray(self.image.convert("RGB"), np.float64)


EVERYTHING = Bounds(formats=frozenset(OriginalFormat), rare=True)
"""Bounds within which all formats are read."""


def plan_request(
    path: Path,
    request: str,
    *,
    engine: Engine | None = None,
    encoding: EncodingOptions = BEST,
    target: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    bounds: Bounds = DEFAULT_BOUNDS,
    page: int = 1,
) -> RenderPlan:
    """Return the plan of a request (`0,0,64,64/max/90/gray.jpg`); `engine` overrides the choice."""
    region, size, rotation, last = request.split("/")
    quality, _, format_ = last.partition(".")
    parsed = ImageRequest(
        parse_region(region),
        parse_size(size, V3),
        parse_rotation(rotation),
        parse_quality(quality),
        parse_format(format_),
    )
    header = probe(path, max_pixels, bounds, page)
    facts = ImageFacts(header.dimensions, gray=header.colour is Colour.GRAY)
    operations = plan_operations(header, parsed.resolve(facts, Limits()), encoding.depth)
    chosen = engine or choose_engine(header, operations, lossless=jpegtran.available())
    plan = RenderPlan(LocalFile.at(path), header, chosen, operations, encoding, target)
    return replace(plan, description=describe(header, operations, tile=False))


def derive(
    path: Path,
    request: str,
    *,
    engine: Engine | None = None,
    encoding: EncodingOptions = BEST,
    max_pixels: int = MAX_PIXELS,
    bounds: Bounds = DEFAULT_BOUNDS,
    page: int = 1,
) -> Derived:
    """Render the derivative of a request, by the chosen engine or by the one given."""
    plan = plan_request(
        path,
        request,
        engine=engine,
        encoding=encoding,
        max_pixels=max_pixels,
        bounds=bounds,
        page=page,
    )
    if plan.engine is Engine.ORIGINAL:
        return Derived(path.read_bytes(), plan.engine, plan.engine)
    made = render(plan)
    assert made.data is not None
    assert len(made.data) == made.length
    return Derived(made.data, plan.engine, made.engine)


def decoded_size(data: bytes, format_: Format) -> tuple[int, int]:
    """Return width and height of a derivative after decoding all its pixels."""
    if format_ is Format.PDF:
        # The one image of the page; its own JPEG stands in the file as it is.
        start, end = data.index(b"\xff\xd8\xff"), data.rindex(b"\xff\xd9") + 2
        data = data[start:end]
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size


def psnr(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the peak signal to noise ratio in dB; infinite for equal pixels."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def shift(one: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return by how many pixels `one` is right of and below the reference.

    Least squares on the gradients of the reference (the Lucas-Kanade equations), without the edges.
    """
    down = np.gradient(reference, axis=0)[2:-2, 2:-2].ravel()
    right = np.gradient(reference, axis=1)[2:-2, 2:-2].ravel()
    difference = (reference - one)[2:-2, 2:-2].ravel()
    # The normal equations of the two unknowns.
    a, b, c = right @ right, right @ down, down @ down
    p, q = right @ difference, down @ difference
    determinant = a * c - b * b
    return float((c * p - b * q) / determinant), float((a * q - b * p) / determinant)


def write_file(folder: Path, data: bytes) -> Path:
    """Write these bytes to a file whose name has no suffix of a format."""
    path = folder / "original"
    path.write_bytes(data)
    return path


def assert_halves(
    image: OpenImage, at: tuple[int, int], left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    """Assert that both halves of an image have these colours.

    Whole, scaled, and in 16 x 8 pixels.
    """
    region = f"{at[0]},{at[1]},16,8"
    for format_, near in (("png", 6), ("jpg", 8)):
        for part, size in (("full", "max"), ("full", "16,"), (region, "max")):
            made = Image.open(io.BytesIO(image.render(region=part, size=size, format=format_)))
            pixels = np.asarray(made.convert("RGB")).astype(int)
            assert np.abs(pixels[1, 1] - left).max() <= near, (format_, part, size)
            assert np.abs(pixels[1, -2] - right).max() <= near, (format_, part, size)
