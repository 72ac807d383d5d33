"""Upstreams: interfaces for fetching an original, independent of the protocol."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iiif_server.errors import IiifServerError, OriginalNotFoundError
from iiif_server.sources.deprecated import warn_renamed
from iiif_server.sources.provenance import Validators
from iiif_server.telemetry.events import FetchFailed, OriginalMissing


@dataclass(frozen=True, slots=True)
class Arrival:
    """Fetched original that is stored."""

    size: int
    """In bytes."""
    mtime_ns: int
    """Modification time of its file, in nanoseconds."""
    checksum: str
    """Checksum of the received bytes (`opening.checksum_of`)."""
    validators: Validators


class Upstream(Protocol):
    """Original on a web server or in an object store."""

    @property
    def shown(self) -> str:
        """URL for logs, without secrets."""

    async def fetch(self, target: Path, known: Validators) -> Arrival | None:
        """Fetch the original into a file, atomically; None if it has not changed by `known`.

        A file with the same bytes stays unchanged; otherwise its size or its modification time
        changes. Raises OriginalNotFoundError, OriginalTooLargeError, UnsupportedOriginalError,
        SourceBusyError, SourceTimedOutError, NoSpaceForOriginalError or SourceUnavailableError.
        """


async def fetch_original(upstream: Upstream, target: Path, known: Validators) -> Arrival | None:
    """Call `fetch` of an upstream, or its deprecated name `bring`, which a plug-in may define."""
    bring = getattr(upstream, "bring", None)
    if bring is None:
        return await upstream.fetch(target, known)
    warn_renamed(f"{type(upstream).__name__}.bring", "fetch")
    arrival: Arrival | None = await bring(target, known)
    return arrival


@dataclass(frozen=True, slots=True)
class Start:
    """First bytes of an original that can be read in parts."""

    data: bytes
    size: int
    """Size of the whole original, in bytes."""
    tag: str
    """Strong validator of the original: its ETag."""
    modified: int
    """Modification time in seconds since the epoch; the time of the request if unknown."""


class RangeUpstream(Protocol):
    """Original that an upstream sends in ranges."""

    @property
    def shown(self) -> str:
        """URL for logs, without secrets."""

    @property
    def host(self) -> str:
        """Host or bucket, for the limits on concurrent fetches."""

    @property
    def place(self) -> str:
        """URL of the original, which identifies it."""

    async def start(self, length: int) -> Start | None:
        """Fetch the first bytes; None unless the upstream sends ranges and a strong validator.

        Raises OriginalNotFoundError, SourceTimedOutError or SourceUnavailableError.
        """

    def read(self, start: int, stop: int, tag: str) -> AsyncIterator[bytes]:
        """Fetch the bytes from `start` up to `stop` (exclusive), in chunks.

        Raises OriginalChangedError if the validator of the original is not `tag`, or as `start`.
        """


def failure(
    identifier: str, upstream: Upstream | RangeUpstream, error: IiifServerError, outcome: str = ""
) -> FetchFailed:
    """Event of a failed fetch, with URL, cause and `outcome`, as `; the stored copy is served`."""
    cause = f": {error.__cause__!r}" if error.__cause__ else ""
    return FetchFailed(identifier, f"{error} ({upstream.shown}{cause}){outcome}")


def first_failure(
    identifier: str, upstream: Upstream | RangeUpstream, error: IiifServerError
) -> FetchFailed | OriginalMissing:
    """Event of a failed fetch of an original that is not stored; it may not exist at all."""
    failed = failure(identifier, upstream, error)
    if isinstance(error, OriginalNotFoundError):
        return OriginalMissing(failed.identifier, failed.reason)
    return failed
