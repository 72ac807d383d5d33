"""Web pages: gallery, viewer and API documentation, with their scripts and styles."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from iiif_server.errors import (
    FolderNotFoundError,
    IiifServerError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.information import image_information
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.listings import position
from iiif_server.images.registry import Image
from iiif_server.pages.facts import facts
from iiif_server.pages.files import PageFile
from iiif_server.pages.paging import (
    FIRST_ROWS,
    PAGE_SIZE,
    FrontPageType,
    PageNavigation,
    page_of,
    parse_place,
    place_of,
)
from iiif_server.pages.rendering import STATIC_PREFIX, ViewerPage
from iiif_server.plan.header import Colour
from iiif_server.routes.gallery_search import (
    FOLDER_TIMEOUT,
    NO_FOLDER,
    folders,
    opening,
    with_page_counts,
)
from iiif_server.routes.image_api import base_uri_answer
from iiif_server.routes.parameters import IdentifierPath
from iiif_server.server.addresses import identifier_in, raw_path_of, root_path_of
from iiif_server.server.call import base_uri
from iiif_server.server.headers import interactive_page
from iiif_server.server.problems import DOCUMENTED_PAGES, problem_of
from iiif_server.server.respond import HTML, JSON, TEXT, Answer
from iiif_server.server.services import CurrentServices, Services

VIEW = "view"
"""Last path segment of the viewer."""
EMBED = "embed"
"""Last path segment of the viewer for iframes of other sites."""
_IMMUTABLE = "public, max-age=31536000, immutable"
_NO_CACHE = "no-cache"
_NO_STORE = "no-store"
_MAX_WORDS_LENGTH = 200
"""Maximum characters of the words that filter names; the rest is ignored."""
_MAX_FOLDERS = 8
"""Maximum types whose first images the front page shows."""
_SAMPLE = "sample"
"""Type that the server has without a settings file."""
_ROBOTS = {
    "front": "User-agent: *\nAllow: /$\nDisallow: /\n",
    "all": "User-agent: *\nDisallow:\n",
    "none": "User-agent: *\nDisallow: /\n",
}
"""robots.txt by `pages.robots`. A crawler that follows image URLs would never finish."""

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front(
    request: Request,
    services: CurrentServices,
    *,
    folder: Annotated[str | None, Query()] = None,
    page: Annotated[str, Query()] = "1",
    words: Annotated[str, Query()] = "",
    by: Annotated[str, Query()] = "",
    open_: Annotated[str | None, Query(alias="open")] = None,
) -> Response:
    """Front page; or a folder of the gallery, or the result of "Open an image"."""
    if not raw_path_of(request.scope).endswith("/"):  # links of pages are relative
        query = f"?{request.url.query}" if request.url.query else ""
        location = f"{services.addressing.base_of(request.scope)}/{query}"
        return Answer(status_code=307, extra={"Location": location})
    if open_ is not None:
        return await html_answer(request, services, lambda: _opening(request, services, open_))
    if folder is not None:
        number = int(page) if page.isascii() and page.isdecimal() and len(page) <= 9 else 1  # noqa: PLR2004 - digits
        folder_call = _FolderCall(
            folder, number, words[:_MAX_WORDS_LENGTH].strip(), jump=by == "jump"
        )
        return await html_answer(request, services, lambda: _folder(request, services, folder_call))
    return await html_answer(request, services, lambda: _front(request, services))


@router.get("/docs")
async def documentation(request: Request, services: CurrentServices) -> Response:
    """Interactive API documentation."""

    async def page() -> Response:
        services.files.require("swagger-ui-dist")
        html = services.pages.documentation(root_of(request), await _example(services))
        policy = interactive_page(shows_answers=True)
        return Answer(html.encode(), HTML, cache_control=_NO_CACHE, extra=policy)

    return await html_answer(request, services, page)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """OpenAPI document of the server, with `root_path` in `servers`."""
    document = request.app.openapi()
    if root := root_path_of(request.scope):
        document = {**document, "servers": [{"url": root}]}
    return Answer(json.dumps(document, separators=(",", ":")).encode(), JSON)


@router.get(STATIC_PREFIX + "/{digest}/{name:path}")
async def static(request: Request, services: CurrentServices, digest: str, name: str) -> Response:
    """Script or style of the web pages."""
    file = services.files.get(name)
    if file is None:
        raise HTTPException(404)
    # Pages of another server version may have another digest: they get the current file.
    kept = _IMMUTABLE if digest == services.files.digest else _NO_CACHE
    return await _file(request, file, kept)


@router.get("/favicon.ico")
async def icon(request: Request, services: CurrentServices) -> Response:
    """Icon, for browsers that show an image or JSON instead of a page."""
    file = services.files.get("icon.svg")
    if file is None:  # pragma: no cover - the package contains it
        raise HTTPException(404)
    return await _file(request, file, "max-age=86400")


@router.get("/robots.txt")
async def robots(services: CurrentServices) -> Response:
    """File robots.txt, by `pages.robots`."""
    text = _ROBOTS[services.page_options.robots]
    return Answer(text.encode(), TEXT, cache_control="max-age=86400")


def viewer_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """Routes of the viewer under a path prefix: the page, and the viewer for iframes."""
    router = APIRouter(prefix=prefix, tags=["Pages"], responses=DOCUMENTED_PAGES)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        f"/{{identifier:path}}/{VIEW}",
        operation_id=f"viewer_{named}",
        summary="Viewer",
        response_class=HTMLResponse,
        include_in_schema=prefix == "",
    )
    async def viewer(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        """Page with a zoomable image; `?with=` compares it with another image."""
        return await _page_of_image(_Call(request, services, version, prefix, VIEW), identifier)

    @router.get(
        f"/{{identifier:path}}/{EMBED}",
        operation_id=f"embedded_viewer_{named}",
        summary="Viewer for an iframe",
        response_class=HTMLResponse,
        include_in_schema=prefix == "",
    )
    async def embedded(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        """Only the zoomable image, for iframes on the sites in `[pages] frame_ancestors`."""
        return await _page_of_image(_Call(request, services, version, prefix, EMBED), identifier)

    return router


@dataclass(frozen=True, slots=True)
class _FolderCall:
    """Request for one page of a folder in the gallery."""

    folder: str
    number: int
    words: str
    """Words that names must contain, or with `jump` the beginning of a name."""
    jump: bool
    """Whether to redirect to the page with the first name that begins with `words`."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Request for a page of one image."""

    request: Request
    services: Services
    version: ImageApiVersion
    prefix: str
    kind: str
    """Last path segment: `view` or `embed`."""


