"""Bodies on their way to the client: through this process, or by the proxy in front of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import aiofiles.threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Scope

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import ResponseIncompleteError, StorageTimedOutError
from iiif_server.images.body import Body
from iiif_server.options import OptionsModel, UrlPath
from iiif_server.server.services import Services
from iiif_server.telemetry.events import Observer, ResponseIncomplete

ACCEL = "x-accel-redirect"
HEAD = "iiif_server.head"
"""In the scope of a GET that was a HEAD: no body leaves."""
_ASKED = (b"x-accel", b"on")
_CHUNK = 1 << 18


class DeliveryOptions(OptionsModel):
    """How answers leave."""

    accel_redirect: UrlPath | None = None
    """Internal location of nginx for `{cache_path}/derivatives/entries/`, as `/_derivatives`: nginx
    sends what is there itself, where it asks for that (docs/nginx.md). Unset: it gets all bytes."""


def by_proxy(scope: Scope, provided: Services) -> bool:
    """Whether the proxy that a request came through sends files itself."""
    return (
        provided.accel_redirect is not None
        and _ASKED in scope["headers"]
        and provided.addressing.is_from_proxy(scope)
    )


def deliver(
    body: Body, media_type: str, headers: dict[str, str], provided: Services, *, head: bool = False
) -> Response:
    """The answer that carries a body, with its length; to a HEAD, nothing of a file is read."""
    if body.path is not None:
        location = _location(body.path, provided)
        return Response(media_type=media_type, headers={**headers, ACCEL: location})
    headers = {**headers, "Content-Length": str(body.length)}
    if body.file is None or body.threads is None:
        return Response(body.data, media_type=media_type, headers=headers)
    if head:
        body.threads.begin(body.file.close)
        return Response(media_type=media_type, headers=headers)
    return StreamingResponse(
        _chunks(body.file, body.length, body.threads, provided.observer),
        media_type=media_type,
        headers=headers,
    )


def _location(path: Path, provided: Services) -> str:
    below = path.relative_to(provided.store.entries).as_posix()
    return f"{provided.accel_redirect}/{quote(below)}"


async def _chunks(
    file: BinaryIO, length: int, threads: StorageThreads, observer: Observer
) -> AsyncIterator[bytes]:
    """So many bytes of a file; ResponseIncompleteError, which is told, if they cannot be had."""
    left = length
    try:
        reader = aiofiles.threadpool.wrap(file, executor=threads)
        while left:
            try:
                chunk = await reader.read(min(_CHUNK, left))
            except (OSError, StorageTimedOutError) as error:
                raise _incomplete(file, length, left, str(error), observer) from error
            if not chunk:
                reason = (
                    "the file became shorter while it was sent: replace originals by renaming a "
                    "complete file over them"
                )
                raise _incomplete(file, length, left, reason, observer)
            left -= len(chunk)
            yield chunk
    finally:
        threads.begin(file.close)  # not awaited: whoever is cancelled has no other moment left


def _incomplete(
    file: BinaryIO, length: int, left: int, reason: str, observer: Observer
) -> ResponseIncompleteError:
    observer(ResponseIncomplete(str(file.name), length, length - left, reason))
    return ResponseIncompleteError(reason)
