"""Settings of downloads, and how many archives are sent at once."""

from pydantic import Field

from iiif_server.errors import BusyError
from iiif_server.options import OptionsModel
from iiif_server.units import PositiveSize

_RETRY_AFTER = 30
"""Seconds."""


class DownloadOptions(OptionsModel):
    """Images at `/{identifier}/thumbnail` and `/preview`, and originals in `/originals.zip`."""

    thumbnail_width: int = Field(default=512, ge=1, le=16_383)
    """Width of `/{identifier}/thumbnail` in pixels; of a narrower image, its own."""
    preview_width: int = Field(default=2048, ge=1, le=16_383)
    """Width of `/{identifier}/preview` in pixels; of a narrower image, its own."""
    max_originals: int = Field(default=100, ge=1, le=10_000)
    """Originals in one `/originals.zip`; a request for more is refused."""
    archives_at_once: int = Field(default=2, ge=1, le=1000)
    """Archives that each server process sends at once; further requests are 503."""
    archive_rate: PositiveSize | None = None
    """Bytes per second of each archive; unset: as fast as the client takes them."""


class ArchiveSlots:
    """The archives that may be sent at once."""

    def __init__(self, most: int) -> None:
        self._free = most

    def __repr__(self) -> str:
        return f"<ArchiveSlots {self._free} free>"

    def take(self) -> None:
        """Take one; raises BusyError."""
        if not self._free:
            raise BusyError(
                "As many archives are being sent as this server sends at once; please ask again.",
                _RETRY_AFTER,
            )
        self._free -= 1

    def give_back(self) -> None:
        """Give one back."""
        self._free += 1
