"""The pages of an original, as a manifest lists them. Pure."""

from dataclasses import dataclass

from iiif_server.iiif.geometry import Dimensions

NO_SIZE = Dimensions(0, 0)
"""The dimensions of a page that cannot be read."""


@dataclass(frozen=True, slots=True)
class PageList:
    """The pages of an original in their order, the first one first."""

    dimensions: tuple[Dimensions, ...]
    """Those of the upright images."""
    names: tuple[str, ...] = ()
    """What the file calls them, empty where it does not; or none at all."""
