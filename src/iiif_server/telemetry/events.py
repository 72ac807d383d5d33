"""Events that components report to an observer. They hold facts, never log text."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Base class of events."""


@dataclass(frozen=True, slots=True)
class Problem(Event):
    """Event that needs the attention of the operator; logged as a warning."""


@dataclass(frozen=True, slots=True)
class Fetched(Event):
    """An original was fetched over HTTP and stored."""

    identifier: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FetchFailed(Problem):
    """An original could not be fetched; `reason` may name the upstream, for the log only."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class OriginalMissing(Event):
    """An upstream does not have the requested original.

    This is no problem: clients can request any name.
    """

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class OriginalDamaged(Problem):
    """A fetched original has a wrong checksum on disk; the server fetches it again."""

    identifier: str


@dataclass(frozen=True, slots=True)
class SourceFailed(Problem):
    """An original could not be opened, although it exists or may exist; for the log only."""

    identifier: str
    reason: str
    """Name and text of the errno, or another cause."""
    path: str | None
    """Path that could not be opened, if it is known."""
    user: str
    """User of the server process."""


@dataclass(frozen=True, slots=True)
class LookupFailed(Problem):
    """A lookup service or database failed; `reason` may name it, for the log only."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class LookupTableRead(Event):
    """A lookup table was read, for the first time or after a change."""

    path: str
    rows: int


@dataclass(frozen=True, slots=True)
class LookupRowsMalformed(Problem):
    """Malformed rows of a lookup table are ignored; `examples` has the first and their lines."""

    path: str
    number: int
    examples: str


@dataclass(frozen=True, slots=True)
class LookupTableKept(Problem):
    """A lookup table cannot be read; the server uses the rows of the last reading, if any."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResponseIncomplete(Problem):
    """A file ended early or could not be read while it was sent; the connection was closed."""

    path: str
    expected: int
    """InfoJson length in bytes."""
    sent: int
    """Sent bytes."""
    reason: str


@dataclass(frozen=True, slots=True)
class StorageSilent(Problem):
    """The disk or mount of a type does not respond; requests for the type fail meanwhile."""

    type: str


@dataclass(frozen=True, slots=True)
class StorageAnswers(Problem):
    """The disk or mount of a type responds again, after `StorageSilent`."""

    type: str


@dataclass(frozen=True, slots=True)
class Rendered(Event):
    """A worker rendered a derivative."""

    identifier: str
    engine: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RenderFailed(Problem):
    """A worker could not render a derivative; `reason` is for the log only."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class PyramidMade(Event):
    """A part of a pyramid was built and stored; `seconds` include the time in the queue."""

    identifier: str
    part: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PyramidFailed(Problem):
    """A part of a pyramid could not be built; the server retries after some minutes."""

    identifier: str
    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForwardedHeaderIgnored(Problem):
    """A trusted proxy sent a malformed forwarded header; reported once per header name."""

    header: str


@dataclass(frozen=True, slots=True)
class SettingsReloaded(Event):
    """Reloaded settings have taken effect; those in `needs_restart` need a restart."""

    changed: str
    needs_restart: str


@dataclass(frozen=True, slots=True)
class SettingsWarning(Problem):
    """The settings are valid, but need the attention of the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class SettingsRefused(Problem):
    """Reloaded settings cannot be used; the former settings stay in effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class DrainingBegan(Event):
    """The process received SIGTERM: it is not ready, and accepts requests for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RequestsCutOff(Problem):
    """Requests that still ran with the settings of an earlier reload were cancelled."""

    number: int


@dataclass(frozen=True, slots=True)
class ServerProcessReplaced(Problem):
    """One of several server processes ended unexpectedly, and the supervisor replaces it."""

    number: int
    code: int
    """Exit code; negative: the number of the signal that ended it."""
    cause: str
    """Exit code in words."""


@dataclass(frozen=True, slots=True)
class WorkerReplaced(Problem):
    """A worker died or was killed, and the pool replaces it."""

    pool: str
    reason: str
    """`died`, or `deadline`: the pool killed the worker because of a timeout of its job."""
    cause: str = field(default="", compare=False)
    """Exit code, signal or protocol error."""
    output: str = field(default="", compare=False)
    """End of the standard error of the worker."""


@dataclass(frozen=True, slots=True)
class WorkerNotStarted(Problem):
    """A worker could not be started or set up; the pool retries after a pause."""

    pool: str
    cause: str
    output: str
    """End of the standard error of the worker."""


@dataclass(frozen=True, slots=True)
class SandboxIncomplete(Problem):
    """A worker was started without a mechanism of its sandbox; `problem` has its name and cause."""

    pool: str
    problem: str


@dataclass(frozen=True, slots=True)
class JobFailed(Problem):
    """A job raised an unexpected exception."""

    pool: str
    function: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class WorkerRenewed(Event):
    """A worker ended as planned, and the pool starts another when needed."""

    pool: str
    reason: str
    """`jobs` or `memory`: the worker reached a limit of its lifetime. `folders`: a folder of its
    sandbox was replaced. `aborted`: a foreground job needed the memory of the background job of
    this worker, which runs again later."""


@dataclass(frozen=True, slots=True)
class WorkRefused(Event):
    """A worker pool refused a job; `reason` is `busy`, `deadline` or `never` (too much memory)."""

    pool: str
    lane: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined(Problem):
    """An original is in quarantine for some seconds, because a worker died or was killed."""

    identifier: str
    lane: str
    """Lowest lane in which the server refuses the original; `header`: it refuses it in all."""
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Evicted(Event):
    """The store evicted entries."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class EntryDropped(Problem):
    """A stored derivative was damaged and has been removed."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreFailed(Problem):
    """The store could not write or read an entry; the image was served nevertheless.

    Reported at most once a minute for each reason.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class SharedCacheFailed(Problem):
    """The bucket of the shared cache failed repeatedly, and is not used for some seconds.

    Images are served nevertheless.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class SharedCacheRecovered(Problem):
    """The bucket of the shared cache responds again, after `SharedCacheFailed`."""


@dataclass(frozen=True, slots=True)
class SharedEntryDropped(Problem):
    """An object of the shared cache was damaged and has been removed."""

    name: str


@dataclass(frozen=True, slots=True)
class SharedPurgeSeen(Event):
    """This replica has repeated the purge of another replica."""

    files: int
    """Number of files that this replica removed."""


@dataclass(frozen=True, slots=True)
class SharedPurgesUnseen(Problem):
    """This replica cannot read the purges of other replicas, and repeats them later."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoreRecovered(Problem):
    """The store can write again; `reason` is that of the last `StoreFailed`."""

    reason: str


@dataclass(frozen=True, slots=True)
class BecameUnready(Problem):
    """The server is not ready; reported at the beginning, and when the reasons change.

    The reasons may name folders, for the log only.
    """

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BecameReady(Problem):
    """The server is ready again, after `BecameUnready`."""

    seconds: float
    """Time for which the server was not ready."""


@dataclass(frozen=True, slots=True)
class AccessRefused(Problem):
    """A request to the admin API or the metrics had no valid token."""

    peer: str
    """IP address of the client, or of the proxy in front of it."""


Observer = Callable[[Event], None]
"""Function that receives events; it must return quickly and never raise."""
