"""Settings of limits: originals, rendered images, time and memory."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from iiif_server.iiif.geometry import OutputLimits
from iiif_server.options import ConflictError, Listed, OptionsModel
from iiif_server.plan.original_format import RARE, USUAL, Bounds, OriginalFormat
from iiif_server.units import Pixels, PositiveSeconds, PositiveSize, Seconds, show_size

MIN_MEMORY = 100_000_000
"""Minimum of `limits.memory` in bytes; with less, 6-megapixel images are refused in full size."""


class PdfOptions(OptionsModel):
    """Rendering of PDFs."""

    dpi: int = Field(default=150, ge=10, le=2400)
    """Pixels per inch of a page. After a change, purge the cached images of PDFs."""


class LimitsOptions(OptionsModel):
    """Limits of originals, rendered images, time and memory."""

    max_width: PositiveInt | None = None
    """Maximum width of rendered images in pixels (`maxWidth` in info.json); unset: only `max_area`
    limits them."""
    max_height: PositiveInt | None = None
    """Maximum height of rendered images in pixels (`maxHeight`); needs `max_width`, and is equal to
    it when unset."""
    max_area: Pixels = 400_000_000
    """Maximum pixels of a rendered image; no `maxArea` in an info.json is above it."""
    max_upscale_area: Pixels = 25_000_000
    """Maximum pixels of an upscaled image. `maxArea` of an image is this, or the number of its own
    pixels if that is larger."""
    max_source_pixels: Pixels = 1_000_000_000
    """Maximum pixels of an original; the server refuses larger ones after reading the header."""
    max_source_side: PositiveInt = 500_000
    """Maximum width and height of an original in pixels."""
    max_source_bytes: PositiveSize = 8_000_000_000
    """Maximum bytes of the file of an original, from any source."""
    max_source_frames: PositiveInt = 10_000
    """Maximum frames of an animation, and pages of a TIFF."""
    max_source_scans: PositiveInt = 100
    """Maximum scans of a progressive JPEG, each of which takes a pass over the whole image."""
    formats: Annotated[tuple[OriginalFormat, ...], Field(min_length=1), Listed] = tuple(
        format_ for format_ in OriginalFormat if format_ in USUAL
    )
    """Formats of originals that the server reads, detected by content; it decodes no others."""
    rare: bool = False
    """Whether the server also reads rare formats: TGA, PCX, DICOM, and LERC, JPEG XL or LogLuv in
    TIFF; and, with the extra `raw`, raw photographs."""
    truncated: Literal["refuse", "show"] = "refuse"
    """Truncated originals, as after an incomplete transfer: `refuse`, or `show` the existing part
    of JPEG, PNG, TIFF, GIF, BMP and PSD. Originals with other damage are always refused."""
    render_timeout: PositiveSeconds = 60
    """Timeout of rendering one image; then its worker is killed."""
    storage_timeout: PositiveSeconds = 10
    """Timeout of the disk or mount of a type, or of the cache; then requests that need it get 503,
    and others do not."""
    queue_timeout: PositiveSeconds = 30
    """Maximum time that a request waits for a free worker; then 503."""
    queue_length: PositiveInt = 32
    """Maximum full-size images that wait for a worker; further requests get 503 at once."""
    memory: PositiveSize | None = None
    """Memory for all images that are being made, as estimated; unset: half of that of the machine
    or container."""
    quarantine: Seconds = 300
    """Time for which an original is refused after a worker died or was killed over it."""

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, size: int | None) -> int | None:
        if size is not None and size < MIN_MEMORY:
            raise ValueError(
                f"must be at least {show_size(MIN_MEMORY)}, which one image of 6 MP needs"
            )
        return size

    @model_validator(mode="after")
    def _check(self) -> "LimitsOptions":
        if self.max_height is not None and self.max_width is None:
            raise ConflictError([(("max_height",), "needs max_width as well (Image API 3.0, 5.3)")])
        return self

    @property
    def output(self) -> OutputLimits:
        """Limits of rendered images."""
        return OutputLimits(self.max_width, self.max_height, self.max_area, self.max_upscale_area)

    @property
    def source(self) -> Bounds:
        """Limits of originals, except their pixels."""
        return Bounds(
            formats=frozenset(self.formats) | (RARE if self.rare else frozenset()),
            rare=self.rare,
            file_bytes=int(self.max_source_bytes),
            side=self.max_source_side,
            frames=self.max_source_frames,
            scans=self.max_source_scans,
            show_truncated=self.truncated == "show",
        )
