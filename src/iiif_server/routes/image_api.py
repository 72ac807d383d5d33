"""The Image API itself: info.json, images, and the redirect from the base URI, in each version."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from iiif_server.iiif.identifier import percent_decode
from iiif_server.iiif.information import image_information
from iiif_server.iiif.request import (
    ImageRequest,
    canonical_parameters,
    lacks_format,
    missing_format,
)
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.routes import schemas
from iiif_server.routes.parameters import IdentifierPath, parameters_v2, parameters_v3
from iiif_server.server.access_log import noted_of
from iiif_server.server.addresses import IMAGE_SEGMENTS, written_identifier
from iiif_server.server.answering import image_answer
from iiif_server.server.asked import introduce
from iiif_server.server.conditions import is_not_modified, validators
from iiif_server.server.fast_path import offer
from iiif_server.server.headers import SAFE_IN_URIS, image_link, profile_link
from iiif_server.server.negotiation import (
    LD_JSON,
    NEGOTIABLE,
    Representation,
    accept_of,
    negotiate,
    prefers_page,
)
from iiif_server.server.problems import DOCUMENTED
from iiif_server.server.services import Permission, Services, services
from iiif_server.server.signing import ExactRequest

_INFORMATION_SEGMENTS = 1

Provided = Annotated[Services, Depends(services)]

_PARAMETERS: dict[ImageApiVersion, Callable[..., Awaitable[ImageRequest]]] = {
    V2: parameters_v2,
    V3: parameters_v3,
}


def image_api_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """The routes of one version of the Image API under a path prefix."""
    router = APIRouter(prefix=prefix, tags=[_group(version, prefix)], responses=DOCUMENTED)
    parameters = Annotated[ImageRequest, Depends(_PARAMETERS[version])]
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        "/{identifier:path}/info.json",
        operation_id=f"image_information_{named}",
        summary="Image information",
        response_class=Response,
        responses=schemas.information(NEGOTIABLE[prefix]),
    )
    async def information(
        request: Request,
        identifier: IdentifierPath,
        provided: Provided,
    ) -> Response:
        """Width, height, tiles, sizes, formats and limits of an image."""
        written = written_identifier(request, prefix, _INFORMATION_SEGMENTS, identifier)
        return await _information(_Call(request, provided, version, prefix, written))

    @router.get(
        # The parameters of the dependency:
        "/{identifier:identifier}/{region}/{size}/{rotation}/{quality:quality}.{format}",  # noqa: FAST003
        operation_id=f"image_{named}",
        summary="Image",
        response_class=Response,
        responses=schemas.IMAGE,
    )
    async def image(
        request: Request,
        identifier: IdentifierPath,
        asked: parameters,
        provided: Provided,
    ) -> Response:
        """A region of an image, scaled, rotated, in a quality and a format."""
        written = written_identifier(request, prefix, IMAGE_SEGMENTS, identifier)
        return await _image(_Call(request, provided, version, prefix, written), asked)

    return router


def base_uri_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """The redirect from an image's base URI; to be added after all other routes."""
    router = APIRouter(prefix=prefix, tags=[_group(version, prefix)], responses=DOCUMENTED)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        "/{identifier:path}",
        operation_id=f"base_uri_{named}",
        summary="Base URI",
        status_code=303,
        response_class=RedirectResponse,
    )
    async def base_uri(
        request: Request,
        identifier: IdentifierPath,
        provided: Provided,
    ) -> Response:
        """Redirects to the image information (Image API 3.0, 2), and browsers to the viewer."""
        return await base_uri_answer(request, provided, version, prefix, identifier)

    return router


async def base_uri_answer(
    request: Request, provided: Services, version: ImageApiVersion, prefix: str, identifier: str
) -> Response:
    """The redirect from a base URI: to the viewer for browsers, to the information for all else."""
    written = written_identifier(request, prefix, 0, identifier).rstrip("/")
    if not written:
        raise HTTPException(404)
    parameters = "/".join(written.rsplit("/", IMAGE_SEGMENTS)[1:])
    if lacks_format(percent_decode(parameters)):
        raise missing_format()
    call = _Call(request, provided, version, prefix, written)
    headers = {"Vary": "Accept"}
    if prefers_page(accept_of(request.headers.raw)):
        # Whether there is an image, and who may see it, is for a page to say.
        return RedirectResponse(f"{call.base_uri}/view", status_code=303, headers=headers)
    permission = provided.permit(written)
    # Signed addresses are for one client only; all others may be kept as redirects are.
    if permission.grant:
        headers |= call.caching(permission)
    return RedirectResponse(f"{call.base_uri}/info.json", status_code=303, headers=headers)


