"""Composition: builds the services of a server process from its settings, and closes them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from iiif_server.background import BackgroundTasks
from iiif_server.cache.lru import Lru
from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG
from iiif_server.composition.components import (
    Reach,
    addressable,
    open_fetcher,
    open_pool,
    open_sources,
    open_store,
)
from iiif_server.composition.sharing import open_purge, open_shared_cache, shared_images
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.formats import Format
from iiif_server.images.derivatives import Derivatives
from iiif_server.images.listings import FolderListings
from iiif_server.images.originals import Originals
from iiif_server.images.purge import Purge
from iiif_server.images.pyramids import Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.registry import ImageRegistry
from iiif_server.images.renderer import Renderer
from iiif_server.images.tiled import TiledOriginals
from iiif_server.pages.files import PageFiles
from iiif_server.pages.rendering import Pages
from iiif_server.plan.jobs import WorkerReport
from iiif_server.routes.metrics import refreshing_gauges
from iiif_server.server.access_log import AccessLog
from iiif_server.server.addresses import Addressing
from iiif_server.server.credentials import Credentials
from iiif_server.server.download_options import ArchiveSlots
from iiif_server.server.readiness import Draining, Readiness
from iiif_server.server.services import Services
from iiif_server.server.signing import Signatures
from iiif_server.settings import Settings
from iiif_server.sources.fetching import Fetcher
from iiif_server.telemetry.events import Event, Observer
from iiif_server.telemetry.logs import log_access
from iiif_server.telemetry.metrics import CounterDeltas, Metrics
from iiif_server.telemetry.traces import open_tracer
from iiif_server.workers.pool import WorkerPool

if TYPE_CHECKING:
    from iiif_server.sharing.shared_cache import SharedCache

_LARGEST_SHARE = 16
"""Divisor: one response takes at most this part of the response cache."""
_RESPONSE_SECONDS = 60.0
"""Lifetime of a response in the response cache; the server also checks the original."""
_SWEEP_SECONDS = 300.0
_PURGE_SECONDS = 1.0
"""Seconds between checks whether another process has purged the cache."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    observer: Observer,
    metrics: Metrics | None = None,
    draining: Draining | None = None,
) -> AsyncIterator[Services]:
    """Open the services of a server process; raises ConfigurationError or WorkerDiedError."""
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        observer = _both(metrics.observe, observer)
        imaging = await _open_imaging(stack, settings, observer)
        listings = FolderListings(imaging.originals)
        stack.push_async_callback(listings.close)
        files = await asyncio.to_thread(PageFiles)
        # Tiles of pyramids are never WebP, so a page of thumbnails builds no pyramids.
        thumbnail = Format.WEBP if Format.WEBP in imaging.report.formats else Format.JPG
        addressing = Addressing(settings.base_url, settings.trusted_proxies, observer)
        readiness = Readiness(imaging.originals, imaging.store, imaging.pools, observer)
        readiness.draining = draining or readiness.draining
        services = Services(
            addressing=addressing,
            observer=observer,
            access_log=_open_access_log(stack, settings, addressing, metrics),
            metrics=metrics,
            counter_deltas=CounterDeltas(),
            readiness=readiness,
            responses=_response_cache(settings),
            listings=listings,
            files=files,
            pages=Pages(files.digest, thumbnail, settings.pages.title),
            started=time.time(),
            **imaging.services(),
            **_configured(settings),
        )
        # Checked at the start, so that the log reports missing folders.
        (await stack.enter_async_context(BackgroundTasks())).start(readiness.objections())
        if metrics.instruments.shared:
            await stack.enter_async_context(refreshing_gauges(services))
        yield services


@dataclass(frozen=True, slots=True)
class _Imaging:
    """Services that find, render and cache images."""

    store: Store
    fetcher: Fetcher
    originals: Originals
    header_pool: WorkerPool
    image_pool: WorkerPool
    quarantine: Quarantine
    pyramids: Pyramids
    images: ImageRegistry
    derivatives: Derivatives
    purge: Purge
    shared: "SharedCache | None"

    @property
    def report(self) -> WorkerReport:
        """Report of an image worker: its formats and libraries."""
        report: WorkerReport = self.image_pool.report
        return report

    @property
    def pools(self) -> dict[str, WorkerPool]:
        """Worker pools by name."""
        return {"size": self.header_pool, "image": self.image_pool}

    def services(self) -> dict[str, Any]:
        """Return the services by the names of their fields in `Services`."""
        return {
            **{item.name: getattr(self, item.name) for item in fields(self)},
            "formats": self.report.formats,
            "lossless": self.report.turbojpeg.lossless,
            "turbojpeg": self.report.turbojpeg,
            "confinement": {name: pool.sandbox_status for name, pool in self.pools.items()},
        }


