"""Settings of downloads."""

from pydantic import Field

from iiif_server.options import OptionsModel


class DownloadOptions(OptionsModel):
    """Images at `/{identifier}/thumbnail` and `/preview`, and originals in `/originals.zip`."""

    thumbnail_width: int = Field(default=512, ge=1, le=16_383)
    """Width of `/{identifier}/thumbnail` in pixels; of a narrower image, its own."""
    preview_width: int = Field(default=2048, ge=1, le=16_383)
    """Width of `/{identifier}/preview` in pixels; of a narrower image, its own."""
