"""Downloads: the original as it is, a thumbnail and a preview of each image."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from iiif_server.iiif.versions import ImageApiVersion
from iiif_server.routes import schemas
from iiif_server.routes.image_api import base_uri_answer
from iiif_server.routes.parameters import IdentifierPath
from iiif_server.server.addresses import identifier_in, written_path
from iiif_server.server.call import ImageCall
from iiif_server.server.downloads import MEDIA_TYPES, original_answer, scaled_answer
from iiif_server.server.file_names import wants_attachment
from iiif_server.server.problems import DOCUMENTED
from iiif_server.server.services import Services, get_services

CurrentServices = Annotated[Services, Depends(get_services)]

ORIGINAL, THUMBNAIL, PREVIEW = "original", "thumbnail", "preview"

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_CONTENT = dict.fromkeys(MEDIA_TYPES.values(), _BINARY)
_ORIGINAL: dict[int | str, dict[str, Any]] = {
    200: {"description": "The original", "content": _CONTENT},
    206: {"description": "The range of it that `Range` names", "content": _CONTENT},
}


def downloads_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """The downloads of each image under a path prefix; to be added before the images' routes."""
    router = APIRouter(prefix=prefix, tags=["Downloads"], responses=DOCUMENTED)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        f"/{{identifier:path}}/{ORIGINAL}",
        operation_id=f"original_{named}",
        summary="Original",
        response_class=Response,
        responses=_ORIGINAL,
        include_in_schema=prefix == "",
    )
    async def original(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        """The original as it is, where its type offers it."""
        if not _is_function(request, ORIGINAL):
            return base_uri_answer(request, services, prefix, f"{identifier}/{ORIGINAL}")
        written = identifier_in(request.scope, prefix, 1, identifier)
        return await original_answer(request, services, services.permit(written))

    for function in (THUMBNAIL, PREVIEW):
        router.add_api_route(
            f"/{{identifier:path}}/{function}",
            _scaled(function, version, prefix),
            operation_id=f"{function}_{named}",
            summary=function.capitalize(),
            description=f"The whole image, `downloads.{function}_width` pixels wide at most.",
            response_class=Response,
            responses=schemas.JPEG,
            openapi_extra=schemas.DOWNLOAD,
            include_in_schema=prefix == "",
        )
    return router


def _scaled(
    function: str, version: ImageApiVersion, prefix: str
) -> Callable[..., Awaitable[Response]]:
    """The route of the whole image at the width that is configured for a function."""

    async def scaled(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        if not _is_function(request, function):
            return base_uri_answer(request, services, prefix, f"{identifier}/{function}")
        written = identifier_in(request.scope, prefix, 1, identifier)
        call = ImageCall(
            version,
            prefix,
            written,
            services.permit(written),
            services.addressing.base_of(request.scope, prefix),
            attachment=wants_attachment(request.scope["query_string"]),
        )
        widths = services.downloads
        width = widths.thumbnail_width if function == THUMBNAIL else widths.preview_width
        return await scaled_answer(request, services, call, width)

    return scaled


def _is_function(request: Request, name: str) -> bool:
    """Whether the last segment of the URL is this one, and not the end of an identifier."""
    return written_path(request.scope).endswith(f"/{name}")
