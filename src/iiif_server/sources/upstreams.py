"""Upstreams: what `fetched` asks for the bytes of an original, whatever protocol it speaks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iiif_server.errors import IiifServerError, OriginalNotFoundError
from iiif_server.sources.provenance import Validators
from iiif_server.telemetry.events import FetchFailed, OriginalMissing


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


class Upstream(Protocol):
    """One original on a web server or in an object store."""

    @property
    def shown(self) -> str:
        """Where the original is, for logs: without secrets."""

    async def bring(self, target: Path, known: Validators) -> Arrival | None:
        """Fetch the original into a file, which is complete afterwards or unchanged.

        None if the upstream answers by the validators that nothing has changed. A file with the
        same bytes stays as it is; otherwise its size or its time changes. Raises
        OriginalNotFoundError, OriginalTooLargeError, UnsupportedOriginalError, SourceBusyError,
        SourceTimedOutError, NoSpaceForOriginalError or SourceUnavailableError.
        """


@dataclass(frozen=True, slots=True)
class Start:
    """The first bytes of an original that can be read in parts."""

    data: bytes
    size: int
    """Of the whole original."""
    tag: str
    """Its strong validator."""
    modified: int
    """When it was last changed, as far as is known, in seconds since the epoch."""


class RangeUpstream(Protocol):
    """One original of which an upstream sends parts."""

    @property
    def shown(self) -> str:
        """Where the original is, for logs: without secrets."""

    @property
    def host(self) -> str:
        """The host or bucket, for the limit on requests."""

    @property
    def place(self) -> str:
        """What tells this original from all others: its URL."""

    async def start(self, length: int) -> Start | None:
        """The first bytes; None unless the upstream sends ranges and a strong validator.

        Raises OriginalNotFoundError, SourceTimedOutError or SourceUnavailableError.
        """

    def read(self, start: int, stop: int, tag: str) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in chunks.

        Raises OriginalChangedError if the original has another validator than `tag`, and what
        `start` raises.
        """


def failure(
    identifier: str, upstream: Upstream | RangeUpstream, error: IiifServerError, outcome: str = ""
) -> FetchFailed:
    """The event of a failed fetch, with URL and cause; `outcome` says what is served instead."""
    cause = f": {error.__cause__!r}" if error.__cause__ else ""
    return FetchFailed(identifier, f"{error} ({upstream.shown}{cause}){outcome}")


def first_failure(
    identifier: str, upstream: Upstream | RangeUpstream, error: IiifServerError
) -> FetchFailed | OriginalMissing:
    """The event of a failed fetch of an original that is not stored, which may never have been."""
    failed = failure(identifier, upstream, error)
    if isinstance(error, OriginalNotFoundError):
        return OriginalMissing(failed.identifier, failed.reason)
    return failed
