"""Services that commands open separately: fetcher, sources, store and worker pools."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iiif_server.cache.store import Store
from iiif_server.cache.threads import StorageThreads
from iiif_server.composition.sizing import memory_for_images, threads_of
from iiif_server.errors import ConfigurationError
from iiif_server.images.originals import Originals
from iiif_server.plan.jobs import PREPARE_PROCESS, TURBOJPEG_AUTO, TURBOJPEG_OFF
from iiif_server.plan.original_format import USUAL_EXTENSIONS, extensions_of
from iiif_server.settings import Settings
from iiif_server.sources.base import Source, SourceContext
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.registry import build_sources
from iiif_server.telemetry.events import Observer
from iiif_server.workers.admission import Capacity
from iiif_server.workers.lifetime import Lifetime
from iiif_server.workers.machine import this_machine
from iiif_server.workers.options import ConfinementMode
from iiif_server.workers.pool import Setup, WorkerPool
from iiif_server.workers.sandbox.confinement import Confinement, available
from iiif_server.workers.sandbox.limits import limits_for

INCOMING = ".incoming"
"""Folder below `source_path` of originals being fetched. No type can have this name."""


def open_fetcher(stack: AsyncExitStack, settings: Settings) -> Fetcher:
    """Create the HTTP client for originals, which `stack` closes."""
    fetcher = Fetcher(
        settings.fetch,
        settings.max_http_fetches,
        settings.source_path / INCOMING,
        min_free=settings.cache.bounds.min_free,
    )
    stack.push_async_callback(fetcher.close)
    return fetcher


def open_sources(
    stack: AsyncExitStack, settings: Settings, fetcher: Fetcher, observer: Observer
) -> dict[str, Source[Any]]:
    """Create the sources of all types, which `stack` closes; each has threads for its storage."""
    sources = build_sources(
        settings.types,
        lambda name: SourceContext(
            name,
            settings.source_path / name,
            fetcher,
            observer,
            StorageThreads(f"the type {name}", timeout=settings.limits.storage_timeout),
            USUAL_EXTENSIONS | extensions_of(settings.limits.source.formats),
        ),
    )
    for source in sources.values():
        stack.push_async_callback(source.close)
    return sources


def addressable(sources: Mapping[str, Source[Any]]) -> dict[str, Source[Any]]:
    """Return the sources of types that identifiers can name: all but internal types."""
    return {name: one for name, one in sources.items() if one.options.access != "internal"}


def open_listing(stack: AsyncExitStack, settings: Settings) -> Originals:
    """Create the `Originals` of all types but internal ones, for listings; `stack` closes them."""
    fetcher = open_fetcher(stack, settings)
    return Originals(addressable(open_sources(stack, settings, fetcher, lambda _: None)))


def open_store(settings: Settings, observer: Observer) -> Store:
    """Create the store of derivatives below `cache_path`, without reading the disk."""
    return Store(
        settings.cache_path / "derivatives",
        settings.cache.bounds,
        observer,
        timeout=settings.limits.storage_timeout,
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """Folders that the workers of a pool may open.

    Originals are not among them, because a job comes with the open file of its original.
    """

    derivatives: Path | None = None
    """Readable folder of the store."""
    incoming: Path | None = None
    """Writable folder of pending files."""


async def open_pool(
    stack: AsyncExitStack,
    settings: Settings,
    observer: Observer,
    name: str,
    reach: Reach,
    *,
    workers: int | None = None,
) -> WorkerPool:
    """Start the worker pool `size` or `image`, which `stack` closes; `workers` overrides its size.

    Raises ConfigurationError or WorkerDiedError if workers cannot be started.
    """
    size = settings.image_pool_size if name == "image" else settings.size_pool_size
    size = workers or size
    affinity_size = settings.image_cache_size_per_process if name == "image" else 0
    threads = threads_of(settings)
    setup = Setup(
        PREPARE_PROCESS,
        (affinity_size, threads, settings.workers.turbojpeg),
        _confinement(settings, reach, threads, affinity_size),
        Lifetime(settings.workers.max_jobs, settings.workers.max_resident),
    )
    pool = WorkerPool(
        name,
        size,
        setup,
        observer,
        affinity_size=affinity_size,
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
    """Return the configured libturbojpeg, which workers load in their sandbox."""
    chosen = settings.workers.turbojpeg
    return () if chosen in {TURBOJPEG_AUTO, TURBOJPEG_OFF} else (Path(chosen),)


def _confinement(
    settings: Settings, reach: Reach, threads: int, originals: int
) -> Confinement | None:
    """Return the sandbox of the workers of a pool; None if it is off.

    Raises ConfigurationError if the sandbox is required and this system lacks a mechanism.
    """
    mode = settings.workers.confinement
    if mode is ConfinementMode.OFF:
        return None
    required = mode is ConfinementMode.REQUIRED
    if required and (unavailable := available().unavailable):
        raise ConfigurationError(
            'workers.confinement is "required", and this system has no '
            f"{' and no '.join(unavailable)}: see docs/operations.md"
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
            source_pixels=limits.max_source_pixels,
            result_pixels=limits.max_area,
            threads=threads,
            originals=originals,
            deadline=max(limits.render_timeout, settings.pyramids.build_timeout),
            memory=settings.workers.max_memory,
        ),
        required=required,
    )
