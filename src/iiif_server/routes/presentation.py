"""The Presentation API: manifests of images, and collections of folders."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from iiif_server.errors import (
    FolderNotFoundError,
    IiifServerError,
    TooManyImagesError,
    UntrustedUrlError,
)
from iiif_server.iiif.collection import Reference, collection, parts
from iiif_server.iiif.identifier import Identifier, percent_decode
from iiif_server.iiif.manifest import MEDIA_TYPE, Picture, label_of, level_2, manifest
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.originals import Original
from iiif_server.pages.paging import Place, page_of, parse_place
from iiif_server.routes import schemas
from iiif_server.routes.image_api import base_uri_answer
from iiif_server.routes.parameters import IdentifierPath
from iiif_server.server.addresses import written_identifier
from iiif_server.server.caching import strictest
from iiif_server.server.conditions import is_not_modified, validators
from iiif_server.server.fast_path import offer
from iiif_server.server.headers import SAFE_IN_URIS
from iiif_server.server.problems import DOCUMENTED, refusal
from iiif_server.server.services import Permission, Services, services
from iiif_server.server.signing import split
from iiif_server.sources.listings import MOST_ENTRIES
from iiif_server.sources.trusted_web import decode_url

Provided = Annotated[Services, Depends(services)]

MANIFEST = "manifest.json"
COLLECTION = "collection.json"
_AT_ONCE = 4
"""Images of one manifest that are looked at, or fetched, at the same time."""
_COLLECTION_SECONDS = 60
"""For how long clients may keep a collection: files come and go."""
_MOST_PAGES = 1_000_000

Identifiers = Annotated[
    list[str],
    Query(
        description=(
            "identifiers between commas, each percent-encoded as in a path; or the parameter again"
        ),
        examples=["sample:atlas.jpg"],
    ),
]
PlacePath = Annotated[
    str,
    Path(
        description="the name of a type, or `type:folder`, percent-encoded as in an identifier",
        examples=["sample"],
    ),
]
PageNumber = Annotated[
    int | None,
    Query(ge=1, le=_MOST_PAGES, description="which part of a large folder", examples=[1]),
]


def presentation_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """The manifest of each image under a path prefix; to be added before the images' routes."""
    router = APIRouter(prefix=prefix, tags=["Presentation"], responses=DOCUMENTED)
    named = f"v{version.number[0]}" if prefix else "default"

    @router.get(
        f"/{{identifier:path}}/{MANIFEST}",
        operation_id=f"manifest_{named}",
        summary="Manifest",
        response_class=Response,
        responses=schemas.MANIFEST,
        include_in_schema=prefix == "",
    )
    async def of_one(request: Request, identifier: IdentifierPath, provided: Provided) -> Response:
        """One image as a manifest (Presentation API 3.0): its first page, on one canvas."""
        if not request.scope.get("raw_path", b"").endswith(f"/{MANIFEST}".encode()):
            # An encoded slash: `manifest.json` is the end of a name.
            name = f"{identifier}/{MANIFEST}"
            return await base_uri_answer(request, provided, version, prefix, name)
        written = written_identifier(request, prefix, 1, identifier)
        seen = await _see(_Place(request, provided, prefix), written)
        return _manifest(request, provided, f"{seen.picture.base_uri}/{MANIFEST}", [seen])

    return router


def documents_router() -> APIRouter:
    """The manifest of several images, and collections; to be added before the images' routes."""
    router = APIRouter(tags=["Presentation"], responses=DOCUMENTED)

    @router.get(
        f"/{MANIFEST}",
        operation_id="manifest_of_several",
        summary="Manifest of several images",
        response_class=Response,
        responses=schemas.MANIFEST,
    )
    async def of_several(
        request: Request, provided: Provided, identifiers: Identifiers
    ) -> Response:
        """Images in the order in which they are named, each once."""
        place = _Place(request, provided, "")
        written = list(
            dict.fromkeys(part.strip() for text in identifiers for part in text.split(","))
        )
        most = provided.presentation.max_images
        if len(written) > most:
            raise TooManyImagesError(
                f"A manifest has at most {most} images here; this one would have {len(written)}."
            )
        slots = asyncio.Semaphore(_AT_ONCE)
        looked = await asyncio.gather(*(_look(place, part, slots) for part in written))
        found: dict[Identifier, _Seen] = {}
        for one in looked:
            if isinstance(one, _Refused):
                return refusal(one.error, about=one.about)
            found.setdefault(one.permission.identifier, one)
        seen = list(found.values())
        named = ",".join(quote(one.written, safe="/:") for one in seen)
        return _manifest(request, provided, f"{place.base()}/{MANIFEST}?identifiers={named}", seen)

    @router.get(
        f"/{COLLECTION}",
        operation_id="collection_of_all",
        summary="Collection of all types",
        response_class=Response,
        responses=schemas.COLLECTION,
    )
    async def of_all(request: Request, provided: Provided) -> Response:
        """The types whose folders everyone may look through."""
        if not provided.page_options.gallery:
            raise FolderNotFoundError
        base = provided.addressing.base(request)
        items = [_folder(base, Place(name)) for name in provided.browsable_types()]
        document = collection(f"{base}/{COLLECTION}", provided.page_options.title, items)
        return _collection(request, document, _COLLECTION_SECONDS)

    @router.get(
        f"/{{place:path}}/{COLLECTION}",
        operation_id="collection",
        summary="Collection of a folder",
        response_class=Response,
        responses=schemas.COLLECTION,
    )
    async def of_folder(
        request: Request, provided: Provided, place: PlacePath, page: PageNumber = None
    ) -> Response:
        """The folders and images in one folder; those of a large one by its parts."""
        if not request.scope.get("raw_path", b"").endswith(f"/{COLLECTION}".encode()):
            return await base_uri_answer(request, provided, V3, "", f"{place}/{COLLECTION}")
        written = written_identifier(request, "", 1, place)
        found = parse_place(percent_decode(written))
        if not provided.page_options.gallery or found.type not in provided.browsable_types():
            raise FolderNotFoundError
        document = await _of_folder(request, provided, found, page)
        seconds = min(_COLLECTION_SECONDS, provided.types[found.type].cache_for)
        return _collection(request, document, seconds)

    return router


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a manifest is asked for."""

    request: Request
    provided: Services
    prefix: str

    def base(self, version: str = "") -> str:
        return self.provided.addressing.base(self.request, version)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image that somebody may see, as far as a manifest tells of it."""

    written: str
    permission: Permission
    picture: Picture
    modified: float
    original: Original


