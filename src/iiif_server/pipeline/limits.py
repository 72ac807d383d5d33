"""What is read and made at most."""

from pydantic import BaseModel, ByteSize, ConfigDict, Field, PositiveInt, model_validator

from iiif_server.image_api.geometry import Limits


class LimitsOptions(BaseModel):
    """What is read and made at most."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_width: PositiveInt | None = None
    """Widest image made (`maxWidth` in info.json); unset: no limit but `max_area`."""
    max_height: PositiveInt | None = None
    """Highest image made (`maxHeight`); needs `max_width`, and is equal to it when unset."""
    max_area: PositiveInt = 400_000_000
    """Most pixels in an image made (`maxArea`); upscaling needs a bound (Image API 3.0, 5.7)."""
    max_source_pixels: PositiveInt = 1_000_000_000
    """Most pixels in an original; larger ones are refused by their header."""
    render_timeout: float = Field(default=60, gt=0)
    """Seconds that making one image may take before its process is killed."""
    queue_timeout: float = Field(default=30, gt=0)
    """Seconds that a request may wait for a process to become free; then 503."""
    queue_length: PositiveInt = 32
    """Full-size images that may wait for a process; more are refused at once, with 503."""
    memory: ByteSize | None = Field(default=None, gt=0)
    """Memory for images being made, as estimated; unset: half of the machine's or container's."""
    quarantine: float = Field(default=300, ge=0)
    """Seconds for which an original is left alone over which a process died or was killed."""

    @model_validator(mode="after")
    def _check(self) -> "LimitsOptions":
        if self.max_height is not None and self.max_width is None:
            raise ValueError("max_height needs max_width as well (Image API 3.0, 5.3)")
        return self

    @property
    def output(self) -> Limits:
        """The limits on images that are made, as they are published."""
        return Limits(self.max_width, self.max_height, self.max_area)
