"""Archives: several originals in one ZIP file."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from iiif_server.errors import IiifServerError, TooManyImagesError
from iiif_server.iiif.identifier import Identifier
from iiif_server.routes.presentation import Identifiers, split_identifiers
from iiif_server.server.archive import archive
from iiif_server.server.disconnect import cancel_on_disconnect
from iiif_server.server.downloads import check_offered
from iiif_server.server.problems import DOCUMENTED, refusal
from iiif_server.server.respond import CLIENT_CLOSED_REQUEST, Answer, Stream
from iiif_server.server.services import Services, get_services
from iiif_server.server.signing import split

ARCHIVE = "originals.zip"
_MEDIA_TYPE = "application/zip"

router = APIRouter(tags=["Downloads"], responses=DOCUMENTED)
"""Router that must be added before the routes of images."""


@router.get(
    f"/{ARCHIVE}",
    operation_id="originals",
    summary="Originals as a ZIP file",
    response_class=Response,
    responses={
        200: {
            "description": "The archive",
            "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def originals(
    request: Request, services: Annotated[Services, Depends(get_services)], identifiers: Identifiers
) -> Response:
    """Unchanged originals, with a list of their checksums, and a list of missing originals."""
    written, most = split_identifiers(identifiers), services.downloads.max_originals
    if len(written) > most:
        raise TooManyImagesError(
            f"An archive has at most {most} originals here; this one would have {len(written)}."
        )
    wanted: dict[Identifier, None] = {}
    for one in written:
        try:
            permission = services.permit(one)
            check_offered(services, permission)
        except IiifServerError as error:
            return refusal(error, about=split(one)[1] or one)
        wanted[permission.identifier] = None
    made = archive(services, list(wanted))
    try:
        async with cancel_on_disconnect(request):
            begin = await anext(made)
    except ClientDisconnect:
        return Answer(status_code=CLIENT_CLOSED_REQUEST)
    return Answer(
        Stream(begin, made),
        _MEDIA_TYPE,
        cache_control="no-store",
        extra={"Content-Disposition": f'attachment; filename="{ARCHIVE}"'},
    )