async def _page_of_image(call: _Call, identifier: str) -> Response:
    request, services = call.request, call.services
    if not request.scope.get("raw_path", b"").endswith(f"/{call.kind}".encode()):
        # With an encoded slash before it, the last segment is a part of the identifier.
        name = f"{identifier}/{call.kind}"
        return base_uri_answer(request, services, call.prefix, name)

    async def page() -> Response:
        raw_identifier = identifier_in(request.scope, call.prefix, 1, identifier)
        if call.version is V2:  # the page of version 3 shows the same
            base = services.addressing.base_of(request.scope, V3.path)
            query = f"?{request.url.query}" if request.url.query else ""
            target = f"{base_uri(base, raw_identifier)}/{call.kind}{query}"
            return Answer(status_code=303, extra={"Location": target})
        return await _viewer(call, raw_identifier)

    return await html_answer(request, services, page, services.page_options.frame_sources)


async def html_answer(
    request: Request,
    services: Services,
    page: Callable[[], Awaitable[Response]],
    frame_ancestors: Sequence[str] = (),
) -> Response:
    """Page, or an HTML page for its error, with the same HTTP status as in JSON.

    The sites in `frame_ancestors` may show the error page in a frame, too.
    """
    try:
        return await page()
    except IiifServerError as error:
        answer = problem_of(error)
        html = services.pages.problem(root_of(request), answer.status_code, str(error))
        answer.body, answer.media_type = html.encode(), HTML
        answer.extra = {**answer.extra, **interactive_page(frame_ancestors)}
        return answer


def root_of(request: Request) -> str:
    """Relative URL from a page to the front page, as `./` or `../`."""
    inner = raw_path_of(request.scope).removeprefix(root_path_of(request.scope))
    return "../" * (inner.count("/") - 1) or "./"


