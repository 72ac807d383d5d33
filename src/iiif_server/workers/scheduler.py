"""Which worker does which job, and when: lanes, affinity, deadlines, deaths and renewals. Pure.

Events come in as method calls with the time at which they happened; what is to be done about them
comes out as actions. Nothing here waits, reads a clock, or knows what a process is.
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
    MOST_SUSPENDED,
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
from iiif_server.workers.affinity import Memory, Waiting, choose
from iiif_server.workers.lifetime import FOR_EVER, Lifetime

_TOO_LONG = "The image takes longer than the {seconds:g} seconds allowed; ask for a smaller one."
_QUEUED = "No process was free for this image within {seconds:g} seconds; please ask again."
_STOPPING = "The server is stopping."
_TRIES = 2
"""How often a job is started when its worker dies under it."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0
"""Seconds before a worker that could not be started is tried again: doubled each time."""
BACKGROUND_IDLE = 60.0
"""Seconds after which an idle background worker ends, to give its memory back."""


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
    _starting: dict[int, bool] = field(default_factory=dict)
    """Workers that are being started, and whether they are for background jobs."""
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
        times += [worker.wake_at for worker in self.workers.values()]
        return min(self._retry, *times, math.inf)

    # --- events -----------------------------------------------------------------------------

    def open(self) -> Sequence[Action]:
        """The pool is opened."""
        self._fill()
        return self._out()

    def queue(self, job: ScheduledJob, now: float) -> Sequence[Action]:
        """A job was submitted and admitted."""
        self._enqueue(job, len(self.waiting), now)
        self._dispatch(now)
        return self._out()

    def give_up(self, job: ScheduledJob, now: float) -> Sequence[Action]:
        """Nobody waits for a job any more: it does not begin, and is not tried again."""
        job.given_up = True
        if job in self.waiting:
            self.waiting.remove(job)
            self._dispatch(now)  # others in its lane may have waited for it
        return self._out()

    def promote(self, subject: str, now: float) -> Sequence[Action]:
        """Somebody waits for the background jobs on a subject from now on."""
        for job in [*self.waiting, *self.running]:
            if job.background and job.subject == subject:
                job.demand = replace(job.demand, lane=Lane.BUILD)
                job.expires = self._expiry(now)
        self._dispatch(now)
        return self._out()

    def started(self, number: int, now: float) -> Sequence[Action]:
        """A worker is ready for its first job."""
        background = self._starting.pop(number, False)
        self._delay = _FIRST_DELAY
        worker = ScheduledWorker(number, Memory(self.remembers), background=background)
        if self.closing:
            self._actions.append(EndWorker(number))
            return self._out()
        self.workers[number] = worker
        self._rest(worker, now)
        self._supersede()
        self._dispatch(now)
        return self._out()

    def start_failed(self, number: int, now: float) -> Sequence[Action]:
        """A worker could not be started: the machine may lack something, and have it later."""
        self._starting.pop(number, None)
        self._retry = now + self._delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return self._out()

    def finished(self, number: int, memory: int, now: float) -> Sequence[Action]:
        """A worker has done its job, well or not, and holds so many bytes of memory."""
        worker = self.workers[number]
        self._resume(worker, now)  # what it sent may arrive after it was suspended
        worker.job, worker.deadline = None, math.inf
        worker.jobs += 1
        self.done += 1
        worker.retiring = worker.retiring or self.lifetime.over(worker.jobs, memory) or ""
        if worker.superseded:
            self._end(worker)
        elif worker.background and worker.retiring:  # the next one is started when it is needed
            self._renew(worker, worker.retiring)
        else:
            self._rest(worker, now)
        self._dispatch(now)
        return self._out()

    def stale(self, number: int, now: float) -> Sequence[Action]:
        """A worker cannot begin its job, because a folder that it needs was replaced."""
        worker = self.workers[number]
        self._abort(worker, "folders", now)
        self._dispatch(now)
        return self._out()

    def died(self, number: int, death: Death, now: float) -> Sequence[Action]:
        """A worker has ended unexpectedly."""
        worker = self.workers.get(number)
        if worker is None:  # it was ended on purpose
            return self._out()
        job = self._end(worker)
        if job is not None:
            job.tries -= death is Death.UNSENT
            job.alone |= death is Death.KILLED
            if job.tries < _TRIES and death is not Death.OVERTIME:
                self._again(job, now)
            else:
                self._actions.append(FailJob(job, death.error()))
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
        overdue = [worker for worker in self.workers.values() if worker.deadline <= now]
        for worker in [worker for worker in overdue if worker.suspended_at is None]:
            ended = self._end(worker)
            if ended is not None:
                text = _TOO_LONG.format(seconds=ended.timeout)
                self._actions.append(FailJob(ended, RenderTimedOutError(text)))
                self._replaced(worker, "deadline", ended)
        if self._retry <= now:
            self._retry = math.inf
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
        job.expires = self._expiry(now)

    def _expiry(self, now: float) -> float:
        return math.inf if self.queue_timeout is None else now + self.queue_timeout

    def _again(self, job: ScheduledJob, now: float) -> None:
        """Have a job tried once more, before all others; one that was given up is not."""
        if not job.given_up:
            self._enqueue(job, 0, now)

    def _fill(self) -> None:
        """Start as many workers as are missing, counting those that retire as missing."""
        if self.closing or self._retry < math.inf:
            return
        jobs = sum(job.background for job in [*self.waiting, *self.running])
        wanted = {False: self.size, True: min(jobs, self.capacity.background)}
        for worker in self.workers.values():
            wanted[worker.background] -= not worker.retiring
        for background in self._starting.values():
            wanted[background] -= 1
        for background, missing in wanted.items():
            for _ in range(missing):
                self._numbers += 1
                self._starting[self._numbers] = background
                self._actions.append(StartWorker(self._numbers, background))

    def _supersede(self) -> None:
        """Have a worker that retires go, as there is one too many now: an idle one, if any."""
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
        """Report that a worker ends as planned, and have it go unless it has a job."""
        self.renewed += 1
        self._actions.append(ReportRenewed(reason, worker.job))
        if worker.job is None:
            self._end(worker)

    def _abort(self, worker: ScheduledWorker, reason: str, now: float) -> None:
        """Have a worker go whose job, if any, is begun anew later; it does not count as a try."""
        job = self._end(worker)
        if job is not None:
            job.tries -= 1
            self._again(job, now)
        if not self.closing:
            self.renewed += 1
            self._actions.append(ReportRenewed(reason, job))

    def _rest(self, worker: ScheduledWorker, now: float) -> None:
        """Have a worker wait for its next job."""
        self.idle.append(worker)
        if worker.background:
            worker.deadline = now + BACKGROUND_IDLE

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

    def _dispatch(self, now: float) -> None:
        """Begin jobs, start missing workers, and suspend or resume background jobs."""
        for background in (False, True):
            while not self.closing and self._begin_next(now, background=background):
                pass
        self._fill()
        self._balance(now)

    def _begin_next(self, now: float, *, background: bool) -> bool:
        """Begin one foreground or background job, if there is one that may; whether there was."""
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
        """Whether a job may begin beside the jobs that have to run alone.

        A background job keeps no foreground job from beginning.
        """
        others = [other for other in running if job.background or not other.background]
        lonely = any(other.alone for other in others)
        if job.alone:
            return not lonely and all(other.demand.lane is Lane.TILE for other in others)
        reserved = lonely or any(other.alone and not other.background for other in self.waiting)
        return job.demand.lane is Lane.TILE or not reserved

    def _begin(self, job: ScheduledJob, worker: ScheduledWorker, now: float) -> None:
        self.waiting.remove(job)
        self.idle.remove(worker)
        for other in self.waiting:
            other.passed += other.demand.lane > job.demand.lane
        if not job.background and job.demand.lane is not Lane.TILE:
            self._make_way(job, now)
        job.tries += 1
        worker.job, worker.deadline = job, now + job.timeout
        if job.subject is not None:
            worker.memory.put(job.subject, None)
        self._actions.append(SendJob(worker.number, job))

    # --- background jobs ----------------------------------------------------------------------

    def _make_way(self, job: ScheduledJob, now: float) -> None:
        """Abort the background jobs that take memory which a foreground job needs, latest first."""
        for worker in reversed(list(self.workers.values())):
            other = worker.job
            if other is None or not other.background:
                continue
            enough = fits(job.demand, [running.demand for running in self.running], self.capacity)
            if job.alone or other.alone or not enough:
                self._abort(worker, "aborted", now)

    def _balance(self, now: float) -> None:
        """Suspend background jobs that foreground jobs would have to share CPUs with."""
        foreground = sum(not job.background for job in self.running)
        free = self.capacity.background_beside(foreground)
        for worker in self.workers.values():
            job = worker.job
            if job is None:
                continue
            if not job.background or worker.wake_at <= now or job.suspended >= MOST_SUSPENDED:
                self._resume(worker, now)
            elif free > 0:
                free -= 1
                self._resume(worker, now)
            elif worker.suspended_at is None:
                worker.suspended_at = now
                self._actions.append(Suspend(worker.number))

    def _resume(self, worker: ScheduledWorker, now: float) -> None:
        """Have a worker go on if it is suspended; that time does not count for its deadline."""
        if worker.suspended_at is None:
            return
        paused, worker.suspended_at = now - worker.suspended_at, None
        worker.deadline += paused
        if worker.job is not None:
            worker.job.suspended += paused
        self._actions.append(Resume(worker.number))
