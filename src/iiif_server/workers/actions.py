"""Jobs and workers as the scheduler sees them, and the actions that it has the pool do. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from iiif_server.errors import IiifServerError, OriginalTooComplexError, WorkerDiedError
from iiif_server.workers.admission import Demand, Lane
from iiif_server.workers.affinity import Memory

MOST_SUSPENDED = 30.0
"""Seconds for which a job is suspended, all in all. From then on it runs at its low priority: other
server processes may wait for what it makes."""


class Death(StrEnum):
    """Why a worker died, as far as its job is concerned."""

    CRASH = "died"
    """By itself, or for what it sent: probably its job is to blame."""
    KILLED = "killed"
    """By SIGKILL of somebody else: probably the kernel, which was out of memory."""
    ABORTED = "aborted"
    """By a library that gave up: nearly always for lack of memory."""
    OVERTIME = "overtime"
    """By the kernel, as it used up its processor time."""
    UNSENT = "unsent"
    """Before it got its job."""

    def error(self) -> IiifServerError:
        """The error of a job that is not tried again."""
        if self in _TOO_MUCH:
            return OriginalTooComplexError(_TOO_MUCH[self])
        return WorkerDiedError("The image could not be made.")


_TOO_MUCH = {
    Death.ABORTED: "Decoding this original takes more memory than is allowed, or is impossible.",
    Death.OVERTIME: "Decoding this original takes more processor time than is allowed.",
}


@dataclass(slots=True, eq=False)
class ScheduledJob:
    """Job in the scheduler: its demand, its deadline, and its tries."""

    payload: Any
    demand: Demand
    timeout: float
    """Seconds that it may run."""
    subject: str | None = None
    """Key of the original that it reads, for affinity."""
    expires: float = math.inf
    """When it is taken out of the queue."""
    overtaken: int = 0
    """How many later jobs have begun before it by affinity."""
    passed: int = 0
    """How many jobs of lower lanes have begun while it waited."""
    tries: int = 0
    alone: bool = False
    """Whether it runs beside no expensive job, after a worker was killed, perhaps for memory."""
    given_up: bool = False
    """Whether nobody waits for it any more."""
    suspended: float = 0.0
    """Seconds for which it was suspended, up to the last time that it was resumed."""

    @property
    def background(self) -> bool:
        """Whether nobody waits for it yet."""
        return self.demand.lane is Lane.BACKGROUND


@dataclass(slots=True, eq=False)
class ScheduledWorker:
    """Worker process in the scheduler."""

    number: int
    memory: Memory
    job: ScheduledJob | None = None
    deadline: float = math.inf
    jobs: int = 0
    retiring: str = ""
    """Why a successor is being started; empty: none is."""
    superseded: bool = False
    """Whether the successor has started, so that this one ends after its job."""
    background: bool = False
    """Whether it does background jobs, and nothing else."""
    suspended_at: float | None = None
    """Since when it has been suspended; None: it is not."""

    @property
    def wake_at(self) -> float:
        """When something is to be done about it. Its deadline does not count while suspended."""
        if self.suspended_at is None or self.job is None:
            return self.deadline
        return self.suspended_at + MOST_SUSPENDED - self.job.suspended


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker process, which will be known by this number."""

    worker: int
    background: bool = False
    """Whether it does background jobs, at a low priority."""


@dataclass(frozen=True, slots=True)
class EndWorker:
    """End a worker process, whatever it is doing."""

    worker: int


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop a worker process in the middle of its job, so that it takes no CPU time."""

    worker: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Have a worker process that was stopped go on."""

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
    """Report that a worker died or was killed, in the course of a job or between two."""

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
    """Report that a job was taken out of the queue because it waited too long."""

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
