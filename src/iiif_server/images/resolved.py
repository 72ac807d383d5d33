"""A resolved request: an image request together with the image that it is for."""

from dataclasses import dataclass

from iiif_server.cache.entries import EntryKey
from iiif_server.iiif.request import Rendition
from iiif_server.images.originals import Original
from iiif_server.images.pyramids import Pyramid
from iiif_server.images.registry import Image
from iiif_server.plan.grid import Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.own_tiles import StoredTile
from iiif_server.plan.render_plan import (
    Engine,
    PixelOperations,
)
from iiif_server.telemetry.stages import Stages


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request that can be answered: for this original, with these pixels, under this key."""

    image: Image
    rendition: Rendition
    placed: Rendition
    """With the region of all its pixels, if it is a tile."""
    engine: Engine
    work: PixelOperations
    key: EntryKey
    tile: Tile | None
    """The tile of it that is asked for, for the engine TILE."""
    stored: StoredTile | None
    """The tile of the original itself that is asked for, or that holds what is."""
    stages: Stages
    """How long everything took so far."""

    @property
    def repeatable(self) -> bool:
        """Whether the answer has the same bytes whenever it is made.

        What is made of a pyramid once that is there differs by what compressing did to it. Once it
        is there, it is known whether a tile was one.
        """
        if self.engine is Engine.TILE:
            return self.stages.engine in {"", Engine.TILE}
        same = {Engine.ORIGINAL, Engine.REWRITTEN}
        return self.pyramid is None or self.engine in same

    @property
    def original(self) -> Original:
        """The original; `body` needs it open."""
        return self.image.original

    @property
    def header(self) -> ImageHeader:
        """The header of the original."""
        return self.image.header

    @property
    def pyramid(self) -> Pyramid | None:
        """The pyramid that the original has or will have."""
        return self.image.pyramid
