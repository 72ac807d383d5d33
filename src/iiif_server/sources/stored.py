"""Sources whose originals are fetched: as a whole, or in parts where they are tiled TIFFs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Protocol, TypeVar

from iiif_server.iiif.identifier import split_page
from iiif_server.sources.base import Source, SourceContext, TypeOptions
from iiif_server.sources.fetched import KeptOriginals
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.ranged import RangedOriginals
from iiif_server.sources.upstreams import RangeUpstream, Upstream

_TIFF = re.compile(r"\.(p?tiff?|btf|tf8)$", re.IGNORECASE)

Options = TypeVar("Options", bound="StoredOptions")


class _Upstream(Upstream, RangeUpstream, Protocol):
    """An original that may be fetched either way."""


class StoredOptions(TypeOptions):
    """What every type may say whose originals are fetched."""

    ranges: Literal["tiff", "always", "never"] = "tiff"
    """Which originals are read in parts, if they turn out to be tiled TIFFs: those whose URL or key
    ends like a TIFF's, all, or none. Whatever is not read in parts is fetched as a whole."""


class StoredSource(Source[Options]):
    """A source whose originals, or the parts of them that were needed, are kept on disk."""

    def __init__(self, context: SourceContext, options: Options) -> None:
        super().__init__(context, options)
        self._kept = KeptOriginals(context)
        self._ranged = RangedOriginals(context)

    @property
    def revalidates(self) -> bool:
        """Whether kept originals are compared with those of the upstream server."""
        return self.context.fetcher.options.refresh_after is not None

    @property
    def shares(self) -> bool:
        """Its originals are the same for everybody."""
        return True

    async def is_here(self, name: str) -> bool:
        """Whether an original was fetched as a whole."""
        whole, _ = split_page(name)
        return await self._kept.has(name) or (whole != name and await self._kept.has(whole))

    @asynccontextmanager
    async def held(self, name: str, upstream: _Upstream, path: str) -> AsyncIterator[OpenedFile]:
        """The kept original of this name, whose upstream has a path that may end like a TIFF's.

        It is fetched first if it is missing. Raises what `KeptOriginals.hold` raises.
        """
        ranges = self.options.ranges
        if (
            ranges == "always" or (ranges == "tiff" and _TIFF.search(path))
        ) and not await self._kept.has(name):
            async with self._ranged.hold(name, upstream) as opened:
                if opened is not None:
                    yield opened
                    return
        async with self._kept.hold(name, upstream) as opened:
            yield opened
