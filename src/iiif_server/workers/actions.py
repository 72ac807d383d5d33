"""Jobs and workers of the scheduler, and the actions that it returns to the pool. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from iiif_server.errors import IiifServerError, OriginalTooComplexError, WorkerDiedError
from iiif_server.workers.admission import Demand, Lane
from iiif_server.workers.affinity import OpenOriginals

MAX_SUSPENDED = 30.0
"""Maximum total seconds for which a job is suspended. After that it runs at its low priority,
because other server processes may wait for its result."""


class Death(StrEnum):
    """Cause of the death of a worker, which decides what happens to its job."""

    CRASH = "died"
    """The worker crashed, or sent an invalid message: its job is probably the cause."""
    KILLED = "killed"
    """Another process sent SIGKILL: probably the kernel, which was out of memory."""
    ABORTED = "aborted"
    """A library aborted the process: nearly always for lack of memory."""
    OVERTIME = "overtime"
    """The kernel ended the worker at its limit of CPU time."""
    UNSENT = "unsent"
    """The worker died before it received its job."""

    def error(self) -> IiifServerError:
        """Error of a job that is not repeated after this death."""
        if self in _OVER_LIMIT_TEXTS:
            return OriginalTooComplexError(_OVER_LIMIT_TEXTS[self])
        return WorkerDiedError("The image could not be rendered.")


_OVER_LIMIT_TEXTS = {
    Death.ABORTED: "Decoding this original takes more memory than is allowed, or is impossible.",
    Death.OVERTIME: "Decoding this original takes more processor time than is allowed.",
}


@dataclass(slots=True, eq=False)
class ScheduledJob:
    """Job in the scheduler: its demand, its timeouts, and its tries."""

    payload: Any
    demand: Demand
    timeout: float
    """Maximum seconds of running."""
    subject: str | None = None
    """Key of the original that the job reads, for affinity."""
    expires: float = math.inf
    """Time at which the queue timeout removes the job from the queue."""
    overtaken: int = 0
    """Number of later jobs that have begun first because of affinity."""
    passed: int = 0
    """Number of jobs of lower lanes that have begun while this one waited."""
    attempts: int = 0
    exclusive: bool = False
    """Whether no expensive job may run at the same time, since its last worker was killed."""
    abandoned: bool = False
    """Whether the caller no longer waits for the result."""
    suspended: float = 0.0
    """Total seconds of suspension, up to the last resumption."""

    @property
    def background(self) -> bool:
        """Whether the job is in the background lane: no request waits for it yet."""
        return self.demand.lane is Lane.BACKGROUND


@dataclass(slots=True, eq=False)
class ScheduledWorker:
    """Worker process in the scheduler."""

    number: int
    memory: OpenOriginals
    job: ScheduledJob | None = None
    deadline: float = math.inf
    jobs: int = 0
    retiring: str = ""
    """Reason for which a successor is being started; empty: none."""
    superseded: bool = False
    """Whether the successor has started, so that this worker ends after its job."""
    background: bool = False
    """Whether the worker does only background jobs."""
    suspended_at: float | None = None
    """Start time of the suspension; None: not suspended."""

    @property
    def wake_at(self) -> float:
        """Time of the next event: the deadline of its job, or the end of its suspension."""
        if self.suspended_at is None or self.job is None:
            return self.deadline
        return self.suspended_at + MAX_SUSPENDED - self.job.suspended


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker process with this number."""

    worker: int
    background: bool = False
    """Whether the worker does background jobs, at a low priority."""


@dataclass(frozen=True, slots=True)
class EndWorker:
    """End a worker process, also in the middle of a job."""

    worker: int


@dataclass(frozen=True, slots=True)
class Suspend:
    """Suspend a worker process in the middle of its job, so that it uses no CPU time."""

    worker: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume a suspended worker process."""

    worker: int


@dataclass(frozen=True, slots=True)
class SendJob:
    """Send a job to a worker."""

    worker: int
    job: ScheduledJob


@dataclass(frozen=True, slots=True)
class FailJob:
    """Fail a job with an error."""

    job: ScheduledJob
    error: IiifServerError


@dataclass(frozen=True, slots=True)
class ReportReplaced:
    """Report that a worker died or was killed, during a job or between two jobs."""

    worker: int
    reason: str
    job: ScheduledJob | None


@dataclass(frozen=True, slots=True)
class ReportRenewed:
    """Report that a worker ended as planned: after its lifetime, or to free its memory."""

    reason: str
    job: ScheduledJob | None


@dataclass(frozen=True, slots=True)
class ReportRefused:
    """Report that a job was removed from the queue because it waited too long."""

    job: ScheduledJob
    reason: str


Action = (
    StartWorker
    | EndWorker
    | Suspend
    | Resume
    | SendJob
    | FailJob
    | ReportReplaced
    | ReportRenewed
    | ReportRefused
)
