"""Guarded HTTP: whole originals from public addresses, a few at a time, or a clear refusal."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import aiofiles
import httpcore
import httpx
from pydantic import BaseModel, ByteSize, ConfigDict, Field

from iiif_server import __version__
from iiif_server.errors import (
    OriginalNotFoundError,
    OriginalTooLargeError,
    SourceTimedOutError,
    SourceUnavailableError,
    UnsupportedOriginalError,
)
from iiif_server.imaging.signatures import SIGNATURE_BYTES, recognise
from iiif_server.sources.addresses import Network, may_connect
from iiif_server.sources.networks import Networks

_CHUNK = 1 << 18
_ABANDONED_AFTER = 3600.0
"""Seconds without a byte after which a file being fetched has no fetcher any more."""
_LAST_PORT = 65_535


class FetchOptions(BaseModel):
    """How originals are fetched over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    allow_networks: Networks = ()
    """Networks (CIDR) that are fetched from although they are not public."""
    max_bytes: ByteSize = ByteSize(2_000_000_000)
    """Largest original fetched."""
    connect_timeout: float = Field(default=10, gt=0)
    """Seconds for connecting, and for each wait for the next bytes."""
    total_timeout: float = Field(default=120, gt=0)
    """Seconds for a whole fetch, redirects included."""
    max_redirects: int = Field(default=5, ge=0)
    """Redirects followed; each is checked like the first URL."""
    failure_ttl: float = Field(default=10, ge=0)
    """Seconds for which a failed fetch is remembered, so that viewers do not repeat it at once."""


class AddressRefusedError(httpcore.ConnectError):
    """Every address of the host is one that may not be fetched from."""


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connections to permitted addresses only: what was checked is what is connected to."""

    def __init__(self, allowed: tuple[Network, ...]) -> None:
        self._allowed = allowed
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of the host that may be used and answers."""
        if not 0 < port <= _LAST_PORT:  # which neither httpx nor getaddrinfo minds
            raise httpcore.ConnectError(f"{port} is no port")
        addresses = [a for a in await _resolve(host, port) if may_connect(a, self._allowed)]
        if not addresses:
            raise AddressRefusedError(f"no permitted address for {host}")
        last: Exception = httpcore.ConnectError("no address answered")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - httpcore's interface
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Refused: originals do not come from sockets of this machine."""
        raise AddressRefusedError(path)

    async def sleep(self, seconds: float) -> None:
        """Wait, as httpcore asks between tries."""
        await self._inner.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over a guarded network; proxies of the environment play no part."""

    def __init__(self, allowed: tuple[Network, ...], connections: int) -> None:
        super().__init__(trust_env=False)
        # httpx offers no way to pass a network backend; httpcore, which it is built on, does.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=5.0,
            network_backend=GuardedNetwork(allowed),
        )


class Fetcher:
    """Fetches originals into files, at most `max_fetches` at a time over all types."""

    def __init__(self, options: FetchOptions, max_fetches: int, incoming: Path) -> None:
        self.options = options
        self._slots = asyncio.Semaphore(max_fetches)
        self._incoming = incoming
        self._active = 0
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(options.allow_networks, max_fetches),
            timeout=options.connect_timeout,
            headers={
                "User-Agent": f"iiif-server/{__version__}",
                "Accept": "image/*, */*;q=0.5",
                "Accept-Encoding": "identity",
            },
            trust_env=False,
            follow_redirects=False,
        )
        # One original's server learns nothing from what another one set.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def __repr__(self) -> str:
        return f"<Fetcher {self._active} active>"

    @property
    def active(self) -> int:
        """The number of fetches under way."""
        return self._active

    def remove_abandoned(self) -> None:
        """Remove what fetches of a process that was killed have left."""
        with contextlib.suppress(OSError):  # no such folder yet, or not ours to tidy
            for path in self._incoming.iterdir():
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def fetch(self, url: str, target: Path, trusts: Callable[[str], bool]) -> int:
        """Fetch a URL into a file that then is there whole, or not at all; its size in bytes.

        `trusts` is asked for each redirect's URL. Raises OriginalNotFoundError,
        OriginalTooLargeError, UnsupportedOriginalError, SourceTimedOutError or
        SourceUnavailableError.
        """
        async with self._slots:
            self._active += 1
            try:
                async with asyncio.timeout(self.options.total_timeout):
                    return await self._fetch(url, target, trusts)
            except (TimeoutError, httpx.TimeoutException) as error:
                raise SourceTimedOutError(
                    "The place where the original is kept did not answer in time."
                ) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _unavailable(error) from error
            finally:
                self._active -= 1

    async def _fetch(self, url: str, target: Path, trusts: Callable[[str], bool]) -> int:
        request = self._client.build_request("GET", url)
        for _ in range(self.options.max_redirects + 1):
            response = await self._client.send(request, stream=True)
            try:
                if response.next_request is None:
                    return await self._keep(response, target)
                request = response.next_request
            finally:
                await response.aclose()
            if request.url.scheme not in {"http", "https"} or not trusts(str(request.url)):
                raise SourceUnavailableError(
                    "The place where the original is kept redirects to one that is not trusted."
                )
        raise SourceUnavailableError(
            "The place where the original is kept redirects too many times."
        )

    async def _keep(self, response: httpx.Response, target: Path) -> int:
        self._check_head(response)
        temporary = self._incoming / secrets.token_hex(16)
        try:
            await asyncio.to_thread(self._incoming.mkdir, parents=True, exist_ok=True)
            async with aiofiles.open(temporary, "xb") as file:
                size = 0
                async for chunk in self._checked_body(response):
                    await file.write(chunk)
                    size += len(chunk)
            await asyncio.to_thread(_move, temporary, target)
        except OSError as error:
            raise SourceUnavailableError("The original could not be kept on disk.") from error
        finally:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(temporary.unlink, missing_ok=True)
        return size

    def _check_head(self, response: httpx.Response) -> None:
        if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
            raise OriginalNotFoundError("There is no image with this identifier.")
        if response.status_code != httpx.codes.OK:
            raise SourceUnavailableError(
                f"The place where the original is kept answered with status {response.status_code}."
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise SourceUnavailableError(
                "The place where the original is kept sends it compressed, though asked not to."
            )
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.options.max_bytes:
            raise self._too_large()

    async def _checked_body(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The body in chunks, the first at least as long as a signature, which is checked."""
        size = 0
        async for chunk in response.aiter_bytes(_CHUNK):
            if size == 0 and recognise(chunk[:SIGNATURE_BYTES]) is None:
                raise _no_image()
            size += len(chunk)
            if size > self.options.max_bytes:
                raise self._too_large()
            yield chunk
        if size == 0:
            raise _no_image()

    def _too_large(self) -> OriginalTooLargeError:
        limit = self.options.max_bytes.human_readable(decimal=True)
        return OriginalTooLargeError(f"The original is larger than the {limit} that are fetched.")


def _move(temporary: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(target)


def _no_image() -> UnsupportedOriginalError:
    return UnsupportedOriginalError(
        "What is kept under this identifier is not an image of a format that is read here."
    )


def _unavailable(error: Exception) -> SourceUnavailableError:
    if isinstance(error.__cause__, AddressRefusedError):
        return SourceUnavailableError(
            "The original is kept at an address that this server may not fetch from; "
            "its operator can permit it in fetch.allow_networks."
        )
    return SourceUnavailableError("The place where the original is kept cannot be reached.")