def _group(version: ImageApiVersion, prefix: str) -> str:
    """Where the documentation shows the routes under a prefix."""
    return f"Image API {version.number}" if prefix else "Images"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to one version of the Image API."""

    request: Request
    provided: Services
    version: ImageApiVersion
    prefix: str
    written: str
    """The identifier as it stands in the URL."""

    @property
    def name(self) -> str:
        """All that the addresses of the image begin with, letter by letter."""
        return f"{self.prefix}/{self.written}"

    @property
    def base_uri(self) -> str:
        """The image's URI in the form in which the client wrote it, fit to stand in a header."""
        identifier = quote(self.written, safe=SAFE_IN_URIS)
        return f"{self.provided.addressing.base(self.request, self.prefix)}/{identifier}"

    def caching(self, permission: Permission) -> dict[str, str]:
        """The header that says for how long clients may keep what they get."""
        return {"Cache-Control": str(self.provided.caching(permission))}

    @property
    def exact(self) -> ExactRequest:
        """The request as a signature for it alone would name it."""
        parameters = self.request.scope["path"].rsplit("/", IMAGE_SEGMENTS)[1:]
        return ExactRequest(self.version.number, "/".join(parameters))


async def _information(call: _Call) -> Response:
    chosen = negotiate(accept_of(call.request.headers.raw), NEGOTIABLE[call.prefix])
    if chosen.version is not call.version:
        # The image's URI in the other version: its sizes have another grammar.
        call = replace(call, version=chosen.version, prefix=chosen.version.path)
    noted_of(call.request.scope).version = call.version.number
    permission = call.provided.permit(call.written)
    identifier = permission.identifier
    async with call.provided.originals.hold(identifier) as original:
        header = await call.provided.headers.of(original)
    document = image_information(
        chosen.version,
        call.base_uri,
        header.dimensions,
        call.provided.offer(identifier.type, header),
    )
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    tag = blake2b(content, digest_size=16).hexdigest()
    headers = {
        **call.caching(permission),
        "Link": ", ".join(_information_links(chosen)),
        "Vary": "Accept",
        **validators(tag, original.modified),
    }
    if is_not_modified(call.request.headers, tag, original.modified):
        return Response(status_code=304, headers=headers)
    if call.provided.may_repeat(permission):
        introduce(call.provided, call.name, original, header)
        offer(call.request, original, tag, original.modified)
    return Response(content, media_type=chosen.media_type, headers=headers)


async def _image(call: _Call, asked: ImageRequest) -> Response:
    permission = call.provided.permit(call.written, call.exact)
    # A signature for one spelling of a request does not hold for the canonical one.
    one_spelling = permission.grant is not None and permission.grant.exact
    async with call.provided.derivatives.resolve(permission.identifier, asked) as resolved:
        limits = call.provided.limits.of(resolved.facts.dimensions)
        canonical = canonical_parameters(resolved.rendition, resolved.facts, limits, call.version)
        link = image_link(call.base_uri, canonical, call.version)
        if (
            call.provided.canonical_redirect
            and not one_spelling
            and not _is_written(call.request, canonical)
        ):
            headers = {**call.caching(permission), "Link": link}
            uri = f"{call.base_uri}/{canonical}"
            return RedirectResponse(uri, status_code=303, headers=headers)
        answer = await image_answer(call.request, call.provided, permission, resolved, link)
        if call.provided.may_repeat(permission):
            introduce(call.provided, call.name, resolved.original, resolved.header)
        return answer


def _is_written(request: Request, canonical: str) -> bool:
    """Whether a request has the canonical parameters already."""
    path: str = request.scope["path"]
    return path.endswith(f"/{canonical}")


def _information_links(chosen: Representation) -> list[str]:
    """The profile, and for plain JSON the context that JSON-LD would name in its type."""
    version = chosen.version
    context = f'<{version.context}>;rel="http://www.w3.org/ns/json-ld#context";type="{LD_JSON}"'
    return [profile_link(version)] if chosen.linked_data else [context, profile_link(version)]
