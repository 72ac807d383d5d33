"""The settings of the cache on disk and in memory."""

from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, field_validator

from iiif_server.cache.eviction import Bounds
from iiif_server.object_stores.options import SCHEMES
from iiif_server.options import OptionsModel
from iiif_server.units import PositiveSeconds, Size


class CacheOptions(OptionsModel):
    """How much of what was made is kept."""

    max_bytes: Size = 10_000_000_000
    """Most bytes of derivatives kept. When the limit is passed, new derivatives are served without
    being cached until eviction has made room."""
    memory_bytes: Size = 256_000_000
    """Most bytes of ready answers kept in the memory of each server process; 0 keeps none."""
    max_files: PositiveInt | None = None
    """Most files kept, where inodes are scarce; unset: no bound."""
    ttl: PositiveSeconds | None = None
    """Time that a derivative is kept after its last use; unset: until room is needed."""
    low_water: float = Field(default=0.9, gt=0, lt=1)
    """The share of a bound down to which eviction makes room once the bound is passed."""
    min_free: Size | None = None
    """Free space to keep on the disk, in bytes: derivatives make room, or are not cached, and
    originals are not fetched; unset: 1 GB, or a twentieth of a disk smaller than 20 GB."""

    shared: str | None = None
    """Bucket and prefix of a cache that several machines share (`s3://bucket/prefix`, `gs://`,
    `az://`), below which nothing else may lie; unset: each machine makes its own images."""
    shared_timeout: PositiveSeconds = 1
    """Time that an image waits for the shared cache before it is made here."""

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
        """The bounds of eviction."""
        min_free = None if self.min_free is None else int(self.min_free)
        return Bounds(int(self.max_bytes), self.max_files, self.ttl, self.low_water, min_free)
