"""Bucket of the shared cache: requests with timeouts, behind a circuit breaker."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import obstore
from obstore import exceptions

from iiif_server.errors import SharedCacheUnavailableError
from iiif_server.object_stores.client import (
    CONTAINER_MISSING,
    ERRORS,
    code_of,
    problem_of,
    status_of,
)
from iiif_server.sharing.breaker import CircuitBreaker
from iiif_server.telemetry.events import Observer, SharedCacheFailed, SharedCacheRecovered

BUCKET_SECONDS = 60.0
"""Timeout (seconds) of a request that transfers a whole pyramid, or lists objects."""
_CHUNK = 1 << 20
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """Object, or a range or piece of it, as a request has found it."""

    data: bytes
    size: int
    """Size of the whole object, in bytes."""
    tag: str
    """ETag of the object; empty if the store sends none."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Object in a listing."""

    name: str
    modified: float
    """Modification time in seconds since the epoch, by the clock of the store."""
    size: int


@dataclass(slots=True)
class BucketCounts:
    """Numbers of requests since the start of the process."""

    hits: int = 0
    misses: int = 0
    failures: int = 0
    writes: int = 0


class Bucket:
    """Bucket: objects below its prefix.

    `get`, `chunks`, `put`, `has` and `discard` do not raise errors of the store: an object that
    cannot be read counts as missing. The observer gets an event when the store starts to fail, and
    when it has recovered.
    """

    def __init__(
        self,
        store: Any,
        prefix: str,
        observer: Observer,
        *,
        timeout: float,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        """`store` is one of obstore; `timeout` (seconds) is that of a request."""
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""
        self._observe = observer
        self.timeout = timeout
        """Timeout (seconds) of requests while a client waits."""
        self.breaker = breaker or CircuitBreaker()
        self.counts = BucketCounts()

    def __repr__(self) -> str:
        return f"<Bucket {self._prefix} {self.breaker.state}>"

    async def get(
        self,
        name: str,
        part: tuple[int, int] | int | None = None,
        *,
        tag: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - of the request
    ) -> Found | None:
        """Read an object, a range of it (start, stop), or a number of bytes at its end.

        With a `tag`, only the version with this ETag. None if it is missing, or if the store fails.
        """
        options: dict[str, Any] = {}
        if part is not None:
            options["range"] = part if isinstance(part, tuple) else {"suffix": part}
        if tag:
            options["if_match"] = tag
        found: Found | None = None
        async with self._calling(timeout) as allowed:
            if not allowed:
                return None
            try:
                found = await self._read(name, options)
            except exceptions.PreconditionError:
                found = None
            except FileNotFoundError as error:
                if not _is_absent(error):
                    raise
        if found is None or (tag and found.tag != tag):  # the store ignores If-Match
            self.counts.misses += 1
            return None
        self.counts.hits += 1
        return found

    async def _read(self, name: str, options: dict[str, Any]) -> Found:
        path = self._prefix + name
        try:
            result = await obstore.get_async(self._store, path, options=options or None)  # type: ignore[arg-type]
        except exceptions.NotSupportedError:
            if not isinstance(options.get("range"), dict):
                raise
            # Azure supports no ranges from the end.
            size = (await obstore.head_async(self._store, path))["size"]
            start = max(0, size - options["range"]["suffix"])
            changed: Any = {**options, "range": (start, size)}
            result = await obstore.get_async(self._store, path, options=changed)
        except exceptions.GenericError as error:
            # An empty object has no ranges: not a failure of the store.
            if "range" not in options or "range" not in str(error).lower():
                raise
            head = await obstore.head_async(self._store, path)
            if head["size"]:
                raise
            return Found(b"", 0, head["e_tag"] or "")
        data = bytes(await result.bytes_async())
        return Found(data, result.meta["size"], result.meta["e_tag"] or "")

    async def chunks(self, name: str, seconds: float) -> AsyncGenerator[Found]:
        """Read an object in pieces of at least 1 MiB, within `seconds`; one piece if it is empty.

        Yields nothing if the object is missing, and ends early if the store fails.
        """
        if not self.breaker.allows():
            return
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(end):
                result = await obstore.get_async(self._store, self._prefix + name)
            size, tag = result.meta["size"], result.meta["e_tag"] or ""
            if not size:
                yield Found(b"", size, tag)
            stream = aiter(result.stream(min_chunk_size=_CHUNK))
            while True:
                async with asyncio.timeout_at(end):  # not around `yield`, where the caller runs
                    chunk = await anext(stream, None)
                if chunk is None:
                    break
                yield Found(bytes(chunk), size, tag)
        except (*ERRORS, TimeoutError) as error:
            if not _is_absent(error):
                self._record_failure(error)
                return
            self.counts.misses += 1
        else:
            self.counts.hits += 1
        self._record_success()

    async def put(
        self, name: str, data: bytes | AsyncIterator[bytes], *, replace: bool = False
    ) -> None:
        """Write an object, unless it exists and `replace` is false; ignores failures."""
        async with self._calling(BUCKET_SECONDS) as allowed:
            if allowed:
                await self._write(self._prefix + name, data, replace=replace)
                self.counts.writes += 1

    async def _write(self, path: str, data: bytes | AsyncIterator[bytes], *, replace: bool) -> None:
        if replace or not isinstance(data, bytes):
            # A multipart upload cannot be conditional; objects of equal names have equal bytes.
            await obstore.put_async(self._store, path, data)
            return
        try:
            await obstore.put_async(self._store, path, data, mode="create", use_multipart=False)
        except exceptions.AlreadyExistsError:
            return
        except ERRORS as error:  # not all stores support conditional writes
            unsupported = isinstance(error, NotImplementedError | exceptions.NotSupportedError)
            if not unsupported and status_of(error) not in {"400", "501"}:
                raise
            await obstore.put_async(self._store, path, data)

    async def has(self, name: str) -> bool:
        """Whether an object exists; False if the store fails."""
        found = False
        async with self._calling() as allowed:
            if not allowed:
                return False
            with suppress(FileNotFoundError):
                await obstore.head_async(self._store, self._prefix + name)
                found = True
        return found

    async def discard(self, name: str) -> None:
        """Remove a damaged object; ignores failures."""
        with suppress(SharedCacheUnavailableError):
            await self.remove([name])

    # --- requests that raise errors -------------------------------------------------------------

    async def listed(self, prefix: str) -> list[Listed]:
        """List the objects below a prefix of whole segments. Raises SharedCacheUnavailableError."""
        return [item async for page in self._pages(prefix) for item in page]

    async def content(self, name: str) -> bytes:
        """Bytes of an object; empty if it is missing. Raises SharedCacheUnavailableError."""
        async with self._required():
            try:
                result = await obstore.get_async(self._store, self._prefix + name)
            except FileNotFoundError as error:
                if _is_absent(error):
                    return b""
                raise
            return bytes(await result.bytes_async())

    async def remove(self, names: Iterable[str]) -> None:
        """Remove objects; missing ones are ignored. Raises SharedCacheUnavailableError."""
        paths = [self._prefix + name for name in names]
        for start in range(0, len(paths), _PAGE):
            async with self._required():
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, paths[start : start + _PAGE])

    async def remove_below(self, prefix: str) -> None:
        """Remove all objects below a prefix. Raises SharedCacheUnavailableError."""
        async for page in self._pages(prefix):
            await self.remove(item.name for item in page)

    async def _pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """List objects page by page; each request has its own timeout."""
        pages = aiter(obstore.list(self._store, self._prefix + prefix, chunk_size=_PAGE))
        while True:
            async with self._required():
                page = await anext(pages, None)
            if page is None:
                return
            yield [self._listed(item) for item in page]

    def _listed(self, item: Any) -> Listed:
        return Listed(item["path"].removeprefix(self._prefix), _seconds(item), item["size"])

    async def write(self, name: str, data: bytes) -> None:
        """Write an object, replacing any other. Raises SharedCacheUnavailableError."""
        async with self._required():
            await obstore.put_async(self._store, self._prefix + name, data)

    @asynccontextmanager
    async def _required(self) -> AsyncIterator[None]:
        """Context of a call that raises SharedCacheUnavailableError; ignores an open breaker."""
        try:
            async with asyncio.timeout(BUCKET_SECONDS):
                yield
        except (*ERRORS, TimeoutError) as error:
            self._record_failure(error)
            raise SharedCacheUnavailableError(reason=_reason(error)) from error
        self._record_success()

    @asynccontextmanager
    async def _calling(self, timeout: float | None = None) -> AsyncIterator[bool]:  # noqa: ASYNC109
        """Context of a call whose failure is a miss. Yields False if the breaker is open."""
        if not self.breaker.allows():
            yield False
            return
        try:
            async with asyncio.timeout(timeout or self.timeout):
                yield True
        except (*ERRORS, TimeoutError) as error:
            self._record_failure(error)
        else:
            self._record_success()

    def _record_failure(self, error: Exception) -> None:
        self.counts.failures += 1
        if self.breaker.record_failure():
            self._observe(SharedCacheFailed(_reason(error)))

    def _record_success(self) -> None:
        if self.breaker.record_success():
            self._observe(SharedCacheRecovered())


def _reason(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(problem_of(error))


def _seconds(item: Any) -> float:
    return float(item["last_modified"].timestamp())


def _is_absent(error: BaseException) -> bool:
    """Whether an error means that the object is missing, and not its bucket."""
    return isinstance(error, FileNotFoundError) and code_of(str(error)) not in CONTAINER_MISSING
