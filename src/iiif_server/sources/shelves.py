"""Deprecated name of `sources.listings`, for plug-ins; see docs/upgrading.md."""

from iiif_server.sources.deprecated import renamed
from iiif_server.sources.listings import FolderListing

__getattr__ = renamed(__name__, Shelf=FolderListing)