async def _opening(request: Request, services: Services, text: str) -> Response:
    found = await opening(request, services, text)
    if isinstance(found, Response):
        return found
    return _page(services.pages.found(root_of(request), text, found))


async def _front(request: Request, services: Services) -> Response:
    names = services.public_types() if services.page_options.gallery else ()

    async def first(type_: str, index: int) -> FrontPageType:
        browsable = services.originals.source(type_).browsable
        page = None
        if browsable and index < _MAX_FOLDERS:
            with suppress(*NO_FOLDER):
                async with asyncio.timeout(FOLDER_TIMEOUT):
                    listing = await services.listings.of(type_)
                page = page_of(listing, parse_place(type_), 1, FIRST_ROWS)
        title = services.types[type_].title or type_
        return FrontPageType(type_, title, browsable=browsable, page=page)

    types = await asyncio.gather(*(first(name, index) for index, name in enumerate(names)))
    html = services.pages.front(root_of(request), types, gallery=services.page_options.gallery)
    return _page(html)


async def _folder(request: Request, services: Services, folder_call: _FolderCall) -> Response:
    place = parse_place(folder_call.folder)
    if not services.page_options.gallery or place.type not in services.public_types():
        raise FolderNotFoundError
    words = () if folder_call.jump else tuple(folder_call.words.split())
    listing = await services.listings.of(place.type, place.folder, words)
    if folder_call.jump:
        number = position(listing, folder_call.words) // PAGE_SIZE + 1
        query = urlencode({"folder": str(place), "page": number})
        location = f"{services.addressing.base_of(request.scope)}/?{query}"
        return Answer(status_code=303, extra={"Location": location})
    page = await with_page_counts(services, place, page_of(listing, place, folder_call.number))
    return _page(
        services.pages.folder(root_of(request), services.with_title(place), page, folder_call.words)
    )


async def _example(services: Services) -> str:
    """Identifier of a public image, as an example; empty if none is found quickly."""
    if services.page_options.gallery:
        async for place, names in folders(services, _SAMPLE):
            if names:
                return str(Identifier(place.type, place.below(names[0])))
    return ""


async def _viewer(call: _Call, raw_identifier: str) -> Response:
    request, services = call.request, call.services
    permission = services.permit(raw_identifier)
    identifier = permission.identifier
    image = await services.images.get(identifier)
    original, header = image.original, image.header
    document = image_information(V3, "", header.dimensions, services.service_description(image))
    listed = services.page_options.gallery and permission.grant is None
    browsable = listed and services.originals.source(identifier.type).browsable
    ancestors = services.page_options.frame_sources
    viewed = ViewerPage(
        identifier=str(identifier),
        place=services.with_title(place_of(identifier)) if browsable else None,
        facts=facts(header, original.file.size, original.modified, document),
        gray=header.colour is Colour.GRAY,
        expires=permission.grant is not None,
        frameable=bool(ancestors),
        # A signature is valid for one page of the original only.
        turning=_turning(image) if permission.grant is None else None,
    )
    kept = _NO_CACHE if permission.grant is None else _NO_STORE
    zooming = services.files.has("openseadragon")
    pages = services.pages
    write = pages.embedded if call.kind == EMBED else pages.viewer
    return _page(write(root_of(request), viewed, zooming=zooming), kept, ancestors)


def _turning(image: Image) -> PageNavigation | None:
    original, count = image.original, image.header.pages
    if count == 1:
        return None
    return PageNavigation(original.file_identifier, original.page or 1, count)


def _page(html: str, kept: str = _NO_CACHE, frame_ancestors: Sequence[str] = ()) -> Answer:
    policy = interactive_page(frame_ancestors)
    return Answer(html.encode(), HTML, cache_control=kept, extra=policy)


async def _file(request: Request, file: PageFile, kept: str) -> Response:
    tag = blake2b(file.content, digest_size=8).hexdigest()
    content, extra = file.content, {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = await asyncio.to_thread(lambda: file.compressed)
        extra["Content-Encoding"] = "gzip"
    # Weak, because the tag is the same with and without compression.
    return Answer(content, file.media_type, cache_control=kept, tag=tag, weak=True, extra=extra)
