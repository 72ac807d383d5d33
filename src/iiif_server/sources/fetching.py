"""Fetching of originals: turns for all types, and the HTTP client that `web` types use."""

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
from iiif_server.sources.fetched_store import FLUSH_SECONDS, FetchedStore, Keep
from iiif_server.sources.guard import GuardedNetwork, LookUp, Names, ProxyNetwork
from iiif_server.sources.http_client import HttpClient
from iiif_server.sources.http_ranges import fields_of, range_in, start_in
from iiif_server.sources.incoming import Incoming
from iiif_server.sources.provenance import Validators
from iiif_server.sources.slots import Slots
from iiif_server.sources.upstreams import Arrival, Start
from iiif_server.units import PositiveSeconds, PositiveSize, Seconds

Result = TypeVar("Result")


class FetchOptions(OptionsModel):
    """How originals are fetched over HTTP."""

    allow_networks: Networks = ()
    """Networks (CIDR) that are fetched from although they are not public."""
    max_bytes: PositiveSize = 2_000_000_000
    """Largest original fetched."""
    keep_bytes: PositiveSize | None = None
    """Most bytes of fetched originals that are kept, over all types: the least recently used are
    removed to make room for others. Unset: no limit; nothing is removed."""
    keep_files: PositiveInt | None = None
    """Most fetched originals that are kept; unset: no limit."""
    connect_timeout: PositiveSeconds = 10
    """Time for connecting, and for each wait for the next bytes."""
    total_timeout: PositiveSeconds = 120
    """Time for a whole fetch, redirects included."""
    queue_timeout: PositiveSeconds = 30
    """Time for which a fetch waits for its turn, before it is refused with 503."""
    max_redirects: int = Field(default=5, ge=0, le=100)
    """Redirects followed; each is checked like the first URL."""
    failure_ttl: Seconds = 10
    """Time for which a failed fetch is remembered, so that viewers do not repeat it at once."""
    max_ranges: int = Field(default=16, ge=1, le=1000)
    """Requests at a time for parts of originals, over all types and in each process; those for
    whole originals are limited by `max_http_fetches`."""
    refresh_after: PositiveSeconds | None = None
    """Time after which a kept original's upstream is asked whether it has changed; unset: never.

    While the upstream is down, the local copy is served. If it answers 404 or 410, so does this
    server; the local file stays."""
    refresh_wait: Seconds = 2
    """Time for which a viewer waits for the answer to that, before the kept original is served.

    The question goes on. An answer that nothing has changed is short: it takes a few round trips,
    well below a second around the earth. Whatever takes longer may take any time."""


class Fetcher:
    """Fetches originals into files, at most `max_fetches` at a time over all types."""

    def __init__(
        self,
        options: FetchOptions,
        max_fetches: int,
        incoming: Path,
        look_up: LookUp | None = None,
        min_free: int | None = None,
    ) -> None:
        """`min_free`: bytes of the disk left free; None: by its size."""
        self.options = options
        self._slots = Slots(max_fetches, options.queue_timeout)
        self._range_slots = Slots(options.max_ranges, options.queue_timeout)
        threads = StorageThreads("originals being fetched", 2 * max_fetches)
        keep = Keep(options.keep_bytes, options.keep_files, min_free)
        has_limit = keep.max_bytes is not None or keep.max_files is not None
        self.store = FetchedStore(incoming.parent, keep) if has_limit else None
        """What keeps fetched originals within limits; None: there are none."""
        self.incoming = Incoming(incoming, threads, options.max_bytes, min_free, self.store)
        """Where the bytes of any upstream go."""
        self._background = BackgroundTasks()
        # Twice as many as fetches: look-ups that timed out may still block half of them.
        self._names = Names(2 * max_fetches)
        self._look_up = look_up or self._names.look_up
        self._max_fetches = max_fetches
        self._clients: dict[Connecting, HttpClient] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Fetcher {self.active} active>"

    @property
    def active(self) -> int:
        """The number of fetches under way."""
        return self._slots.taken

    def open(self) -> None:
        """Remove what killed processes left, and keep the index of fetched originals up to date.

        For servers, after the sources of all types are built.
        """
        threads, store = self.incoming.threads, self.store
        threads.begin(self.incoming.remove_abandoned)
        if store is not None:
            threads.begin(store.import_existing)
            self._background.repeat(FLUSH_SECONDS, partial(threads.run, store.flush))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start a background task, which `close` ends."""
        return self._background.start(work)

    async def close(self) -> None:
        """Cancel background tasks and close all connections."""
        self._is_closed = True
        await self._background.cancel()
        for client in self._clients.values():
            await client.close()
        self._names.close()
        if self.store is not None:
            await self.incoming.threads.settle(self.store.close)

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """A turn to fetch one whole original from a host, of any kind of upstream.

        Raises SourceBusyError if it does not come in time, and SourceTimedOutError if the fetch
        takes longer than `fetch.total_timeout`.
        """
        async with self._turn(self._slots, host):
            yield

    @asynccontextmanager
    async def range_turn(self, host: str) -> AsyncIterator[None]:
        """A turn to fetch a part of an original; raises as `turn`."""
        async with self._turn(self._range_slots, host):
            yield

    @asynccontextmanager
    async def _turn(self, slots: Slots, host: str) -> AsyncIterator[None]:
        async with slots.one(host):
            try:
                async with asyncio.timeout(self.options.total_timeout):
                    yield
            except TimeoutError as error:
                raise SourceTimedOutError("The upstream server did not answer in time.") from error

    def client(self, connecting: Connecting) -> HttpClient:
        """The HTTP client for certificates and proxy; ConfigurationError if they cannot be used."""
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
            return GuardedNetwork(allowed, self._look_up)
        return ProxyNetwork(allowed, self._look_up, resolves=resolves)

    async def fetch(
        self,
        url: str,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators | None = None,
        access: Access = NO_ACCESS,
    ) -> Arrival | None:
        """What `Upstream.bring` promises, of a URL; `trusts` decides on that of each redirect."""
        validators = validators or Validators()
        # A conditional request often finds that nothing has changed.
        if not validators.conditions(url):
            await self.incoming.threads.run(self.incoming.check_space)
        async with self.turn(_host_of(url)):
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
    """An original behind a URL."""

    fetcher: Fetcher
    url: str
    trusts: Callable[[str], bool]
    """Whether a redirect may be followed to a URL."""
    access: Access = NO_ACCESS

    @property
    def shown(self) -> str:
        """The URL for logs, without its secrets."""
        return without_secrets(self.url)

    async def bring(self, target: Path, known: Validators) -> Arrival | None:
        """Fetch the original, as `Upstream.bring` promises."""
        return await self.fetcher.fetch(self.url, target, self.trusts, known, self.access)

    @property
    def host(self) -> str:
        """The host of the URL."""
        return _host_of(self.url)

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    async def start(self, length: int) -> Start | None:
        """The first bytes, as `RangeUpstream.start` promises."""
        async with self._response(fields_of(0, length)) as response:
            return await start_in(response, length)

    async def read(self, start: int, stop: int, tag: str) -> AsyncIterator[bytes]:
        """The bytes of a range, as `RangeUpstream.read` promises."""
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
    """The host of a URL; empty for an invalid one, which the client refuses."""
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""
