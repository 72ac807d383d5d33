"""Settings of the cache on disk, in memory and in a bucket."""

from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, field_validator

from iiif_server.cache.eviction import Bounds
from iiif_server.object_stores.options import SCHEMES
from iiif_server.options import OptionsModel
from iiif_server.units import PositiveSeconds, Size


class CacheOptions(OptionsModel):
    """Settings of the cache: limits, and the shared cache."""

    max_bytes: Size = 10_000_000_000
    """Most bytes of derivatives in the cache. When the limit is passed, the server does not cache
    new derivatives until eviction has made room."""
    memory_bytes: Size = 256_000_000
    """Most bytes of the response cache, in the memory of each server process; 0 turns it off."""
    max_files: PositiveInt | None = None
    """Most files in the cache, for disks with few inodes; unset: no limit."""
    ttl: PositiveSeconds | None = None
    """Time after its last use at which a derivative expires; unset: it stays until eviction."""
    low_water: float = Field(default=0.9, gt=0, lt=1)
    """Share of a limit down to which eviction removes files once the limit is passed."""
    min_free: Size | None = None
    """Free space to leave on the disk, in bytes. With less, the server evicts derivatives, or does
    not cache them, and fetches no originals; unset: 1 GB, or a twentieth of a disk smaller than
    20 GB."""

    shared: str | None = None
    """Bucket and prefix of a shared cache for several machines (`s3://bucket/prefix`, `gs://`,
    `az://`). Store nothing else below the prefix; unset: each machine renders its own images."""
    shared_timeout: PositiveSeconds = 1
    """Timeout of requests to the shared cache while a client waits; after it, the server renders
    the image itself."""

    @field_validator("shared")
    @classmethod
    def _check_shared(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("must be a URL such as s3://bucket/prefix, gs:// or az://")
            if set(parts.netloc) & set("@:"):
                raise ValueError("credentials and endpoint belong into [cache_bucket]")
        return url

    @property
    def bounds(self) -> Bounds:
        """Limits of eviction."""
        min_free = None if self.min_free is None else int(self.min_free)
        return Bounds(int(self.max_bytes), self.max_files, self.ttl, self.low_water, min_free)
