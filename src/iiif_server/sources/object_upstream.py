"""Object store: objects of a bucket as upstreams, and listings of their keys.

The module loads obstore, which starts its own threads. So only server processes and commands import
it, when a type needs it.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions

from iiif_server.errors import (
    IiifServerError,
    OriginalNotFoundError,
    SourceTimedOutError,
    SourceUnavailableError,
)
from iiif_server.object_stores.client import (
    CONTAINER_MISSING,
    ERRORS,
    code_of,
    problem_of,
    status_of,
)
from iiif_server.plan.local_file import replaced_error
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.incoming import Body
from iiif_server.sources.provenance import Validators, validators_of
from iiif_server.sources.upstreams import Arrival, Start

_CHUNK = 1 << 18
_PAGE = 1000
"""Number of keys in one response to a list request."""


@dataclass(frozen=True, slots=True)
class ObjectUpstream:
    """Upstream that is an object in a bucket."""

    store: Any = field(compare=False, repr=False)
    fetcher: Fetcher = field(compare=False, repr=False)
    bucket: str
    """URL of the bucket: scheme and name."""
    key: str

    @property
    def place(self) -> str:
        """URL of the object."""
        return f"{self.bucket}/{self.key}"

    shown = place

    @property
    def host(self) -> str:
        """Bucket, which counts as a host in the limits on concurrent fetches."""
        return self.bucket

    async def fetch(self, target: Path, known: Validators) -> Arrival | None:
        """Fetch the object into a file, as `Upstream.fetch`."""
        conditions = known.conditions(self.place)
        incoming = self.fetcher.incoming
        if not conditions:  # a conditional request needs no space if nothing has changed
            await incoming.threads.run(incoming.check_space)
        async with self.fetcher.slot(self.host):
            try:
                found = await self._get(if_none_match=conditions.get("If-None-Match"))
            except exceptions.NotModifiedError:
                return None
            size, tag = found.meta["size"], found.meta["e_tag"]
            body = Body(
                _whole(_chunks(found), size),
                announced=size,
                validators=validators_of(self.place, {"etag": tag} if tag else {}),
            )
            return await incoming.receive(body, target)

    async def start(self, length: int) -> Start | None:
        """Fetch the first bytes, as `RangeUpstream.start`."""
        try:
            found = await self._get(range=(0, length))
        except exceptions.NotSupportedError:
            return None
        meta = found.meta
        tag = meta["e_tag"]
        if tag is None or not tag.startswith('"'):
            return None
        data = b"".join([chunk async for chunk in _chunks(found)])
        return Start(data, meta["size"], tag, int(meta["last_modified"].timestamp()))

    async def read(self, start: int, stop: int, tag: str) -> AsyncIterator[bytes]:
        """Fetch the bytes of a range, as `RangeUpstream.read`."""
        found = await self._get(range=(start, stop), if_match=tag)
        if found.meta["e_tag"] != tag:  # the store ignores If-Match
            raise replaced_error()
        async for chunk in _chunks(found):
            yield chunk

    async def _get(self, **options: Any) -> Any:
        chosen: Any = {name: value for name, value in options.items() if value is not None}
        try:
            return await obstore.get_async(self.store, self.key, options=chosen or None)
        except exceptions.NotModifiedError:
            raise
        except ERRORS as error:
            if "range" in options and _is_about_ranges(error):
                raise exceptions.NotSupportedError from error
            raise error_of(error) from problem_of(error)


def listed(store: Any, prefix: str, after: str = "") -> Iterator[str]:
    """List the keys below a prefix of whole segments, after the key `after`; blocks.

    They are in the order of the store. Raises SourceUnavailableError.
    """
    try:
        for page in obstore.list(store, prefix or None, offset=after or None, chunk_size=_PAGE):
            for item in page:
                yield item["path"]
    except ERRORS as error:
        raise error_of(error) from problem_of(error)


def head(store: Any, key: str) -> None:
    """Check that an object exists; blocks. Raises the errors of `error_of`."""
    try:
        obstore.get(store, key)  # not `head`: an error without a body has no code
    except ERRORS as error:
        raise error_of(error) from problem_of(error)


async def _chunks(found: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.stream(min_chunk_size=_CHUNK):
            yield bytes(chunk)
    except ERRORS as error:
        raise error_of(error) from problem_of(error)


async def _whole(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        yield chunk
    if received != size:
        raise SourceUnavailableError("The object store sent less than the whole original.")


def _is_about_ranges(error: Exception) -> bool:
    return status_of(error) == "416" or "non-partial response" in str(error)


def error_of(error: Exception) -> IiifServerError:
    """Error for a client, without bucket and key."""
    text = str(error)
    if isinstance(error, FileNotFoundError) and code_of(text) not in CONTAINER_MISSING:
        return OriginalNotFoundError()
    if isinstance(error, ValueError):  # an invalid key
        return OriginalNotFoundError()
    if isinstance(error, exceptions.PreconditionError):
        return replaced_error()
    if "timed out" in text or "kind: Timeout" in text:
        return SourceTimedOutError("The object store did not answer in time.")
    return SourceUnavailableError("The original cannot be read from its object store.")
