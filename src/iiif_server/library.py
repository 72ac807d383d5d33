"""Library: renders image files in the calling process, without a server.

It has no sandbox: decoders run in this process, with its rights and without a timeout.
"""

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from iiif_server.codecs import jpegtran, raster
from iiif_server.codecs.encode import supported_formats
from iiif_server.codecs.jobs import render_original, translating_memory_error
from iiif_server.codecs.open_originals import OpenOriginal
from iiif_server.codecs.probe import probe_file
from iiif_server.iiif.formats import parse_format, unsupported_format_error
from iiif_server.iiif.geometry import OutputLimits, offered_tile
from iiif_server.iiif.information import TILE, Service, image_information
from iiif_server.iiif.quality import parse_quality
from iiif_server.iiif.region import parse_region
from iiif_server.iiif.request import ImageFacts, ImageRequest
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import parse_size
from iiif_server.iiif.versions import V3
from iiif_server.plan.description import describe, inches_per_pixel
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.engine_choice import choose_engine
from iiif_server.plan.grid import Grid
from iiif_server.plan.header import Colour
from iiif_server.plan.local_file import READ_ONLY, FileVersion, LocalFile
from iiif_server.plan.render_plan import Engine, RenderPlan, plan_operations
from iiif_server.telemetry.stages import Stages

_MAX_SOURCE_PIXELS = 1_000_000_000
_LIMITS = OutputLimits(max_area=400_000_000, max_upscale_area=25_000_000)
"""Default limits of the server."""
_ENCODING = EncodingOptions()
_MIN_SIZE = 200
"""Shorter side, in pixels, of the smallest size in info.json."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Format, dimensions and colour of an image."""

    format: str
    """Format of the file, as `JPEG`, `TIFF` or `JPEG2000`."""
    width: int
    """Width in pixels, with the EXIF orientation applied; so is the height."""
    height: int
    gray: bool
    """Whether the image is grayscale."""
    transparent: bool
    """Whether the image has an alpha channel or transparent colours."""


class OpenImage:
    """Open image file and context manager. Thread-safe: one thread renders at a time."""

    def __init__(
        self, path: Path, limits: OutputLimits, encoding: EncodingOptions, max_source_pixels: int
    ) -> None:
        """Open the file; raises the errors of `open_image`."""
        self._lock = threading.Lock()
        self._original: OpenOriginal | None = _opened(path)
        try:
            self._header = probe_file(
                self._original.file, self._original.descriptor, max_pixels=max_source_pixels
            )
        except BaseException:
            self.close()
            raise
        self._limits = limits.of(self._header.dimensions)
        self._encoding = encoding

    def __repr__(self) -> str:
        return f"<OpenImage {self.info}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def info(self) -> ImageInfo:
        """Format, dimensions and colour of the image."""
        header, size = self._header, self._header.dimensions
        gray = header.colour is Colour.GRAY
        return ImageInfo(str(header.format), size.width, size.height, gray, header.transparent)

    def info_json(self, id_: str) -> dict[str, Any]:
        """Return info.json (Image API 3.0, 5); `id_` is the URL of the image."""
        inches = inches_per_pixel(self._header)
        service = Service(self._limits, supported_formats(), _MIN_SIZE, inches_per_pixel=inches)
        return image_information(V3, id_, self._header.dimensions, service)

    def render(
        self,
        region: str = "full",
        size: str = "max",
        rotation: str = "0",
        quality: str = "default",
        format: str = "jpg",  # noqa: A002 - the term of the Image API
    ) -> bytes:
        """Render a derivative for the parameters of an image request (Image API 3.0, 4).

        Raises RequestRefusedError for invalid parameters, DamagedOriginalError if the data cannot
        be decoded, OriginalChangedError if the file was changed meanwhile, TooMuchMemoryError,
        OriginalTooComplexError for a PDF page that takes too long, or ValueError after `close`.
        """
        request = ImageRequest(
            parse_region(region),
            parse_size(size, V3),
            parse_rotation(rotation),
            parse_quality(quality),
            parse_format(format),
        )
        formats = supported_formats()
        if request.format not in formats:
            raise unsupported_format_error(request.format, formats)
        header = self._header
        facts = ImageFacts(header.dimensions, gray=header.colour is Colour.GRAY)
        rendition = request.resolve(facts, self._limits)
        grid = Grid(header.dimensions, offered_tile(TILE, self._limits))
        operations = plan_operations(header, grid.aligned(rendition), self._encoding.depth)
        engine = choose_engine(header, operations, lossless=jpegtran.available())
        with self._lock, translating_memory_error():
            if self._original is None:
                raise ValueError("The image is closed.")
            if engine is Engine.ORIGINAL:
                with self._original.verify_unchanged():
                    return bytes(self._original.bytes)
            plan = RenderPlan(self._original.file, header, engine, operations, self._encoding, None)
            plan = replace(plan, description=describe(header, operations, tile=False))
            return b"".join(render_original(plan, self._original, Stages())[1])

    def close(self) -> None:
        """Close the file, after a running `render` has ended."""
        with self._lock:
            original, self._original = self._original, None
        if original is not None:
            original.close()
            raster.drop_cache()


def _opened(path: Path) -> OpenOriginal:
    descriptor = os.open(path, READ_ONLY)
    try:
        return OpenOriginal(LocalFile(path, FileVersion.of(os.fstat(descriptor))), descriptor)
    finally:
        os.close(descriptor)


def open_image(
    path: str | os.PathLike[str],
    *,
    limits: OutputLimits = _LIMITS,
    encoding: EncodingOptions = _ENCODING,
    max_source_pixels: int = _MAX_SOURCE_PIXELS,
) -> OpenImage:
    """Open an image file and read its image header, without decoding pixels.

    Limits and encoding have the defaults of the server. Raises OSError if the file cannot be
    opened. Raises OriginalRefusedError if the file is not an image, is damaged, has an unsupported
    format, or has more than `max_source_pixels`.
    """
    return OpenImage(Path(path), limits, encoding, max_source_pixels)
