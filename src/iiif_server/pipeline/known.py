"""Images that were asked for just now: their tiles need no more looking for."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from iiif_server.image_api.geometry import Limits
from iiif_server.image_api.request import ImageFacts, ImageRequest, Rendition
from iiif_server.imaging.plan import Identity, is_plain_jpeg
from iiif_server.imaging.pyramid import Tile
from iiif_server.pipeline.originals import Original
from iiif_server.pipeline.pyramids import Pyramid

_CAPACITY = 4096
SECONDS_KNOWN = 5.0
"""How long an image is known before its source is asked again: its name may lead elsewhere."""


@dataclass(frozen=True, slots=True)
class KnownTile:
    """A tile of the pyramid, made or not, of an image that is known."""

    pyramid: Pyramid
    tile: Tile
    rendition: Rendition
    facts: ImageFacts

    @property
    def original(self) -> Original:
        """What the tile is of."""
        return self.pyramid.original


@dataclass(frozen=True, slots=True)
class _Known:
    pyramid: Pyramid
    facts: ImageFacts
    until: float


class KnownImages:
    """Images with pyramids by any name; nothing here waits for a disk, or for anybody."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()

    def __repr__(self) -> str:
        return f"<KnownImages {len(self._known)}>"

    def remember(self, name: Hashable, pyramid: Pyramid, facts: ImageFacts) -> None:
        """Take note of an image whose original was held just now."""
        self._known[name] = _Known(pyramid, facts, self._clock() + SECONDS_KNOWN)
        self._known.move_to_end(name)
        while len(self._known) > _CAPACITY:
            self._known.popitem(last=False)

    def has(self, name: Hashable) -> bool:
        """Whether an image was made known, be it long ago."""
        return name in self._known

    def tile(self, name: Hashable, request: ImageRequest) -> KnownTile | None:
        """The tile that a request is for, if the image is known and it is one of its pyramid.

        Raises what `ImageRequest.resolve` raises.
        """
        known = self._known.get(name)
        if known is None:
            return None
        if self._clock() > known.until or not is_unchanged(known.pyramid.original.file):
            del self._known[name]
            return None
        rendition = request.resolve(known.facts, self._limits)
        tile = known.pyramid.tile_of(rendition) if is_plain_jpeg(rendition) else None
        return None if tile is None else KnownTile(known.pyramid, tile, rendition, known.facts)


def is_unchanged(file: Identity) -> bool:
    """Whether a file is as it was when its header was read."""
    try:
        status = os.stat(file.path)  # noqa: PTH116 - on the hot path
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)
