"""Which worker does which job, and when: lanes, affinity, deadlines, deaths and renewals. Pure.

Events come in as method calls with the time at which they happened; what is to be done about them
comes out as actions. Nothing here waits, reads a clock, or knows what a process is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from iiif_server.errors import (
    QueueTimedOutError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.workers.actions import (
    Action,
    Death,
    EndWorker,
    FailJob,
    ReportRefused,
    ReportRenewed,
    ReportReplaced,
    ScheduledJob,
    SendJob,
    StartWorker,
)
from iiif_server.workers.admission import Capacity, Lane, next_jobs
from iiif_server.workers.affinity import Memory, Waiting, choose
from iiif_server.workers.lifetime import FOR_EVER, Lifetime

_TOO_LONG = "The image takes longer than the {seconds:g} seconds allowed; ask for a smaller one."
_QUEUED = "No process was free for this image within {seconds:g} seconds; please ask again."
_FAILED = "The image could not be made."
_STOPPING = "The server is stopping."
_TRIES = 2
"""How often a job is started when its worker dies under it."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0
"""Seconds before a worker that could not be started is tried again: doubled each time."""


@dataclass(slots=True, eq=False)
class ScheduledWorker:
    """A worker, as far as it matters to jobs."""

    number: int
    memory: Memory
    job: ScheduledJob | None = None
    deadline: float = math.inf
    jobs: int = 0
    retiring: str = ""
    """Why a successor is being started, if one is."""
    superseded: bool = False
    """Whether the successor has started, so that this one ends after its job."""


