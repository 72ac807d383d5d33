"""Downloads of each image: original, metadata, thumbnail and preview."""

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
from iiif_server.server.metadata import metadata_answer
from iiif_server.server.problems import DOCUMENTED
from iiif_server.server.services import Services, get_services

CurrentServices = Annotated[Services, Depends(get_services)]

_Answering = Callable[[Request, Services, str], Awaitable[Response]]
"""Function that makes the response, from request, services and the identifier in the URL."""

ORIGINAL, THUMBNAIL, PREVIEW = "original", "thumbnail", "preview"
METADATA = "metadata.json"

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_CONTENT = dict.fromkeys(MEDIA_TYPES.values(), _BINARY)
_ORIGINAL: dict[int | str, dict[str, Any]] = {
    200: {"description": "The original", "content": _CONTENT},
    206: {"description": "The range of it that `Range` names", "content": _CONTENT},
}


_DOCUMENTED: dict[str, dict[str, Any]] = {
    ORIGINAL: {
        "description": "The original as it is, where its type offers it.",
        "responses": _ORIGINAL,
    },
    METADATA: {
        "description": "What is known of the original: format, colours, resolution, EXIF, XMP.",
        "responses": schemas.METADATA,
    },
    **{
        function: {
            "description": f"The whole image, `downloads.{function}_width` pixels wide at most.",
            "responses": schemas.JPEG,
            "openapi_extra": schemas.DOWNLOAD,
        }
        for function in (THUMBNAIL, PREVIEW)
    },
}


def downloads_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """Routes of downloads under a path prefix; must be added before the routes of images."""
    router = APIRouter(prefix=prefix, tags=["Downloads"], responses=DOCUMENTED)
    named = f"v{version.number[0]}" if prefix else "default"
    answers = {
        ORIGINAL: _original,
        METADATA: _metadata,
        THUMBNAIL: _scaled(THUMBNAIL, version, prefix),
        PREVIEW: _scaled(PREVIEW, version, prefix),
    }
    for function, answer in answers.items():
        word = function.partition(".")[0]
        router.add_api_route(
            f"/{{identifier:path}}/{function}",
            _route(function, prefix, answer),
            operation_id=f"{word}_{named}",
            summary=word.capitalize(),
            response_class=Response,
            include_in_schema=prefix == "",
            **_DOCUMENTED[function],
        )
    return router


def _route(function: str, prefix: str, answer: _Answering) -> Callable[..., Awaitable[Response]]:
    """Route of a download function, which is the last path segment after the identifier."""

    async def route(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        if not written_path(request.scope).endswith(f"/{function}"):
            # With an encoded slash before it, the last segment is a part of the identifier.
            return base_uri_answer(request, services, prefix, f"{identifier}/{function}")
        written = identifier_in(request.scope, prefix, 1, identifier)
        return await answer(request, services, written)

    return route


async def _original(request: Request, services: Services, written: str) -> Response:
    return await original_answer(request, services, services.permit(written))


async def _metadata(_: Request, services: Services, written: str) -> Response:
    return await metadata_answer(services, services.permit(written))


def _scaled(function: str, version: ImageApiVersion, prefix: str) -> _Answering:
    """Function that answers with the whole image at the configured width."""

    async def answer(request: Request, services: Services, written: str) -> Response:
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

    return answer
