"""Counts of a pool."""

from collections.abc import Mapping
from dataclasses import dataclass

from iiif_server.workers.admission import Lane
from iiif_server.workers.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool is doing, and has done since it was opened."""

    workers: int
    """Those for foreground work; `busy` counts the same ones."""
    busy: int
    waiting: int
    done: int
    replaced: int
    """Workers that died or were killed."""
    renewed: int
    """Workers that ended as planned."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """What a lane of a pool is doing, and how often it has refused since the pool was opened."""

    running: int
    waiting: int
    refused: int
    bytes: int
    """Memory that what is running takes at its peak, as estimated."""


def pool_stats(scheduler: Scheduler) -> PoolStats:
    """The counts of a pool as they are now."""
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
    """What each lane of a pool is doing now; `refused` counts jobs that were not taken."""
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
