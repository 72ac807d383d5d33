"""HTTP client for originals: public addresses only, complete bodies, limits on size and time."""

import asyncio
import contextlib
import errno
import filecmp
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar
from io import BufferedWriter
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import Field

from iiif_server import __version__
from iiif_server.background import BackgroundTasks
from iiif_server.cache.space import disk_of
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.errors import (
    NoSpaceForOriginalError,
    OriginalNotFoundError,
    OriginalTooLargeError,
    SourceTimedOutError,
    SourceUnavailableError,
    UnsupportedOriginalError,
)
from iiif_server.options import OptionsModel
from iiif_server.plan.original_format import SIGNATURE_BYTES, recognise
from iiif_server.sources.addresses import Networks
from iiif_server.sources.guard import (
    AddressRefusedError,
    GuardedNetwork,
    GuardedTransport,
    LookUp,
    Names,
)
from iiif_server.sources.opening import new_checksum
from iiif_server.sources.provenance import Validators, validators_of
from iiif_server.sources.slots import Slots
from iiif_server.sources.wholeness import END_BYTES, is_surely_whole
from iiif_server.units import PositiveSeconds, PositiveSize, Seconds, show_size

_CHUNK = 1 << 18
_PIECES_AT_ONCE = 16
"""Pieces of a body after which the event loop runs others: all may have come in one packet."""
_CRUMB, _CRUMBS = 64, 1000
"""A body of so many pieces with fewer bytes each on average is refused as an attack."""
_ABANDONED_AFTER = 3600.0
"""Seconds without a byte after which a file below `incoming` counts as abandoned."""
_CONDITIONS = ("If-None-Match", "If-Modified-Since")

Result = TypeVar("Result")


class FetchOptions(OptionsModel):
    """How originals are fetched over HTTP."""

    allow_networks: Networks = ()
    """Networks (CIDR) that are fetched from although they are not public."""
    max_bytes: PositiveSize = 2_000_000_000
    """Largest original fetched."""
    connect_timeout: PositiveSeconds = 10
    """Time for connecting, and for each wait for the next bytes."""
    total_timeout: PositiveSeconds = 120
    """Time for a whole fetch, redirects included."""
    queue_timeout: PositiveSeconds = 30
    """Time for which a fetch waits for its turn, before it is refused with 503."""
    max_redirects: int = Field(default=5, ge=0, le=100)
    """Redirects followed; each is checked like the first URL."""
    failure_ttl: Seconds = 10
    """Time for which a failed fetch is remembered, so that viewers do not repeat it at once."""
    refresh_after: PositiveSeconds | None = None
    """Time after which a kept original's upstream is asked whether it has changed; unset: never.

    While the upstream is down, the local copy is served. If it answers 404 or 410, so does this
    server; the local file stays."""
    refresh_wait: Seconds = 2
    """Time for which a viewer waits for the answer to that, before the kept original is served.

    The question goes on. An answer that nothing has changed is short: it takes a few round trips,
    well below a second around the earth. Whatever takes longer may take any time."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An original that was fetched and stored."""

    size: int
    """In bytes."""
    mtime_ns: int
    """Of its file."""
    checksum: str
    """Of the bytes received."""
    validators: Validators


class _NoCookies(CookieJar):
    """A cookie jar that stores nothing, so that no cookie reaches another server."""

    def extract_cookies(self, *_: Any) -> None:
        """Take none."""


