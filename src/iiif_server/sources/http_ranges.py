"""Range requests for an original at a URL (RFC 9110, 14), pinned to one version by its ETag."""

import re
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx

from iiif_server.errors import SourceUnavailableError
from iiif_server.plan.local_file import replaced_error
from iiif_server.sources.http_client import check_status, chunks_of, pieces_of
from iiif_server.sources.upstreams import Start

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_TAG = re.compile(r'"[\x21\x23-\x7e]{0,1000}"')
"""Strong entity tag (RFC 9110, 8.8.3)."""


def fields_of(start: int, stop: int, tag: str | None = None) -> dict[str, str]:
    """Header fields of a range request for the bytes from `start` up to `stop` (exclusive)."""
    found = {"Range": f"bytes={start}-{stop - 1}"}
    return found if tag is None else {**found, "If-Match": tag}


async def start_in(response: httpx.Response, length: int) -> Start | None:
    """First bytes of an original in a response; None if the upstream sends no usable ranges.

    Raises OriginalNotFoundError or SourceUnavailableError.
    """
    status = response.status_code
    if status in {httpx.codes.OK, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}:
        return None
    if status != httpx.codes.PARTIAL_CONTENT:
        check_status(response)
    tag = response.headers.get("etag", "")
    extent = _extent_in(response)
    if not _TAG.fullmatch(tag) or extent is None or extent[0]:
        return None
    _, stop, size = extent
    if stop != min(length, size):
        return None
    data = b"".join([chunk async for chunk in _body(response, stop)])
    return Start(data, size, tag, _modified(response))


async def range_in(
    response: httpx.Response, start: int, stop: int, tag: str
) -> AsyncIterator[bytes]:
    """Bytes of a range in a response, in chunks.

    Raises OriginalChangedError if the original has another entity tag, or if the upstream sends no
    ranges any more; OriginalNotFoundError; or SourceUnavailableError.
    """
    changed = {httpx.codes.PRECONDITION_FAILED, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}
    if response.status_code in changed:
        raise replaced_error()
    if not response.is_success:
        check_status(response)
    if response.headers.get("etag") != tag:  # the server ignores If-Match
        raise replaced_error()
    extent = _extent_in(response)
    if response.status_code != httpx.codes.PARTIAL_CONTENT or extent is None:
        raise replaced_error()  # without ranges, the next request fetches the whole original
    if extent[:2] != (start, stop):
        raise SourceUnavailableError("The upstream server sent another range than was requested.")
    async for chunk in _body(response, stop - start):
        yield chunk


async def _body(response: httpx.Response, length: int) -> AsyncIterator[bytes]:
    response.extensions["network_stream"].expect_body()
    received = 0
    async for chunk in chunks_of(pieces_of(response)):
        received += len(chunk)
        if received > length:
            raise SourceUnavailableError("The upstream server sent more than it announced.")
        yield chunk
    if received < length:
        raise SourceUnavailableError("The upstream server sent less than it announced.")


def _extent_in(response: httpx.Response) -> tuple[int, int, int] | None:
    """Start, stop (exclusive) and total size in Content-Range; None if invalid or encoded."""
    found = _RANGE.fullmatch(response.headers.get("content-range", ""))
    is_encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
    if found is None or is_encoded:
        return None
    first, last, size = map(int, found.groups())
    return (first, last + 1, size) if first <= last < size else None


def _modified(response: httpx.Response) -> int:
    """Last-Modified in seconds since the epoch; now if it is missing, invalid or later."""
    now = int(time.time())
    try:
        modified = parsedate_to_datetime(response.headers.get("last-modified", "")).timestamp()
    except (ValueError, OverflowError, OSError):
        return now
    return max(0, min(int(modified), now))
