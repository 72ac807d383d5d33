"""Warming over HTTP: of a server, and of the proxies and the CDN in front of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx

from iiif_server.background import completed
from iiif_server.commands.bulk.tasks import Outcome, Result, Task, run_task
from iiif_server.commands.replay.pacing import FixedRate
from iiif_server.composition.components import open_listing
from iiif_server.errors import ConfigurationError, NotAnImageError
from iiif_server.iiif.geometry import Dimensions
from iiif_server.iiif.viewers import InfoJson
from iiif_server.images.originals import Originals
from iiif_server.server.call import base_uri
from iiif_server.settings import Settings
from iiif_server.sources.access import without_secrets

_TIMEOUT = 120.0
_MAX_INFORMATION = 1 << 20
_MAX_FAILURES = 3
"""Failed requests of one image after which the others are not sent."""
_MAX_REDIRECTS = 3
_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class _FailedError(Exception):
    """A request failed, or its response has another status than 200."""

    def __init__(self, reason: str, *, status: int | None) -> None:
        super().__init__(reason)
        self.status = status
        self.temporary = status is None or status in _TEMPORARY_STATUSES


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits of concurrency and rate of requests."""

    parallel: int
    rate: float


class HttpExecutor:
    """Executor that sends requests to one server."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, pace: Pace, originals: Originals
    ) -> None:
        self.originals = originals
        self.concurrency = pace.parallel
        self._client = client
        self._url = httpx.URL(url)
        self._prefix = self._url.raw_path.decode("ascii").partition("?")[0].rstrip("/")
        self._slots = asyncio.Semaphore(pace.parallel)
        self._rate = FixedRate(pace.rate)
        self._began = time.perf_counter()

    async def run(self, task: Task) -> Result:
        """Run a task and return its result."""
        return await run_task(self, task)

    async def get(self, path: str, max_bytes: int = 0) -> bytes:
        """Send a request and read the whole response; return its first `max_bytes` bytes.

        Raises _FailedError if the request fails or the status is not 200.
        """
        # The path is sent unchanged; httpx would normalize it in a URL.
        target = {"target": f"{self._prefix}/{path}".encode("ascii")}
        request = self._client.build_request("GET", self._url, extensions=target)
        async with self._slots:
            delay = self._rate.due(0) - (time.perf_counter() - self._began)
            if delay > 0:
                await asyncio.sleep(delay)
            try:
                status, content, location = await self._send(request, max_bytes)
                for _ in range(_MAX_REDIRECTS):
                    if location is None:
                        break
                    request = self._client.build_request("GET", location)
                    status, content, location = await self._send(request, max_bytes)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = str(error) or type(error).__name__
                raise _FailedError(f"{path}: {reason}", status=None) from error
        if status != httpx.codes.OK:
            raise _FailedError(f"{path}: {status}", status=status)
        return content

    async def _send(
        self, request: httpx.Request, max_bytes: int
    ) -> tuple[int, bytes, httpx.URL | None]:
        """Return status, first `max_bytes` bytes, and the URL of a redirect."""
        content = bytearray()
        response = await self._client.send(request, stream=True)
        async with aclosing(response):
            async for part in response.aiter_bytes():
                content += part[: max_bytes - len(content)]
        location = None if response.next_request is None else response.next_request.url
        return response.status_code, bytes(content), location


async def warm_url(executor: HttpExecutor, path: str, screen: Dimensions | None) -> Result:
    """Send the requests of viewers for the image whose base URI has this path."""
    base_uri_path = base_uri("", path)[1:]
    failures: list[_FailedError] = []
    sent = 0
    try:
        content = await executor.get(f"{base_uri_path}/info.json", _MAX_INFORMATION)
        paths = InfoJson.read(json.loads(content)).requests(screen)
    except _FailedError as error:
        if error.status == httpx.codes.UNSUPPORTED_MEDIA_TYPE:
            raise NotAnImageError(f"{error.status} for its info.json") from error
        return Result(Outcome.FAILED, str(error), temporary=error.temporary)
    except (ValueError, RecursionError) as error:
        return Result(Outcome.FAILED, f"{path}/info.json: {error}")

    async def get(request: str) -> None:
        if len(failures) < _MAX_FAILURES:
            try:
                await executor.get(f"{base_uri_path}/{request}")
            except _FailedError as error:
                failures.append(error)

    async with aclosing(completed(map(get, paths), executor.concurrency)) as done:
        async for _ in done:
            sent += 1
    if failures:
        temporary = all(error.temporary for error in failures)
        return Result(Outcome.FAILED, str(failures[0]), temporary=temporary)
    return Result(Outcome.MADE, counts={"images": sent})


@asynccontextmanager
async def open_http(settings: Settings, url: str, pace: Pace) -> AsyncIterator[HttpExecutor]:
    """Open the executor for a server; raises ConfigurationError if it does not respond."""
    limits = httpx.Limits(max_connections=pace.parallel)
    timeout = httpx.Timeout(_TIMEOUT, pool=None)
    async with AsyncExitStack() as stack:
        originals = open_listing(stack, settings)
        client = httpx.AsyncClient(timeout=timeout, limits=limits)
        await stack.enter_async_context(client)
        try:
            await client.get(url)
        except httpx.HTTPError as error:
            shown_url = without_secrets(url)
            raise ConfigurationError(f"{shown_url} does not answer: {error}") from error
        yield HttpExecutor(client, url, pace, originals)
