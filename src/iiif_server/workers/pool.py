"""A pool of single-process executors: lanes, affinity, deadlines, crashes that stay small.

One `ProcessPoolExecutor` a worker, because a shared one breaks as a whole when any of its processes
dies, and cannot kill the one that runs too long.
"""

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from iiif_server.errors import (
    BusyError,
    ImageTooLargeError,
    QueueTimedOutError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.telemetry.events import Observer, WorkerRenewed, WorkerReplaced, WorkRefused
from iiif_server.workers.admission import Capacity, Demand, Lane, Verdict, admit, next_jobs
from iiif_server.workers.affinity import Memory, Waiting, choose
from iiif_server.workers.answers import WorkerContext
from iiif_server.workers.confinement import (
    Confinement,
    InForce,
    StaleError,
    begin_job,
    confine,
    in_force,
)
from iiif_server.workers.environment import start_fork_server
from iiif_server.workers.lifetime import FOR_EVER, Lifetime, own_memory

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_TOO_LONG = "The image takes longer than the {seconds:g} seconds allowed; ask for a smaller one."
_NEVER = (
    "This takes about {needed:,} bytes of memory, and images may take {there:,} here "
    "(limits.memory); ask for a smaller size or region, or for jpg."
)
_BUSY = "As many as {waiting} large images are waiting to be made already; please ask again later."
_QUEUED = "No process was free for this image within {seconds:g} seconds; please ask again."
_TRIES = 2
"""How often a job is started when its worker dies under it."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool is doing, and has done since it was opened."""

    workers: int
    busy: int
    waiting: int
    done: int
    replaced: int
    """Workers that died or were killed."""
    renewed: int
    """Workers that had served their time."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """What a lane of a pool is doing, and how often it has refused since the pool was opened."""

    running: int
    waiting: int
    refused: int
    bytes: int
    """Memory that what is running takes at its peak, as estimated."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What each worker process does before its first job."""

    function: Callable[..., None]
    arguments: tuple[Any, ...] = ()
    preload: Sequence[str] = ()
    """Modules that workers have in common; importing one must start no thread."""
    confinement: Confinement | None = None
    """The fence that is put up around it then; None: there is none."""
    lifetime: Lifetime = FOR_EVER
    """How long it is kept."""


@dataclass(slots=True, eq=False)
class _Worker:
    executor: ProcessPoolExecutor
    memory: Memory
    pid: int
    jobs: int = 0
    """Those that it has done."""
    worn: bool = False
    """Whether its successor is being started."""
    relieved: bool = False
    """Whether its successor is there, so that it ends with the job it has."""


@dataclass(slots=True, eq=False)
class _Job:
    function: Callable[[Any], Any]
    argument: Any
    subject: str | None
    demand: Demand
    timeout: float
    begun: Callable[[], None]
    result: asyncio.Future[Any]
    expiry: asyncio.TimerHandle | None = None
    overtaken: int = 0
    tries: int = 0
    context: Context = field(default_factory=copy_context)
    """That of whoever wants it, so that what is told of it is told of the right request."""


_LITTLE = Demand()


def _nobody() -> None:
    """Tell nobody that a job has begun."""


class WorkerPool:
    """Processes that run one job each at a time; which one is chosen by what it has open."""

    def __init__(
        self,
        name: str,
        size: int,
        setup: Setup,
        observer: Observer,
        *,
        remembers: int = 0,
        capacity: Capacity | None = None,
        queue_timeout: float | None = None,
    ) -> None:
        """`queue_timeout` is in seconds; None: jobs wait for a worker as long as it takes."""
        self._name = name
        self._size = size
        self._setup = setup
        self._observe = observer
        self._remembers = remembers
        self._capacity = capacity or Capacity(size)
        self._queue_timeout = queue_timeout
        self._context = WorkerContext()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._waiting: list[_Job] = []
        self._under_way: set[_Job] = set()
        self._refused: Counter[Lane] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._done = self._replaced = self._renewed = 0
        self._closing = False
        self.in_force = InForce()
        """The fences around the worker that was started last."""

    def __repr__(self) -> str:
        return f"<WorkerPool {self._name}: {self.stats}>"

    @property
    def stats(self) -> PoolStats:
        """The counts as they are now."""
        return PoolStats(
            workers=len(self._workers),
            busy=len(self._workers) - len(self._idle),
            waiting=len(self._waiting),
            done=self._done,
            replaced=self._replaced,
            renewed=self._renewed,
        )

    @property
    def lanes(self) -> Mapping[Lane, LaneStats]:
        """What each lane is doing now."""
        return {
            lane: LaneStats(
                running=sum(job.demand.lane is lane for job in self._under_way),
                waiting=sum(job.demand.lane is lane for job in self._waiting),
                refused=self._refused[lane],
                bytes=sum(job.demand.bytes for job in self._under_way if job.demand.lane is lane),
            )
            for lane in Lane
        }

    @property
    def memory(self) -> int:
        """The bytes that all jobs may take at the same time, as estimated."""
        return self._capacity.bytes

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    async def open(self) -> None:
        """Start the workers; WorkerDiedError if they cannot be."""
        self._context.set_forkserver_preload(list(self._setup.preload))
        self._workers = list(await asyncio.gather(*(self._start() for _ in range(self._size))))
        self._idle = list(self._workers)

    async def close(self) -> None:
        """Finish nothing more: jobs that wait are cancelled, workers that run are killed."""
        self._closing = True
        for job in self._waiting:
            job.result.cancel()
            self._stop_clock(job)
        self._waiting.clear()
        for worker in self._workers:
            if worker not in self._idle:
                _kill(worker.pid)
        if self._running:
            await asyncio.wait(self._running)
        await asyncio.gather(
            *(asyncio.to_thread(worker.executor.shutdown) for worker in self._workers)
        )
        self._workers.clear()
        self._idle.clear()

    async def run(
        self,
        function: Callable[[Argument], Result],
        argument: Argument,
        *,
        timeout: float,  # noqa: ASYNC109 - counted from when a worker starts, not from the call
        subject: str | None = None,
        demand: Demand = _LITTLE,
        begun: Callable[[], None] = _nobody,
    ) -> Result:
        """The result of `function(argument)` in a worker, which both must be picklable for.

        `begun` is called when a worker starts. Raises what the function raises; ImageTooLargeError
        or BusyError, at once, if the job is not taken; QueueTimedOutError if it waits too long for
        a worker; RenderTimedOutError if it then runs longer than `timeout` seconds, after killing
        its worker; WorkerDiedError if the worker dies, twice, or the pool is closed. A caller who
        gives up before the job has started takes it out of the queue.
        """
        if self._closing:
            raise WorkerDiedError("The server is stopping.")
        self._admit(demand)
        result = asyncio.get_running_loop().create_future()
        job = _Job(function, argument, subject, demand, timeout, begun, result)
        self._queue(job, len(self._waiting))
        self._dispatch()
        try:
            outcome: Result = await job.result
        finally:
            if job in self._waiting:
                self._waiting.remove(job)
                self._stop_clock(job)
                self._dispatch()  # it may have stood in the way of others in its lane
        return outcome

    def _admit(self, demand: Demand) -> None:
        verdict = admit(demand, [job.demand for job in self._waiting], self._capacity)
        if verdict is Verdict.NEVER:
            self._refuse(demand.lane, verdict.value)
            raise ImageTooLargeError(_NEVER.format(needed=demand.bytes, there=self._capacity.bytes))
        if verdict is Verdict.BUSY:
            self._refuse(demand.lane, verdict.value)
            raise BusyError(_BUSY.format(waiting=self._capacity.queue))

    def _refuse(self, lane: Lane, reason: str) -> None:
        self._refused[lane] += 1
        self._observe(WorkRefused(self._name, str(lane), reason))

    def _queue(self, job: _Job, place: int) -> None:
        self._waiting.insert(place, job)
        if self._queue_timeout is not None:
            loop = asyncio.get_running_loop()
            job.expiry = loop.call_later(
                self._queue_timeout, self._expire, job, context=job.context
            )

    def _expire(self, job: _Job) -> None:
        self._waiting.remove(job)
        if not job.result.done():
            self._refuse(job.demand.lane, "deadline")
            self._settle(job, QueueTimedOutError(_QUEUED.format(seconds=self._queue_timeout)))
        self._dispatch()

    @staticmethod
    def _stop_clock(job: _Job) -> None:
        if job.expiry is not None:
            job.expiry.cancel()

    def _dispatch(self) -> None:
        while self._idle and self._waiting and not self._closing:
            running = [job.demand for job in self._under_way]
            indices = next_jobs([job.demand for job in self._waiting], running, self._capacity)
            if not indices:
                return
            candidates = [self._waiting[index] for index in indices]
            job_index, worker_index = choose(
                [Waiting(job.subject, job.overtaken) for job in candidates],
                [worker.memory for worker in self._idle],
            )
            for passed in candidates[:job_index]:
                passed.overtaken += 1
            self._begin(candidates[job_index], self._idle.pop(worker_index))

    def _begin(self, job: _Job, worker: _Worker) -> None:
        self._waiting.remove(job)
        self._stop_clock(job)
        self._under_way.add(job)
        if job.subject is not None:
            worker.memory.remember(job.subject)
        job.begun()
        task = asyncio.create_task(self._execute(job, worker), context=job.context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _execute(self, job: _Job, worker: _Worker) -> None:
        try:
            # A worker that died while it was idle shows here, before the job is tried.
            future = asyncio.wrap_future(worker.executor.submit(_work, job.function, job.argument))
            job.tries += 1
            # Not `wait_for`: a job's own TimeoutError is not its deadline.
            in_time, _ = await asyncio.wait([future], timeout=job.timeout)
            self._under_way.discard(job)
            if not in_time:
                _kill(worker.pid)
                future.cancel()
                self._settle(job, RenderTimedOutError(_TOO_LONG.format(seconds=job.timeout)))
                await self._replace(worker, "deadline")
                return
            outcome = future.result()
        except StaleError:
            job.tries -= 1  # it has not begun
            if self._closing or job.result.done():
                self._settle(job, WorkerDiedError("The server is stopping."))
            else:
                self._queue(job, 0)
            await self._renew(worker, "folders")
            return
        except BrokenProcessPool:
            self._under_way.discard(job)
            # A job that was given up has nobody to be tried again for.
            if job.tries < _TRIES and not self._closing and not job.result.done():
                self._queue(job, 0)
            else:
                self._settle(job, WorkerDiedError("The image could not be made."))
            await self._replace(worker, "died")
            return
        except Exception as error:  # noqa: BLE001 - whatever the job raised belongs to its caller
            self._under_way.discard(job)
            self._settle(job, error)
        else:
            if not job.result.done():
                job.result.set_result(outcome)
        self._done += 1
        worker.jobs += 1
        self._release(worker)

    def _release(self, worker: _Worker) -> None:
        """Have a worker that has done its job do the next, or go if it has served its time."""
        if worker.relieved:
            self._end(worker)
        else:
            self._idle.append(worker)
            reason = self._setup.lifetime.over(worker.jobs, own_memory(worker.pid))
            if reason is not None and not worker.worn and not self._closing:
                worker.worn = True
                task = asyncio.create_task(self._relieve(worker, reason))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        self._dispatch()

    @staticmethod
    def _settle(job: _Job, error: Exception) -> None:
        if not job.result.done():
            job.result.set_exception(error)

    async def _replace(self, worker: _Worker, reason: str) -> None:
        """Another worker for one that is dead."""
        self._end(worker)
        if self._closing:
            return
        self._replaced += 1
        self._observe(WorkerReplaced(self._name, reason))
        if not worker.relieved:
            await self._refill()

    async def _renew(self, worker: _Worker, reason: str) -> None:
        """Another worker for one that is of no more use."""
        self._end(worker)
        if self._closing:
            return
        self._renewed += 1
        self._observe(WorkerRenewed(self._name, reason))
        if not worker.relieved:
            await self._refill()

    async def _relieve(self, worker: _Worker, reason: str) -> None:
        """Another worker for one that goes on until it is there, and then ends between two jobs."""
        try:
            fresh = await self._start()
        except WorkerDiedError:
            worker.worn = False  # until its next job is done
            return
        self._workers.append(fresh)
        if self._closing:
            return
        if worker not in self._workers:  # it has died meanwhile, and been replaced
            self._end(fresh)
            return
        worker.relieved = True
        self._renewed += 1
        self._observe(WorkerRenewed(self._name, reason))
        if worker in self._idle:
            self._idle.remove(worker)
            self._end(worker)
        self._idle.append(fresh)
        self._dispatch()

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.executor.shutdown(wait=False)

    async def _refill(self) -> None:
        """One worker more, as soon as it can be had."""
        delay = 0.1
        while not self._closing:
            try:
                fresh = await self._start()
            except WorkerDiedError:
                # The machine is out of something that workers need; it may come back.
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
                continue
            self._workers.append(fresh)
            self._idle.append(fresh)
            self._dispatch()
            return

    async def _start(self) -> _Worker:
        executor = ProcessPoolExecutor(
            1, self._context, initializer=_initialise, initargs=(self._setup,)
        )
        try:
            start_fork_server()
            pid, self.in_force = await asyncio.wrap_future(executor.submit(_introduce))
        except (BrokenProcessPool, OSError) as error:
            executor.shutdown(wait=False)
            raise WorkerDiedError(f"No {self._name} process could be started.") from error
        return _Worker(executor, Memory(self._remembers), pid)


def _initialise(setup: Setup) -> None:
    """Prepare a worker process: deaf to Ctrl+C, fenced in, and gone when the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup.function(*setup.arguments)
    if setup.confinement is not None:
        confine(setup.confinement)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _introduce() -> tuple[int, InForce]:
    """The id of this worker process, and the fences that it is behind."""
    return os.getpid(), in_force()


def _work(function: Callable[[Any], Any], argument: Any) -> Any:
    """What a job does, in its worker."""
    begin_job()
    return function(argument)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(0)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
