"""Upstreams: what `fetched` asks for the bytes of an original, whatever protocol it speaks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iiif_server.sources.provenance import Validators


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
