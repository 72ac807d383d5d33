"""Routes of the Image API: info.json, images, and the redirect from the base URI."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from iiif_server.errors import MalformedParameterError
from iiif_server.iiif.identifier import percent_decode
from iiif_server.iiif.request import ImageRequest, lacks_format
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.routes import schemas
from iiif_server.routes.parameters import (
    IdentifierPath,
    identifier_path,
    parameters_v2,
    parameters_v3,
)
from iiif_server.server.addresses import IMAGE_SEGMENTS, identifier_in
from iiif_server.server.call import (
    IMAGE_PATH,
    INFORMATION_PATH,
    ImageCall,
    base_uri,
)
from iiif_server.server.image_answers import make
from iiif_server.server.negotiation import NEGOTIABLE, accept_of, prefers_page
from iiif_server.server.problems import DOCUMENTED
from iiif_server.server.request_context import RequestContext
from iiif_server.server.respond import Answer
from iiif_server.server.services import CurrentServices, Services

_PARAMETERS: dict[ImageApiVersion, Callable[..., Awaitable[ImageRequest]]] = {
    V2: parameters_v2,
    V3: parameters_v3,
}


def image_call(request: Request) -> ImageCall:
    """Image call of a request, which the edge has usually parsed already."""
    call = RequestContext.of(request.scope).call(request.scope)
    if call is None:  # pragma: no cover - the route has the same pattern
        raise HTTPException(404)
    return call


def image_api_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """Routes of one version of the Image API under a path prefix."""
    router = APIRouter(prefix=prefix, tags=[_group(version, prefix)], responses=DOCUMENTED)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        INFORMATION_PATH,
        dependencies=[Depends(identifier_path)],
        operation_id=f"image_information_{named}",
        summary="Image information",
        response_class=Response,
        responses=schemas.information(NEGOTIABLE[prefix]),
    )
    async def information(request: Request, services: CurrentServices) -> Response:
        """Width, height, tiles, sizes, formats and limits of an image."""
        return await make(request, services, image_call(request))

    @router.get(
        IMAGE_PATH,
        dependencies=[Depends(identifier_path), Depends(_PARAMETERS[version])],
        operation_id=f"image_{named}",
        summary="Image",
        response_class=Response,
        responses=schemas.IMAGE,
        openapi_extra=schemas.DOWNLOAD,
    )
    async def image(request: Request, services: CurrentServices) -> Response:
        """Region of an image, scaled, rotated, in a quality and a format."""
        return await make(request, services, image_call(request))

    return router


def base_uri_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """Redirect from the base URI of images; must be added after all other routes."""
    router = APIRouter(prefix=prefix, tags=[_group(version, prefix)], responses=DOCUMENTED)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        "/{identifier:path}",
        operation_id=f"base_uri_{named}",
        summary="Base URI",
        status_code=303,
        response_class=RedirectResponse,
    )
    async def redirect(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        """Redirects to the image information (Image API 3.0, 2), and browsers to the viewer."""
        return base_uri_answer(request, services, prefix, identifier)

    return router


def base_uri_answer(request: Request, services: Services, prefix: str, identifier: str) -> Answer:
    """Redirect from a base URI: browsers to the viewer, other clients to the info.json."""
    raw_identifier = identifier_in(request.scope, prefix, 0, identifier).rstrip("/")
    if not raw_identifier:
        raise HTTPException(404)
    parameters = "/".join(raw_identifier.rsplit("/", IMAGE_SEGMENTS)[1:])
    if lacks_format(percent_decode(parameters)):
        raise MalformedParameterError("format", "", "one after the quality, as in default.jpg")
    target = base_uri(services.addressing.base_of(request.scope, prefix), raw_identifier)
    if prefers_page(accept_of(request.headers.raw)):
        # The viewer page reports errors: a missing image, or a missing permission.
        return Answer(status_code=303, extra={"Vary": "Accept", "Location": f"{target}/view"})
    permission = services.permit(raw_identifier)
    return Answer(
        status_code=303,
        # A signed URL is for one client only; other redirects have the default caching of HTTP.
        cache_control=str(services.caching(permission)) if permission.grant else "",
        extra={"Vary": "Accept", "Location": f"{target}/info.json"},
    )


def _group(version: ImageApiVersion, prefix: str) -> str:
    """OpenAPI tag of the routes under a prefix."""
    return f"Image API {version.number}" if prefix else "Images"
