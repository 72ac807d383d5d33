"""Settings of downloads, and the limit of simultaneous archives."""

from pydantic import Field

from iiif_server.errors import BusyError
from iiif_server.options import OptionsModel
from iiif_server.units import PositiveSize

_RETRY_AFTER = 30
"""`Retry-After` when all archive slots are in use, in seconds."""


class DownloadOptions(OptionsModel):
    """Images at `/{identifier}/thumbnail` and `/preview`, and originals in `/originals.zip`."""

    thumbnail_width: int = Field(default=512, ge=1, le=16_383)
    """Width of `/{identifier}/thumbnail` in pixels; narrower images are not enlarged."""
    preview_width: int = Field(default=2048, ge=1, le=16_383)
    """Width of `/{identifier}/preview` in pixels; narrower images are not enlarged."""
    max_originals: int = Field(default=100, ge=1, le=10_000)
    """Maximum originals in one `/originals.zip`; the server refuses a request for more."""
    archives_at_once: int = Field(default=2, ge=1, le=1000)
    """Maximum archives that each server process sends at the same time; further requests get
    503."""
    archive_rate: PositiveSize | None = None
    """Maximum bytes per second of each archive; unset: as fast as the client reads."""


class ArchiveSlots:
    """Limit of the archives that are sent at the same time."""

    def __init__(self, most: int) -> None:
        self._free = most

    def __repr__(self) -> str:
        return f"<ArchiveSlots {self._free} free>"

    def acquire(self) -> None:
        """Take a slot; raises BusyError if none is free."""
        if not self._free:
            raise BusyError(
                "As many archives are being sent as this server sends at once; please try again.",
                _RETRY_AFTER,
            )
        self._free -= 1

    def release(self) -> None:
        """Release a slot."""
        self._free += 1
