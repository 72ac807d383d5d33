"""Delivery of response bodies: by this process, or by nginx in front of it (X-Accel-Redirect)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from zlib import crc32

import aiofiles.threadpool
from starlette.types import Scope

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import ResponseIncompleteError, StorageTimedOutError
from iiif_server.images.body import Body
from iiif_server.options import OptionsModel, UrlPath
from iiif_server.server.services import Services
from iiif_server.telemetry.events import Observer, ResponseIncomplete

ACCEL = "x-accel-redirect"
_ACCEL_REQUESTED = (b"x-accel", b"on")
_CHUNK = 1 << 18


class DeliveryOptions(OptionsModel):
    """Delivery of files by nginx instead of this server (X-Accel-Redirect)."""

    accel_redirect: UrlPath | None = None
    """Internal location of nginx for `{cache_path}/derivatives/entries/`, as `/_derivatives`: nginx
    sends cached derivatives itself if its requests have `X-Accel: on` (docs/nginx.md). Unset: the
    server sends them."""
    accel_originals: UrlPath | None = None
    """Internal location of nginx for `{source_path}/`, as `/_originals`: nginx sends downloaded
    originals itself, in the same way. Unset: the server sends them."""


def by_proxy(scope: Scope, services: Services, *, originals: bool = False) -> bool:
    """Whether the proxy of a request sends files of the store, or originals, itself."""
    location = services.accel_originals if originals else services.accel_redirect
    return (
        location is not None
        and _ACCEL_REQUESTED in scope["headers"]
        and services.addressing.is_from_proxy(scope)
    )


def location_of(path: Path, services: Services) -> str:
    """Internal URL path of nginx for a file of the store, or for an original."""
    location, folder = services.accel_redirect, services.store.entries
    if not path.is_relative_to(folder):  # checked first: cache_path may be below source_path
        location, folder = services.accel_originals, services.source_path
    return f"{location}/{quote(path.relative_to(folder).as_posix())}"


async def chunks(
    file: BinaryIO, threads: StorageThreads, body: Body, observer: Observer
) -> AsyncIterator[bytes]:
    """Yield the bytes of a body from its file, read in the threads of its storage.

    Raises ResponseIncompleteError, and reports it to the observer, if the file cannot be read to
    the end. If the checksum is wrong, because the file has changed since it was opened, raises
    ResponseIncompleteError instead of yielding the last chunk.
    """
    left, checksum = body.length, 0
    reader = aiofiles.threadpool.wrap(file, executor=threads)
    while left:
        try:
            chunk = await reader.read(min(_CHUNK, left))
        except (OSError, StorageTimedOutError) as error:
            raise _incomplete(file, body, left, str(error), observer) from error
        if not chunk:
            reason = (
                "the file became shorter while it was sent: replace originals by renaming a "
                "complete file over them"
            )
            raise _incomplete(file, body, left, reason, observer)
        if body.checksum is not None:
            checksum = crc32(chunk, checksum)
            if len(chunk) == left and checksum != body.checksum:
                raise _incomplete(file, body, left, "the file was changed in the cache", observer)
        left -= len(chunk)
        yield chunk


def _incomplete(
    file: BinaryIO, body: Body, left: int, reason: str, observer: Observer
) -> ResponseIncompleteError:
    observer(ResponseIncomplete(str(file.name), body.length, body.length - left, reason))
    return ResponseIncompleteError(reason)
