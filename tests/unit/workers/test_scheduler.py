"""Scheduler: jobs, deaths of workers and timeouts, without processes."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from iiif_server.errors import (
    OriginalTooComplexError,
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
    StartWorker,
    Suspend,
)
from iiif_server.workers.admission import MAX_PASSED, Capacity, Demand, Lane
from iiif_server.workers.lifetime import Lifetime
from iiif_server.workers.scheduler import BACKGROUND_IDLE, Scheduler

TILE, BUILD, FULL = Demand(Lane.TILE), Demand(Lane.BUILD), Demand(Lane.FULL)
BACKGROUND = Demand(Lane.BACKGROUND)


@dataclass
class Simulated:
    """A scheduler whose workers start when they are told to, and do nothing else."""

    scheduler: Scheduler
    now: float = 0.0
    starting: list[int] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    """Actions that have not been looked at."""

    def note(self, actions: Any) -> None:
        for action in actions:
            if isinstance(action, StartWorker):
                self.starting.append(action.worker)
            self.done.append(action)

    def start_all(self) -> None:
        while self.starting:
            self.note(self.scheduler.started(self.starting.pop(0), self.now))

    def queue(self, name: str, demand: Demand = TILE, **facts: Any) -> ScheduledJob:
        job = ScheduledJob(name, demand, facts.pop("timeout", 10.0), **facts)
        self.note(self.scheduler.queue(job, self.now))
        return job

    def finish(self, job: ScheduledJob, memory: int = 0) -> None:
        self.note(self.scheduler.finished(self.worker_of(job), memory, self.now))

    def die(self, job: ScheduledJob, death: Death = Death.CRASH) -> None:
        self.note(self.scheduler.died(self.worker_of(job), death, self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.note(self.scheduler.tick(self.now))

    def worker_of(self, job: ScheduledJob) -> int:
        return next(
            number for number, worker in self.scheduler.workers.items() if worker.job is job
        )

    def emitted(self, kind: type[Any]) -> list[Any]:
        """The actions of a kind since they were last asked for."""
        found = [action for action in self.done if isinstance(action, kind)]
        self.done = [action for action in self.done if not isinstance(action, kind)]
        return found

    @property
    def running(self) -> list[str]:
        return [job.payload for job in self.scheduler.running]

    @property
    def waiting(self) -> list[str]:
        return [job.payload for job in self.scheduler.waiting]


def opened(size: int, **options: Any) -> Simulated:
    """A pool whose workers are ready."""
    capacity = options.pop("capacity", Capacity(size))
    pool = Simulated(Scheduler(size, capacity, **options))
    pool.note(pool.scheduler.open())
    pool.start_all()
    pool.done.clear()
    return pool


def test_one_process_is_started_for_each_worker_and_no_more() -> None:
    pool = Simulated(Scheduler(3, Capacity(3)))
    pool.note(pool.scheduler.open())
    assert len(pool.starting) == 3
    pool.start_all()
    assert len(pool.scheduler.workers) == 3
    assert len(pool.emitted(StartWorker)) == 3
    assert pool.done == []


def test_jobs_that_come_before_a_worker_is_ready_are_not_lost() -> None:
    pool = Simulated(Scheduler(1, Capacity(1)))
    pool.note(pool.scheduler.open())
    pool.queue("early")
    assert pool.running == []
    pool.start_all()
    assert pool.running == ["early"]


# --- deaths ---------------------------------------------------------------------------------


def test_the_job_of_a_dead_worker_goes_to_an_idle_one_at_once() -> None:
    pool = opened(2)
    job = pool.queue("a")
    first = pool.worker_of(job)
    pool.die(job)
    assert pool.running == ["a"]
    assert pool.worker_of(job) != first
    assert len(pool.starting) == 1


def test_a_worker_that_dies_after_its_successor_has_started_hands_its_job_on() -> None:
    """Fault 6: the job went on waiting though the successor was idle."""
    pool = opened(1, lifetime=Lifetime(max_jobs=1))
    pool.finish(pool.queue("first"))
    last = pool.queue("last")  # the old worker's, before the new one is ready
    old = pool.worker_of(last)
    pool.start_all()
    assert pool.scheduler.workers[old].superseded
    assert len(pool.scheduler.idle) == 1
    pool.die(last)
    assert pool.running == ["last"]
    assert pool.worker_of(last) != old
    assert pool.starting == []  # the successor is there already


def test_a_worker_that_dies_while_its_successor_starts_is_followed_by_one() -> None:
    pool = opened(1, lifetime=Lifetime(max_jobs=1))
    pool.finish(pool.queue("first"))
    assert len(pool.starting) == 1
    job = pool.queue("last")
    pool.die(job)
    assert len(pool.starting) == 1
    pool.start_all()
    assert (len(pool.scheduler.workers), pool.running) == (1, ["last"])
    assert (pool.scheduler.replaced, pool.scheduler.renewed) == (1, 0)


def test_a_job_whose_workers_crash_is_tried_twice() -> None:
    pool = opened(3)
    job = pool.queue("bad")
    pool.die(job)
    pool.die(job)
    (failed,) = pool.emitted(FailJob)
    assert failed.job is job
    assert isinstance(failed.error, WorkerDiedError)
    assert (pool.running, pool.waiting, job.attempts) == ([], [], 2)
    assert [action.reason for action in pool.emitted(ReportReplaced)] == ["died", "died"]


def test_a_job_that_uses_up_its_processor_time_is_not_tried_again() -> None:
    pool = opened(3)
    job = pool.queue("endless")
    pool.die(job, Death.OVERTIME)
    (failed,) = pool.emitted(FailJob)
    assert isinstance(failed.error, OriginalTooComplexError)
    assert (pool.running, pool.waiting, job.attempts) == ([], [], 1)


def test_a_job_over_which_a_library_gives_up_twice_is_too_complex() -> None:
    """Once may be for what an earlier job has left behind."""
    pool = opened(3)
    job = pool.queue("greedy")
    pool.die(job, Death.ABORTED)
    assert (pool.running, pool.emitted(FailJob)) == (["greedy"], [])
    pool.die(job, Death.ABORTED)
    (failed,) = pool.emitted(FailJob)
    assert isinstance(failed.error, OriginalTooComplexError)


@pytest.mark.parametrize("deaths", [1, 5])
def test_a_job_that_no_worker_has_got_has_not_been_tried(deaths: int) -> None:
    pool = opened(6)
    job = pool.queue("good")
    for _ in range(deaths):
        pool.die(job, Death.UNSENT)
    assert (pool.running, job.attempts) == (["good"], 1)
    assert pool.emitted(FailJob) == []


def test_a_worker_killed_by_others_has_its_job_tried_beside_no_expensive_one() -> None:
    """Fault 13: the kernel kills when memory is out, and who takes it may be the neighbour."""
    pool = opened(4)
    neighbour, victim = pool.queue("neighbour", FULL), pool.queue("victim", BUILD)
    pool.die(victim, Death.KILLED)
    pool.start_all()
    assert (pool.running, pool.waiting) == (["neighbour"], ["victim"])
    tile = pool.queue("tile")
    pool.queue("later", FULL)
    assert sorted(pool.running) == ["neighbour", "tile"]
    pool.finish(neighbour)
    assert sorted(pool.running) == ["tile", "victim"]
    pool.finish(tile)
    assert (pool.running, pool.waiting) == (["victim"], ["later"])
    pool.finish(victim)
    assert pool.running == ["later"]
    assert pool.emitted(FailJob) == []


def test_a_job_over_which_workers_are_killed_even_alone_fails() -> None:
    pool = opened(2)
    job = pool.queue("greedy", FULL)
    pool.die(job, Death.KILLED)
    assert pool.emitted(FailJob) == []
    pool.die(job, Death.KILLED)
    (failed,) = pool.emitted(FailJob)
    assert isinstance(failed.error, WorkerDiedError)


def test_jobs_killed_together_are_tried_one_after_the_other() -> None:
    pool = opened(6)
    victims = [pool.queue(name, BUILD) for name in "abc"]
    for victim in victims:
        pool.die(victim, Death.KILLED)
    pool.start_all()
    order = []
    while pool.running:
        (name,) = pool.running
        order.append(name)
        pool.finish(next(victim for victim in victims if victim.payload == name))
    assert sorted(order) == ["a", "b", "c"]
    assert pool.emitted(FailJob) == []


def test_a_job_that_was_given_up_is_not_tried_again() -> None:
    pool = opened(2)
    job = pool.queue("a")
    pool.note(pool.scheduler.abandon(job, pool.now))
    pool.die(job)
    assert (pool.running, pool.waiting) == ([], [])


def test_news_of_a_worker_that_was_ended_are_nobodys_concern() -> None:
    pool = opened(1)
    job = pool.queue("slow", timeout=1.0)
    number = pool.worker_of(job)
    pool.wait(1.0)
    pool.start_all()
    pool.done.clear()
    pool.note(pool.scheduler.died(number, Death.CRASH, pool.now))
    assert pool.done == []
    assert pool.scheduler.replaced == 1


# --- starting -------------------------------------------------------------------------------


def test_a_worker_that_cannot_be_started_is_tried_again_later_and_later() -> None:
    pool = opened(1)
    pool.die(pool.queue("a"))
    waits = []
    for _ in range(8):
        pool.note(pool.scheduler.start_failed(pool.starting.pop(), pool.now))
        assert pool.starting == []
        due = pool.scheduler.wake_at
        waits.append(round(due - pool.now, 3))
        pool.wait((due - pool.now) / 2)
        assert pool.starting == []
        pool.now = due
        pool.wait(0)
        assert len(pool.starting) == 1
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    pool.start_all()
    assert pool.running == ["a"]
    assert pool.scheduler.wake_at == pool.now + 10.0  # the deadline of the job


# --- time -----------------------------------------------------------------------------------


def test_a_job_that_takes_too_long_has_its_worker_ended_and_no_other() -> None:
    pool = opened(2)
    slow, other = pool.queue("slow", timeout=2.0), pool.queue("other", timeout=3.0)
    number = pool.worker_of(slow)
    assert pool.scheduler.wake_at == 2.0
    pool.wait(1.9)
    assert pool.emitted(FailJob) == []
    pool.wait(0.1)
    (failed,) = pool.emitted(FailJob)
    assert (failed.job, type(failed.error)) == (slow, RenderTimedOutError)
    assert "2 seconds" in str(failed.error)
    assert pool.emitted(EndWorker) == [EndWorker(number)]
    assert [action.reason for action in pool.emitted(ReportReplaced)] == ["deadline"]
    assert pool.running == [other.payload]
    assert len(pool.starting) == 1


def test_waiting_counts_for_the_queue_and_running_for_the_deadline() -> None:
    pool = opened(1, queue_timeout=5.0)
    first = pool.queue("first", timeout=100.0)
    late = pool.queue("late", timeout=1.0)
    pool.wait(4.9)
    pool.finish(first)
    assert pool.running == ["late"]
    assert pool.scheduler.wake_at == pytest.approx(5.9)
    pool.wait(0.9)
    pool.finish(late)
    assert pool.emitted(FailJob) == []
    assert pool.scheduler.wake_at == math.inf


def test_a_job_that_waits_too_long_fails() -> None:
    pool = opened(1, queue_timeout=5.0)
    pool.queue("first", timeout=100.0)
    late = pool.queue("late")
    pool.wait(5.0)
    (failed,) = pool.emitted(FailJob)
    assert (failed.job, type(failed.error)) == (late, QueueTimedOutError)
    assert pool.emitted(ReportRefused) == [ReportRefused(late, "deadline")]
    assert pool.waiting == []


# --- lanes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "demand"), [(1, FULL), (2, FULL), (4, FULL), (2, BUILD)])
def test_expensive_work_begins_under_a_stream_of_regions_that_never_ends(
    workers: int, demand: Demand
) -> None:
    """Fault 13: it waited until its time was up."""
    pool = opened(workers)
    regions = [pool.queue(f"region {number}") for number in range(3 * workers)]
    pool.queue("large", demand)
    finished = 0
    while "large" not in pool.running:
        finished += 1
        assert finished < MAX_PASSED + 4 * workers
        job = next(region for region in regions if region.payload in pool.running)
        pool.queue(f"more {finished}")
        regions.append(pool.scheduler.waiting[-1])
        pool.finish(job)
    assert finished >= MAX_PASSED - 4 * workers


def test_a_few_regions_overtake_expensive_work() -> None:
    pool = opened(1)
    first = pool.queue("first")
    pool.queue("large", FULL)
    tiles = [pool.queue(f"tile {number}") for number in range(MAX_PASSED - 1)]
    for job in (first, *tiles):
        assert pool.running == [job.payload]
        pool.finish(job)
    assert pool.running == ["large"]


# --- renewal --------------------------------------------------------------------------------


def test_a_worker_that_has_served_its_time_works_until_its_successor_is_ready() -> None:
    pool = opened(1, lifetime=Lifetime(max_jobs=2))
    pool.finish(pool.queue("1"))
    assert pool.starting == []
    pool.finish(pool.queue("2"))
    assert len(pool.starting) == 1
    third = pool.queue("3")
    assert pool.running == ["3"]
    old = pool.worker_of(third)
    pool.start_all()
    assert [action.reason for action in pool.emitted(ReportRenewed)] == ["jobs"]
    assert pool.emitted(EndWorker) == []
    pool.finish(third)
    assert pool.emitted(EndWorker) == [EndWorker(old)]
    assert len(pool.scheduler.workers) == 1


def test_a_worker_that_holds_on_to_memory_is_renewed() -> None:
    pool = opened(2, lifetime=Lifetime(max_memory=100))
    pool.finish(pool.queue("small"), memory=100)
    assert pool.starting == []
    pool.finish(pool.queue("large"), memory=101)
    assert len(pool.starting) == 1
    pool.start_all()
    assert [action.reason for action in pool.emitted(ReportRenewed)] == ["memory"]
    assert len(pool.scheduler.workers) == 2


def test_a_job_whose_worker_cannot_open_its_folder_begins_with_the_next_one() -> None:
    pool = opened(1)
    job = pool.queue("a")
    pool.note(pool.scheduler.stale(pool.worker_of(job), pool.now))
    pool.start_all()
    assert (pool.running, job.attempts) == (["a"], 1)
    assert (pool.scheduler.renewed, pool.scheduler.replaced) == (1, 0)
    assert [action.reason for action in pool.emitted(ReportRenewed)] == ["folders"]


# --- the end --------------------------------------------------------------------------------


def test_closing_ends_workers_and_fails_what_runs() -> None:
    pool = opened(2)
    running = pool.queue("running")
    pool.note(pool.scheduler.close())
    (failed,) = pool.emitted(FailJob)
    assert (failed.job, type(failed.error)) == (running, WorkerDiedError)
    assert len(pool.emitted(EndWorker)) == 2
    assert pool.emitted(StartWorker) == pool.emitted(ReportReplaced) == []


def test_a_worker_that_was_started_for_a_pool_that_is_closed_is_ended() -> None:
    pool = Simulated(Scheduler(1, Capacity(1)))
    pool.note(pool.scheduler.open())
    pool.note(pool.scheduler.close())
    pool.start_all()
    assert len(pool.emitted(EndWorker)) == 1
    assert not pool.scheduler.workers


# --- background jobs ------------------------------------------------------------------------


def building(size: int = 2, **options: Any) -> tuple[Simulated, ScheduledJob]:
    """A pool that does one background job, whose worker was started for it."""
    pool = opened(size, **options)
    job = pool.queue("ahead", BACKGROUND, subject="image", timeout=100.0)
    pool.start_all()
    pool.done.clear()
    return pool, job


def test_background_jobs_run_in_workers_of_their_own_that_are_started_when_needed() -> None:
    pool = opened(2)
    job = pool.queue("ahead", BACKGROUND)
    assert (pool.running, pool.waiting) == ([], ["ahead"])
    assert pool.emitted(StartWorker) == [StartWorker(3, background=True)]
    pool.start_all()
    assert pool.worker_of(job) == 3
    for name in ("one", "two", "three"):
        pool.queue(name)
    assert (sorted(pool.running), pool.waiting) == (["ahead", "one", "two"], ["three"])


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4)])
def test_background_workers_are_half_as_many_and_no_more_than_jobs(size: int, workers: int) -> None:
    pool = opened(size)
    pool.queue("first", BACKGROUND)
    assert pool.emitted(StartWorker) == [StartWorker(size + 1, background=True)]
    for name in "abcdefgh":
        pool.queue(name, BACKGROUND)
    pool.start_all()
    assert len(pool.running) == workers
    assert len(pool.scheduler.workers) == size + workers


@pytest.mark.parametrize("demand", [TILE, BUILD, FULL])
def test_a_background_job_is_suspended_while_foreground_jobs_run(demand: Demand) -> None:
    pool, job = building()
    first, second = pool.queue("first", demand), pool.queue("second", TILE)
    assert pool.emitted(Suspend) == [Suspend(pool.worker_of(job))]
    pool.finish(first)
    assert pool.emitted(Resume) == []
    pool.finish(second)
    assert pool.emitted(Resume) == [Resume(pool.worker_of(job))]
    assert pool.emitted(Suspend) == []


def test_a_background_job_does_not_begin_while_foreground_jobs_run() -> None:
    pool = opened(2)
    tile = pool.queue("tile")
    pool.queue("ahead", BACKGROUND)
    pool.start_all()
    assert (pool.running, pool.waiting) == (["tile"], ["ahead"])
    pool.finish(tile)
    assert pool.running == ["ahead"]
    assert pool.emitted(Suspend) == []


def test_only_as_many_background_jobs_are_suspended_as_there_are_cpus_too_few() -> None:
    pool = opened(8, capacity=Capacity(8, cpus=8))  # two CPUs a job: four of them
    ahead = [pool.queue(name, BACKGROUND) for name in ("a", "b", "c", "d")]
    pool.start_all()
    assert len(pool.running) == 4
    numbers = [pool.worker_of(job) for job in ahead]
    one = pool.queue("one")
    assert pool.emitted(Suspend) == [Suspend(numbers[3])]
    two = pool.queue("two")
    assert pool.emitted(Suspend) == [Suspend(numbers[2])]
    pool.finish(ahead[0])  # makes way for another one
    assert pool.emitted(Resume) == [Resume(numbers[2])]
    pool.finish(one)
    assert pool.emitted(Resume) == [Resume(numbers[3])]
    pool.finish(two)
    assert pool.emitted(Resume) == pool.emitted(Suspend) == []


def test_suspended_time_does_not_count_for_the_deadline() -> None:
    pool, job = building()
    pool.wait(60.0)
    tile = pool.queue("tile", timeout=1000.0)
    pool.wait(MAX_SUSPENDED - 1)
    pool.finish(tile)
    pool.wait(39.9)
    assert "ahead" in pool.running
    assert pool.emitted(FailJob) == []
    pool.wait(0.2)
    (failed,) = pool.emitted(FailJob)
    assert failed.job is job
    assert isinstance(failed.error, RenderTimedOutError)


def test_a_deadline_that_passes_while_a_job_is_suspended_ends_nothing() -> None:
    pool, job = building()
    pool.wait(99.0)
    tile = pool.queue("tile", timeout=1000.0)
    pool.wait(10.0)
    assert sorted(pool.running) == ["ahead", "tile"]
    assert pool.scheduler.wake_at > pool.now
    pool.finish(tile)
    pool.finish(job)
    assert pool.emitted(FailJob) == pool.emitted(ReportReplaced) == []


def test_a_job_is_suspended_for_so_long_only() -> None:
    """Nobody may wait for it here, but other server processes may."""
    pool, job = building()
    pool.queue("long", FULL, timeout=1000.0)
    pool.wait(MAX_SUSPENDED - 0.5)
    assert pool.emitted(Resume) == []
    assert pool.scheduler.wake_at == MAX_SUSPENDED
    pool.wait(0.5)
    assert pool.emitted(Resume) == [Resume(pool.worker_of(job))]
    pool.done.clear()
    pool.queue("more")
    assert pool.emitted(Suspend) == []


def test_somebody_who_waits_for_a_background_job_has_it_resumed_for_good() -> None:
    pool, job = building()
    number = pool.worker_of(job)
    pool.queue("tile")
    pool.note(pool.scheduler.promote("another image", pool.now))
    assert pool.emitted(Resume) == []
    pool.note(pool.scheduler.promote("image", pool.now))
    assert pool.emitted(Resume) == [Resume(number)]
    pool.done.clear()
    pool.queue("more")
    assert pool.emitted(Suspend) == []


def test_somebody_who_waits_for_a_background_job_that_waits_has_it_done_by_any_worker() -> None:
    pool = opened(2, queue_timeout=10.0)
    tile = pool.queue("tile")
    job = pool.queue("ahead", BACKGROUND, subject="image")
    pool.now = 9.0
    pool.note(pool.scheduler.promote("image", pool.now))
    assert pool.running == ["tile", "ahead"]
    assert pool.worker_of(job) <= 2
    assert job.expires == 19.0
    pool.finish(tile)
    pool.finish(job)
    assert pool.running == []


def test_a_background_job_is_aborted_for_the_memory_that_an_expensive_job_needs() -> None:
    pool = opened(2, capacity=Capacity(2, bytes=100))
    job = pool.queue("ahead", Demand(Lane.BACKGROUND, 60))
    pool.start_all()
    number = pool.worker_of(job)
    pool.done.clear()
    small = pool.queue("small", Demand(Lane.FULL, 40))
    assert pool.emitted(EndWorker) == []
    pool.finish(small)
    large = pool.queue("large", Demand(Lane.FULL, 41))
    assert pool.emitted(EndWorker) == [EndWorker(number)]
    assert pool.emitted(ReportRenewed) == [ReportRenewed("aborted", job)]
    pool.start_all()
    assert (pool.running, pool.waiting, job.attempts) == (["large"], ["ahead"], 0)
    pool.finish(large)
    assert pool.running == ["ahead"]
    assert pool.emitted(FailJob) == pool.emitted(ReportReplaced) == []
    assert job.attempts == 1


def test_a_job_that_wants_to_be_alone_does_not_wait_for_background_jobs() -> None:
    pool, job = building(3)
    victim = pool.queue("victim", FULL)
    pool.die(victim, Death.KILLED)
    assert (pool.running, pool.waiting) == (["victim"], ["ahead"])
    assert pool.emitted(ReportRenewed) == [ReportRenewed("aborted", job)]


def test_no_foreground_job_waits_for_a_background_job_that_wants_to_be_alone() -> None:
    pool, job = building(3)
    tile = pool.queue("tile")
    pool.die(job, Death.KILLED)
    pool.queue("full", FULL)
    assert (sorted(pool.running), pool.waiting) == (["full", "tile"], ["ahead"])
    pool.finish(tile)
    assert pool.running == ["full"]


def test_a_result_that_arrives_after_its_worker_was_suspended_counts() -> None:
    pool, job = building()
    number = pool.worker_of(job)
    pool.queue("tile")
    pool.done.clear()
    pool.finish(job)
    assert pool.emitted(Resume) == [Resume(number)]  # to take its next job
    assert pool.running == ["tile"]
    assert number in pool.scheduler.workers


def test_a_suspended_worker_that_dies_has_its_job_done_by_the_next() -> None:
    pool, job = building()
    tile = pool.queue("tile")
    pool.die(job)
    pool.start_all()
    assert (pool.running, pool.waiting) == (["tile"], ["ahead"])
    pool.finish(tile)
    assert (pool.running, job.attempts) == (["ahead"], 2)


def test_an_idle_background_worker_ends_after_a_while_and_is_started_anew() -> None:
    pool, job = building()
    number = pool.worker_of(job)
    pool.finish(job)
    pool.wait(BACKGROUND_IDLE / 2)
    pool.finish(pool.queue("next", BACKGROUND))
    assert pool.scheduler.wake_at == BACKGROUND_IDLE * 1.5
    pool.wait(BACKGROUND_IDLE - 0.5)
    assert number in pool.scheduler.workers
    pool.wait(0.5)
    assert pool.emitted(EndWorker) == [EndWorker(number)]
    assert (pool.emitted(ReportReplaced), pool.scheduler.replaced) == ([], 0)
    pool.queue("another", BACKGROUND)
    assert pool.emitted(StartWorker) == [StartWorker(number + 1, background=True)]


def test_a_background_worker_whose_lifetime_is_over_ends_at_once() -> None:
    pool, job = building(lifetime=Lifetime(max_jobs=1))
    number = pool.worker_of(job)
    pool.finish(job)
    assert pool.emitted(EndWorker) == [EndWorker(number)]
    assert pool.emitted(ReportRenewed) == [ReportRenewed("jobs", None)]
    assert pool.emitted(StartWorker) == []
    assert len(pool.scheduler.workers) == 2


def test_a_background_worker_is_no_successor_of_another() -> None:
    pool = opened(1, lifetime=Lifetime(max_jobs=1))
    pool.finish(pool.queue("first"))  # its successor is starting
    pool.queue("ahead", BACKGROUND)
    successor, background = pool.starting
    pool.note(pool.scheduler.started(background, pool.now))
    assert not any(worker.superseded for worker in pool.scheduler.workers.values())
    pool.note(pool.scheduler.started(successor, pool.now))
    assert pool.emitted(EndWorker) == [EndWorker(1)]
    assert set(pool.scheduler.workers) == {successor, background}


def test_closing_ends_suspended_workers_and_fails_their_jobs() -> None:
    pool, job = building()
    number = pool.worker_of(job)
    pool.queue("tile")
    pool.done.clear()
    pool.note(pool.scheduler.close())
    assert EndWorker(number) in pool.emitted(EndWorker)
    assert job in [failed.job for failed in pool.emitted(FailJob)]
