"""Fetching of originals: concurrency limits for all types, and HTTP clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import Field, PositiveInt

from iiif_server.background import BackgroundTasks
from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import SourceTimedOutError
from iiif_server.options import OptionsModel
from iiif_server.sources.access import NO_ACCESS, Access, Connecting, without_secrets
from iiif_server.sources.addresses import Networks
from iiif_server.sources.fetched_store import FLUSH_SECONDS, FetchedLimits, FetchedStore
from iiif_server.sources.guard import GuardedNetwork, ProxyNetwork, Resolve, Resolver
from iiif_server.sources.http_client import HttpClient
from iiif_server.sources.http_ranges import fields_of, range_in, start_in
from iiif_server.sources.incoming import Incoming
from iiif_server.sources.provenance import Validators
from iiif_server.sources.slots import Slots
from iiif_server.sources.upstreams import Arrival, Start
from iiif_server.units import PositiveSeconds, PositiveSize, Seconds

Result = TypeVar("Result")


class FetchOptions(OptionsModel):
    """Settings of fetching originals."""

    allow_networks: Networks = ()
    """Networks (CIDR) that the server may fetch from although they are not public."""
    max_bytes: PositiveSize = 2_000_000_000
    """Largest original that the server fetches."""
    keep_bytes: PositiveSize | None = None
    """Most bytes of fetched originals on disk, over all types. The server removes the least
    recently used to make room for others. Unset: no limit; it removes nothing."""
    keep_files: PositiveInt | None = None
    """Most fetched originals on disk; unset: no limit."""
    connect_timeout: PositiveSeconds = 10
    """Timeout of connecting, and of each wait for the next bytes."""
    total_timeout: PositiveSeconds = 120
    """Timeout of a whole fetch, redirects included."""
    queue_timeout: PositiveSeconds = 30
    """Longest wait of a fetch in the queue, before the server answers with 503."""
    max_redirects: int = Field(default=5, ge=0, le=100)
    """Most redirects of one fetch; each is checked like the first URL."""
    failure_ttl: Seconds = 10
    """Time for which the server does not repeat a failed fetch, but answers with its error."""
    max_ranges: int = Field(default=16, ge=1, le=1000)
    """Most concurrent requests for parts of originals, over all types, per process;
    `max_http_fetches` limits those for whole originals."""
    refresh_after: PositiveSeconds | None = None
    """Time after which the server revalidates a fetched original with its upstream; unset: never.

    While the upstream is down, the server uses the local copy. If the upstream answers 404 or 410,
    so does this server; the local file stays."""
    refresh_wait: Seconds = 2
    """Time for which a client waits for this revalidation, before the server uses the local copy.

    The revalidation goes on. A response without change is short: it takes a few round trips, less
    than a second around the earth. A response that takes longer may take any time."""


class Fetcher:
    """Fetcher of originals into files, at most `max_fetches` at a time over all types."""

    def __init__(
        self,
        options: FetchOptions,
        max_fetches: int,
        incoming: Path,
        resolve: Resolve | None = None,
        min_free: int | None = None,
    ) -> None:
        """`min_free`: free bytes to leave on the disk; None: by its size."""
        self.options = options
        self._slots = Slots(max_fetches, options.queue_timeout)
        self._range_slots = Slots(options.max_ranges, options.queue_timeout)
        threads = StorageThreads("originals being fetched", 2 * max_fetches)
        limits = FetchedLimits(options.keep_bytes, options.keep_files, min_free)
        has_limit = limits.max_bytes is not None or limits.max_files is not None
        self.store = FetchedStore(incoming.parent, limits) if has_limit else None
        """Index that limits the fetched originals on disk; None without a limit."""
        self.incoming = Incoming(incoming, threads, options.max_bytes, min_free, self.store)
        """Folder into which originals of all upstreams are received."""
        self._background = BackgroundTasks()
        # Twice as many threads as fetches: look-ups that timed out may still block half of them.
        self._resolver = Resolver(2 * max_fetches)
        self._resolve = resolve or self._resolver.resolve
        self._max_fetches = max_fetches
        self._clients: dict[Connecting, HttpClient] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Fetcher {self.active} active>"

    @property
    def active(self) -> int:
        """Number of fetches under way."""
        return self._slots.in_use

    def open(self) -> None:
        """Remove files of killed processes, update the index, and write it from time to time.

        Servers call it after the sources of all types are built.
        """
        threads, store = self.incoming.threads, self.store
        threads.begin(self.incoming.remove_abandoned)
        if store is not None:
            threads.begin(store.import_existing)
            self._background.repeat(FLUSH_SECONDS, partial(threads.run, store.flush))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start a background task, which `close` cancels."""
        return self._background.start(work)

    async def close(self) -> None:
        """Cancel background tasks and close all connections."""
        self._is_closed = True
        await self._background.cancel()
        for client in self._clients.values():
            await client.close()
        self._resolver.close()
        if self.store is not None:
            await self.incoming.threads.settle(self.store.close)

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """Slot to fetch one whole original from a host, for upstreams of all kinds.

        Raises SourceBusyError if none is free within `fetch.queue_timeout`, and SourceTimedOutError
        if the fetch takes longer than `fetch.total_timeout`.
        """
        async with self._slot(self._slots, host):
            yield

    @asynccontextmanager
    async def range_slot(self, host: str) -> AsyncIterator[None]:
        """Slot to fetch a part of an original; raises as `slot`."""
        async with self._slot(self._range_slots, host):
            yield

    @asynccontextmanager
    async def _slot(self, slots: Slots, host: str) -> AsyncIterator[None]:
        async with slots.acquire(host):
            try:
                async with asyncio.timeout(self.options.total_timeout):
                    yield
            except TimeoutError as error:
                raise SourceTimedOutError("The upstream server did not answer in time.") from error

    def client(self, connecting: Connecting) -> HttpClient:
        """HTTP client for these certificates and proxy. Raises ConfigurationError if unusable."""
        if self._is_closed:
            raise RuntimeError("the fetcher is closed")
        if connecting not in self._clients:
            self._clients[connecting] = HttpClient(
                connecting,
                self._network,
                self.incoming,
                connections=self._max_fetches + self.options.max_ranges,
                timeout=self.options.connect_timeout,
            )
        return self._clients[connecting]

    def _network(self, connecting: Connecting) -> GuardedNetwork:
        allowed, resolves = self.options.allow_networks, connecting.proxy_resolves
        if connecting.proxy is None:
            return GuardedNetwork(allowed, self._resolve)
        return ProxyNetwork(allowed, self._resolve, resolves=resolves)

    async def fetch(
        self,
        url: str,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators | None = None,
        access: Access = NO_ACCESS,
    ) -> Arrival | None:
        """Fetch a URL, as `Upstream.fetch`; `trusts` decides about the URL of each redirect."""
        validators = validators or Validators()
        # A conditional request needs no space if nothing has changed, as is usual.
        if not validators.conditions(url):
            await self.incoming.threads.run(self.incoming.check_space)
        async with self.slot(_host_of(url)):
            return await self.client(access.connecting).fetch(
                url,
                target,
                trusts,
                validators,
                max_redirects=self.options.max_redirects,
                secret=access.headers,
            )


