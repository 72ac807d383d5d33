"""Lookup by an HTTP service that answers with JSON."""

import asyncio
import json
from urllib.parse import quote

import httpx

from iiif_server import __version__
from iiif_server.errors import SourceTimedOutError, SourceUnavailableError
from iiif_server.sources.access import Access, tls_of
from iiif_server.sources.lookup.answers import Answer, parse_answer
from iiif_server.sources.templates import Template

_MAX_BYTES = 1 << 16
"""Maximum bytes of an answer."""
_CONNECTIONS = 20


class ServiceLookup:
    """Lookup by an HTTP service, which answers 200 with an object in JSON, or 404 or 410.

    The service may be in any network, as its URL is a setting and a name can change only path and
    query. Redirects are not followed.
    """

    is_cached = True

    def __init__(self, url: str, access: Access, timeout: float) -> None:
        self._template = Template(url)
        self._timeout = timeout
        headers = {"User-Agent": f"iiif-server/{__version__}", "Accept": "application/json"}
        # Compressed answers are refused: a few bytes could decompress to gigabytes.
        headers["Accept-Encoding"] = "identity"
        self._client = httpx.AsyncClient(
            headers=[*headers.items(), *access.headers],
            verify=tls_of(access.connecting, with_certificate=True),
            proxy=access.connecting.proxy,
            timeout=timeout,
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return "<ServiceLookup>"

    async def find(self, name: str) -> Answer | None:
        """Answer for a name; None if the service has none.

        Raises SourceTimedOutError or SourceUnavailableError, whose causes are for the log, or
        OriginalNotFoundError for a name that the template refuses.
        """
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("GET", self._template.expand(name, quote=_encoded)) as response,
            ):
                if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
                    return None
                return parse_answer(json.loads(await _body(response)))
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceTimedOutError("The lookup of this image took too long.") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise SourceUnavailableError("The lookup of this image has failed.") from error

    def problems(self) -> list[str]:
        """No problems: each request shows whether the service answers."""
        return []

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise ValueError(f"status {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ValueError("a compressed answer, although asked not to compress it")
    content = b""
    async for part in response.aiter_raw(_MAX_BYTES):
        content += part
        if len(content) > _MAX_BYTES:
            raise ValueError(f"an answer of more than {_MAX_BYTES} bytes")
    return content


def _encoded(value: str, _: bool) -> str:  # noqa: FBT001 - as all of `Quote`
    """Percent-encode a name with its slashes, so that services see one segment."""
    return quote(value, safe="")
