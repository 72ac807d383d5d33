"""Admin API below `/admin/`, which requires the token."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from iiif_server.errors import MalformedIdentifierError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.request import ImageRequest, canonical_parameters
from iiif_server.iiif.size import size_text
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.purge import Names
from iiif_server.routes.operations import Status, detailed
from iiif_server.routes.parameters import IdentifierPath, parameters_v2, parameters_v3
from iiif_server.server.addresses import identifier_in
from iiif_server.server.authentication import bearer, require_token
from iiif_server.server.problems import DOCUMENTED
from iiif_server.server.services import CurrentServices, Services
from iiif_server.telemetry.stages import Stages

PREFIX = "/admin"

_bearer = bearer("admin", "The token of the settings, `[admin] token`")


def _guard(
    request: Request,
    services: CurrentServices,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Require the admin token; cookies and client addresses do not count."""
    if services.credentials is None:  # pragma: no cover - then these routes do not exist
        raise HTTPException(404)
    require_token(request, given, [services.credentials], services.observer)


class Removed(BaseModel):
    """Result of a purge."""

    removed: int
    """Number of removed files of derivatives and pyramids."""


class Selection(BaseModel):
    """Selection of originals for a purge."""

    # A misspelt name must not turn a purge of some into a purge of all.
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    type: str | None = None
    """Only the originals of this type."""
    prefix: str | None = None
    """Only the originals of the type whose names begin with this text."""


class Explanation(BaseModel):
    """Explanation of how the server would answer an image request now."""

    identifier: str
    version: str
    """Version of the Image API."""
    request: dict[str, str]
    """Region, size, rotation, quality and format, as parsed."""
    canonical: str
    """Canonical URL."""
    original: dict[str, Any]
    """Format, size in bytes, and dimensions with the orientation applied."""
    rendition: dict[str, Any]
    """Region and size in whole pixels."""
    engine: str
    """Engine that makes or made the derivative."""
    level: int | None
    """Scale factor of the pyramid level to render from; null: the original."""
    key: str
    """Cache key in the store: group and digest."""
    kept: bool
    """Whether nothing has to be rendered or built."""
    seconds: dict[str, float]
    """Stage durations of this explanation, in seconds."""


def admin_router() -> APIRouter:
    """Routes under `/admin/`."""
    router = APIRouter(
        prefix=PREFIX, tags=["Administration"], dependencies=[Depends(_guard)], responses=DOCUMENTED
    )

    @router.get("/status", summary="Detailed status")
    async def status(services: CurrentServices) -> Status:
        """Version, features and current state of the server."""
        return detailed(services)

    @router.delete("/cache", summary="Purge")
    async def purge(services: CurrentServices, selection: Annotated[Selection, Query()]) -> Removed:
        """Removes all derivatives and pyramids, or those of a type; requests make them again."""
        if selection.type is not None:
            names = Names(selection.type, selection.prefix or "")
            return Removed(removed=await services.purge.named(names))
        if selection.prefix is not None:
            raise MalformedIdentifierError("A prefix of names needs the type that they are of.")
        return Removed(removed=await services.purge.all())

    @router.delete("/cache/{identifier:path}", summary="Purge one original's")
    async def purge_one(
        request: Request, services: CurrentServices, identifier: IdentifierPath
    ) -> Removed:
        """Removes the derivatives and pyramids of one original, which may be deleted already."""
        raw_identifier = identifier_in(request.scope, f"{PREFIX}/cache", 0, identifier)
        found = services.identifiers.read(raw_identifier)
        return Removed(removed=await services.purge.one(found))

    _add_explanation(router, V3, V3.path, parameters_v3)
    _add_explanation(router, V2, V2.path, parameters_v2)
    _add_explanation(router, V3, "", parameters_v3)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    router.add_api_route("/{rest:path}", _nothing, methods=methods, include_in_schema=False)
    return router


async def _nothing() -> None:
    """Respond with 404 to all other paths below `/admin/`, which would else be image requests."""
    raise HTTPException(404)


def _add_explanation(
    router: APIRouter,
    version: ImageApiVersion,
    prefix: str,
    parameters: Callable[..., Awaitable[ImageRequest]],
) -> None:
    base = f"/explain{prefix}"
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        # The names of the parameters of the dependency:
        f"{base}/{{identifier:path}}/{{region}}/{{size}}/{{rotation}}/{{quality:quality}}.{{format}}",
        operation_id=f"explain_{named}",
        summary="Explain an image",
    )
    async def explain(
        request: Request,
        services: CurrentServices,
        identifier: IdentifierPath,
        image_request: Annotated[ImageRequest, Depends(parameters)],
    ) -> Explanation:
        """Explains the image request whose URL follows `/admin/explain`; renders nothing."""
        raw_identifier = identifier_in(request.scope, f"{PREFIX}{base}", 4, identifier)
        found = services.identifier(raw_identifier)
        address = f"{services.addressing.base_of(request.scope, prefix)}/{found.encoded}"
        return await _explanation(services, version, found, image_request, address)


async def _explanation(
    services: Services,
    version: ImageApiVersion,
    identifier: Identifier,
    image_request: ImageRequest,
    address: str,
) -> Explanation:
    stages = Stages()
    async with services.images.hold(identifier, stages) as image:
        resolved = services.derivatives.resolve(image, image_request, stages)
        now = await services.derivatives.explain(resolved)
    rendition, facts = resolved.rendition, image.facts
    limits = services.limits_of(image)
    canonical = canonical_parameters(rendition, facts, limits, version)
    size = resolved.original.file.size
    return Explanation(
        identifier=str(identifier),
        version=version.number,
        request={
            "region": str(image_request.region),
            "size": size_text(image_request.size, version),
            "rotation": str(image_request.rotation),
            "quality": image_request.quality,
            "format": image_request.format,
        },
        canonical=f"{address}/{canonical}",
        original={"format": resolved.header.format, "bytes": size, **asdict(facts.dimensions)},
        rendition={"region": asdict(rendition.region), "size": asdict(rendition.size)},
        engine=resolved.engine,
        level=now.level,
        key=f"{resolved.key.group}/{resolved.key.digest}",
        kept=now.kept,
        seconds=dict(resolved.stages.seconds),
    )
