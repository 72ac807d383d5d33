"""What people see in a browser: the gallery, the viewer, the documentation, and what these need."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from iiif_server.errors import (
    FolderNotFoundError,
    IiifServerError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.information import image_information
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.pages.facts import facts
from iiif_server.pages.files import PageFile
from iiif_server.pages.paging import FIRST_ROWS, Shown, page_of, parse_place, place_of
from iiif_server.pages.rendering import STATIC_PREFIX, Viewed
from iiif_server.plan.header import Colour
from iiif_server.routes.gallery_search import FOLDER_SECONDS, NO_FOLDER, folders, opening
from iiif_server.routes.image_api import base_uri_answer
from iiif_server.routes.parameters import IdentifierPath
from iiif_server.server.addresses import root_path_of, written_identifier, written_path
from iiif_server.server.conditions import is_not_modified
from iiif_server.server.headers import SAFE_IN_URIS, interactive_page
from iiif_server.server.problems import DOCUMENTED_PAGES, refusal
from iiif_server.server.services import Services, services

Provided = Annotated[Services, Depends(services)]

VIEW = "view"
"""The last segment of the viewer's path."""
EMBED = "embed"
"""The same of the viewer for other sites."""
_FOREVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"
_KEPT_NOWHERE = "no-store"
_MOST_FOLDERS = 8
"""Types whose first images the front page shows."""
_SAMPLE = "sample"
"""The type that is served where there are no settings."""
_ROBOTS = {
    "front": "User-agent: *\nAllow: /$\nDisallow: /\n",
    "all": "User-agent: *\nDisallow:\n",
    "none": "User-agent: *\nDisallow: /\n",
}
"""By `pages.robots`. Whoever follows addresses of images one by one never comes to an end."""

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front(
    request: Request,
    provided: Provided,
    folder: Annotated[str | None, Query()] = None,
    page: Annotated[str, Query()] = "1",
    open_: Annotated[str | None, Query(alias="open")] = None,
) -> Response:
    """What this server shows; or the folder of it, or the image, that is asked for."""
    if not written_path(request.scope).endswith("/"):  # links of pages are relative
        query = f"?{request.url.query}" if request.url.query else ""
        location = f"{provided.addressing.base(request)}/{query}"
        return Response(status_code=307, headers={"Location": location})
    if open_ is not None:
        return await for_people(request, provided, lambda: _opening(request, provided, open_))
    if folder is not None:
        number = int(page) if page.isascii() and page.isdecimal() and len(page) <= 9 else 1  # noqa: PLR2004 - digits
        return await for_people(
            request, provided, lambda: _folder(request, provided, folder, number)
        )
    return await for_people(request, provided, lambda: _front(request, provided))


@router.get("/docs")
async def documentation(request: Request, provided: Provided) -> Response:
    """The interactive API documentation."""

    async def page() -> Response:
        provided.files.require("swagger-ui-dist")
        html = provided.pages.documentation(root_of(request), await _example(provided))
        policy = interactive_page(shows_answers=True)
        return HTMLResponse(html, headers={"Cache-Control": _ASK_FIRST, **policy})

    return await for_people(request, provided, page)


@router.get(STATIC_PREFIX + "/{digest}/{name:path}")
async def static(request: Request, provided: Provided, digest: str, name: str) -> Response:
    """A script or a style of the pages."""
    file = provided.files.get(name)
    if file is None:
        raise HTTPException(404)
    # Pages of another version of the server may name another state: they get the one there is.
    kept = _FOREVER if digest == provided.files.digest else _ASK_FIRST
    return await _file(request, file, kept)


@router.get("/favicon.ico")
async def icon(request: Request, provided: Provided) -> Response:
    """The icon, for browsers that show something else than a page."""
    file = provided.files.get("icon.svg")
    if file is None:  # pragma: no cover - it is ours
        raise HTTPException(404)
    return await _file(request, file, "max-age=86400")


@router.get("/robots.txt")
async def robots(provided: Provided) -> Response:
    """What crawlers are asked to leave alone."""
    headers = {"Cache-Control": "max-age=86400"}
    return PlainTextResponse(_ROBOTS[provided.page_options.robots], headers=headers)


def viewer_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """The viewer of each image under a path prefix, alone and for other sites."""
    router = APIRouter(prefix=prefix, tags=["Pages"], responses=DOCUMENTED_PAGES)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        f"/{{identifier:path}}/{VIEW}",
        operation_id=f"viewer_{named}",
        summary="Viewer",
        response_class=HTMLResponse,
        include_in_schema=prefix == "",
    )
    async def viewer(request: Request, identifier: IdentifierPath, provided: Provided) -> Response:
        """A page on which the image can be zoomed into; `?with=` compares it with another."""
        return await _page_of_image(_Call(request, provided, version, prefix, VIEW), identifier)

    @router.get(
        f"/{{identifier:path}}/{EMBED}",
        operation_id=f"embedded_viewer_{named}",
        summary="Viewer for an iframe",
        response_class=HTMLResponse,
        include_in_schema=prefix == "",
    )
    async def embedded(
        request: Request, identifier: IdentifierPath, provided: Provided
    ) -> Response:
        """The image alone, to be zoomed into, for the pages of `[pages] frame_ancestors`."""
        return await _page_of_image(_Call(request, provided, version, prefix, EMBED), identifier)

    return router


