"""Statistics of a worker pool."""

from collections.abc import Mapping
from dataclasses import dataclass

from iiif_server.workers.admission import Lane
from iiif_server.workers.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Statistics of a pool: current state, and counts since it was opened."""

    workers: int
    """Number of workers for foreground work, of which `busy` have a job."""
    busy: int
    waiting: int
    done: int
    replaced: int
    """Number of workers that died or were killed."""
    renewed: int
    """Number of workers that ended as planned."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """Statistics of a lane: current jobs, and refused jobs since the pool was opened."""

    running: int
    waiting: int
    refused: int
    bytes: int
    """Estimated peak memory of the running jobs, in bytes."""


def pool_stats(scheduler: Scheduler) -> PoolStats:
    """Current statistics of a pool."""
    foreground = [worker for worker in scheduler.workers.values() if not worker.background]
    return PoolStats(
        workers=len(foreground),
        busy=sum(worker.job is not None for worker in foreground),
        waiting=len(scheduler.waiting),
        done=scheduler.done,
        replaced=scheduler.replaced,
        renewed=scheduler.renewed,
    )


def lane_stats(scheduler: Scheduler, refused: Mapping[Lane, int]) -> Mapping[Lane, LaneStats]:
    """Current statistics of each lane; `refused` is the number of refused jobs by lane."""
    running = [job.demand for job in scheduler.running]
    waiting = [job.demand.lane for job in scheduler.waiting]
    return {
        lane: LaneStats(
            running=sum(demand.lane is lane for demand in running),
            waiting=waiting.count(lane),
            refused=refused.get(lane, 0),
            bytes=sum(demand.bytes for demand in running if demand.lane is lane),
        )
        for lane in Lane
    }
