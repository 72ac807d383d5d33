"""Everything with the process's lifetime: built here, in order, and closed in reverse."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from iiif_server.background import BackgroundTasks
from iiif_server.cache.lru import Lru
from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.formats import Format
from iiif_server.images.derivatives import Derivatives
from iiif_server.images.listings import FolderListings
from iiif_server.images.originals import Originals
from iiif_server.images.pyramids import Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.registry import ImageRegistry
from iiif_server.images.tiled import TiledOriginals
from iiif_server.pages.files import PageFiles
from iiif_server.pages.rendering import Pages
from iiif_server.plan.jobs import PREPARE_PROCESS, TURBOJPEG_AUTO, TURBOJPEG_OFF, WorkerReport
from iiif_server.routes.metrics import refreshing_gauges
from iiif_server.server.access_log import AccessLog
from iiif_server.server.addresses import Addressing
from iiif_server.server.credentials import Credentials
from iiif_server.server.readiness import Readiness
from iiif_server.server.services import Services
from iiif_server.server.signing import Signatures
from iiif_server.settings import Settings
from iiif_server.sources.base import Source, SourceContext
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.registry import build_sources
from iiif_server.telemetry.events import Event, Observer
from iiif_server.telemetry.logs import log_access
from iiif_server.telemetry.metrics import CounterDeltas, Metrics
from iiif_server.telemetry.traces import open_tracer
from iiif_server.workers.admission import Capacity
from iiif_server.workers.lifetime import Lifetime
from iiif_server.workers.machine import this_machine, threads_for
from iiif_server.workers.options import ConfinementMode
from iiif_server.workers.pool import Setup, WorkerPool
from iiif_server.workers.sandbox.confinement import Confinement, available
from iiif_server.workers.sandbox.limits import limits_for

INCOMING = ".incoming"
"""Below `source_path`: originals being fetched. No type can have this name."""
_LARGEST_SHARE = 16
"""One response takes no more of the response cache than one part of so many."""
_RESPONSE_SECONDS = 60.0
"""How long a response stays in memory; whether its original has changed is checked besides."""
_SWEEP_SECONDS = 300.0
_PURGE_SECONDS = 1.0
"""How often it is looked whether another process has purged the cache."""


@asynccontextmanager
async def open_context(
    settings: Settings, observer: Observer, metrics: Metrics | None = None
) -> AsyncIterator[Services]:
    """The services of a running server; everything is ended when the context closes."""
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        observer = _both(metrics.observe, observer)
        store = open_store(settings, observer)
        await store.threads.run(store.open, timeout=LONG)
        fetcher = open_fetcher(stack, settings)
        fetcher.threads.begin(fetcher.remove_abandoned)
        sources = open_sources(settings, fetcher, observer)
        originals = Originals(sources, observer)
        header_pool = await open_pool(stack, settings, observer, "size", Reach())
        reach = Reach(store.root, store.incoming)
        image_pool = await open_pool(stack, settings, observer, "image", reach)
        quarantine = Quarantine(settings.limits.quarantine, observer)
        report: WorkerReport = image_pool.report
        formats, turbojpeg = report.formats, report.turbojpeg
        if turbojpeg.problem:
            raise ConfigurationError(turbojpeg.problem)
        pyramids = Pyramids(
            store,
            image_pool,
            quarantine,
            settings.pyramids,
            full_quality=settings.encoding.jpeg_quality,
            lossless=turbojpeg.lossless,
            observer=observer,
        )
        stack.push_async_callback(pyramids.close)
        images = ImageRegistry(
            originals,
            pyramids,
            header_pool,
            quarantine,
            capacity=settings.info_cache_size,
            max_pixels=settings.limits.max_source_pixels,
            bounds=settings.limits.source,
        )
        tiled = TiledOriginals(header_pool)
        stack.callback(tiled.close)
        derivatives = Derivatives(
            store,
            pyramids,
            image_pool,
            tiled=tiled,
            quarantine=quarantine,
            observer=observer,
            limits=settings.limits.output,
            encoding=settings.encoding,
            render_timeout=settings.limits.render_timeout,
            lossless=turbojpeg.lossless,
        )
        stack.push_async_callback(derivatives.close)
        memory = int(settings.cache.memory_bytes)
        responses: Lru[Any, Any] = Lru(
            memory, largest=memory // _LARGEST_SHARE, seconds=_RESPONSE_SECONDS
        )
        # For what has outlived its time, and for what other processes wrote:
        sweep = partial(store.threads.run, store.sweep, timeout=LONG)
        background = await stack.enter_async_context(BackgroundTasks())
        background.repeat(_SWEEP_SECONDS, sweep)
        purges = partial(store.threads.run, store.look_for_purges)
        background.repeat(_PURGE_SECONDS, purges)
        listings = FolderListings(originals)
        stack.push_async_callback(listings.close)
        files = await asyncio.to_thread(PageFiles)
        # No tile of a pyramid is a WebP, so no page of thumbnails has pyramids made.
        thumbnail = Format.WEBP if Format.WEBP in formats else Format.JPG
        addressing = Addressing(settings.base_url, settings.trusted_proxies, observer)
        readers = [metrics.answered, log_access]
        tracer = open_tracer(settings.tracing)
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
            readers.append(tracer.answered)
        readiness = Readiness(
            originals, store, {"size": header_pool, "image": image_pool}, observer
        )
        services = Services(
            addressing=addressing,
            originals=originals,
            images=images,
            derivatives=derivatives,
            pyramids=pyramids,
            responses=responses,
            store=store,
            fetcher=fetcher,
            header_pool=header_pool,
            image_pool=image_pool,
            quarantine=quarantine,
            types=settings.types,
            default_type=settings.default_type,
            formats=formats,
            lossless=turbojpeg.lossless,
            turbojpeg=turbojpeg,
            credentials=Credentials(settings.admin.token) if settings.admin.token else None,
            signatures=Signatures(settings.signing.secrets) if settings.signing.keys else None,
            observer=observer,
            access_log=AccessLog(addressing, readers, traced=tracer is not None),
            metrics=metrics,
            counter_deltas=CounterDeltas(),
            readiness=readiness,
            limits=settings.limits.output,
            min_sizes_size=settings.min_sizes_size,
            accel_redirect=settings.delivery.accel_redirect,
            canonical_redirect=settings.canonical_redirect,
            confinement={
                "size": header_pool.sandbox_status,
                "image": image_pool.sandbox_status,
            },
            listings=listings,
            files=files,
            pages=Pages(files.digest, thumbnail, settings.pages.title),
            page_options=settings.pages,
            presentation=settings.presentation,
            started=time.time(),
        )
        await _watch(stack, readiness)
        if metrics.instruments.shared:
            await stack.enter_async_context(refreshing_gauges(services))
        yield services


async def _watch(stack: AsyncExitStack, readiness: Readiness) -> None:
    """Have the log tell of missing folders at the start, and be unready from the end on."""
    (await stack.enter_async_context(BackgroundTasks())).start(readiness.objections())
    stack.callback(readiness.leave)


def _both(first: Observer, second: Observer) -> Observer:
    """Whoever tells two."""

    def observe(event: Event) -> None:
        first(event)
        second(event)

    return observe


def without_queue_timeout(settings: Settings) -> Settings:
    """The settings without a deadline for what waits: for commands, where nobody does."""
    limits = settings.limits.model_copy(update={"queue_timeout": None})
    return settings.model_copy(update={"limits": limits})


def memory_for_images(settings: Settings) -> int:
    """Bytes that making images may take, over all processes."""
    return int(settings.limits.memory or this_machine().memory // 2)


def threads_of(settings: Settings, cpus: int | None = None) -> int:
    """Threads of each image worker, on this machine or one with so many CPUs."""
    processes = settings.image_pool_size
    return settings.workers.threads or threads_for(cpus or this_machine().cpus, processes)


def share_of(settings: Settings, number: int, of: int, cpus: int | None = None) -> Settings:
    """The settings for one of several server processes, the first of which is number 0.

    What bounds all of them together is divided among them, each getting one at least.
    """

    def part(total: int) -> int:
        return max(1, total // of + (number < total % of))

    images = settings.image_pool_size
    if "image_pool_size" not in settings.model_fields_set:
        images = max(images, 2 * of)  # so that each keeps one free for tiles
    memory = memory_for_images(settings) // of
    threads = threads_of(settings.model_copy(update={"image_pool_size": images}), cpus)
    return settings.model_copy(
        update={
            "image_pool_size": part(images),
            "size_pool_size": part(settings.size_pool_size),
            "max_http_fetches": part(settings.max_http_fetches),
            "http_connections": part(settings.http_connections),
            "limits": settings.limits.model_copy(update={"memory": memory}),
            "workers": settings.workers.model_copy(update={"threads": threads}),
        }
    )


def open_fetcher(stack: AsyncExitStack, settings: Settings) -> Fetcher:
    """The HTTP client for originals, closed with the stack."""
    fetcher = Fetcher(
        settings.fetch,
        settings.max_http_fetches,
        settings.source_path / INCOMING,
        min_free=settings.cache.bounds.min_free,
    )
    stack.push_async_callback(fetcher.close)
    return fetcher


def open_sources(
    settings: Settings, fetcher: Fetcher, observer: Observer
) -> dict[str, Source[Any]]:
    """The sources of all types, each with threads of its own for its storage."""
    return build_sources(
        settings.types,
        lambda name: SourceContext(
            name,
            settings.source_path / name,
            fetcher,
            observer,
            StorageThreads(f"the type {name}", timeout=settings.limits.storage_timeout),
        ),
    )


def open_store(settings: Settings, observer: Observer) -> Store:
    """The store of derivatives below `cache_path`, not yet looked into."""
    return Store(
        settings.cache_path / "derivatives",
        settings.cache.bounds,
        observer,
        timeout=settings.limits.storage_timeout,
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """What the processes of a pool may open: no originals, as jobs come with those open."""

    derivatives: Path | None = None
    incoming: Path | None = None


async def open_pool(
    stack: AsyncExitStack,
    settings: Settings,
    observer: Observer,
    name: str,
    reach: Reach,
    *,
    workers: int | None = None,
) -> WorkerPool:
    """The pool of a name, `size` or `image`, closed with the stack; `workers` overrides its size.

    Raises ConfigurationError or WorkerDiedError if workers cannot be started.
    """
    size = settings.image_pool_size if name == "image" else settings.size_pool_size
    size = workers or size
    remembers = settings.image_cache_size_per_process if name == "image" else 0
    threads = threads_of(settings)
    setup = Setup(
        PREPARE_PROCESS,
        (remembers, threads, settings.workers.turbojpeg),
        _confinement(settings, reach, threads, remembers),
        Lifetime(settings.workers.max_jobs, settings.workers.max_resident),
    )
    pool = WorkerPool(
        name,
        size,
        setup,
        observer,
        remembers=remembers,
        capacity=Capacity(
            size,
            memory_for_images(settings),
            settings.limits.queue_length,
            this_machine().cpus,
        ),
        queue_timeout=settings.limits.queue_timeout,
    )
    stack.push_async_callback(pool.close)
    await pool.open()
    return pool


def _library_file(settings: Settings) -> tuple[Path, ...]:
    """The configured libturbojpeg, which workers load inside their sandbox."""
    chosen = settings.workers.turbojpeg
    return () if chosen in {TURBOJPEG_AUTO, TURBOJPEG_OFF} else (Path(chosen),)


def _confinement(
    settings: Settings, reach: Reach, threads: int, originals: int
) -> Confinement | None:
    """What the processes of a pool may do; ConfigurationError if they cannot be held to it."""
    wanted = settings.workers.confinement
    if wanted is ConfinementMode.OFF:
        return None
    required = wanted is ConfinementMode.REQUIRED
    if required and (lacking := available().lacking):
        raise ConfigurationError(
            'workers.confinement is "required", and this system has no '
            f"{' and no '.join(lacking)}: see docs/operations.md"
        )
    limits = settings.limits
    derivatives, incoming = reach.derivatives, reach.incoming
    return Confinement(
        readable=(
            *((derivatives.absolute(),) if derivatives else ()),
            *_library_file(settings),
        ),
        writable=(incoming.absolute(),) if incoming else (),
        limits=limits_for(
            read=limits.max_source_pixels,
            made=limits.max_area,
            threads=threads,
            originals=originals,
            deadline=max(limits.render_timeout, settings.pyramids.build_timeout),
            memory=settings.workers.max_memory,
        ),
        required=required,
    )
