"""What the routes work with: built once by the context, found through the app."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from iiif_server.cache.store import Store
from iiif_server.image_api.formats import Format
from iiif_server.image_api.geometry import Limits
from iiif_server.image_api.identifier import Identifier, parse_identifier
from iiif_server.image_api.information import Service
from iiif_server.pipeline.derivatives import Derivatives
from iiif_server.pipeline.headers import Headers
from iiif_server.pipeline.originals import Originals
from iiif_server.pipeline.pyramids import Pyramids
from iiif_server.pipeline.quarantine import Quarantine
from iiif_server.routes.addresses import Addressing
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.fetching import Fetcher
from iiif_server.workers.pool import WorkerPool


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the process does, as far as routes use it."""

    addressing: Addressing
    originals: Originals
    headers: Headers
    derivatives: Derivatives
    pyramids: Pyramids
    store: Store
    fetcher: Fetcher
    header_pool: WorkerPool
    image_pool: WorkerPool
    quarantine: Quarantine
    types: Mapping[str, TypeOptions]
    default_type: str | None
    formats: tuple[Format, ...]
    """Those that this build can make."""
    lossless: bool
    """Whether the lossless engine is there."""
    limits: Limits
    min_sizes_size: int
    tile_size: int
    canonical_redirect: bool
    """Whether requests in another than the canonical form are redirected to it."""
    started: float
    """When the process was ready, in seconds since the epoch."""

    def identifier(self, written: str) -> Identifier:
        """The identifier that a URL holds.

        Raises what `parse_identifier` does, and UnknownTypeError for a type that is not configured.
        """
        identifier = parse_identifier(written, self.default_type)
        self.originals.source(identifier.type)
        return identifier

    def offer(self, type_: str) -> Service:
        """What is offered for every image of a type."""
        options = self.types[type_]
        return Service(
            limits=self.limits,
            formats=self.formats,
            min_sizes_size=self.min_sizes_size,
            tile_size=self.tile_size,
            rights=options.rights,
            extra=dict(options.info),
        )


def services(request: Request) -> Services:
    """The services of the app that a request came to."""
    found: Services = request.app.state.services
    return found
