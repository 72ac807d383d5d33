"""HTTP client for originals: permitted addresses, complete bodies, limits on size and time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import httpcore
import httpx

from iiif_server import __version__
from iiif_server.errors import (
    OriginalNotFoundError,
    SourceTimedOutError,
    SourceUnavailableError,
)
from iiif_server.sources.access import Connecting, public_trust, tls_of
from iiif_server.sources.content_coding import decoded, decoder_of
from iiif_server.sources.guard import AddressRefusedError, GuardedNetwork, GuardedTransport
from iiif_server.sources.incoming import Body, Incoming
from iiif_server.sources.provenance import Validators, validators_of
from iiif_server.sources.upstreams import Arrival

_CHUNK = 1 << 18
_PIECES_AT_ONCE = 16
"""Number of pieces after which the event loop may run other tasks; all may be in one packet."""
_MIN_PIECE, _MIN_PIECE_COUNT = 64, 1000
"""Average bytes and number of pieces: a body of more and smaller ones is refused as an attack."""
_HEADERS = {
    "User-Agent": f"iiif-server/{__version__}",
    "Accept": "image/*, */*;q=0.5",
    "Accept-Encoding": "identity",
}

Headers = Sequence[tuple[str, str]]

for _logger in ("httpx", "httpcore"):  # they log URLs and header fields, which contain secrets
    logging.getLogger(_logger).setLevel(logging.WARNING)


class _NoCookies(CookieJar):
    """A cookie jar that stores nothing, so that no cookie reaches another server."""

    def extract_cookies(self, *_: Any) -> None:
        """Ignore the cookies of a response."""


class HttpClient:
    """HTTP client that fetches URLs and follows permitted redirects."""

    def __init__(
        self,
        connecting: Connecting,
        network: Callable[[Connecting], GuardedNetwork],
        incoming: Incoming,
        *,
        connections: int,
        timeout: float,
    ) -> None:
        """`timeout`: seconds to connect, and for each wait for the next bytes.

        Raises ConfigurationError if a certificate cannot be used.
        """
        self._incoming = incoming

        def client(*, with_certificate: bool) -> httpx.AsyncClient:
            transport = GuardedTransport(
                network(connecting),
                connections,
                tls_of(connecting, with_certificate=with_certificate),
                _proxy(connecting.proxy),
            )
            return httpx.AsyncClient(
                transport=transport,
                timeout=timeout,
                headers=_HEADERS,
                cookies=_NoCookies(),
                trust_env=False,
                follow_redirects=False,
            )

        self._without_credentials = client(with_certificate=False)
        """Client without credentials, for other origins."""
        has_certificate = connecting.client_certificate is not None
        self._client = (
            client(with_certificate=True) if has_certificate else self._without_credentials
        )

    def __repr__(self) -> str:
        return "<HttpClient>"

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._without_credentials.aclose()

    async def fetch(
        self,
        url: str,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators,
        *,
        max_redirects: int,
        secret: Headers = (),
    ) -> Arrival | None:
        """Fetch a URL, as `Upstream.fetch`; `trusts` decides about the URL of each redirect.

        Only the origin of the URL gets the header fields in `secret` and the client certificate,
        and only until the first redirect to another origin.
        """
        conditions = validators.conditions
        async with self.get(url, trusts, conditions, max_redirects, secret) as response:
            conditional = bool(conditions(str(response.url)))
            if conditional and response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            body = _body_of(response, self._incoming.max_bytes)
            return await self._incoming.receive(body, target)

    @asynccontextmanager
    async def get(
        self,
        url: str,
        trusts: Callable[[str], bool],
        fields: Callable[[str], Mapping[str, str]],
        max_redirects: int,
        secret: Headers,
    ) -> AsyncIterator[httpx.Response]:
        """Send a GET, follow redirects, and yield the last response with its body unread.

        `fields` returns further header fields for the request of a URL; the rest is as in `fetch`.
        Raises SourceTimedOutError or SourceUnavailableError.
        """
        try:
            target_url, client = httpx.URL(url), self._client
            origin = _origin(target_url)
            for _ in range(max_redirects + 1):
                headers = [*secret, *fields(str(target_url)).items()]
                request = client.build_request("GET", target_url, headers=headers)
                response = await client.send(request, stream=True)
                try:
                    if response.next_request is None:
                        yield response
                        return
                finally:
                    await response.aclose()
                target_url = _checked_redirect(target_url, response.next_request.url, trusts)
                if _origin(target_url) != origin:
                    secret, client = (), self._without_credentials
        except httpx.TimeoutException as error:
            raise SourceTimedOutError("The upstream server did not answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unavailable(error) from error
        raise SourceUnavailableError("The upstream server redirects too many times.")


def _body_of(response: httpx.Response, max_bytes: int) -> Body:
    """Body of a response with an original; raises as `check_status`."""
    check_status(response)
    decoder = decoder_of(response.headers.get("content-encoding", ""))
    response.extensions["network_stream"].expect_body()
    pieces = pieces_of(response)
    return Body(
        chunks_of(decoded(pieces, decoder, max_bytes) if decoder else pieces),
        0 if decoder else _content_length(response),
        decoder is not None or _is_framed(response),
        validators_of(str(response.url), response.headers),
    )


def check_status(response: httpx.Response) -> None:
    """Raise OriginalNotFoundError for 404 and 410, SourceUnavailableError for others but 200."""
    if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
        raise OriginalNotFoundError
    if response.status_code != httpx.codes.OK:
        raise SourceUnavailableError(
            f"The upstream server answered with status {response.status_code}."
        )


def _checked_redirect(
    before: httpx.URL, after: httpx.URL, trusts: Callable[[str], bool]
) -> httpx.URL:
    """Check the URL of a redirect and return it.

    Raises SourceUnavailableError unless it is http or https, trusted, and without new credentials.
    """
    adds_credentials = after.userinfo and after.copy_with(raw_path=before.raw_path) != before
    if adds_credentials or after.scheme not in {"http", "https"} or not trusts(str(after)):
        raise SourceUnavailableError(
            "The upstream server redirects to a server that is not trusted."
        )
    return after


async def pieces_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Body as it arrives. Raises SourceUnavailableError for an attack with tiny pieces."""
    size = pieces = 0
    async for piece in response.aiter_raw():
        yield piece
        size += len(piece)
        pieces += 1
        if pieces % _PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)
        if pieces > _MIN_PIECE_COUNT and size < pieces * _MIN_PIECE:
            raise SourceUnavailableError(
                "The upstream server sends the original in pieces of a few bytes each."
            )


