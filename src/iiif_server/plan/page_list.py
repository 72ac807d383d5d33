"""Page list of an original, for manifests. Pure."""

from dataclasses import dataclass

from iiif_server.iiif.geometry import Dimensions

NO_SIZE = Dimensions(0, 0)
"""Dimensions of an unreadable page."""


@dataclass(frozen=True, slots=True)
class PageList:
    """Page list of an original, in order."""

    dimensions: tuple[Dimensions, ...]
    """Dimensions of the upright pages."""
    names: tuple[str, ...] = ()
    """Names of the pages in the file, empty for pages without one; or no names."""
