"""A pool of single-process executors: affinity, a deadline a job, crashes that stay small.

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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from iiif_server.errors import RenderTimedOutError, WorkerDiedError
from iiif_server.telemetry.events import Observer, WorkerRenewed, WorkerReplaced
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
    timeout: float
    result: asyncio.Future[Any]
    overtaken: int = 0
    tries: int = 0


class WorkerPool:
    """Processes that run one job each at a time; which one is chosen by what it has open."""

    def __init__(
        self, name: str, size: int, setup: Setup, observer: Observer, *, remembers: int = 0
    ) -> None:
        self._name = name
        self._size = size
        self._setup = setup
        self._observe = observer
        self._remembers = remembers
        self._context = WorkerContext()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._waiting: list[_Job] = []
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
    ) -> Result:
        """The result of `function(argument)` in a worker, which both must be picklable for.

        Raises what the function raises; RenderTimedOutError if it runs longer than `timeout`
        seconds, after killing its worker; WorkerDiedError if the worker dies, twice, or the pool is
        closed. A caller who gives up before the job has started takes it out of the queue.
        """
        if self._closing:
            raise WorkerDiedError("The server is stopping.")
        job = _Job(function, argument, subject, timeout, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._dispatch()
        try:
            result: Result = await job.result
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(job)
        return result

    def _dispatch(self) -> None:
        while self._idle and self._waiting and not self._closing:
            job_index, worker_index = choose(
                [Waiting(job.subject, job.overtaken) for job in self._waiting],
                [worker.memory for worker in self._idle],
            )
            for passed in self._waiting[:job_index]:
                passed.overtaken += 1
            job, worker = self._waiting.pop(job_index), self._idle.pop(worker_index)
            if job.subject is not None:
                worker.memory.remember(job.subject)
            task = asyncio.create_task(self._execute(job, worker))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _execute(self, job: _Job, worker: _Worker) -> None:
        try:
            # A worker that died while it was idle shows here, before the job is tried.
            future = asyncio.wrap_future(worker.executor.submit(_work, job.function, job.argument))
            job.tries += 1
            # Not `wait_for`: a job's own TimeoutError is not its deadline.
            if not (await asyncio.wait([future], timeout=job.timeout))[0]:
                _kill(worker.pid)
                future.cancel()
                self._settle(job, RenderTimedOutError(_TOO_LONG.format(seconds=job.timeout)))
                await self._replace(worker, "deadline")
                return
            outcome = future.result()
        except StaleError:
            job.tries -= 1  # it has not begun
            self._waiting.insert(0, job)
            await self._renew(worker, "folders")
            return
        except BrokenProcessPool:
            # A job that was given up has nobody to be tried again for.
            if job.tries < _TRIES and not self._closing and not job.result.done():
                self._waiting.insert(0, job)
            else:
                self._settle(job, WorkerDiedError("The image could not be made."))
            await self._replace(worker, "died")
            return
        except Exception as error:  # noqa: BLE001 - whatever the job raised belongs to its caller
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
