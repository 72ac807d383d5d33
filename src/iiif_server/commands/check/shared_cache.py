"""Whether the bucket of the shared cache answers."""

from iiif_server.commands.check.findings import Finding
from iiif_server.composition.sharing import open_bucket
from iiif_server.errors import ConfigurationError, SharedCacheUnavailableError
from iiif_server.settings import Settings
from iiif_server.sharing.names import PURGES


async def check_shared_cache(settings: Settings) -> list[Finding]:
    """List the markers of purges, which every replica does; nothing without `cache.shared`."""
    url = settings.cache.shared
    if url is None:
        return []
    try:
        await open_bucket(settings, url, lambda _: None).listed(PURGES)
    except ConfigurationError as error:
        return [Finding("cache.shared", str(error), fine=False)]
    except SharedCacheUnavailableError as error:
        return [Finding("cache.shared", f"{url} cannot be listed: {error.reason}", fine=False)]
    return [Finding("cache.shared", f"{url} can be listed")]
