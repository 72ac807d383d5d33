"""Shared images: headers of fetched originals in the shared cache.

With them, a replica serves derivatives of another replica without fetching the original.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from iiif_server import __version__
from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.keys import digest, group_of
from iiif_server.images.originals import Original, Originals
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.local_file import FileVersion, LocalFile
from iiif_server.plan.original_format import Bounds
from iiif_server.sharing.objects import record_of
from iiif_server.sources.provenance import is_due

if TYPE_CHECKING:
    from iiif_server.sharing.shared_cache import SharedCache

_FORM = 3
"""Version of the records; must be raised when their form changes."""
_KNOWN = 10_000
"""Maximum records in memory."""
_SECONDS = 30.0
"""Seconds for which a record is cached in memory."""
_ABSENT = Path("/nonexistent/not fetched here")


class SharedImage(BaseModel):
    """Record of an image: the header of an original, and the version of that original."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    form: int = _FORM
    release: str = __version__
    """Release of the server that read the header; other releases ignore the record."""
    identifier: str
    content: str = Field(min_length=1, max_length=200)
    """ETag or checksum of the content, the same on any machine (`OpenedFile.content`)."""
    size: int = Field(ge=0)
    """Size of the original in bytes."""
    mtime: tuple[int, int]
    page: int | None
    asked: float = Field(allow_inf_nan=False)
    """Time at which the upstream last had this version, in seconds since the epoch."""
    header: ImageHeader


class SharedImages:
    """Image headers that replicas share through the shared cache, only of fetched originals."""

    def __init__(
        self,
        shared: "SharedCache",
        originals: Originals,
        *,
        max_pixels: int,
        bounds: Bounds,
        refresh_after: float | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared = shared
        self._originals = originals
        self._max_pixels = max_pixels
        self._bounds = bounds
        self._refresh_after = refresh_after
        self._clock = clock
        self._known: Lru[Identifier, SharedImage] = Lru(_KNOWN, seconds=_SECONDS)
        self._reads: SingleFlight[Identifier, SharedImage | None] = SingleFlight()
        self._purged_at = shared.purged_at

    def __repr__(self) -> str:
        return f"<SharedImages {len(self._known)}>"

    def offer(self, original: Original, header: ImageHeader) -> None:
        """Write the header of a fetched original to the shared cache, in the background."""
        name = self._name_of(original.identifier)
        if original.content is None or name is None:
            return
        record = SharedImage(
            identifier=str(original.identifier),
            content=original.content,
            size=original.file.size,
            mtime=original.file.version.mtime,
            page=original.page,
            asked=self._clock(),
            header=header,
        )
        self._shared.offer_record(name, record.model_dump_json().encode())

    async def find(self, identifier: Identifier) -> tuple[Original, ImageHeader] | None:
        """Original and header in the record of another replica; None: fetch the original."""
        name = self._name_of(identifier)
        source = self._originals.source(identifier.type)
        if name is None or await source.is_here(identifier.name):
            return None
        if self._purged_at != self._shared.purged_at:
            self._purged_at = self._shared.purged_at
            self._known.clear()
        record = self._known.get(identifier)
        if record is None:
            record = await self._reads.run(identifier, lambda: self._read(identifier, name))
        if record is None or self._is_due(record):
            return None
        version = FileVersion(0, 0, record.size, record.mtime, (0, 0))
        original = Original(
            identifier,
            LocalFile(_ABSENT, version),
            record.content,
            record.page,
            absent=True,
        )
        return original, record.header

    async def _read(self, identifier: Identifier, name: str) -> SharedImage | None:
        content = await self._shared.read(name)
        try:
            record = SharedImage.model_validate_json(content or b"")
        except ValidationError:
            return None
        header = record.header
        if (
            (record.form, record.release) != (_FORM, __version__)
            or record.identifier != str(identifier)
            or header.format not in self._bounds.formats
            or header.stored.area > self._max_pixels
        ):
            return None
        self._known.put(identifier, record)
        return record

    def _is_due(self, record: SharedImage) -> bool:
        after = self._refresh_after
        return after is not None and is_due(record.asked, self._clock(), after)

    def _name_of(self, identifier: Identifier) -> str | None:
        """Name of the object with the record of an image; None if its source has no origin.

        A server whose type has another origin finds no record, and fetches the original.
        """
        origin = self._originals.source(identifier.type).origin
        if origin is None:
            return None
        return record_of(group_of(identifier), digest(str(identifier), origin))
