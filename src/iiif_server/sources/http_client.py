"""HTTP client for originals: public addresses only, complete bodies, limits on size and time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import httpx

from iiif_server import __version__
from iiif_server.errors import (
    OriginalNotFoundError,
    SourceTimedOutError,
    SourceUnavailableError,
)
from iiif_server.sources.guard import AddressRefusedError, GuardedNetwork, GuardedTransport
from iiif_server.sources.incoming import Body, Incoming
from iiif_server.sources.provenance import Validators, validators_of
from iiif_server.sources.upstreams import Arrival

_CHUNK = 1 << 18
_PIECES_AT_ONCE = 16
"""Pieces of a body after which the event loop runs others: all may have come in one packet."""
_CRUMB, _CRUMBS = 64, 1000
"""A body of so many pieces with fewer bytes each on average is refused as an attack."""
_CONDITIONS = ("If-None-Match", "If-Modified-Since")


class _NoCookies(CookieJar):
    """A cookie jar that stores nothing, so that no cookie reaches another server."""

    def extract_cookies(self, *_: Any) -> None:
        """Take none."""


class HttpClient:
    """Fetches URLs, following redirects that are permitted."""

    def __init__(
        self, network: GuardedNetwork, incoming: Incoming, *, connections: int, timeout: float
    ) -> None:
        """`timeout`: seconds for connecting, and for each wait for the next bytes."""
        self._incoming = incoming
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(network, connections),
            timeout=timeout,
            headers={
                "User-Agent": f"iiif-server/{__version__}",
                "Accept": "image/*, */*;q=0.5",
                "Accept-Encoding": "identity",
            },
            cookies=_NoCookies(),
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return "<HttpClient>"

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def fetch(
        self,
        url: str,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators,
        max_redirects: int,
    ) -> Arrival | None:
        """What `Upstream.bring` promises, of a URL; `trusts` decides on that of each redirect."""
        try:
            request = self._client.build_request("GET", url)
            return await self._follow(request, target, trusts, validators, max_redirects)
        except httpx.TimeoutException as error:
            raise SourceTimedOutError("The upstream server did not answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unavailable(error) from error

    async def _follow(
        self,
        request: httpx.Request,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators,
        max_redirects: int,
    ) -> Arrival | None:
        """Follow redirects and store the original; None for 304."""
        for _ in range(max_redirects + 1):
            for name in _CONDITIONS:  # httpx would send them to the redirect's URL, too
                request.headers.pop(name, None)
            conditions = validators.conditions(str(request.url))
            request.headers.update(conditions)
            response = await self._client.send(request, stream=True)
            try:
                if conditions and response.status_code == httpx.codes.NOT_MODIFIED:
                    return None
                following = response.next_request
                if following is None:
                    return await self._incoming.receive(_body_of(response), target)
            finally:
                await response.aclose()
            if not _may_follow(request.url, following.url, trusts):
                raise SourceUnavailableError(
                    "The upstream server redirects to a server that is not trusted."
                )
            request = following
        raise SourceUnavailableError("The upstream server redirects too many times.")


def _body_of(response: httpx.Response) -> Body:
    """The body of a response that has an original."""
    _check_head(response)
    response.extensions["network_stream"].expect_body()
    return Body(
        _chunks(response),
        _announced(response),
        _says_its_length(response),
        validators_of(str(response.url), response.headers),
    )


def _check_head(response: httpx.Response) -> None:
    if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
        raise OriginalNotFoundError("There is no image with this identifier.")
    if response.status_code != httpx.codes.OK:
        raise SourceUnavailableError(
            f"The upstream server answered with status {response.status_code}."
        )
    if response.headers.get("content-encoding", "").lower() not in {"", "identity"}:
        raise SourceUnavailableError(
            "The upstream server sends the original compressed, although asked not to."
        )


def _may_follow(before: httpx.URL, after: httpx.URL, trusts: Callable[[str], bool]) -> bool:
    """Whether a redirect may be followed: http or https, trusted, without new credentials."""
    if after.userinfo and after.copy_with(raw_path=before.raw_path) != before:
        return False
    return after.scheme in {"http", "https"} and trusts(str(after))


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body in chunks of some 256 KiB."""
    gathered, size = bytearray(), 0
    pieces = 0
    async for piece in response.aiter_raw():
        gathered += piece
        size += len(piece)
        pieces += 1
        if len(gathered) >= _CHUNK:
            yield bytes(gathered)
            gathered.clear()
        if pieces % _PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)
        if pieces > _CRUMBS and size < pieces * _CRUMB:
            raise SourceUnavailableError(
                "The upstream server sends the original in pieces of a few bytes each."
            )
    if gathered:
        yield bytes(gathered)


def _announced(response: httpx.Response) -> int:
    """Content-Length; 0 if it is unknown."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def _says_its_length(response: httpx.Response) -> bool:
    """Whether a truncated response would be noticed by its framing (RFC 9112, 8)."""
    return "content-length" in response.headers or "transfer-encoding" in response.headers


def _unavailable(error: Exception) -> SourceUnavailableError:
    if isinstance(error.__cause__, AddressRefusedError):
        return SourceUnavailableError(
            "The original is kept at an address that this server may not fetch from; "
            "its operator can permit it in fetch.allow_networks."
        )
    return SourceUnavailableError("The upstream server cannot be reached.")