class Fetcher:
    """Fetches originals into files, at most `max_fetches` at a time over all types."""

    def __init__(
        self,
        options: FetchOptions,
        max_fetches: int,
        incoming: Path,
        look_up: LookUp | None = None,
        min_free: int | None = None,
    ) -> None:
        """`min_free`: bytes of the disk left free; None: by its size."""
        self.options = options
        self._slots = Slots(max_fetches, options.queue_timeout)
        self.incoming = incoming
        """The folder of files that are being fetched."""
        self.threads = StorageThreads("originals being fetched", 2 * max_fetches)
        """Where files below `incoming` are written."""
        self._min_free = min_free
        self._background = BackgroundTasks()
        # Twice as many as fetches: look-ups that timed out may still block half of them.
        self._names = Names(2 * max_fetches)
        network = GuardedNetwork(options.allow_networks, look_up or self._names.look_up)
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(network, max_fetches),
            timeout=options.connect_timeout,
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
        return f"<Fetcher {self.active} active>"

    @property
    def active(self) -> int:
        """The number of fetches under way."""
        return self._slots.taken

    def reserve(self) -> Path:
        """A new path below `incoming`, where files of killed processes are removed.

        Raises OSError if the folder cannot be created.
        """
        self.incoming.mkdir(parents=True, exist_ok=True)
        return self.incoming / secrets.token_hex(16)

    def remove_abandoned(self) -> None:
        """Remove files that fetches of a killed process have left."""
        with contextlib.suppress(
            OSError
        ):  # the folder does not exist yet, or its files belong to others
            for path in self.incoming.iterdir():
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start a background task, which `close` ends."""
        return self._background.start(work)

    async def close(self) -> None:
        """Cancel background tasks and close all connections."""
        await self._background.cancel()
        await self._client.aclose()
        self._names.close()

    async def fetch(
        self,
        url: str,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators | None = None,
    ) -> Arrival | None:
        """Fetch a URL into a file, which is complete afterwards or unchanged.

        None if the upstream answers by the `validators` that nothing has changed (304). A file with
        the same bytes stays as it is; otherwise its size or its time changes. `trusts` decides on
        the URL of each redirect. Raises OriginalNotFoundError,
        OriginalTooLargeError, UnsupportedOriginalError, SourceBusyError, SourceTimedOutError,
        NoSpaceForOriginalError or SourceUnavailableError.
        """
        validators = validators or Validators()
        if not validators.conditions(
            url
        ):  # a conditional request often finds that nothing has changed
            await self.threads.run(self._check_space)
        try:
            request = self._client.build_request("GET", url)
            async with (
                self._slots.one(request.url.host),
                asyncio.timeout(self.options.total_timeout),
            ):
                return await self._follow(request, target, trusts, validators)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceTimedOutError("The upstream server did not answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unavailable(error) from error

    async def _follow(
        self,
        request: httpx.Request,
        target: Path,
        trusts: Callable[[str], bool],
        validators: Validators,
    ) -> Arrival | None:
        """Follow redirects and store the original; None for 304."""
        for _ in range(self.options.max_redirects + 1):
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
                    return await self._keep(response, target)
            finally:
                await response.aclose()
            if not _may_follow(request.url, following.url, trusts):
                raise SourceUnavailableError(
                    "The upstream server redirects to a server that is not trusted."
                )
            request = following
        raise SourceUnavailableError("The upstream server redirects too many times.")

    async def _keep(self, response: httpx.Response, target: Path) -> Arrival:
        self._check_head(response)
        try:
            temporary = await self.threads.run(self.reserve)
            await self.threads.run(self._check_space, _announced(response))
            try:
                checksum = await self._write(response, temporary)
                status = await self.threads.run(_land, temporary, target, timeout=LONG)
            finally:
                await self.threads.settle(partial(temporary.unlink, missing_ok=True))
        except OSError as error:
            raise SourceUnavailableError("The original could not be kept on disk.") from error
        validators = validators_of(str(response.url), response.headers)
        return Arrival(status.st_size, status.st_mtime_ns, checksum, validators)

    def _check_head(self, response: httpx.Response) -> None:
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
        if _announced(response) > self.options.max_bytes:
            raise self._too_large()

    async def _write(self, response: httpx.Response, path: Path) -> str:
        """Write the body into a new file; its checksum.

        Raises unless it is a complete image within the limits.
        """
        response.extensions["network_stream"].expect_body()
        size, start, end = 0, b"", b""
        checksum = new_checksum()
        # If the caller has gone by the time the file is open, `undo` closes it.
        file = await self.threads.run(path.open, "xb", undo=BufferedWriter.close)
        try:
            # The first chunk is at least as long as a signature, or all there is.
            async for chunk in _chunks(response):
                start = start or chunk[:SIGNATURE_BYTES]
                if recognise(start) is None:
                    raise _no_image()
                size += len(chunk)
                if size > self.options.max_bytes:
                    raise self._too_large()
                end = (end + chunk)[-END_BYTES:]
                await self.threads.run(self._append, file, chunk)
                checksum.update(chunk)
            await self.threads.run(file.close)  # writes what is buffered: the disk may refuse it
        finally:
            await self.threads.settle(file.close)
        format_ = recognise(start)
        if format_ is None:  # nothing came
            raise _no_image()
        if not _says_its_length(response) and not is_surely_whole(format_, start, end, size):
            raise SourceUnavailableError(
                "The upstream server sends the original without its length, "
                "and nothing shows that it was whole."
            )
        return checksum.hexdigest()

    def _append(self, file: BufferedWriter, chunk: bytes) -> None:
        self._check_space(len(chunk))
        file.write(chunk)

    def _check_space(self, size: int = 0) -> None:
        """Raise NoSpaceForOriginalError if so many bytes would leave too little free space."""
        try:
            disk = disk_of(self.incoming)
        except OSError:  # whoever writes the file reports the cause
            return
        shortage = disk.shortage(self._min_free, size)
        if shortage:
            told = f"{disk.free:,} bytes are free, {shortage:,} too few for cache.min_free"
            raise NoSpaceForOriginalError(
                "The server has too little free disk space to fetch this original."
            ) from OSError(errno.ENOSPC, told)

    def _too_large(self) -> OriginalTooLargeError:
        limit = show_size(self.options.max_bytes)
        return OriginalTooLargeError(f"The original is larger than the {limit} that are fetched.")


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


def _land(temporary: Path, target: Path) -> os.stat_result:
    """Move a complete file to its place unless it has the same bytes; the file's status."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if filecmp.cmp(temporary, target, shallow=False):
            return target.stat()
        before = target.stat()
    except FileNotFoundError:
        before = None
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # it is kept for good: a power cut must not leave it short
    after = temporary.stat()
    if before and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        os.utime(temporary, ns=(after.st_atime_ns, after.st_mtime_ns + 1_000_000_000))
        after = temporary.stat()
    temporary.replace(target)
    return after


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
    return SourceUnavailableError("The upstream server cannot be reached.")
