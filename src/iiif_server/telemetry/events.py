"""Events that components report to an observer. They hold facts, never log text."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Event: something that happened, with its facts."""


@dataclass(frozen=True, slots=True)
class Problem(Event):
    """Event that those who run the server should look at; logged as a warning."""


@dataclass(frozen=True, slots=True)
class Fetched(Event):
    """An original was fetched over HTTP and stored."""

    identifier: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FetchFailed(Problem):
    """An original could not be fetched; `reason` may name the upstream, so it is for the log."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class OriginalMissing(Event):
    """An upstream has no such original, as it answers to any guessed name; for the log."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class OriginalDamaged(Problem):
    """A fetched original was changed on disk, and is fetched again."""

    identifier: str


@dataclass(frozen=True, slots=True)
class SourceFailed(Problem):
    """An original that exists, or may exist, could not be opened; for the log."""

    identifier: str
    reason: str
    """The errno and its text, or another cause."""
    path: str | None
    """The path that could not be opened, if it is known."""
    user: str
    """The user that this server runs as."""


@dataclass(frozen=True, slots=True)
class LookupFailed(Problem):
    """A lookup service or database failed; `reason` may name it, so it is for the log."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class LookupTableRead(Event):
    """The table of a lookup was read, at first or after it changed."""

    path: str
    rows: int


@dataclass(frozen=True, slots=True)
class LookupRowsMalformed(Problem):
    """Rows of a lookup table are left out; `examples` has the first with their lines."""

    path: str
    number: int
    examples: str


@dataclass(frozen=True, slots=True)
class LookupTableKept(Problem):
    """A lookup table cannot be read as it is; if it was read before, its old rows are used."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResponseIncomplete(Problem):
    """A file ended, or could not be read, while it was sent; the connection was closed."""

    path: str
    expected: int
    """The announced length, in bytes."""
    sent: int
    """Bytes that were sent."""
    reason: str


@dataclass(frozen=True, slots=True)
class StorageSilent(Problem):
    """The disk or mount of a type does not answer: its requests fail until it does."""

    type: str


@dataclass(frozen=True, slots=True)
class StorageAnswers(Problem):
    """The disk or mount of a type answers again, after `StorageSilent`."""

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
    """A worker could not render a derivative; `reason` is for the log."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class PyramidMade(Event):
    """A part of a pyramid was built and stored; `seconds` include waiting for a worker."""

    identifier: str
    part: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PyramidFailed(Problem):
    """A part of a pyramid could not be built, and is not tried again for some minutes."""

    identifier: str
    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForwardedHeaderIgnored(Problem):
    """A trusted proxy sent a forwarded header with a malformed value; logged once a header."""

    header: str


@dataclass(frozen=True, slots=True)
class SettingsReloaded(Event):
    """Newer settings have taken effect; `needs_restart` are those changed ones that have not."""

    changed: str
    needs_restart: str


@dataclass(frozen=True, slots=True)
class SettingsWarning(Problem):
    """Settings can be used, but an operator should know this about them."""

    text: str


@dataclass(frozen=True, slots=True)
class SettingsRefused(Problem):
    """Newer settings cannot be used, and those before them stay; `reason` says what to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class DrainingBegan(Event):
    """The process has been told to end: it is not ready, and accepts requests for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RequestsCutOff(Problem):
    """Requests under settings of two reloads ago took too long, and were ended."""

    number: int


@dataclass(frozen=True, slots=True)
class ServerProcessReplaced(Problem):
    """One of several server processes has ended by itself, and another takes its place."""

    number: int
    code: int
    """Its exit code; negative: the signal that ended it."""
    cause: str
    """The exit code in words."""


@dataclass(frozen=True, slots=True)
class WorkerReplaced(Problem):
    """A worker process died or was killed, and another takes its place."""

    pool: str
    reason: str
    """`died`, or `deadline`: it was killed because its job took too long."""
    cause: str = field(default="", compare=False)
    """Exit code, signal, or what it did wrong."""
    output: str = field(default="", compare=False)
    """The end of what it wrote to its standard error."""


@dataclass(frozen=True, slots=True)
class WorkerNotStarted(Problem):
    """A worker process could not be started or set up; it is tried again after a while."""

    pool: str
    cause: str
    output: str
    """The end of what it wrote to its standard error."""


@dataclass(frozen=True, slots=True)
class SandboxIncomplete(Problem):
    """A worker was started without a part of its sandbox; `problem` tells which, and why."""

    pool: str
    problem: str


@dataclass(frozen=True, slots=True)
class JobFailed(Problem):
    """A job raised an exception that no job is expected to raise."""

    pool: str
    function: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class WorkerRenewed(Event):
    """A worker process ended as planned, and another takes its place when needed."""

    pool: str
    reason: str
    """`jobs` or `memory`: its lifetime is over; `folders`: one of those that it may use was
    replaced; `aborted`: a foreground job needed the memory of its background job, which is done
    later."""


@dataclass(frozen=True, slots=True)
class WorkRefused(Event):
    """A worker pool refused a job; `reason` is `busy`, `deadline` or `never` (too much memory)."""

    pool: str
    lane: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined(Problem):
    """An original over which a worker died or was killed is left alone for some seconds."""

    identifier: str
    lane: str
    """This lane and the ones above it are closed to the original; `header`: all are."""
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Evicted(Event):
    """The store evicted entries."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class EntryDropped(Problem):
    """A stored derivative failed its check and was removed."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreFailed(Problem):
    """The store could not write or read an entry; the image was served all the same.

    Reported once a minute for each reason, however often it happens.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class SharedCacheFailed(Problem):
    """The bucket of the shared cache keeps failing, and is left alone for some seconds.

    Images are served all the same.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class SharedCacheRecovered(Problem):
    """The bucket of the shared cache answers again, after `SharedCacheFailed`."""


@dataclass(frozen=True, slots=True)
class SharedEntryDropped(Problem):
    """An object of the shared cache is not what was written; it was removed."""

    name: str


@dataclass(frozen=True, slots=True)
class SharedPurgeSeen(Event):
    """Another replica has purged the cache, and this one has done the same."""

    files: int
    """Files that were removed here."""


@dataclass(frozen=True, slots=True)
class SharedPurgesUnseen(Problem):
    """The purges of other replicas cannot be read, so they are not done here until they can be."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoreRecovered(Problem):
    """The store can write again; `reason` is that of the `StoreFailed` before."""

    reason: str


@dataclass(frozen=True, slots=True)
class BecameUnready(Problem):
    """The server is not ready; reported when that begins, and when reasons change.

    Reasons may name folders, so they are for the log.
    """

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BecameReady(Problem):
    """The server is ready again, after `BecameUnready`."""

    seconds: float
    """For how long it was not ready."""


@dataclass(frozen=True, slots=True)
class AccessRefused(Problem):
    """A request for an operators' page had no valid token."""

    peer: str
    """The address of the client or of the proxy in front."""


Observer = Callable[[Event], None]
"""Function that receives events; it must return quickly and never raise."""
