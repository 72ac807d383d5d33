"""Downloads: original, metadata, thumbnail and preview of an image; archives of originals."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from iiif_server.errors import IiifServerError, TooManyImagesError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.versions import ImageApiVersion
from iiif_server.plan.original_format import MEDIA_TYPES
from iiif_server.routes import schemas
from iiif_server.routes.image_api import base_uri_answer
from iiif_server.routes.parameters import IdentifierPath
from iiif_server.routes.presentation import Identifiers, split_identifiers
from iiif_server.server.addresses import identifier_in, raw_path_of
from iiif_server.server.archive import archive
from iiif_server.server.call import ImageCall
from iiif_server.server.disconnect import cancel_on_disconnect
from iiif_server.server.downloads import (
    check_offered,
    metadata_answer,
    original_answer,
    scaled_answer,
)
from iiif_server.server.file_names import wants_attachment
from iiif_server.server.problems import DOCUMENTED, problem_of
from iiif_server.server.respond import CLIENT_CLOSED_REQUEST, Answer, Stream
from iiif_server.server.services import CurrentServices, Services
from iiif_server.server.signing import split

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
        if not raw_path_of(request.scope).endswith(f"/{function}"):
            # With an encoded slash before it, the last segment is a part of the identifier.
            return base_uri_answer(request, services, prefix, f"{identifier}/{function}")
        raw_identifier = identifier_in(request.scope, prefix, 1, identifier)
        return await answer(request, services, raw_identifier)

    return route


async def _original(request: Request, services: Services, raw_identifier: str) -> Response:
    return await original_answer(request, services, services.permit(raw_identifier))


async def _metadata(_: Request, services: Services, raw_identifier: str) -> Response:
    return await metadata_answer(services, services.permit(raw_identifier))


def _scaled(function: str, version: ImageApiVersion, prefix: str) -> _Answering:
    """Function that answers with the whole image at the configured width."""

    async def answer(request: Request, services: Services, raw_identifier: str) -> Response:
        call = ImageCall(
            version,
            prefix,
            raw_identifier,
            services.permit(raw_identifier),
            services.addressing.base_of(request.scope, prefix),
            attachment=wants_attachment(request.scope["query_string"]),
        )
        widths = services.downloads
        width = widths.thumbnail_width if function == THUMBNAIL else widths.preview_width
        return await scaled_answer(request, services, call, width)

    return answer


ARCHIVE = "originals.zip"
_ZIP = "application/zip"

archives = APIRouter(tags=["Downloads"], responses=DOCUMENTED)
"""Router of archives; must be added before the routes of images."""


@archives.get(
    f"/{ARCHIVE}",
    operation_id="originals",
    summary="Originals as a ZIP file",
    response_class=Response,
    responses={
        200: {
            "description": "The archive",
            "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def originals(
    request: Request, services: CurrentServices, identifiers: Identifiers
) -> Response:
    """Unchanged originals, with a list of their checksums, and a list of missing originals."""
    raw_identifiers, limit = split_identifiers(identifiers), services.downloads.max_originals
    if len(raw_identifiers) > limit:
        raise TooManyImagesError(
            f"An archive has at most {limit} originals on this server; this one would have "
            f"{len(raw_identifiers)}."
        )
    requested: dict[Identifier, None] = {}
    for one in raw_identifiers:
        try:
            permission = services.permit(one)
            check_offered(services, permission)
        except IiifServerError as error:
            return problem_of(error, about=split(one)[1] or one)
        requested[permission.identifier] = None
    made = archive(services, list(requested))
    try:
        async with cancel_on_disconnect(request):
            begin = await anext(made)
    except ClientDisconnect:
        return Answer(status_code=CLIENT_CLOSED_REQUEST)
    return Answer(
        Stream(begin, made),
        _ZIP,
        cache_control="no-store",
        extra={"Content-Disposition": f'attachment; filename="{ARCHIVE}"'},
    )
