"""Worker pool: carries out the decisions of the scheduler, on the event loop."""

import asyncio
import signal
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from iiif_server.background import BackgroundTasks
from iiif_server.errors import (
    BusyError,
    ImageTooLargeError,
    WorkerDiedError,
    WorkerFailedError,
)
from iiif_server.telemetry.events import (
    Event,
    JobFailed,
    Observer,
    SandboxIncomplete,
    WorkerNotStarted,
    WorkerRenewed,
    WorkerReplaced,
    WorkRefused,
)
from iiif_server.workers import messages
from iiif_server.workers.actions import (
    Action,
    Death,
    EndWorker,
    FailJob,
    ReportRefused,
    ReportRenewed,
    ReportReplaced,
    Resume,
    ScheduledJob,
    SendJob,
    StartWorker,
    Suspend,
)
from iiif_server.workers.admission import Capacity, Demand, Lane, Verdict, admit
from iiif_server.workers.executor import (
    Exit,
    StaleWorkerError,
    WorkerGoneError,
    WorkerProcess,
    start_call,
)
from iiif_server.workers.lifetime import UNLIMITED, Lifetime
from iiif_server.workers.messages import ERRORS_OF_JOBS, Call
from iiif_server.workers.sandbox.confinement import Confinement, SandboxStatus
from iiif_server.workers.scheduler import Scheduler
from iiif_server.workers.stats import LaneStats, PoolStats, lane_stats, pool_stats

Result = TypeVar("Result")

_TOO_LARGE = (
    "This takes about {needed:,} bytes of memory, and this server allows {limit:,} "
    "(limits.memory); request a smaller size or region, or jpg."
)
_BUSY = "The queue of large images is full ({waiting} are waiting); please try again later."
_EXPECTED_ERRORS = (*ERRORS_OF_JOBS, OSError, MemoryError)
"""Exceptions of jobs that are not logged as failures."""
_DEATHS = {
    -signal.SIGKILL: Death.KILLED,
    -signal.SIGABRT: Death.ABORTED,
    -signal.SIGXCPU: Death.OVERTIME,
}
_SMALL_DEMAND = Demand()
_CLOSE_SECONDS = 5.0
"""Timeout for the end of killed processes when the pool is closed, in seconds."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Set-up of each worker process before its first job."""

    function: Callable[..., Any]
    """Function of a module that returns plain data, which becomes `WorkerPool.report`."""
    arguments: tuple[Any, ...] = ()
    confinement: Confinement | None = None
    """Sandbox of the worker, applied after the function; None: no sandbox."""
    lifetime: Lifetime = UNLIMITED
    """Limits after which a worker is replaced."""


@dataclass(slots=True, eq=False)
class _Job:
    """Part of a job that the scheduler does not use."""

    call: Call
    descriptors: Sequence[int]
    on_begin: Callable[[], object] | None
    result: asyncio.Future[Any]
    context: Context = field(default_factory=copy_context)
    """Context of the caller, so that events have the right request id."""


