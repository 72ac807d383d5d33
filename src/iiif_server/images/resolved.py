"""Resolved request: an image request with its image, engine and cache key."""

from dataclasses import dataclass

from iiif_server.cache.entries import EntryKey
from iiif_server.iiif.request import Rendition
from iiif_server.images.originals import Original
from iiif_server.images.pyramids import Pyramid
from iiif_server.images.registry import Image
from iiif_server.plan.grid import Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.render_plan import (
    Engine,
    PixelOperations,
)
from iiif_server.plan.stored_grid import StoredTile
from iiif_server.telemetry.stages import Stages


@dataclass(frozen=True, slots=True)
class Resolved:
    """Image request, resolved for one version of an image."""

    image: Image
    rendition: Rendition
    placed: Rendition
    """Rendition to make: that of a tile has the region that its pixels show exactly."""
    engine: Engine
    work: PixelOperations
    key: EntryKey
    tile: Tile | None
    """Requested tile of the pyramid, for the engine TILE; else None."""
    stored: StoredTile | None
    """Tile in the file of the original that is or contains the rendition; None: none."""
    stages: Stages
    """Stage durations so far."""

    @property
    def repeatable(self) -> bool:
        """Whether each rendering gives the same bytes.

        A rendition from a level of a pyramid differs slightly from one of the original, since the
        level was compressed. `stages.engine` shows whether a tile came from the pyramid.
        """
        if self.engine is Engine.TILE:
            return self.stages.engine in {"", Engine.TILE}
        same = {Engine.ORIGINAL, Engine.REWRITTEN}
        return self.pyramid is None or self.engine in same

    @property
    def original(self) -> Original:
        """Original; `body` needs it open."""
        return self.image.original

    @property
    def header(self) -> ImageHeader:
        """Header of the original."""
        return self.image.header

    @property
    def pyramid(self) -> Pyramid | None:
        """Pyramid that the original has or will have; None: it needs none."""
        return self.image.pyramid
