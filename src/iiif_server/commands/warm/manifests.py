"""Manifests whose images to warm: bounded reading, and their image services."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import httpx

from iiif_server.errors import ConfigurationError, IiifServerError
from iiif_server.sources.access import without_secrets
from iiif_server.sources.addresses import Network, may_connect
from iiif_server.sources.content_coding import decoded, decoder_of

_MAX_BYTES = 32 << 20
_MAX_SECONDS = 120.0
_TIMEOUT = 30.0
_MAX_REDIRECTS = 5
_SERVICES = frozenset({"ImageService1", "ImageService2", "ImageService3"})
_IMAGE_API = ("http://iiif.io/api/image/", "http://library.stanford.edu/iiif/image-api/")
_COLLECTIONS = frozenset({"Collection", "sc:Collection"})


async def read_manifest(place: str, allowed: Sequence[Network] = ()) -> dict[str, Any]:
    """Read the manifest at a URL or in a file.

    Redirects to another host may lead to public IP addresses, and to those in `allowed`.
    Raises ConfigurationError if it cannot be read, has more than 32 MB, or is a collection.
    """
    remote = place.startswith(("http://", "https://"))
    shown = without_secrets(place) if remote else place
    try:
        document = json.loads(await _fetch(place, allowed) if remote else _read(place))
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigurationError(f"The manifest {shown} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"The manifest {shown} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{shown} is no manifest: it is JSON, but not an object.")
    if _type(document) in _COLLECTIONS:
        raise ConfigurationError(
            f"{shown} is a collection: give its manifests, each with --manifest, or --type NAME."
        )
    return document


def image_services(document: Any) -> Iterator[str]:
    """Yield the URIs of the image services in a document of Presentation API 2 or 3, in order."""
    pending = [document]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += reversed(node)
        elif isinstance(node, dict):
            id_ = node.get("id", node.get("@id"))
            if isinstance(id_, str) and _is_image_service(node):
                uri = id_.encode("utf-8", "replace").decode()  # URIs have no lone surrogates
                yield uri.removesuffix("/info.json").rstrip("/")
            pending += reversed(node.values())


def relative_to_bases(uris: Iterable[str], bases: Iterable[str]) -> tuple[list[str], int]:
    """Return the URIs below a base URL, relative to it, and the number of the others.

    Compares without the scheme (http or https), which proxies change.
    """
    starts = [f"{_without_scheme(base).rstrip('/')}/" for base in bases]
    found: dict[str, None] = {}
    others = set()
    for uri in uris:
        plain = _without_scheme(uri)
        start = next((start for start in starts if plain.startswith(start)), None)
        if start is None:
            others.add(uri)
        else:
            found[plain.removeprefix(start)] = None
    return list(found), len(others)


def _without_scheme(url: str) -> str:
    return url.partition("://")[2]


def _type(node: dict[str, Any]) -> Any:
    type_ = node.get("type", node.get("@type"))
    return type_ if isinstance(type_, str) else None


def _is_image_service(node: dict[str, Any]) -> bool:
    if _type(node) in _SERVICES:
        return True
    profile = node.get("profile")
    texts = [node.get("@context"), *(profile if isinstance(profile, list) else [profile])]
    return any(isinstance(text, str) and text.startswith(_IMAGE_API) for text in texts)


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    _check_size(len(content))
    return content


async def _fetch(url: str, allowed: Sequence[Network]) -> bytes:
    """Fetch the content of a URL; one timeout covers all redirects and the whole body."""
    try:
        async with asyncio.timeout(_MAX_SECONDS), httpx.AsyncClient(timeout=_TIMEOUT) as client:
            request = client.build_request("GET", url, headers={"Accept-Encoding": "gzip"})
            for _ in range(1 + _MAX_REDIRECTS):
                response = await client.send(request, stream=True)
                async with aclosing(response):
                    if response.next_request is None:
                        return await _content(response)
                    request = response.next_request
                if request.url.host not in {"", httpx.URL(url).host}:
                    await _check_public(request.url.host, allowed)
    except TimeoutError as error:
        raise OSError(f"it takes more than {_MAX_SECONDS:g} seconds") from error
    raise OSError(f"it is redirected more than {_MAX_REDIRECTS} times")


async def _check_public(host: str, allowed: Sequence[Network]) -> None:
    """Raise OSError if a host has an IP address that is neither public nor allowed."""
    found: list[Any] = []
    with suppress(socket.gaierror):  # only a proxy may know the host
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    if not all(may_connect(address[0], allowed) for *_, address in found):
        text = f"it is redirected to {host}, whose IP address is private: give that URL,"
        raise OSError(f"{text} or name its network in fetch.allow_networks")


async def _content(response: httpx.Response) -> bytes:
    if not response.is_success:
        raise OSError(f"it is answered with {response.status_code}")
    content = bytearray()
    try:
        async for piece in _pieces(response):
            content += piece
            _check_size(len(content))
    except IiifServerError as error:
        raise OSError("it is compressed in a way that is not supported") from error
    return bytes(content)


def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the decoded content within a limit; httpx would decode any size and nesting."""
    decoder = decoder_of(response.headers.get("content-encoding", ""))
    raw = response.aiter_raw()
    return raw if decoder is None else decoded(raw, decoder, _MAX_BYTES)


def _check_size(size: int) -> None:
    if size > _MAX_BYTES:
        raise OSError(f"it has more than {_MAX_BYTES >> 20} MB")