@dataclass(slots=True, eq=False)
class Scheduler:
    """The state of a pool. Each event returns the actions that follow from it, in their order."""

    size: int
    """How many workers there are to be."""
    capacity: Capacity
    remembers: int = 0
    """How many subjects a worker is taken to have open."""
    queue_timeout: float | None = None
    """Seconds that a job may wait for a worker; None: as long as it takes."""
    lifetime: Lifetime = FOR_EVER

    workers: dict[int, ScheduledWorker] = field(default_factory=dict)
    idle: list[ScheduledWorker] = field(default_factory=list)
    """Workers without a job: the one that has been so for the longest time first."""
    waiting: list[ScheduledJob] = field(default_factory=list)
    done: int = 0
    replaced: int = 0
    renewed: int = 0
    closing: bool = False
    _starting: set[int] = field(default_factory=set)
    _numbers: int = 0
    _retry: float = math.inf
    """When the next worker is started after one that could not be."""
    _delay: float = _FIRST_DELAY
    _actions: list[Action] = field(default_factory=list)

    @property
    def running(self) -> list[ScheduledJob]:
        """The jobs that workers are doing."""
        return [worker.job for worker in self.workers.values() if worker.job is not None]

    @property
    def wake_at(self) -> float:
        """When `tick` has something to do at the latest; infinity: never."""
        times = [job.expires for job in self.waiting]
        times += [worker.deadline for worker in self.workers.values()]
        return min(self._retry, *times, math.inf)

    # --- events -----------------------------------------------------------------------------

    def open(self) -> Sequence[Action]:
        """The pool is opened."""
        self._fill()
        return self._out()

    def queue(self, job: ScheduledJob, now: float) -> Sequence[Action]:
        """A job has come, and was admitted."""
        self._enqueue(job, len(self.waiting), now)
        self._dispatch(now)
        return self._out()

    def give_up(self, job: ScheduledJob, now: float) -> Sequence[Action]:
        """Nobody waits for a job any more: it does not begin, and is not tried again."""
        job.given_up = True
        if job in self.waiting:
            self.waiting.remove(job)
            self._dispatch(now)  # it may have stood in the way of others in its lane
        return self._out()

    def started(self, number: int, now: float) -> Sequence[Action]:
        """A worker is ready for its first job."""
        self._starting.discard(number)
        self._delay = _FIRST_DELAY
        worker = ScheduledWorker(number, Memory(self.remembers))
        if self.closing:
            self._actions.append(EndWorker(number))
            return self._out()
        self.workers[number] = worker
        self.idle.append(worker)
        self._supersede()
        self._dispatch(now)
        return self._out()

    def start_failed(self, number: int, now: float) -> Sequence[Action]:
        """A worker could not be started: the machine may lack something, and have it later."""
        self._starting.discard(number)
        self._retry = now + self._delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return self._out()

    def finished(self, number: int, memory: int, now: float) -> Sequence[Action]:
        """A worker has done its job, well or not, and holds so many bytes of memory."""
        worker = self.workers[number]
        worker.job, worker.deadline = None, math.inf
        worker.jobs += 1
        self.done += 1
        if worker.superseded:
            self._end(worker)
        else:
            self.idle.append(worker)
            worker.retiring = worker.retiring or self.lifetime.over(worker.jobs, memory) or ""
            self._fill()
        self._dispatch(now)
        return self._out()

    def stale(self, number: int, now: float) -> Sequence[Action]:
        """A worker cannot begin its job, because a folder that it needs was replaced."""
        worker = self.workers[number]
        job = self._end(worker)
        if job is not None:
            job.tries -= 1  # it has not begun
            self._again(job, now)
        if not self.closing:
            self.renewed += 1
            self._actions.append(ReportRenewed("folders", job))
        self._fill()
        self._dispatch(now)
        return self._out()

    def died(self, number: int, death: Death, now: float) -> Sequence[Action]:
        """A worker that was not told to end is gone."""
        worker = self.workers.get(number)
        if worker is None:  # it was told to, and nobody is interested any more
            return self._out()
        job = self._end(worker)
        if job is not None:
            job.tries -= death is Death.UNSENT
            job.alone |= death is Death.KILLED
            if job.tries < _TRIES:
                self._again(job, now)
            else:
                self._actions.append(FailJob(job, WorkerDiedError(_FAILED)))
        self._replaced(worker, "died", job)
        self._dispatch(now)
        return self._out()

    def tick(self, now: float) -> Sequence[Action]:
        """Time has passed."""
        for job in [job for job in self.waiting if job.expires <= now]:
            self.waiting.remove(job)
            self._actions.append(ReportRefused(job, "deadline"))
            text = _QUEUED.format(seconds=self.queue_timeout)
            self._actions.append(FailJob(job, QueueTimedOutError(text)))
        for worker in [worker for worker in self.workers.values() if worker.deadline <= now]:
            ended = self._end(worker)
            if ended is not None:
                text = _TOO_LONG.format(seconds=ended.timeout)
                self._actions.append(FailJob(ended, RenderTimedOutError(text)))
            self._replaced(worker, "deadline", ended)
        if self._retry <= now:
            self._retry = math.inf
            self._fill()
        self._dispatch(now)
        return self._out()

    def close(self) -> Sequence[Action]:
        """The pool is closed: no job begins, and those that run fail."""
        self.closing = True
        self.waiting.clear()
        for worker in list(self.workers.values()):
            job = self._end(worker)
            if job is not None:
                self._actions.append(FailJob(job, WorkerDiedError(_STOPPING)))
        return self._out()

    # --- what follows from them ---------------------------------------------------------------

    def _out(self) -> Sequence[Action]:
        actions, self._actions = self._actions, []
        return actions

    def _enqueue(self, job: ScheduledJob, place: int, now: float) -> None:
        self.waiting.insert(place, job)
        job.expires = math.inf if self.queue_timeout is None else now + self.queue_timeout

    def _again(self, job: ScheduledJob, now: float) -> None:
        """Have a job tried once more, before all others; one that was given up is not."""
        if not job.given_up:
            self._enqueue(job, 0, now)

    def _fill(self) -> None:
        """Start as many workers as are missing, counting those that retire as missing."""
        if self.closing or self._retry < math.inf:
            return
        staying = sum(not worker.retiring for worker in self.workers.values())
        for _ in range(self.size - staying - len(self._starting)):
            self._numbers += 1
            self._starting.add(self._numbers)
            self._actions.append(StartWorker(self._numbers))

    def _supersede(self) -> None:
        """Have a worker that retires go, as there is one too many now: an idle one, if any."""
        retiring = [
            worker for worker in self.workers.values() if worker.retiring and not worker.superseded
        ]
        serving = sum(not worker.superseded for worker in self.workers.values())
        if not retiring or serving <= self.size:
            return
        worker = min(retiring, key=lambda worker: worker.job is not None)
        worker.superseded = True
        self.renewed += 1
        self._actions.append(ReportRenewed(worker.retiring, worker.job))
        if worker.job is None:
            self._end(worker)

    def _end(self, worker: ScheduledWorker) -> ScheduledJob | None:
        """Have a worker go; the job that it was doing."""
        job, worker.job = worker.job, None
        del self.workers[worker.number]
        if worker in self.idle:
            self.idle.remove(worker)
        self._actions.append(EndWorker(worker.number))
        return job

    def _replaced(
        self,
        worker: ScheduledWorker,
        reason: str,
        job: ScheduledJob | None,
    ) -> None:
        if self.closing:
            return
        self.replaced += 1
        self._actions.append(ReportReplaced(worker.number, reason, job))
        self._fill()

    def _dispatch(self, now: float) -> None:
        while self.idle and self.waiting and not self.closing:
            running = self.running
            allowed = self._allowed(running)
            indices = next_jobs(
                [job.demand for job in allowed],
                [job.demand for job in running],
                self.capacity,
                [job.passed for job in allowed],
            )
            candidates = [allowed[index] for index in indices]
            if not candidates:
                return
            job_index, worker_index = choose(
                [Waiting(job.subject, job.overtaken) for job in candidates],
                [worker.memory for worker in self.idle],
            )
            for passed in candidates[:job_index]:
                passed.overtaken += 1
            self._begin(candidates[job_index], self.idle.pop(worker_index), now)

    def _allowed(self, running: Sequence[ScheduledJob]) -> list[ScheduledJob]:
        """The waiting jobs that may begin as far as those are concerned that want to be alone."""
        expensive = any(job.demand.lane is not Lane.TILE for job in running)
        lonely = any(job.alone for job in running)
        reserved = lonely or any(job.alone for job in self.waiting)
        return [
            job
            for job in self.waiting
            if (
                not (expensive or lonely)
                if job.alone
                else job.demand.lane is Lane.TILE or not reserved
            )
        ]

    def _begin(self, job: ScheduledJob, worker: ScheduledWorker, now: float) -> None:
        self.waiting.remove(job)
        for other in self.waiting:
            other.passed += other.demand.lane > job.demand.lane
        job.tries += 1
        worker.job, worker.deadline = job, now + job.timeout
        if job.subject is not None:
            worker.memory.put(job.subject, None)
        self._actions.append(SendJob(worker.number, job))
