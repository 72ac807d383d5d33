"""Routes of the Presentation API 3.0: manifests of images, and collections of folders."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from iiif_server.errors import (
    FolderNotFoundError,
    IiifServerError,
    TooManyImagesError,
)
from iiif_server.iiif.collection import Reference, collection, part_references
from iiif_server.iiif.identifier import Identifier, percent_decode
from iiif_server.iiif.manifest import (
    MEDIA_TYPE,
    ImageService,
    Picture,
    label_of,
    level_2_services,
    manifest,
)
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.registry import Image
from iiif_server.pages.paging import Place, page_of, parse_place
from iiif_server.plan.header import NO_SIZE, PageList
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.routes import schemas
from iiif_server.routes.image_api import base_uri_answer
from iiif_server.routes.parameters import IdentifierPath
from iiif_server.server.addresses import identifier_in
from iiif_server.server.call import base_uri
from iiif_server.server.headers import strictest
from iiif_server.server.problems import DOCUMENTED, problem_of
from iiif_server.server.respond import Answer
from iiif_server.server.services import CurrentServices, Permission, Services
from iiif_server.server.signing import split
from iiif_server.sources.listings import MAX_ENTRIES

MANIFEST = "manifest.json"
COLLECTION = "collection.json"
_CONCURRENT_IMAGES = 4
"""Maximum images of one manifest that are opened or fetched at the same time."""
_COLLECTION_SECONDS = 60
"""Maximum `max-age` of a collection in seconds, as folders change at any time."""
_MAX_PAGES = 1_000_000

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
    Query(ge=1, le=_MAX_PAGES, description="which part of a large folder", examples=[1]),
]


def split_identifiers(texts: Sequence[str]) -> list[str]:
    """Identifiers in a query, each once, as written in the URL."""
    return list(dict.fromkeys(part.strip() for text in texts for part in text.split(",")))


def presentation_router(version: ImageApiVersion, prefix: str) -> APIRouter:
    """Route of manifests under a path prefix; must be added before the routes of images."""
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
    async def image_manifest(
        request: Request, identifier: IdentifierPath, services: CurrentServices
    ) -> Response:
        """Manifest of one original (Presentation API 3.0), with one canvas for each page."""
        if not request.scope.get("raw_path", b"").endswith(f"/{MANIFEST}".encode()):
            # With an encoded slash before it, `manifest.json` is a part of the identifier.
            name = f"{identifier}/{MANIFEST}"
            return base_uri_answer(request, services, prefix, name)
        raw_identifier = identifier_in(request.scope, prefix, 1, identifier)
        place = _Place(request, services, prefix)
        images = await _load_image(place, raw_identifier)
        pictures = await _pages(place, images)
        id_ = f"{images.picture.base_uri}/{MANIFEST}"
        return await _manifest(services, id_, images.picture.label, pictures, [images])

    return router


documents = APIRouter(tags=["Presentation"], responses=DOCUMENTED)
"""Router of manifests of several images and of collections; must be added before images."""


@documents.get(
    f"/{MANIFEST}",
    operation_id="manifest_of_several",
    summary="Manifest of several images",
    response_class=Response,
    responses=schemas.MANIFEST,
)
async def images_manifest(
    request: Request, services: CurrentServices, identifiers: Identifiers
) -> Response:
    """Manifest of several images, in the requested order, each once."""
    place = _Place(request, services, "")
    raw_identifiers = split_identifiers(identifiers)
    limit = services.presentation.max_images
    if len(raw_identifiers) > limit:
        raise TooManyImagesError(
            f"A manifest has at most {limit} images on this server; this one would have "
            f"{len(raw_identifiers)}."
        )
    slots = asyncio.Semaphore(_CONCURRENT_IMAGES)
    loaded = await asyncio.gather(*(_load_or_error(place, part, slots) for part in raw_identifiers))
    found: dict[Identifier, _LoadedImage] = {}
    for one in loaded:
        if isinstance(one, _FailedImage):
            return problem_of(one.error, about=one.about)
        found.setdefault(one.permission.identifier, one)
    images = list(found.values())
    named = ",".join(quote(one.raw_identifier, safe="/:") for one in images)
    pictures = [one.picture for one in images]
    label = pictures[0].label if len(pictures) == 1 else f"{len(pictures)} images"
    id_ = f"{place.base()}/{MANIFEST}?identifiers={named}"
    return await _manifest(services, id_, label, pictures, images)


@documents.get(
    f"/{COLLECTION}",
    operation_id="collection_of_all",
    summary="Collection of all types",
    response_class=Response,
    responses=schemas.COLLECTION,
)
async def root_collection(request: Request, services: CurrentServices) -> Response:
    """Collection of the public types with folder listings."""
    if not services.page_options.gallery:
        raise FolderNotFoundError
    base = services.addressing.base_of(request.scope)
    places = (services.with_title(Place(name)) for name in services.browsable_types())
    items = [_folder(base, place) for place in places]
    document = collection(f"{base}/{COLLECTION}", services.page_options.title, items)
    return _collection(document, _COLLECTION_SECONDS)


@documents.get(
    f"/{{place:path}}/{COLLECTION}",
    operation_id="collection",
    summary="Collection of a folder",
    response_class=Response,
    responses=schemas.COLLECTION,
)
async def folder_collection(
    request: Request, services: CurrentServices, place: PlacePath, page: PageNumber = None
) -> Response:
    """Collection of the folders and images in one folder; a large folder has parts."""
    if not request.scope.get("raw_path", b"").endswith(f"/{COLLECTION}".encode()):
        return base_uri_answer(request, services, "", f"{place}/{COLLECTION}")
    raw_identifier = identifier_in(request.scope, "", 1, place)
    found = parse_place(percent_decode(raw_identifier))
    if not services.page_options.gallery or found.type not in services.browsable_types():
        raise FolderNotFoundError
    document = await _folder_document(request, services, services.with_title(found), page)
    seconds = min(_COLLECTION_SECONDS, services.types[found.type].cache_for)
    return _collection(document, seconds)


@dataclass(frozen=True, slots=True)
class _Place:
    """Request and path prefix of a manifest, for the URLs in it."""

    request: Request
    services: Services
    prefix: str

    def base(self, version: str = "") -> str:
        return self.services.addressing.base_of(self.request.scope, version)

    def uri(self, raw_identifier: str) -> str:
        """Base URI of an image, from its identifier as written in the URL."""
        return base_uri(self.base(V3.path if self.prefix else ""), raw_identifier)

    def services_of(self, raw_identifier: str) -> tuple[ImageService, ...]:
        """References to the image services of an image."""
        return level_2_services(
            self.uri(raw_identifier), base_uri(self.base(V2.path), raw_identifier)
        )


@dataclass(frozen=True, slots=True)
class _LoadedImage:
    """Permitted image, with its data for a manifest."""

    raw_identifier: str
    permission: Permission
    picture: Picture
    image: Image


@dataclass(frozen=True, slots=True)
class _FailedImage:
    """Refused identifier of a manifest of several images, with its error."""

    raw_identifier: str
    error: IiifServerError

    @property
    def about(self) -> str:
        """Identifier without its signature, which must not appear in the message."""
        return split(self.raw_identifier)[1] or self.raw_identifier


async def _load_image(place: _Place, raw_identifier: str) -> _LoadedImage:
    services = place.services
    permission = services.permit(raw_identifier)
    identifier = permission.identifier
    image = await services.images.get(identifier)
    offered = services.service_description(image)
    picture = Picture(
        base_uri=place.uri(raw_identifier),
        services=place.services_of(raw_identifier),
        label=label_of(services.readable_name(identifier)),
        dimensions=image.header.dimensions,
        limits=offered.limits,
        min_sizes_size=offered.min_sizes_size,
        rights=offered.rights,
        extra=offered.extra,
    )
    return _LoadedImage(raw_identifier, permission, picture, image)


async def _load_or_error(
    place: _Place, raw_identifier: str, slots: asyncio.Semaphore
) -> _LoadedImage | _FailedImage:
    async with slots:
        try:
            return await _load_image(place, raw_identifier)
        except IiifServerError as error:
            return _FailedImage(raw_identifier, error)


async def _pages(place: _Place, loaded: _LoadedImage) -> Sequence[Picture]:
    """Pages of an original as pictures.

    A request for `name;N`, or with a signature, gets only the requested page.
    """
    services, header = place.services, loaded.image.header
    one_page = header.pages == 1 or loaded.image.original.page is not None
    if one_page or loaded.permission.grant is not None:
        return [loaded.picture]
    async with services.images.hold(loaded.permission.identifier) as image:
        found = await services.images.pages(image)
    # In a thread: there may be ten thousand pages.
    return await asyncio.to_thread(_pictures, place, loaded, found)


def _pictures(place: _Place, loaded: _LoadedImage, found: PageList) -> Sequence[Picture]:
    services, header, pictures = place.services, loaded.image.header, []
    for number, dimensions in enumerate(found.dimensions, 1):
        if dimensions == NO_SIZE:
            continue
        name = found.names[number - 1] if found.names else ""
        page = replace(header, stored=dimensions, orientation=UPRIGHT)
        # The first page has the URLs of the original, and so its cache entries.
        raw_identifier = (
            loaded.raw_identifier if number == 1 else f"{loaded.raw_identifier};{number}"
        )
        pictures.append(
            replace(
                loaded.picture,
                base_uri=place.uri(raw_identifier),
                services=place.services_of(raw_identifier),
                label=name or f"Page {number}",
                dimensions=dimensions,
                limits=services.limits_of(replace(loaded.image, header=page)),
            )
        )
    return pictures or [loaded.picture]


async def _manifest(
    services: Services,
    id_: str,
    label: str,
    pictures: Sequence[Picture],
    images: Sequence[_LoadedImage],
) -> Answer:
    # In a thread: ten thousand pages take a second.
    content = await asyncio.to_thread(lambda: _json(manifest(id_, label, pictures)))
    repeatable = len(images) == 1 and services.may_repeat(images[0].permission)
    return Answer(
        content,
        MEDIA_TYPE,
        cache_control=str(strictest(services.caching(one.permission) for one in images)),
        tag=blake2b(content, digest_size=16).hexdigest(),
        modified=max(one.image.original.modified for one in images),
        depends_on=images[0].image if repeatable else None,
    )


async def _folder_document(
    request: Request, services: Services, place: Place, number: int | None
) -> dict[str, Any]:
    base = services.addressing.base_of(request.scope)
    listing = await services.listings.of(place.type, place.folder)
    page = page_of(listing, place, number or 1, services.presentation.page_size)
    if number is not None and number != page.number:
        raise FolderNotFoundError(
            f"This folder has {page.count} part{'s' if page.count > 1 else ''}."
        )
    this_folder = _folder(base, place)
    total = len(page.folders) + len(page.images)
    rest = None
    if not page.complete:
        rest = f"The folder holds more than {MAX_ENTRIES:,} entries; the rest is not shown."
    if number is None and page.count > 1:
        total = len(listing.folders) + page.total
        items = part_references(
            this_folder.id, this_folder.label, page.count, services.presentation.page_size, total
        )
        return collection(
            this_folder.id, this_folder.label, items, _parent(base, place, services), rest
        )
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
        return collection(
            this_folder.id, this_folder.label, items, _parent(base, place, services), rest
        )
    label = f"{this_folder.label}: part {page.number} of {page.count}"
    return collection(f"{this_folder.id}?page={number}", label, items, this_folder)


def _parent(base: str, place: Place, services: Services) -> Reference:
    """Reference to the parent collection of a folder."""
    if not place.folder:
        return Reference(f"{base}/{COLLECTION}", "Collection", services.page_options.title)
    return _folder(base, replace(place, folder=place.folder.rpartition("/")[0]))


def _folder(base: str, place: Place) -> Reference:
    named = quote(str(place), safe=":/")
    return Reference(f"{base}/{named}/{COLLECTION}", "Collection", place.trail[-1].label)


def _collection(document: dict[str, Any], seconds: int) -> Answer:
    content = _json(document)
    tag = blake2b(content, digest_size=16).hexdigest()
    return Answer(content, MEDIA_TYPE, cache_control=f"max-age={seconds}", tag=tag)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
