"""Everything with the process's lifetime: built here, in order, and closed in reverse."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from iiif_server.cache.store import Store
from iiif_server.imaging import jpegtran
from iiif_server.imaging.render import output_formats, prepare_process
from iiif_server.pipeline.derivatives import Derivatives
from iiif_server.pipeline.headers import Headers
from iiif_server.pipeline.originals import Originals
from iiif_server.pipeline.pyramids import Pyramids
from iiif_server.pipeline.quarantine import Quarantine
from iiif_server.routes.addresses import Addressing
from iiif_server.routes.services import Services
from iiif_server.settings import Settings
from iiif_server.sources.base import Surroundings
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.registry import build_sources
from iiif_server.telemetry.events import Observer
from iiif_server.workers.admission import Capacity
from iiif_server.workers.memory import memory_there_is
from iiif_server.workers.pool import Setup, WorkerPool

INCOMING = ".incoming"
"""Below `source_path`: originals being fetched. No type can have this name."""
_PRELOAD = ("iiif_server.imaging.plan",)
"""What worker processes share; not libvips, which must not be loaded before a fork."""
_SWEEP_SECONDS = 300.0
_STARTUP_TIMEOUT = 60.0


@asynccontextmanager
async def open_context(settings: Settings, observer: Observer) -> AsyncIterator[Services]:
    """The services of a running server; everything is ended when the context closes."""
    async with AsyncExitStack() as stack:
        store = open_store(settings, observer)
        await asyncio.to_thread(store.open)
        header_pool = await _open_pool(stack, settings, observer, "size")
        image_pool = await _open_pool(stack, settings, observer, "image")
        fetcher = Fetcher(
            settings.fetch, settings.max_http_fetches, settings.source_path / INCOMING
        )
        stack.push_async_callback(fetcher.close)
        await asyncio.to_thread(fetcher.remove_abandoned)
        originals = Originals(
            build_sources(
                settings.types,
                lambda name: Surroundings(name, settings.source_path / name, fetcher, observer),
            )
        )
        quarantine = Quarantine(settings.limits.quarantine, observer)
        headers = Headers(
            header_pool, quarantine, settings.info_cache_size, settings.limits.max_source_pixels
        )
        formats = await image_pool.run(output_formats, None, timeout=_STARTUP_TIMEOUT)
        pyramids = Pyramids(
            store,
            image_pool,
            quarantine,
            settings.pyramids,
            full_quality=settings.encoding.jpeg_quality,
            lossless=jpegtran.AVAILABLE,
        )
        stack.push_async_callback(pyramids.close)
        derivatives = Derivatives(
            originals,
            headers,
            store,
            pyramids,
            image_pool,
            quarantine=quarantine,
            observer=observer,
            limits=settings.limits.output,
            encoding=settings.encoding,
            formats=formats,
            render_timeout=settings.limits.render_timeout,
            lossless=jpegtran.AVAILABLE,
        )
        stack.push_async_callback(derivatives.close)
        await stack.enter_async_context(_sweeping(store))
        yield Services(
            addressing=Addressing(settings.base_url, settings.trusted_proxies),
            originals=originals,
            headers=headers,
            derivatives=derivatives,
            pyramids=pyramids,
            store=store,
            fetcher=fetcher,
            header_pool=header_pool,
            image_pool=image_pool,
            quarantine=quarantine,
            types=settings.types,
            default_type=settings.default_type,
            formats=formats,
            lossless=jpegtran.AVAILABLE,
            limits=settings.limits.output,
            min_sizes_size=settings.min_sizes_size,
            tile_size=settings.pyramids.tile_size,
            canonical_redirect=settings.canonical_redirect,
            started=time.time(),
        )


def memory_for_images(settings: Settings) -> int:
    """Bytes that making images may take, over all processes."""
    return int(settings.limits.memory or memory_there_is() // 2)


def open_store(settings: Settings, observer: Observer) -> Store:
    """The store of derivatives below `cache_path`, not yet looked into."""
    return Store(settings.cache_path / "derivatives", settings.cache.bounds, observer)


async def _open_pool(
    stack: AsyncExitStack, settings: Settings, observer: Observer, name: str
) -> WorkerPool:
    size = settings.image_pool_size if name == "image" else settings.size_pool_size
    remembers = settings.image_cache_size_per_process if name == "image" else 0
    # Between them, the image processes use the cores once.
    threads = max(1, (os.cpu_count() or 1) // settings.image_pool_size)
    setup = Setup(prepare_process, (remembers, threads), _PRELOAD)
    pool = WorkerPool(
        name,
        size,
        setup,
        observer,
        remembers=remembers,
        capacity=Capacity(size, memory_for_images(settings), settings.limits.queue_length),
        queue_timeout=settings.limits.queue_timeout,
    )
    stack.push_async_callback(pool.close)
    await pool.open()
    return pool


@asynccontextmanager
async def _sweeping(store: Store) -> AsyncIterator[None]:
    """Eviction now and then, for what has outlived its time and for what other processes wrote."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await asyncio.to_thread(store.evict)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