@dataclass(frozen=True, slots=True)
class _Call:
    """A request for a page of one image."""

    request: Request
    provided: Services
    version: ImageApiVersion
    prefix: str
    kind: str
    """`view` or `embed`, the last segment of the path."""


async def _page_of_image(call: _Call, identifier: str) -> Response:
    request, provided = call.request, call.provided
    if not request.scope.get("raw_path", b"").endswith(f"/{call.kind}".encode()):
        # An encoded slash: the last segment is the end of a name.
        name = f"{identifier}/{call.kind}"
        return await base_uri_answer(request, provided, call.version, call.prefix, name)

    async def page() -> Response:
        written = written_identifier(request, call.prefix, 1, identifier)
        if call.version is V2:  # what it shows is the same
            base = provided.addressing.base(request, V3.path)
            query = f"?{request.url.query}" if request.url.query else ""
            target = f"{base}/{_in_header(written)}/{call.kind}{query}"
            return RedirectResponse(target, status_code=303)
        return await _viewer(call, written)

    return await for_people(request, provided, page, provided.page_options.frame_sources)


async def for_people(
    request: Request,
    provided: Services,
    page: Callable[[], Awaitable[Response]],
    frame_ancestors: Sequence[str] = (),
) -> Response:
    """The page, or one that tells why there is none, with the status that it has for programs.

    `frame_ancestors` may show the error in a frame, as they may the page.
    """
    try:
        return await page()
    except IiifServerError as error:
        answer = refusal(error)
        html = provided.pages.problem(root_of(request), answer.status_code, str(error))
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name not in {"content-length", "content-type"}
        }
        policy = interactive_page(frame_ancestors)
        return HTMLResponse(html, answer.status_code, headers={**kept, **policy})


def root_of(request: Request) -> str:
    """What leads from a page to the front page: `./`, `../` and so on."""
    inner = written_path(request.scope).removeprefix(root_path_of(request.scope))
    return "../" * (inner.count("/") - 1) or "./"


async def _opening(request: Request, provided: Services, text: str) -> Response:
    found = await opening(request, provided, text)
    if isinstance(found, Response):
        return found
    return _page(provided.pages.found(root_of(request), text, found))


async def _front(request: Request, provided: Services) -> Response:
    names = provided.public_types() if provided.page_options.gallery else ()

    async def first(type_: str, index: int) -> Shown:
        browsable = provided.originals.source(type_).browsable
        page = None
        if browsable and index < _MOST_FOLDERS:
            with suppress(*NO_FOLDER):
                async with asyncio.timeout(FOLDER_SECONDS):
                    listing = await provided.listings.of(type_)
                page = page_of(listing, parse_place(type_), 1, FIRST_ROWS)
        return Shown(type_, browsable=browsable, page=page)

    types = await asyncio.gather(*(first(name, index) for index, name in enumerate(names)))
    html = provided.pages.front(root_of(request), types, gallery=provided.page_options.gallery)
    return _page(html)


async def _folder(request: Request, provided: Services, folder: str, number: int) -> Response:
    place = parse_place(folder)
    if not provided.page_options.gallery or place.type not in provided.public_types():
        raise FolderNotFoundError
    listing = await provided.listings.of(place.type, place.folder)
    return _page(provided.pages.folder(root_of(request), place, page_of(listing, place, number)))


async def _example(provided: Services) -> str:
    """The identifier of an image that everyone may see; empty if none is found quickly."""
    if provided.page_options.gallery:
        async for place, names in folders(provided, _SAMPLE):
            if names:
                return str(Identifier(place.type, place.below(names[0])))
    return ""


async def _viewer(call: _Call, written: str) -> Response:
    request, provided = call.request, call.provided
    permission = provided.permit(written)
    identifier = permission.identifier
    async with provided.originals.hold(identifier) as original:
        header = await provided.headers.of(original)
    document = image_information(V3, "", header.dimensions, provided.offer(identifier.type, header))
    listed = provided.page_options.gallery and permission.grant is None
    browsable = listed and provided.originals.source(identifier.type).browsable
    ancestors = provided.page_options.frame_sources
    viewed = Viewed(
        identifier=str(identifier),
        place=place_of(identifier) if browsable else None,
        facts=facts(header, original.file.size, original.modified, document),
        gray=header.colour is Colour.GRAY,
        expires=permission.grant is not None,
        frameable=bool(ancestors),
    )
    kept = _ASK_FIRST if permission.grant is None else _KEPT_NOWHERE
    zooming = provided.files.has("openseadragon")
    pages = provided.pages
    write = pages.embedded if call.kind == EMBED else pages.viewer
    return _page(write(root_of(request), viewed, zooming=zooming), kept, ancestors)


def _page(html: str, kept: str = _ASK_FIRST, frame_ancestors: Sequence[str] = ()) -> HTMLResponse:
    return HTMLResponse(html, headers={"Cache-Control": kept, **interactive_page(frame_ancestors)})


async def _file(request: Request, file: PageFile, kept: str) -> Response:
    tag = blake2b(file.content, digest_size=8).hexdigest()
    # Weak, for it is the same whether the content is compressed or not.
    headers = {"Cache-Control": kept, "ETag": f'W/"{tag}"', "Vary": "Accept-Encoding"}
    if "if-none-match" in request.headers and is_not_modified(request.headers, tag, 0):
        return Response(status_code=304, headers=headers)
    content = file.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = await asyncio.to_thread(lambda: file.compressed)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=file.media_type, headers=headers)


def _in_header(written: str) -> str:
    return quote(written, safe=SAFE_IN_URIS)
