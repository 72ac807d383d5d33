"""Deprecated name of `sources.fetched`, for plug-ins; see docs/upgrading.md."""

from iiif_server.sources import fetched
from iiif_server.sources.deprecated import renamed

__getattr__ = renamed(__name__, KeptOriginals=fetched.FetchedOriginals)
