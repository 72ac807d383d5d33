"""What the scheduler is told of, and what it has the pool do. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from iiif_server.errors import IiifServerError
from iiif_server.workers.admission import Demand


class Death(StrEnum):
    """Why a worker died, as far as its job is concerned."""

    CRASH = "died"
    """By itself, or for what it sent: probably its job is to blame."""
    KILLED = "killed"
    """By SIGKILL of somebody else: probably the kernel, which was out of memory."""
    UNSENT = "unsent"
    """Before it got its job."""


@dataclass(slots=True, eq=False)
class ScheduledJob:
    """A job, and how it has fared."""

    payload: Any
    demand: Demand
    timeout: float
    """Seconds that it may run."""
    subject: str | None = None
    """What it is about, for affinity."""
    expires: float = math.inf
    """When it has waited too long."""
    overtaken: int = 0
    """How many jobs that suited a worker better have begun before it."""
    passed: int = 0
    """How many jobs of lower lanes have begun while it waited."""
    tries: int = 0
    alone: bool = False
    """Whether it runs beside no expensive job: a worker was killed over it, perhaps for memory."""
    given_up: bool = False
    """Whether nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker process, which will be known by this number."""

    worker: int


@dataclass(frozen=True, slots=True)
class EndWorker:
    """End a worker process, whatever it is doing."""

    worker: int


@dataclass(frozen=True, slots=True)
class SendJob:
    """Have a worker do a job."""

    worker: int
    job: ScheduledJob


@dataclass(frozen=True, slots=True)
class FailJob:
    """Tell whoever waits for a job that it failed."""

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
    """Report that a worker that had served its time is followed by another."""

    reason: str
    job: ScheduledJob | None


@dataclass(frozen=True, slots=True)
class ReportRefused:
    """Report that a job was not done because it waited too long."""

    job: ScheduledJob
    reason: str


Action = (
    StartWorker | EndWorker | SendJob | FailJob | ReportReplaced | ReportRenewed | ReportRefused
)