async def _open_imaging(stack: AsyncExitStack, settings: Settings, observer: Observer) -> _Imaging:
    """Open `_Imaging`; raises ConfigurationError, or WorkerDiedError if workers cannot start."""
    store = await _open_store(stack, settings, observer)
    shared = await open_shared_cache(stack, settings, store, observer)
    fetcher = open_fetcher(stack, settings)
    originals = Originals(addressable(open_sources(stack, settings, fetcher, observer)), observer)
    fetcher.open()
    header_pool, image_pool = pools = await _open_pools(stack, settings, observer, store)
    quarantine = Quarantine(settings.limits.quarantine, observer)
    pyramids = Pyramids(
        store,
        image_pool,
        quarantine,
        settings.pyramids,
        full_quality=settings.encoding.jpeg_quality,
        lossless=image_pool.report.turbojpeg.lossless,
        observer=observer,
        shared=shared,
    )
    stack.push_async_callback(pyramids.close)
    tiled = stack.enter_context(closing(TiledOriginals(header_pool)))
    renderer = _renderer(settings, observer, pyramids, image_pool, tiled=tiled, guard=quarantine)
    limits, encoding = settings.limits.output, settings.encoding
    derivatives = Derivatives(store, pyramids, renderer, observer, limits, encoding, shared)
    stack.push_async_callback(derivatives.close)
    images = _image_registry(settings, originals, pyramids, pools, quarantine, shared=shared)
    purge = await open_purge(stack, settings, Purge(store, pyramids, originals), shared, observer)
    return _Imaging(
        store,
        fetcher,
        originals,
        header_pool,
        image_pool,
        quarantine,
        pyramids,
        images,
        derivatives,
        purge,
        shared,
    )


async def _open_pools(
    stack: AsyncExitStack, settings: Settings, observer: Observer, store: Store
) -> tuple[WorkerPool, WorkerPool]:
    """Start the pool that reads image headers, and the pool that renders images."""
    header_pool = await open_pool(stack, settings, observer, "size", Reach())
    reach = Reach(store.root, store.incoming)
    image_pool = await open_pool(stack, settings, observer, "image", reach)
    if image_pool.report.turbojpeg.problem:
        raise ConfigurationError(image_pool.report.turbojpeg.problem)
    return header_pool, image_pool


def _image_registry(
    settings: Settings,
    originals: Originals,
    pyramids: Pyramids,
    pools: tuple[WorkerPool, WorkerPool],
    quarantine: Quarantine,
    *,
    shared: "SharedCache | None",
) -> ImageRegistry:
    bounds = replace(settings.limits.source, pdf_dpi=settings.pdf.dpi)
    return ImageRegistry(
        originals,
        pyramids,
        pools[0],
        quarantine,
        capacity=settings.info_cache_size,
        max_pixels=settings.limits.max_source_pixels,
        bounds=bounds,
        shared=shared_images(settings, shared, originals, bounds),
        scan_pool=pools[1],
    )


def _renderer(
    settings: Settings,
    observer: Observer,
    pyramids: Pyramids,
    pool: WorkerPool,
    *,
    tiled: TiledOriginals,
    guard: Quarantine,
) -> Renderer:
    return Renderer(
        pyramids,
        pool,
        tiled=tiled,
        quarantine=guard,
        observer=observer,
        encoding=settings.encoding,
        render_timeout=settings.limits.render_timeout,
        lossless=pool.report.turbojpeg.lossless,
    )


async def _open_store(stack: AsyncExitStack, settings: Settings, observer: Observer) -> Store:
    store = open_store(settings, observer)
    await store.threads.run(store.open, timeout=LONG)
    background = await stack.enter_async_context(BackgroundTasks())
    sweep = partial(store.threads.run, store.sweep, timeout=LONG)
    background.start(sweep())  # a folder of millions of files does not delay the start
    background.repeat(_SWEEP_SECONDS, sweep)
    background.repeat(_PURGE_SECONDS, partial(store.threads.run, store.look_for_purges))
    return store


def _open_access_log(
    stack: AsyncExitStack, settings: Settings, addressing: Addressing, metrics: Metrics
) -> AccessLog:
    readers = [metrics.answered, log_access]
    tracer = open_tracer(settings.tracing)
    if tracer is not None:
        stack.push_async_callback(asyncio.to_thread, tracer.close)
        readers.append(tracer.answered)
    return AccessLog(addressing, readers, traced=tracer is not None)


def _response_cache(settings: Settings) -> Lru[Any, Any]:
    memory = int(settings.cache.memory_bytes)
    return Lru(memory, largest=memory // _LARGEST_SHARE, seconds=_RESPONSE_SECONDS)


def _configured(settings: Settings) -> dict[str, Any]:
    """Return the fields of `Services` that depend only on the settings."""
    return {
        "types": settings.types,
        "identifiers": settings.identifiers,
        "credentials": Credentials(settings.admin.token) if settings.admin.token else None,
        "signatures": Signatures(settings.signing.secrets) if settings.signing.keys else None,
        "limits": settings.limits.output,
        "min_sizes_size": settings.min_sizes_size,
        "accel_redirect": settings.delivery.accel_redirect,
        "accel_originals": settings.delivery.accel_originals,
        "source_path": settings.source_path.resolve(),
        "downloads": settings.downloads,
        "archive_slots": ArchiveSlots(settings.downloads.archives_at_once),
        "canonical_redirect": settings.canonical_redirect,
        "page_options": settings.pages,
        "presentation": settings.presentation,
    }


def _both(first: Observer, second: Observer) -> Observer:
    """Return an observer that passes each event to two observers."""

    def observe(event: Event) -> None:
        first(event)
        second(event)

    return observe