@dataclass(frozen=True, slots=True)
class HttpUpstream:
    """Upstream at a URL."""

    fetcher: Fetcher
    url: str
    trusts: Callable[[str], bool]
    """Whether a redirect may be followed to a URL."""
    access: Access = NO_ACCESS

    @property
    def shown(self) -> str:
        """URL for logs, without secrets."""
        return without_secrets(self.url)

    async def fetch(self, target: Path, known: Validators) -> Arrival | None:
        """Fetch the original, as `Upstream.fetch`."""
        return await self.fetcher.fetch(self.url, target, self.trusts, known, self.access)

    @property
    def host(self) -> str:
        """Host of the URL."""
        return _host_of(self.url)

    @property
    def place(self) -> str:
        """URL of the original."""
        return self.url

    async def start(self, length: int) -> Start | None:
        """Fetch the first bytes, as `RangeUpstream.start`."""
        async with self._response(fields_of(0, length)) as response:
            return await start_in(response, length)

    async def read(self, start: int, stop: int, tag: str) -> AsyncIterator[bytes]:
        """Fetch the bytes of a range, as `RangeUpstream.read`."""
        async with self._response(fields_of(start, stop, tag)) as response:
            async for chunk in range_in(response, start, stop, tag):
                yield chunk

    def _response(self, fields: Mapping[str, str]) -> AbstractAsyncContextManager[httpx.Response]:
        return self.fetcher.client(self.access.connecting).get(
            self.url,
            self.trusts,
            lambda _: fields,
            self.fetcher.options.max_redirects,
            self.access.headers,
        )


def _host_of(url: str) -> str:
    """Host of a URL; empty for an invalid one, which the HTTP client refuses."""
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""