class WorkerPool:
    """Worker processes that run one job at a time each, preferably on originals they have open."""

    def __init__(
        self,
        name: str,
        size: int,
        setup: Setup,
        observer: Observer,
        *,
        affinity_size: int = 0,
        capacity: Capacity | None = None,
        queue_timeout: float | None = None,
    ) -> None:
        """`queue_timeout` is in seconds; None: jobs wait for a worker without a timeout."""
        self._name = name
        self._start_call = start_call(setup.function, setup.arguments, setup.confinement)
        self._observe = observer
        self._capacity = capacity or Capacity(size)
        self._scheduler = Scheduler(
            size, self._capacity, affinity_size, queue_timeout, setup.lifetime
        )
        self._processes: dict[int, WorkerProcess] = {}
        self._running_processes: set[asyncio.Future[Exit]] = set()
        self._exits: dict[int, Exit] = {}
        self._refused: Counter[Lane] = Counter()
        self._start_tasks = BackgroundTasks()
        self._actions: deque[Action] = deque()
        self._applying = False
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[None] | None = None
        self.sandbox_status = SandboxStatus()
        """Sandbox status of the worker that was started last."""
        self.problems: Sequence[str] = ()
        """Reasons why parts of this sandbox are missing."""
        self.report: Any = None
        """Result of the set-up function of the worker that was started last."""

    def __repr__(self) -> str:
        return f"<WorkerPool {self._name}: {self.stats}>"

    @property
    def stats(self) -> PoolStats:
        """Current statistics of the pool."""
        return pool_stats(self._scheduler)

    @property
    def lanes(self) -> Mapping[Lane, LaneStats]:
        """Current statistics of each lane."""
        return lane_stats(self._scheduler, self._refused)

    @property
    def memory(self) -> int:
        """Maximum estimated memory of all running jobs, in bytes."""
        return self._capacity.bytes

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(self._processes[number].pid for number in self._scheduler.workers)

    async def open(self) -> None:
        """Start the workers; raises WorkerDiedError with the cause if one cannot be started."""
        self._opened = asyncio.get_running_loop().create_future()
        self._apply(self._scheduler.open())
        try:
            await self._opened
        finally:
            self._opened = None

    async def close(self) -> None:
        """Cancel waiting jobs, and kill all workers."""
        for job in self._scheduler.waiting:
            job.payload.result.cancel()
        self._apply(self._scheduler.close())
        for process in list(self._processes.values()):  # workers that are being started
            process.on_end = None
            process.kill()
        if self._timer is not None:
            self._timer.cancel()
        await self._start_tasks.wait()
        if self._running_processes:
            await asyncio.wait(self._running_processes, timeout=_CLOSE_SECONDS)

    async def run(
        self,
        function: Callable[..., Result],
        argument: Any,
        *,
        timeout: float,  # noqa: ASYNC109 - counted from when a worker starts, not from the call
        subject: str | None = None,
        demand: Demand = _SMALL_DEMAND,
        on_begin: Callable[[], object] | None = None,
        descriptors: Sequence[int] = (),
    ) -> Result:
        """Result of `function(argument, *descriptors)` in a worker.

        The function must be one of a module (or a `functools.partial` of one), with declared types,
        and its arguments and result plain data. `descriptors` are open files, which must stay open
        until this returns; the worker gets copies. `on_begin` is called when it starts.

        Raises the error of the function if it is in ERRORS_OF_JOBS or a built-in one, else
        WorkerFailedError; ImageTooLargeError or BusyError at once if the job is refused;
        QueueTimedOutError if it waits too long for a worker; RenderTimedOutError if it then runs
        longer than `timeout` seconds, and its worker is killed; OriginalTooComplexError if it
        exceeds its CPU time, or aborts for lack of memory; WorkerDiedError if its worker dies
        twice, or the pool is closed. Cancelling removes a waiting job from the queue.
        """
        if self._scheduler.closing:
            raise WorkerDiedError("The server is stopping.")
        self._admit(demand)
        call = messages.call(function, argument, descriptors=len(descriptors))
        result = asyncio.get_running_loop().create_future()
        job = ScheduledJob(_Job(call, descriptors, on_begin, result), demand, timeout, subject)
        self._apply(self._scheduler.queue(job, self._now))
        try:
            outcome: Result = await result
        finally:
            if not result.done() or result.cancelled():
                self._apply(self._scheduler.abandon(job, self._now))
        return outcome

    def promote(self, subject: str) -> None:
        """Make the background jobs on a subject foreground work, as a request waits for them."""
        self._apply(self._scheduler.promote(subject, self._now))

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _admit(self, demand: Demand) -> None:
        waiting = [job.demand for job in self._scheduler.waiting]
        verdict = admit(demand, waiting, self._capacity)
        if verdict is Verdict.TOO_LARGE:
            self._refuse(demand.lane, verdict.value)
            text = _TOO_LARGE.format(needed=demand.bytes, limit=self._capacity.bytes)
            raise ImageTooLargeError(text, demand.bytes)
        if verdict is Verdict.BUSY:
            self._refuse(demand.lane, verdict.value)
            raise BusyError(_BUSY.format(waiting=self._capacity.queue))

    def _refuse(self, lane: Lane, reason: str) -> None:
        self._refused[lane] += 1
        self._observe(WorkRefused(self._name, str(lane), reason))

    # --- actions ------------------------------------------------------------------------------

    def _apply(self, actions: Sequence[Action]) -> None:
        """Carry out actions of the scheduler, and those that follow from their events."""
        self._actions.extend(actions)
        if self._applying:
            return
        self._applying = True
        try:
            while self._actions:
                self._carry_out(self._actions.popleft())
        finally:
            self._applying = False
        self._set_timer()

    def _carry_out(self, action: Action) -> None:
        match action:
            case SendJob(number, job):
                self._send(number, job)
            case StartWorker(number, background):
                self._start_tasks.start(
                    self._start(number, background=background), context=Context()
                )
            case Suspend(number):
                self._processes[number].suspend()
            case Resume(number):
                self._processes[number].resume()
            case EndWorker(number):
                process = self._processes.pop(number, None)
                if process is not None:
                    process.on_end = None
                    process.kill()
            case FailJob(job, error):
                if not job.payload.result.done():
                    job.payload.result.set_exception(error)
            case ReportRefused() | ReportRenewed() | ReportReplaced():
                self._report_action(action)

    def _report_action(self, action: ReportRefused | ReportRenewed | ReportReplaced) -> None:
        match action:
            case ReportRefused(job, reason):
                job.payload.context.run(self._refuse, job.demand.lane, reason)
            case ReportRenewed(reason, job):
                self._report(WorkerRenewed(self._name, reason), job)
            case ReportReplaced(number, reason, job):
                exit_ = self._exits.pop(number, Exit(None))
                cause = exit_.text if reason == "died" else "killed: its job took too long"
                self._report(WorkerReplaced(self._name, reason, cause, exit_.output), job)

    def _report(self, event: Event, job: ScheduledJob | None) -> None:
        """Report an event in the context of the caller of the job."""
        if job is None:
            self._observe(event)
        else:
            job.payload.context.run(self._observe, event)

    def _set_timer(self) -> None:
        """Set the timer for the next `tick` of the scheduler; an earlier tick does no harm."""
        if self._scheduler.closing:
            return
        wake_at = self._scheduler.wake_at
        if self._timer is not None:
            if self._timer.when() <= wake_at:
                return
            self._timer.cancel()
            self._timer = None
        if wake_at < float("inf"):
            self._timer = asyncio.get_running_loop().call_at(wake_at, self._tick, context=Context())

    def _tick(self) -> None:
        self._timer = None
        self._apply(self._scheduler.tick(self._now))

    # --- workers ------------------------------------------------------------------------------

    async def _start(self, number: int, *, background: bool) -> None:
        try:
            process = await WorkerProcess.start(background=background)
            self._processes[number] = process
            self._running_processes.add(process.ended)
            process.ended.add_done_callback(self._running_processes.discard)
            if self._scheduler.closing:
                process.kill()
                return
            await process.set_up(self._start_call)
        except WorkerGoneError as error:
            self._start_failed(number, error.exit)
            return
        except Exception as error:  # noqa: BLE001 - no job may wait for ever
            self._start_failed(number, Exit(None, f"could not be started: {error!r}"))
            return
        self.sandbox_status, self.report = process.sandbox_status, process.result
        self.problems = process.problems
        for problem in process.problems:
            self._observe(SandboxIncomplete(self._name, problem))
        process.on_end = lambda exit_: self._worker_died(number, exit_)
        self._apply(self._scheduler.started(number, self._now))
        if self._opened is not None and len(self._scheduler.workers) >= self._scheduler.size:
            self._opened.set_result(None)

    def _start_failed(self, number: int, exit_: Exit) -> None:
        process = self._processes.pop(number, None)
        if process is not None:
            process.kill()
        if self._scheduler.closing:
            return
        self._observe(WorkerNotStarted(self._name, exit_.text, exit_.output))
        if self._opened is not None:
            if not self._opened.done():
                text = f"A {self._name} worker process could not be started: {exit_.text}"
                self._opened.set_exception(WorkerDiedError(text))
            return
        self._apply(self._scheduler.start_failed(number, self._now))

    def _send(self, number: int, job: ScheduledJob) -> None:
        payload: _Job = job.payload
        if payload.on_begin is not None:
            payload.context.run(payload.on_begin)
        future = self._processes[number].send(
            payload.call, payload.descriptors, max_result=job.demand.bytes
        )
        future.add_done_callback(lambda future: self._job_finished(number, job, future))

    def _job_finished(self, number: int, job: ScheduledJob, future: Future[Any]) -> None:
        """Handle the result of a job, unless its worker was ended or the job failed before."""
        worker = self._scheduler.workers.get(number)
        if worker is None or worker.job is not job:
            return
        error = future.exception()
        if isinstance(error, WorkerGoneError):
            if not error.sent:
                self._apply(self._scheduler.died(number, Death.UNSENT, self._now))
            return  # else `_worker_died` is called
        if isinstance(error, StaleWorkerError):
            self._apply(self._scheduler.stale(number, self._now))
            return
        unexpected = error is not None and not isinstance(error, _EXPECTED_ERRORS)
        if unexpected or isinstance(error, WorkerFailedError):
            function, notes = job.payload.call.function, "".join(getattr(error, "__notes__", ()))
            self._report(JobFailed(self._name, function, repr(error), notes), job)
        if not job.payload.result.done():
            if error is not None:
                job.payload.result.set_exception(error)
            else:
                job.payload.result.set_result(future.result())
        memory = self._processes[number].memory
        self._apply(self._scheduler.finished(number, memory, self._now))

    def _worker_died(self, number: int, exit_: Exit) -> None:
        self._exits[number] = exit_
        code = 0 if exit_.reason else exit_.code or 0
        death = _DEATHS.get(code, Death.CRASH)
        self._apply(self._scheduler.died(number, death, self._now))
        self._exits.pop(number, None)