async def chunks_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Body in chunks of about 256 KiB."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= _CHUNK:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _content_length(response: httpx.Response) -> int:
    """Content-Length in bytes; 0 if unknown."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def _is_framed(response: httpx.Response) -> bool:
    """Whether the framing of the response shows a truncation (RFC 9112, 8)."""
    return "content-length" in response.headers or "transfer-encoding" in response.headers


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Origin: scheme, host and port (RFC 6454); httpx omits the default port of a scheme."""
    return url.scheme, url.host, url.port


def _proxy(url: str | None) -> httpcore.Proxy | None:
    if url is None:
        return None
    proxy = httpx.URL(url)
    return httpcore.Proxy(
        httpcore.URL(
            scheme=proxy.raw_scheme, host=proxy.raw_host, port=proxy.port, target=proxy.raw_path
        ),
        auth=(proxy.username.encode(), proxy.password.encode()) if proxy.userinfo else None,
        ssl_context=public_trust() if proxy.scheme == "https" else None,
    )


def _unavailable(error: Exception) -> SourceUnavailableError:
    if isinstance(error.__cause__, AddressRefusedError):
        return SourceUnavailableError(
            "The original is at an address that this server may not fetch from; "
            "its operator can permit it in fetch.allow_networks."
        )
    return SourceUnavailableError("The upstream server cannot be reached.")
