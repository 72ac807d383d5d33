"""What the routes work with: built once by the context, found through the app."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fastapi import Request

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
from iiif_server.server.caching import Caching
from iiif_server.server.credentials import Credentials
from iiif_server.server.download_options import ArchiveSlots, DownloadOptions
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
    """Leave to see an image."""

    identifier: Identifier
    grant: Grant | None = None
    """The signature that gave it; None where everybody has it."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the process does, as far as routes use it."""

    addressing: Addressing
    originals: Originals
    images: ImageRegistry
    derivatives: Derivatives
    pyramids: Pyramids
    responses: Lru[Any, Any]
    """The response cache: `Complete` by `ResponseKey`."""
    store: Store
    shared: "SharedCache | None"
    """The cache that several machines share; None: there is none."""
    purge: Purge
    fetcher: Fetcher
    header_pool: WorkerPool
    image_pool: WorkerPool
    quarantine: Quarantine
    types: Mapping[str, TypeOptions]
    identifiers: IdentifierReader
    formats: tuple[Format, ...]
    """Those that this build can make."""
    lossless: bool
    """Whether the lossless engine is there."""
    turbojpeg: LibraryReport
    """The libturbojpeg that image workers use."""
    limits: OutputLimits
    min_sizes_size: int
    credentials: Credentials | None
    """The token of those who run the server; None: there are no doors for them."""
    signatures: Signatures | None
    """None: there are no keys, and so no signed types."""
    observer: Observer
    accel_redirect: str | None
    accel_originals: str | None
    """See `DeliveryOptions`."""
    source_path: Path
    """The folder of originals, without links in its path."""
    downloads: DownloadOptions
    archive_slots: ArchiveSlots
    access_log: AccessLog
    metrics: Metrics
    counter_deltas: CounterDeltas
    """What has been written down in them of what components count."""
    readiness: Readiness
    canonical_redirect: bool
    """Whether requests in another than the canonical form are redirected to it."""
    confinement: Mapping[str, SandboxStatus]
    """The sandbox status of the workers of each pool."""
    listings: FolderListings
    files: PageFiles
    pages: Pages
    page_options: PagesOptions
    presentation: PresentationOptions
    started: float
    """When the process was ready, in seconds since the epoch."""

    def identifier(self, written: str) -> Identifier:
        """The identifier that a URL holds.

        Raises what `IdentifierReader.read` does, and UnknownTypeError for a type that is not
        configured.
        """
        identifier = self.identifiers.read(written)
        self.originals.source(identifier.type)
        return identifier

    def permit(self, written: str, asked: ExactRequest | None = None) -> Permission:
        """Leave to see the image, or to ask this for it, that stands in a URL.

        Raises what `identifier` does, and SignatureRefusedError. Nothing is looked for: without a
        signature, images of a signed type that exist and that do not cannot be told apart.
        """
        if self.signatures is None:
            return Permission(self.identifier(written))
        signature, rest = split(written)
        if signature is not None and not rest:
            raise SignatureRefusedError
        identifier = self.identifiers.read(rest)
        if signature is not None:
            grant = self.signatures.check(signature, identifier, asked)
            self.originals.source(identifier.type)
            return Permission(identifier, grant)
        if SEGMENT in identifier.type.lower() and identifier.type not in self.types:
            raise SignatureRefusedError  # a signature that a client has garbled
        self.originals.source(identifier.type)
        if self.types[identifier.type].access == "signed":
            raise SignatureRefusedError
        return Permission(identifier)

    def readable_name(self, identifier: Identifier) -> str:
        """The name of an original for people: of one that is a URL, its path, or else its host."""
        if not self.types[identifier.type].takes_urls:
            return identifier.name
        name, page = split_page(identifier.name)
        with suppress(UntrustedUrlError):
            url = urlsplit(decode_url(name))
            readable = unquote(url.path).lstrip("/") or url.netloc
            return readable if page is None else f"{readable};{page}"
        return identifier.name

    def public_types(self) -> tuple[str, ...]:
        """The types, sorted, whose images everyone may see."""
        types = sorted(self.types.items())
        return tuple(name for name, options in types if options.access == "public")

    def browsable_types(self) -> tuple[str, ...]:
        """Those of them whose folders everyone may look through."""
        public = self.public_types()
        return tuple(name for name in public if self.originals.source(name).browsable)

    def titled(self, place: Place) -> Place:
        """A place with the title of its type."""
        return replace(place, title=self.types[place.type].title)

    def may_repeat(self, permission: Permission) -> bool:
        """Whether what is answered may be given to anyone again as long as the file is the same."""
        source = self.originals.source(permission.identifier.type)
        return permission.grant is None and not source.revalidates

    def public_caching(self, type_: str) -> Caching:
        """For how long clients may cache what everybody may see of a type."""
        options = self.types[type_]
        return Caching(options.cache_for, immutable=options.immutable)

    def caching(self, permission: Permission) -> Caching:
        """For how long clients may cache what they get: no longer than they may see it."""
        public = self.public_caching(permission.identifier.type)
        if permission.grant is None or self.signatures is None:
            return public
        left = self.signatures.seconds_left(permission.grant)
        return Caching(min(public.seconds, left), private=True)

    def limits_of(self, image: Image) -> Limits:
        """The limits that an image publishes, and that hold for it."""
        return self.limits.of(image.facts.dimensions, image.original.terms.limits)

    def service_description(self, image: Image) -> Service:
        """What image information says of the service for an image."""
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


async def get_services(request: Request) -> Services:
    """The services of the app that a request came to."""
    found: Services = request.app.state.services
    return found
