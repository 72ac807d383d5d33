"""Settings of pyramids."""

from pydantic import Field, field_validator

from iiif_server.options import OptionsModel
from iiif_server.units import Pixels, PositiveSeconds


class PyramidOptions(OptionsModel):
    """Pyramids: tiled copies of large originals, built on the first request for a tile."""

    enabled: bool = True
    """Whether pyramids are built."""
    min_pixels: Pixels = 4_000_000
    """Minimum pixels of an original with a pyramid; smaller ones are fast without."""
    build_timeout: PositiveSeconds = 300
    """Timeout of building one part of a pyramid; then its worker is killed."""
    tile_size: int = Field(default=512, ge=128, le=4096)
    """Width and height of tiles in pixels, a power of two; also in info.json."""
    quality: int = Field(default=80, ge=1, le=100)
    """JPEG quality of the reduced levels (from 1/8 down, in fewer bytes); full-resolution tiles of
    JPEGs are those of the original."""

    @field_validator("tile_size")
    @classmethod
    def _check_tile_size(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError("must be a power of two")
        return size
