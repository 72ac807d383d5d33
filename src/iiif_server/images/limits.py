"""What is read and made at most."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from iiif_server.iiif.geometry import OutputLimits
from iiif_server.options import ConflictError, Listed, OptionsModel
from iiif_server.plan.original_format import RARE, USUAL, Bounds, OriginalFormat
from iiif_server.units import Pixels, PositiveSeconds, PositiveSize, Seconds, show_size

LEAST_MEMORY = 100_000_000
"""Bytes, measured: with less, images of 6 megapixels are refused in full size."""


class PdfOptions(OptionsModel):
    """How PDFs become images."""

    dpi: int = Field(default=150, ge=10, le=2400)
    """Pixels of an inch of a page. After a change, purge what was cached of PDFs."""


class LimitsOptions(OptionsModel):
    """What is read and made at most."""

    max_width: PositiveInt | None = None
    """Widest image made (`maxWidth` in info.json); unset: no limit but `max_area`."""
    max_height: PositiveInt | None = None
    """Highest image made (`maxHeight`); needs `max_width`, and is equal to it when unset."""
    max_area: Pixels = 400_000_000
    """Most pixels in an image made; no `maxArea` in an info.json is above it."""
    max_upscale_area: Pixels = 25_000_000
    """Most pixels that an image is upscaled to. `maxArea` of an image is this, or the number of its
    own pixels if that is larger."""
    max_source_pixels: Pixels = 1_000_000_000
    """Most pixels in an original; larger ones are refused by their header."""
    max_source_side: PositiveInt = 500_000
    """Most pixels in a row or a column of an original."""
    max_source_bytes: PositiveSize = 8_000_000_000
    """Most bytes in the file of an original, wherever it comes from."""
    max_source_frames: PositiveInt = 10_000
    """Most frames in an animation, and pages in a TIFF."""
    max_source_scans: PositiveInt = 100
    """Most scans in a progressive JPEG, each of which costs a pass over the whole image."""
    formats: Annotated[tuple[OriginalFormat, ...], Field(min_length=1), Listed] = tuple(
        format_ for format_ in OriginalFormat if format_ in USUAL
    )
    """Formats of originals that are read, by their content; no others are ever decoded."""
    rare: bool = False
    """Whether rare formats are read, too: TGA, PCX, and LERC, JPEG XL or LogLuv in TIFF; and, with
    the extra `raw`, raw photographs."""
    truncated: Literal["refuse", "show"] = "refuse"
    """Truncated originals, as after a broken transfer: `refuse`, or `show` JPEG, PNG, TIFF, GIF,
    BMP and PSD as far as they go. What is damaged otherwise is refused in any case."""
    render_timeout: PositiveSeconds = 60
    """Time that rendering one image may take before its process is killed."""
    storage_timeout: PositiveSeconds = 10
    """Time after which the disk or mount of a type, or of the cache, counts as not answering; then
    its own requests are 503, and no others."""
    queue_timeout: PositiveSeconds = 30
    """Time that a request may wait for a process to become free; then 503."""
    queue_length: PositiveInt = 32
    """Full-size images that may wait for a process; more are refused at once, with 503."""
    memory: PositiveSize | None = None
    """Memory for images being made, as estimated; unset: half of the machine's or container's."""
    quarantine: Seconds = 300
    """Time for which an original is refused after a worker died or was killed over it."""

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, size: int | None) -> int | None:
        if size is not None and size < LEAST_MEMORY:
            raise ValueError(
                f"must be at least {show_size(LEAST_MEMORY)}, which one image of 6 MP needs"
            )
        return size

    @model_validator(mode="after")
    def _check(self) -> "LimitsOptions":
        if self.max_height is not None and self.max_width is None:
            raise ConflictError([(("max_height",), "needs max_width as well (Image API 3.0, 5.3)")])
        return self

    @property
    def output(self) -> OutputLimits:
        """The limits on images that are made."""
        return OutputLimits(self.max_width, self.max_height, self.max_area, self.max_upscale_area)

    @property
    def source(self) -> Bounds:
        """The limits on originals, besides their pixels."""
        return Bounds(
            formats=frozenset(self.formats) | (RARE if self.rare else frozenset()),
            rare=self.rare,
            file_bytes=int(self.max_source_bytes),
            side=self.max_source_side,
            frames=self.max_source_frames,
            scans=self.max_source_scans,
            show_truncated=self.truncated == "show",
        )
