"""Composition of the shared cache, if one is configured: bucket, entries, images, purges.

obstore starts threads when it is imported, so it is imported only with a bucket.
"""

from contextlib import AsyncExitStack
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from iiif_server.background import BackgroundTasks
from iiif_server.cache.store import Store
from iiif_server.errors import ConfigurationError
from iiif_server.images.originals import Originals
from iiif_server.images.purge import Purge
from iiif_server.images.shared_images import SharedImages
from iiif_server.plan.original_format import Bounds
from iiif_server.settings import Settings
from iiif_server.telemetry.events import Observer

if TYPE_CHECKING:
    from iiif_server.sharing.bucket import Bucket
    from iiif_server.sharing.purges import SharedPurges
    from iiif_server.sharing.shared_cache import SharedCache

_PURGE_SECONDS = 5.0
"""Seconds between checks whether another machine has purged the shared cache."""


async def open_shared_cache(
    stack: AsyncExitStack, settings: Settings, store: Store, observer: Observer
) -> "SharedCache | None":
    """Open the cache that several machines share, which `stack` closes; None: not configured.

    Raises ConfigurationError.
    """
    if settings.cache.shared is None:
        return None
    from iiif_server.sharing.shared_cache import SharedCache  # noqa: PLC0415

    bucket = await store.threads.run(open_bucket, settings, settings.cache.shared, observer)
    shared = SharedCache(bucket, store, observer)
    await stack.enter_async_context(shared.open())
    return shared


def open_bucket(settings: Settings, url: str, observer: Observer) -> "Bucket":
    """Create the client of the shared bucket, without a request. Raises ConfigurationError."""
    if find_spec("obstore") is None:
        raise ConfigurationError("cache.shared needs obstore: pip install 'iiif-server[objects]'")
    from iiif_server.object_stores.client import StoreSettings, open_store  # noqa: PLC0415
    from iiif_server.sharing.bucket import BUCKET_SECONDS, Bucket  # noqa: PLC0415

    options = settings.cache_bucket
    parts = urlsplit(url)
    try:
        options.check_scheme(parts.scheme)
    except ValueError as error:
        raise ConfigurationError(f"cache_bucket: {error}") from error
    reached = StoreSettings(
        f"{parts.scheme}://{parts.netloc}",
        options.config(parts.scheme),
        options.profile,
        options.ca_file,
        float(settings.fetch.connect_timeout),
        BUCKET_SECONDS,
    )
    client = open_store(reached, retries=1)
    timeout = float(settings.cache.shared_timeout)
    return Bucket(client, parts.path.strip("/"), observer, timeout=timeout)


def open_shared_purges(settings: Settings, bucket: "Bucket", observer: Observer) -> "SharedPurges":
    """Create the purges that replicas share as markers in the bucket."""
    from iiif_server.sharing.purges import SharedPurges  # noqa: PLC0415

    return SharedPurges(bucket, settings.cache_path / "shared-purges.json", observer)


def shared_images(
    settings: Settings, shared: "SharedCache | None", originals: Originals, bounds: Bounds
) -> SharedImages | None:
    """Create the registry of image headers that replicas share; None without a shared cache."""
    if shared is None:
        return None
    return SharedImages(
        shared,
        originals,
        max_pixels=settings.limits.max_source_pixels,
        bounds=bounds,
        refresh_after=settings.fetch.refresh_after,
    )


async def open_purge(
    stack: AsyncExitStack,
    settings: Settings,
    purge: Purge,
    shared: "SharedCache | None",
    observer: Observer,
) -> Purge:
    """Connect `purge` to the shared cache, so that each replica follows the purges of others."""
    if shared is None:
        return purge
    purge.shared = open_shared_purges(settings, shared.bucket, observer)
    background = await stack.enter_async_context(BackgroundTasks())
    background.repeat(_PURGE_SECONDS, partial(purge.shared.poll, purge.purge_locally))
    return purge
