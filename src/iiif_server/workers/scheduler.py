"""Scheduler: decides which worker does which job, and when. Pure.

It handles lanes, affinity, timeouts, deaths and renewals of workers. Events are method calls with
the time of the event; they return actions. The scheduler does not wait, reads no clock, and
handles no processes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from iiif_server.errors import (
    QueueTimedOutError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.workers.actions import (
    MAX_SUSPENDED,
    Action,
    Death,
    EndWorker,
    FailJob,
    ReportRefused,
    ReportRenewed,
    ReportReplaced,
    Resume,
    ScheduledJob,
    ScheduledWorker,
    SendJob,
    StartWorker,
    Suspend,
)
from iiif_server.workers.admission import Capacity, Lane, fits, next_jobs
from iiif_server.workers.affinity import OpenOriginals, Waiting, choose
from iiif_server.workers.lifetime import UNLIMITED, Lifetime

_TIMEOUT = "The image takes longer than the {seconds:g} seconds allowed; request a smaller one."
_QUEUE_TIMEOUT = "No worker was free for this image within {seconds:g} seconds; please try again."
_STOPPING = "The server is stopping."
_MAX_ATTEMPTS = 2
"""Maximum starts of a job whose worker dies."""
_FIRST_DELAY, _MAX_DELAY = 0.1, 5.0
"""First and longest delay in seconds after a failed start of a worker; doubled each time."""
BACKGROUND_IDLE = 60.0
"""Seconds after which an idle background worker ends, to release its memory."""


@dataclass(slots=True, eq=False)
class Scheduler:
    """State of a pool; each event returns the actions that follow from it, in order."""

    size: int
    """Number of workers for foreground work."""
    capacity: Capacity
    affinity_size: int = 0
    """Number of originals that a worker keeps open, for affinity."""
    queue_timeout: float | None = None
    """Maximum seconds that a job waits for a worker; None: no timeout."""
    lifetime: Lifetime = UNLIMITED

    workers: dict[int, ScheduledWorker] = field(default_factory=dict)
    idle: list[ScheduledWorker] = field(default_factory=list)
    """Workers without a job; the one that is idle for longest is first."""
    waiting: list[ScheduledJob] = field(default_factory=list)
    done: int = 0
    replaced: int = 0
    renewed: int = 0
    closing: bool = False
    _starting: dict[int, bool] = field(default_factory=dict)
    """Numbers of the workers that are being started, and whether they are for background jobs."""
    _numbers: int = 0
    _retry: float = math.inf
    """Time of the next start of a worker after a failed one; infinity: none has failed."""
    _delay: float = _FIRST_DELAY
    _actions: list[Action] = field(default_factory=list)

    @property
    def running(self) -> list[ScheduledJob]:
        """Running jobs."""
        return [worker.job for worker in self.workers.values() if worker.job is not None]

    @property
    def wake_at(self) -> float:
        """Time of the next `tick`; infinity: none is needed."""
        times = [job.expires for job in self.waiting]
        times += [worker.wake_at for worker in self.workers.values()]
        return min(self._retry, *times, math.inf)

    # --- events -----------------------------------------------------------------------------

    def open(self) -> Sequence[Action]:
        """Start the workers of an opened pool."""
        self._fill()
        return self._take_actions()

    def queue(self, job: ScheduledJob, now: float) -> Sequence[Action]:
        """Queue a job that was admitted."""
        self._enqueue(job, len(self.waiting), now)
        self._dispatch(now)
        return self._take_actions()

    def abandon(self, job: ScheduledJob, now: float) -> Sequence[Action]:
        """Drop a job whose caller no longer waits: it does not begin, and is not repeated."""
        job.abandoned = True
        if job in self.waiting:
            self.waiting.remove(job)
            self._dispatch(now)  # it may have blocked other jobs of its lane
        return self._take_actions()

    def promote(self, subject: str, now: float) -> Sequence[Action]:
        """Make the background jobs on a subject foreground work, as a request waits for them."""
        for job in [*self.waiting, *self.running]:
            if job.background and job.subject == subject:
                job.demand = replace(job.demand, lane=Lane.BUILD)
                job.expires = self._expiry(now)
        self._dispatch(now)
        return self._take_actions()

    def started(self, number: int, now: float) -> Sequence[Action]:
        """Add a worker that is ready for its first job."""
        background = self._starting.pop(number, False)
        self._delay = _FIRST_DELAY
        worker = ScheduledWorker(number, OpenOriginals(self.affinity_size), background=background)
        if self.closing:
            self._actions.append(EndWorker(number))
            return self._take_actions()
        self.workers[number] = worker
        self._add_idle(worker, now)
        self._supersede()
        self._dispatch(now)
        return self._take_actions()

    def start_failed(self, number: int, now: float) -> Sequence[Action]:
        """Delay the next start after a failed one: the machine may lack memory for a while."""
        self._starting.pop(number, None)
        self._retry = now + self._delay
        self._delay = min(self._delay * 2, _MAX_DELAY)
        return self._take_actions()

    def finished(self, number: int, memory: int, now: float) -> Sequence[Action]:
        """Handle the end of a job, successful or not; `memory` is that of the worker in bytes."""
        worker = self.workers[number]
        self._resume(worker, now)  # the result may arrive after the worker was suspended
        worker.job, worker.deadline = None, math.inf
        worker.jobs += 1
        self.done += 1
        worker.retiring = worker.retiring or self.lifetime.reached_limit(worker.jobs, memory) or ""
        if worker.superseded:
            self._end(worker)
        elif worker.background and worker.retiring:  # a successor is started only when needed
            self._renew(worker, worker.retiring)
        else:
            self._add_idle(worker, now)
        self._dispatch(now)
        return self._take_actions()

    def stale(self, number: int, now: float) -> Sequence[Action]:
        """Replace a worker that cannot begin its job, as a folder that it needs was replaced."""
        worker = self.workers[number]
        self._abort(worker, "folders", now)
        self._dispatch(now)
        return self._take_actions()

    def died(self, number: int, death: Death, now: float) -> Sequence[Action]:
        """Handle the unexpected end of a worker: repeat its job, or fail it."""
        worker = self.workers.get(number)
        if worker is None:  # the scheduler has ended it
            return self._take_actions()
        job = self._end(worker)
        if job is not None:
            job.attempts -= death is Death.UNSENT
            job.exclusive |= death is Death.KILLED
            if job.attempts < _MAX_ATTEMPTS and death is not Death.OVERTIME:
                self._requeue(job, now)
            else:
                self._actions.append(FailJob(job, death.error()))
        self._report_replaced(worker, "died", job)
        self._dispatch(now)
        return self._take_actions()

    def tick(self, now: float) -> Sequence[Action]:
        """Handle timeouts: of waiting jobs, of running jobs, and of idle background workers."""
        for job in [job for job in self.waiting if job.expires <= now]:
            self.waiting.remove(job)
            self._actions.append(ReportRefused(job, "deadline"))
            text = _QUEUE_TIMEOUT.format(seconds=self.queue_timeout)
            self._actions.append(FailJob(job, QueueTimedOutError(text)))
        overdue = [worker for worker in self.workers.values() if worker.deadline <= now]
        for worker in [worker for worker in overdue if worker.suspended_at is None]:
            ended = self._end(worker)
            if ended is not None:
                text = _TIMEOUT.format(seconds=ended.timeout)
                self._actions.append(FailJob(ended, RenderTimedOutError(text)))
                self._report_replaced(worker, "deadline", ended)
        if self._retry <= now:
            self._retry = math.inf
        self._dispatch(now)
        return self._take_actions()

    def close(self) -> Sequence[Action]:
        """End all workers of a closed pool, and fail the running jobs."""
        self.closing = True
        self.waiting.clear()
        for worker in list(self.workers.values()):
            job = self._end(worker)
            if job is not None:
                self._actions.append(FailJob(job, WorkerDiedError(_STOPPING)))
        return self._take_actions()

    # --- consequences of events ---------------------------------------------------------------

    def _take_actions(self) -> Sequence[Action]:
        actions, self._actions = self._actions, []
        return actions

    def _enqueue(self, job: ScheduledJob, place: int, now: float) -> None:
        self.waiting.insert(place, job)
        job.expires = self._expiry(now)

    def _expiry(self, now: float) -> float:
        return math.inf if self.queue_timeout is None else now + self.queue_timeout

    def _requeue(self, job: ScheduledJob, now: float) -> None:
        """Put a job back at the front of the queue, unless its caller no longer waits."""
        if not job.abandoned:
            self._enqueue(job, 0, now)

    def _fill(self) -> None:
        """Start missing workers, and successors of retiring ones."""
        if self.closing or self._retry < math.inf:
            return
        jobs = sum(job.background for job in [*self.waiting, *self.running])
        to_start = {False: self.size, True: min(jobs, self.capacity.background)}
        for worker in self.workers.values():
            to_start[worker.background] -= not worker.retiring
        for background in self._starting.values():
            to_start[background] -= 1
        for background, missing in to_start.items():
            for _ in range(missing):
                self._numbers += 1
                self._starting[self._numbers] = background
                self._actions.append(StartWorker(self._numbers, background))

    def _supersede(self) -> None:
        """End a retiring worker if its successor has started; an idle one, if any."""
        retiring = [
            worker for worker in self.workers.values() if worker.retiring and not worker.superseded
        ]
        serving = sum(
            not worker.superseded and not worker.background for worker in self.workers.values()
        )
        if not retiring or serving <= self.size:
            return
        worker = min(retiring, key=lambda worker: worker.job is not None)
        worker.superseded = True
        self._renew(worker, worker.retiring)

    def _renew(self, worker: ScheduledWorker, reason: str) -> None:
        """Report that a worker ends as planned, and end it unless it has a job."""
        self.renewed += 1
        self._actions.append(ReportRenewed(reason, worker.job))
        if worker.job is None:
            self._end(worker)

    def _abort(self, worker: ScheduledWorker, reason: str, now: float) -> None:
        """End a worker, and queue its job again, if any; the aborted start is not a try."""
        job = self._end(worker)
        if job is not None:
            job.attempts -= 1
            self._requeue(job, now)
        if not self.closing:
            self.renewed += 1
            self._actions.append(ReportRenewed(reason, job))

    def _add_idle(self, worker: ScheduledWorker, now: float) -> None:
        """Add a worker to the idle ones."""
        self.idle.append(worker)
        if worker.background:
            worker.deadline = now + BACKGROUND_IDLE

    def _end(self, worker: ScheduledWorker) -> ScheduledJob | None:
        """End a worker; return its job, if any."""
        job, worker.job = worker.job, None
        del self.workers[worker.number]
        if worker in self.idle:
            self.idle.remove(worker)
        self._actions.append(EndWorker(worker.number))
        return job

    def _report_replaced(
        self,
        worker: ScheduledWorker,
        reason: str,
        job: ScheduledJob | None,
    ) -> None:
        if self.closing:
            return
        self.replaced += 1
        self._actions.append(ReportReplaced(worker.number, reason, job))

    def _dispatch(self, now: float) -> None:
        """Begin jobs, start missing workers, and suspend or resume background jobs."""
        for background in (False, True):
            while not self.closing and self._begin_next(now, background=background):
                pass
        self._fill()
        self._balance(now)

    def _begin_next(self, now: float, *, background: bool) -> bool:
        """Begin one foreground or background job, if one may begin; return whether one did."""
        idle = [worker for worker in self.idle if worker.background is background]
        running = self.running
        allowed = [job for job in self.waiting if job.background is background]
        allowed = [job for job in allowed if self._allows(job, running)]
        if not idle or not allowed:
            return False
        indices = next_jobs(
            [job.demand for job in allowed],
            [job.demand for job in running],
            self.capacity,
            [job.passed for job in allowed],
        )
        candidates = [allowed[index] for index in indices]
        if not candidates:
            return False
        job_index, worker_index = choose(
            [Waiting(job.subject, job.overtaken) for job in candidates],
            [worker.memory for worker in idle],
        )
        for passed in candidates[:job_index]:
            passed.overtaken += 1
        self._begin(candidates[job_index], idle[worker_index], now)
        return True

    def _allows(self, job: ScheduledJob, running: Sequence[ScheduledJob]) -> bool:
        """Whether a job may begin, as to the jobs that have to run alone.

        A background job does not delay a foreground job.
        """
        others = [other for other in running if job.background or not other.background]
        runs_alone = any(other.exclusive for other in others)
        if job.exclusive:
            return not runs_alone and all(other.demand.lane is Lane.TILE for other in others)
        reserved = runs_alone or any(
            other.exclusive and not other.background for other in self.waiting
        )
        return job.demand.lane is Lane.TILE or not reserved

    def _begin(self, job: ScheduledJob, worker: ScheduledWorker, now: float) -> None:
        self.waiting.remove(job)
        self.idle.remove(worker)
        for other in self.waiting:
            other.passed += other.demand.lane > job.demand.lane
        if not job.background and job.demand.lane is not Lane.TILE:
            self._free_memory_for(job, now)
        job.attempts += 1
        worker.job, worker.deadline = job, now + job.timeout
        if job.subject is not None:
            worker.memory.put(job.subject, None)
        self._actions.append(SendJob(worker.number, job))

    # --- background jobs ----------------------------------------------------------------------

    def _free_memory_for(self, job: ScheduledJob, now: float) -> None:
        """Abort background jobs, latest first, until a foreground job has enough memory."""
        for worker in reversed(list(self.workers.values())):
            other = worker.job
            if other is None or not other.background:
                continue
            enough = fits(job.demand, [running.demand for running in self.running], self.capacity)
            if job.exclusive or other.exclusive or not enough:
                self._abort(worker, "aborted", now)

    def _balance(self, now: float) -> None:
        """Suspend background jobs while foreground jobs need the CPUs, and resume them after."""
        foreground = sum(not job.background for job in self.running)
        free = self.capacity.background_beside(foreground)
        for worker in self.workers.values():
            job = worker.job
            if job is None:
                continue
            if not job.background or worker.wake_at <= now or job.suspended >= MAX_SUSPENDED:
                self._resume(worker, now)
            elif free > 0:
                free -= 1
                self._resume(worker, now)
            elif worker.suspended_at is None:
                worker.suspended_at = now
                self._actions.append(Suspend(worker.number))

    def _resume(self, worker: ScheduledWorker, now: float) -> None:
        """Resume a suspended worker; the suspension does not count for its deadline."""
        if worker.suspended_at is None:
            return
        paused, worker.suspended_at = now - worker.suspended_at, None
        worker.deadline += paused
        if worker.job is not None:
            worker.job.suspended += paused
        self._actions.append(Resume(worker.number))
