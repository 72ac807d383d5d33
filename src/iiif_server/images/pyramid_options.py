"""The settings of pyramids."""

from pydantic import Field, field_validator

from iiif_server.options import OptionsModel
from iiif_server.units import Pixels, PositiveSeconds


class PyramidOptions(OptionsModel):
    """Pyramids: tiled copies of large originals, made on the first request for a tile."""

    enabled: bool = True
    """Whether pyramids are made."""
    min_pixels: Pixels = 4_000_000
    """Pixels from which on an original gets a pyramid; smaller ones are quick without."""
    build_timeout: PositiveSeconds = 300
    """Time that building one part of a pyramid may take before its process is killed."""
    tile_size: int = Field(default=512, ge=128, le=4096)
    """Side of the tiles, a power of two; also what info.json announces."""
    quality: int = Field(default=80, ge=1, le=100)
    """JPEG quality of the reduced levels (from 1/8 down, in fewer bytes); full-resolution tiles of
    JPEGs are the original's."""

    @field_validator("tile_size")
    @classmethod
    def _check_tile_size(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError("must be a power of two")
        return size
