"""Services of the routes, built once by `composition` and stored in the app's state."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

from fastapi import Depends, Request

from iiif_server.cache.lru import Lru
from iiif_server.cache.store import Store
from iiif_server.errors import SignatureRefusedError, UntrustedUrlError
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Limits, OutputLimits
from iiif_server.iiif.identifier import Identifier, split_page
from iiif_server.iiif.information import Service
from iiif_server.images.derivatives import Derivatives
from iiif_server.images.listings import FolderListings
from iiif_server.images.originals import Originals
from iiif_server.images.purge import Purge
from iiif_server.images.pyramids import Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.registry import Image, ImageRegistry
from iiif_server.pages.files import PageFiles
from iiif_server.pages.options import PagesOptions, PresentationOptions
from iiif_server.pages.paging import Place
from iiif_server.pages.rendering import Pages
from iiif_server.plan.description import inches_per_pixel
from iiif_server.plan.jobs import LibraryReport
from iiif_server.server.access_log import AccessLog
from iiif_server.server.addresses import Addressing
from iiif_server.server.credentials import Credentials
from iiif_server.server.download_options import ArchiveSlots, DownloadOptions
from iiif_server.server.headers import Caching
from iiif_server.server.readiness import Readiness
from iiif_server.server.signing import SEGMENT, ExactRequest, Grant, Signatures, split
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.identifiers import IdentifierReader
from iiif_server.sources.trusted_web import decode_url
from iiif_server.telemetry.events import Observer
from iiif_server.telemetry.metrics import CounterDeltas, Metrics
from iiif_server.workers.pool import WorkerPool
from iiif_server.workers.sandbox.confinement import SandboxStatus

if TYPE_CHECKING:
    from iiif_server.sharing.shared_cache import SharedCache


@dataclass(frozen=True, slots=True)
class Permission:
    """Permission to get an image."""

    identifier: Identifier
    grant: Grant | None = None
    """Grant of the signature; None: the type is public."""


@dataclass(frozen=True, slots=True)
class Services:
    """All objects with the lifetime of the process that routes use."""

    addressing: Addressing
    originals: Originals
    images: ImageRegistry
    derivatives: Derivatives
    pyramids: Pyramids
    responses: Lru[Any, Any]
    """Response cache: `Complete` by `ResponseKey`."""
    store: Store
    shared: "SharedCache | None"
    """Cache that several machines share; None: not configured."""
    purge: Purge
    fetcher: Fetcher
    header_pool: WorkerPool
    image_pool: WorkerPool
    quarantine: Quarantine
    types: Mapping[str, TypeOptions]
    identifiers: IdentifierReader
    formats: tuple[Format, ...]
    """Formats that this server can encode."""
    lossless: bool
    """Whether the lossless engine is available."""
    turbojpeg: LibraryReport
    """Report on the libturbojpeg that image workers use."""
    limits: OutputLimits
    min_sizes_size: int
    credentials: Credentials | None
    """Token of the admin API; None: the admin API is off."""
    signatures: Signatures | None
    """Signatures of URLs; None: no keys are configured, and so no signed types."""
    observer: Observer
    accel_redirect: str | None
    accel_originals: str | None
    """Internal location of nginx for originals (`DeliveryOptions`)."""
    source_path: Path
    """Folder of originals, with symbolic links resolved."""
    downloads: DownloadOptions
    archive_slots: ArchiveSlots
    access_log: AccessLog
    metrics: Metrics
    counter_deltas: CounterDeltas
    """Counts of the components that the metrics already contain."""
    readiness: Readiness
    canonical_redirect: bool
    """Whether image requests are redirected to their canonical URL."""
    confinement: Mapping[str, SandboxStatus]
    """Sandbox status of the workers of each pool."""
    listings: FolderListings
    files: PageFiles
    pages: Pages
    page_options: PagesOptions
    presentation: PresentationOptions
    started: float
    """Time at which the process started to serve, in seconds since the epoch."""

    def identifier(self, raw_identifier: str) -> Identifier:
        """Parse the identifier in a URL.

        Raises the errors of `IdentifierReader.read`, and UnknownTypeError if its type is not
        configured.
        """
        identifier = self.identifiers.read(raw_identifier)
        self.originals.source(identifier.type)
        return identifier

    def permit(self, raw_identifier: str, exact_request: ExactRequest | None = None) -> Permission:
        """Check the permission for the image in a URL, or for one exact request.

        Raises the errors of `identifier`, and SignatureRefusedError. The image is not looked up:
        without a signature, a client cannot find out which images of a signed type exist.
        """
        if self.signatures is None:
            return Permission(self.identifier(raw_identifier))
        signature, rest = split(raw_identifier)
        if signature is not None and not rest:
            raise SignatureRefusedError
        identifier = self.identifiers.read(rest)
        if signature is not None:
            grant = self.signatures.check(signature, identifier, exact_request)
            self.originals.source(identifier.type)
            return Permission(identifier, grant)
        if SEGMENT in identifier.type.lower() and identifier.type not in self.types:
            raise SignatureRefusedError  # a signature that a client has changed by mistake
        self.originals.source(identifier.type)
        if self.types[identifier.type].access == "signed":
            raise SignatureRefusedError
        return Permission(identifier)

    def readable_name(self, identifier: Identifier) -> str:
        """Name of an original for file names and labels; of a URL, its path or its host."""
        if not self.types[identifier.type].takes_urls:
            return identifier.name
        name, page = split_page(identifier.name)
        with suppress(UntrustedUrlError):
            url = urlsplit(decode_url(name))
            readable = unquote(url.path).lstrip("/") or url.netloc
            return readable if page is None else f"{readable};{page}"
        return identifier.name

    def public_types(self) -> tuple[str, ...]:
        """Sorted names of the types with public access."""
        types = sorted(self.types.items())
        return tuple(name for name, options in types if options.access == "public")

    def browsable_types(self) -> tuple[str, ...]:
        """Sorted names of the public types with folder listings."""
        public = self.public_types()
        return tuple(name for name in public if self.originals.source(name).browsable)

    def with_title(self, place: Place) -> Place:
        """Place with the title of its type."""
        return replace(place, title=self.types[place.type].title)

    def may_repeat(self, permission: Permission) -> bool:
        """Whether the response cache may repeat a response while the original is unchanged."""
        source = self.originals.source(permission.identifier.type)
        return permission.grant is None and not source.revalidates

    def public_caching(self, type_: str) -> Caching:
        """`Cache-Control` of public images of a type."""
        options = self.types[type_]
        return Caching(options.cache_for, immutable=options.immutable)

    def caching(self, permission: Permission) -> Caching:
        """`Cache-Control` of a permitted image, limited by the expiry of its signature."""
        public = self.public_caching(permission.identifier.type)
        if permission.grant is None or self.signatures is None:
            return public
        left = self.signatures.seconds_left(permission.grant)
        return Caching(min(public.seconds, left), private=True)

    def limits_of(self, image: Image) -> Limits:
        """Limits of the renditions of an image, as published in its info.json."""
        return self.limits.of(image.facts.dimensions, image.original.terms.limits)

    def service_description(self, image: Image) -> Service:
        """Properties of the image service, for the info.json of an image."""
        original, header = image.original, image.header
        options = self.types[original.identifier.type]
        return Service(
            limits=self.limits_of(image),
            formats=self.formats,
            min_sizes_size=self.min_sizes_size,
            tile=self.pyramids.grid(header).tile,
            rights=original.terms.rights or options.rights,
            extra=dict(options.info),
            inches_per_pixel=inches_per_pixel(header),
        )


def services_of(app: Any) -> Services:
    """Services of an application; raises RuntimeError before its lifespan has opened them."""
    services: Services | None = getattr(app.state, "services", None)
    if services is None:
        raise RuntimeError(
            "The services of this application are not open: an application that mounts it has to "
            "enter services_lifespan(app) in its own lifespan (docs/library.md)."
        )
    return services


async def get_services(request: Request) -> Services:
    """Services of the app that handles a request; a FastAPI dependency."""
    return services_of(request.app)


CurrentServices = Annotated[Services, Depends(get_services)]
"""Parameter of a route: the services of the app that handles the request."""