@dataclass(frozen=True, slots=True)
class _Refused:
    """One of several identifiers, and why there is no image of it for whoever asks."""

    written: str
    error: IiifServerError

    @property
    def about(self) -> str:
        """The identifier without its signature, which is nobody's business but its owner's."""
        return split(self.written)[1] or self.written


async def _see(place: _Place, written: str) -> _Seen:
    provided = place.provided
    permission = provided.permit(written)
    identifier = permission.identifier
    async with provided.originals.hold(identifier) as original:
        header = await provided.headers.of(original)
    named = quote(written, safe=SAFE_IN_URIS)
    prefix = V3.path if place.prefix else ""
    base_uri = f"{place.base(prefix)}/{named}"
    offered = provided.offer(identifier.type, header)
    picture = Picture(
        base_uri=base_uri,
        services=level_2(base_uri, f"{place.base(V2.path)}/{named}"),
        label=_label(provided, identifier),
        dimensions=header.dimensions,
        limits=offered.limits,
        min_sizes_size=offered.min_sizes_size,
        rights=offered.rights,
        extra=offered.extra,
    )
    return _Seen(written, permission, picture, original.modified, original.without_file())


def _label(provided: Services, identifier: Identifier) -> str:
    """What an image is called for people; of one whose name is a URL, the end of that."""
    name = identifier.name
    if provided.types[identifier.type].source == "trusted_web":
        with suppress(UntrustedUrlError):
            name = unquote(urlsplit(decode_url(name)).path)
    return label_of(name)


async def _look(place: _Place, written: str, slots: asyncio.Semaphore) -> _Seen | _Refused:
    async with slots:
        try:
            return await _see(place, written)
        except IiifServerError as error:
            return _Refused(written, error)


def _manifest(request: Request, provided: Services, id_: str, seen: Sequence[_Seen]) -> Response:
    label = seen[0].picture.label if len(seen) == 1 else f"{len(seen)} images"
    document = manifest(id_, label, [one.picture for one in seen])
    content = _json(document)
    tag = blake2b(content, digest_size=16).hexdigest()
    modified = max(one.modified for one in seen)
    headers = {
        "Cache-Control": str(strictest(provided.caching(one.permission) for one in seen)),
        **validators(tag, modified),
    }
    if is_not_modified(request.headers, tag, modified):
        return Response(status_code=304, headers=headers)
    if len(seen) == 1 and provided.may_repeat(seen[0].permission):
        offer(request, seen[0].original, tag, modified)
    return Response(content, media_type=MEDIA_TYPE, headers=headers)


async def _of_folder(
    request: Request, provided: Services, place: Place, number: int | None
) -> dict[str, Any]:
    base = provided.addressing.base(request)
    listing = await provided.listings.of(place.type, place.folder)
    page = page_of(listing, place, number or 1, provided.presentation.page_size)
    if number is not None and number != page.number:
        raise FolderNotFoundError(
            f"This folder has {page.count} part{'s' if page.count > 1 else ''}."
        )
    here = _folder(base, place)
    total = len(page.folders) + len(page.images)
    rest = None
    if not page.complete:
        rest = f"The folder holds more than {MOST_ENTRIES:,} entries; the rest is not shown."
    if number is None and page.count > 1:
        total = len(listing.folders) + page.total
        items = parts(here.id, here.label, page.count, provided.presentation.page_size, total)
        return collection(here.id, here.label, items, _above(base, place, provided), rest)
    items = (
        *(
            Reference(f"{base}/{item.target}/{COLLECTION}", "Collection", item.label)
            for item in page.folders
        ),
        *(
            Reference(f"{base}/{item.target}/{MANIFEST}", "Manifest", item.label)
            for item in page.images
        ),
    )
    if number is None:
        return collection(here.id, here.label, items, _above(base, place, provided), rest)
    label = f"{here.label}: part {page.number} of {page.count}"
    return collection(f"{here.id}?page={number}", label, items, here)


def _above(base: str, place: Place, provided: Services) -> Reference:
    """The collection that has the one of a folder in it."""
    if not place.folder:
        return Reference(f"{base}/{COLLECTION}", "Collection", provided.page_options.title)
    return _folder(base, Place(place.type, place.folder.rpartition("/")[0]))


def _folder(base: str, place: Place) -> Reference:
    named = quote(str(place), safe=":/")
    return Reference(f"{base}/{named}/{COLLECTION}", "Collection", place.trail[-1].label)


def _collection(request: Request, document: dict[str, Any], seconds: int) -> Response:
    content = _json(document)
    tag = blake2b(content, digest_size=16).hexdigest()
    headers = {"Cache-Control": f"max-age={seconds}", "ETag": f'"{tag}"'}
    if "if-none-match" in request.headers and is_not_modified(request.headers, tag, 0):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPE, headers=headers)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
