"""Base of sources that fetch originals: as a whole, or in parts of tiled TIFFs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Protocol, TypeVar

from iiif_server.iiif.identifier import split_page
from iiif_server.sources.base import Source, SourceContext, TypeOptions
from iiif_server.sources.fetched import FetchedOriginals
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.ranged import RangedOriginals
from iiif_server.sources.upstreams import RangeUpstream, Upstream

_TIFF = re.compile(r"\.(p?tiff?|btf|tf8)$", re.IGNORECASE)

Options = TypeVar("Options", bound="StoredOptions")


class _Upstream(Upstream, RangeUpstream, Protocol):
    """Upstream that supports whole fetches and range requests."""


class StoredOptions(TypeOptions):
    """Settings of every type with fetched originals."""

    ranges: Literal["tiff", "always", "never"] = "tiff"
    """Originals that the server reads in parts, if they are tiled TIFFs: `tiff` those whose URL or
    key ends as that of a TIFF, `always` all, `never` none. It fetches the others as a whole."""


class StoredSource(Source[Options]):
    """Source that fetches originals, or the needed parts of them, and stores them on disk."""

    def __init__(self, context: SourceContext, options: Options) -> None:
        super().__init__(context, options)
        self._fetched = FetchedOriginals(context)
        self._ranged = RangedOriginals(context)

    @property
    def revalidates(self) -> bool:
        """Whether fetched originals are revalidated with the upstream."""
        return self.context.fetcher.options.refresh_after is not None

    @property
    def origin(self) -> str | None:
        """The URL, where names are no URLs, and where an object store is."""
        names = ("url", "endpoint", "account")
        return repr([getattr(self.options, name, None) for name in names])

    async def is_here(self, name: str) -> bool:
        """Whether the original is stored as a whole."""
        whole, _ = split_page(name)
        return await self._fetched.has(name) or (whole != name and await self._fetched.has(whole))

    @asynccontextmanager
    async def hold_stored(
        self, name: str, upstream: _Upstream, path: str
    ) -> AsyncIterator[OpenedFile]:
        """Yield the stored original of this name, after fetching it if it is missing.

        `path` is that of the URL, or the key: its extension may be that of a TIFF. Raises the
        errors of `KeptOriginals.hold`.
        """
        ranges = self.options.ranges
        if (
            ranges == "always" or (ranges == "tiff" and _TIFF.search(path))
        ) and not await self._fetched.has(name):
            async with self._ranged.hold(name, upstream) as opened:
                if opened is not None:
                    yield opened
                    return
        async with self._fetched.hold(name, upstream) as opened:
            yield opened
