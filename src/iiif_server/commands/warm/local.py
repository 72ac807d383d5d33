"""Warming of the cache of this server, with its services and without HTTP."""

from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, suppress

from iiif_server.background import completed
from iiif_server.commands.bulk.tasks import Outcome, Result, TaskContext, offer_parts, pages_of
from iiif_server.errors import (
    ImageTooLargeError,
    NotKeptError,
    QuarantinedError,
    RenderFailedError,
    RequestRefusedError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.information import image_information
from iiif_server.iiif.request import Rendition, parse_whole_request
from iiif_server.iiif.versions import V2, V3
from iiif_server.iiif.viewers import InfoJson
from iiif_server.images.body import close
from iiif_server.images.registry import Image
from iiif_server.images.resolved import Resolved
from iiif_server.plan.render_plan import Engine
from iiif_server.server.services import Services
from iiif_server.telemetry.stages import Stages

_WITHOUT_RENDERING = frozenset({"cache", Engine.TILE, Engine.ORIGINAL})
"""Engines of responses that need no rendering."""


async def warm_one(
    context: TaskContext, identifier: Identifier, screen: Dimensions | None
) -> Result:
    """Render what viewers request of an image, in both versions of the Image API."""
    services, counts = context.services, Counter[str]()
    async with services.images.hold(identifier) as image:
        if image.pyramid is not None:
            # If the pyramid fails, the tiles are rendered one by one.
            with suppress(ImageTooLargeError, QuarantinedError, RenderFailedError):
                counts["pyramids"] += await services.pyramids.build(image.pyramid)
                if not counts["pyramids"]:
                    await offer_parts(context, image.pyramid)
        jobs = (
            _render_missing(context, resolved) for resolved in requested(services, image, screen)
        )
        async with aclosing(completed(jobs, context.settings.image_pool_size)) as done:
            async for made in done:
                counts["images"] += 1
                counts["made"] += made
        pages = pages_of(image)
    outcome = Outcome.MADE if counts["pyramids"] or counts["made"] else Outcome.PRESENT
    return Result(outcome, counts=counts, pages=pages)


def requested(services: Services, image: Image, screen: Dimensions | None) -> Iterator[Resolved]:
    """Yield the valid requests of viewers for an image, without duplicates."""
    seen: set[Rendition] = set()
    description = services.service_description(image)
    for version in (V3, V2):
        document = image_information(version, "", image.header.dimensions, description)
        for path in InfoJson.read(document).requests(screen):
            with suppress(RequestRefusedError):
                request = parse_whole_request(path, version)
                resolved = services.derivatives.resolve(image, request, Stages())
                if resolved.rendition not in seen:
                    seen.add(resolved.rendition)
                    yield resolved


async def _render_missing(context: TaskContext, resolved: Resolved) -> bool:
    """Render a derivative; return whether it was missing. Raises NotKeptError if not stored."""
    store = context.services.store
    async with context.slots:
        close(await context.services.derivatives.body(resolved))
        if resolved.stages.engine in _WITHOUT_RENDERING:
            return False
        if await store.threads.run(store.find, resolved.key) is None:
            raise NotKeptError("The cache has no room for its images, or cannot be written.")
        return True
