"""Search of the gallery's "Open an image" field: identifier, URL, folder, or words of a name."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import Request

from iiif_server.errors import (
    FolderNotFoundError,
    IiifServerError,
    NotFoundError,
    NotNowError,
    SourceUnavailableError,
    shown,
)
from iiif_server.iiif.identifier import Identifier, percent_decode
from iiif_server.iiif.request import parse_image_request
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.pages.paging import Item, Page, Place, parse_place
from iiif_server.plan.original_format import WITH_PAGES, extensions_of
from iiif_server.server.addresses import IMAGE_SEGMENTS
from iiif_server.server.respond import Answer
from iiif_server.server.services import Services

NO_FOLDER = (FolderNotFoundError, SourceUnavailableError, NotNowError, TimeoutError)
FOLDER_TIMEOUT = 1.0
"""Timeout for the listing of a folder, whose disk may hang."""
COUNT_TIMEOUT = 0.5
"""Timeout for the page counts of a folder; its thumbnails need the same image headers."""
MAX_FOLDERS = 32
"""Maximum folders that a search reads; large collections would need an index."""
MAX_RESULTS = 48
_SEVERAL = extensions_of(WITH_PAGES)
"""Extensions of files that may have several pages; only these files are opened to count pages."""
_VERSION = re.compile(r"(?:/iiif)?/([23])(?=/)")
_DOCUMENTS = ("/info.json", "/manifest.json", "/collection.json", "/view", "/embed")


async def with_page_counts(services: Services, place: Place, page: Page) -> Page:
    """Gallery page with the page count of each original, as far as found before the timeout."""

    async def counted(item: Item) -> Item:
        with suppress(IiifServerError):
            image = await services.images.get(Identifier(place.type, place.below(item.label)))
            return replace(item, pages=image.header.pages)
        return item

    several = [one for one in page.images if PurePosixPath(one.label).suffix.lower() in _SEVERAL]
    if not several:
        return page
    tasks = {item: asyncio.create_task(counted(item)) for item in several}
    done, pending = await asyncio.wait(tasks.values(), timeout=COUNT_TIMEOUT)
    for task in pending:
        task.cancel()
    found = {item: task.result() for item, task in tasks.items() if task in done}
    return replace(page, images=tuple(found.get(item, item) for item in page.images))


async def folders(
    services: Services, first: str = "", words: Sequence[str] = ()
) -> AsyncIterator[tuple[Place, Sequence[str]]]:
    """Yield public folders with the names of their images, breadth first, at most MAX_FOLDERS.

    With words, only images with all words in the names of their folders or their own. The type
    `first` comes first. Folders that cannot be read before the timeout are left out.
    """
    names = sorted(services.browsable_types(), key=lambda name: name != first)
    places = deque(parse_place(name) for name in names)
    for _ in range(MAX_FOLDERS):
        if not places:
            return
        place = places.popleft()
        with suppress(*NO_FOLDER):
            async with asyncio.timeout(FOLDER_TIMEOUT):
                listing = await services.listings.of(place.type, place.folder)
                other = tuple(word for word in words if word not in place.folder.casefold())
                found = await services.listings.of(place.type, place.folder, other)
            yield place, found.names
            places.extend(
                Place(place.type, place.below(name)) for name in listing.folders[:MAX_FOLDERS]
            )


async def search(services: Services, words: str) -> list[Item]:
    """Images whose names contain all words, ignoring case; at most MAX_RESULTS."""
    terms = words.casefold().replace("/", " ").split()
    found: list[Item] = []
    async for place, names in folders(services, words=terms):
        for name in names[: MAX_RESULTS - len(found)]:
            path = place.below(name)
            found.append(Item(path, Identifier(place.type, path).encoded))
        if len(found) == MAX_RESULTS:
            break
    return found


async def opening(request: Request, services: Services, text: str) -> Answer | list[Item]:
    """Redirect to the image or folder of a search text, or the images that a search finds.

    Raises NotFoundError if no name contains the words.
    """
    base = services.addressing.base_of(request.scope)
    text = text.strip()
    path = _path_on_this_server(text, base)
    if path is not None:
        text = named_by(path)
    place = parse_place(text.rstrip("/:"))
    if await _is_folder(services, place):
        folder = quote(str(place), safe=":/")
        return _redirect(f"{base}/?folder={folder}")
    if services.page_options.gallery and not _is_identifier(services, text):
        found = await search(services, text)
        if len(found) == 1:
            return _redirect(f"{base}/{found[0].target}/view")
        if found:
            return found
        if services.identifiers.default_type is None and not {":", "/"} & set(text):
            raise NotFoundError(f"No image and no folder has a name with {shown(text)} in it.")
    return _redirect(f"{base}/{quote(text, safe=':/@')}/view")


def _redirect(location: str) -> Answer:
    return Answer(status_code=303, extra={"Location": location})


def named_by(path: str) -> str:
    """Identifier or folder in the path and query of a URL of this server.

    Raises MalformedIdentifierError for invalid percent-encoding.
    """
    parts = urlsplit(path)
    if parts.path in {"", "/"} and (folder := parse_qs(parts.query).get("folder")):
        return folder[0]
    rest, version = parts.path, V3
    if match := _VERSION.match(rest):
        rest, version = rest[match.end() :], V2 if match[1] == "2" else V3
    rest = rest.rstrip("/")
    for document in _DOCUMENTS:
        if rest.endswith(document):
            rest = rest.removesuffix(document)
            break
    else:
        name, *parameters = rest.rsplit("/", IMAGE_SEGMENTS)
        if name and len(parameters) == IMAGE_SEGMENTS and _is_image(parameters, version):
            rest = name
    return percent_decode(rest.strip("/"))


def _path_on_this_server(text: str, base: str) -> str | None:
    """Path and query of a URL of this server, with either scheme; None for other texts."""
    for scheme in ("http://", "https://"):
        other = scheme + base.partition("://")[2]
        if text.startswith(f"{other}/"):
            return text.removeprefix(other).partition("#")[0]
    return None


def _is_image(parameters: list[str], version: ImageApiVersion) -> bool:
    try:
        return parse_image_request("/".join(map(percent_decode, parameters)), version) is not None
    except IiifServerError:
        return False


def _is_identifier(services: Services, text: str) -> bool:
    """Whether a text begins with the name of a type and a colon: then it needs no search."""
    type_, colon, _ = text.partition(":")
    return bool(colon) and type_ in services.types


async def _is_folder(services: Services, place: Place) -> bool:
    if not services.page_options.gallery or place.type not in services.browsable_types():
        return False
    try:
        async with asyncio.timeout(FOLDER_TIMEOUT):
            await services.listings.of(place.type, place.folder)
    except NO_FOLDER:
        return False
    return True
