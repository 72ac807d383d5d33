"""Admission control: which jobs may begin, which wait, and which are refused. Pure.

There are four lanes. *Tile*: tiles and small images; at least one worker is reserved for them.
*Build*: parts of pyramids, for which the first tiles of an image wait. *Full*: full-size images
and other expensive work. The number of running and waiting full jobs is limited, and so is the
memory of all running jobs. These three lanes are foreground work. *Background*: parts of pyramids
that no request waits for yet. They run in workers of their own, and only while foreground work
leaves CPUs and memory free.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

TILE_PIXELS = 4_000_000
"""Maximum pixels of an image in the tile lane."""
TILE_BYTES = 200_000_000
"""Maximum estimated memory of a job in the tile lane, whose jobs begin without a memory check."""
TILE_EFFORT = 250_000_000
"""Maximum effort of a job in the tile lane, in JPEG pixels to decode: about a second."""

_CPUS_PER_JOB = 2
"""CPUs that one job keeps busy: builds decode and encode at the same time."""
MAX_PASSED = 64
"""Maximum jobs of lower lanes that begin before a waiting job: the tiles of about a second."""


class Lane(IntEnum):
    """Class of work; waiting jobs of a lower lane begin first."""

    TILE = 1
    BUILD = 2
    FULL = 3
    BACKGROUND = 4

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Demand:
    """Resources that a job needs."""

    lane: Lane = Lane.TILE
    bytes: int = 0
    """Estimated peak memory in bytes."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Resources for all jobs of a pool."""

    workers: int
    bytes: int = sys.maxsize
    """Maximum estimated memory of all running jobs, in bytes."""
    queue: int = sys.maxsize
    """Maximum waiting jobs in each lane except the tile lane."""
    cpus: int = 1
    """CPUs that jobs may keep busy."""

    @property
    def full(self) -> int:
        """Maximum workers of the full lane."""
        return max(1, self.workers // 2)

    @property
    def heavy(self) -> int:
        """Maximum workers of the full and build lanes together."""
        return max(1, self.workers - 1)

    @property
    def background(self) -> int:
        """Maximum background workers, besides the others; they are started when needed."""
        return max(1, self.workers // 2)

    def background_beside(self, foreground: int) -> int:
        """Maximum background jobs that do not slow down this number of foreground jobs."""
        if not foreground:
            return self.background
        return min(self.background, max(0, self.cpus // _CPUS_PER_JOB - foreground))


class Verdict(Enum):
    """Decision about a new job."""

    ADMITTED = "taken"
    """The job runs now or waits."""
    BUSY = "busy"
    """Too many jobs wait already."""
    TOO_LARGE = "never"
    """The job needs more memory than all jobs together may use."""


def lane_of(pixels: int, bytes_: int, effort: int) -> Lane:
    """Lane of a job, by the pixels of its result and its estimated memory and effort."""
    small = pixels <= TILE_PIXELS and bytes_ <= TILE_BYTES and effort <= TILE_EFFORT
    return Lane.TILE if small else Lane.FULL


def admit(demand: Demand, waiting: Sequence[Demand], capacity: Capacity) -> Verdict:
    """Decision about a new job, from the waiting jobs."""
    if demand.lane is Lane.TILE:
        return Verdict.ADMITTED
    if demand.bytes > capacity.bytes:
        return Verdict.TOO_LARGE
    before = sum(other.lane is demand.lane for other in waiting)
    return Verdict.ADMITTED if before < capacity.queue else Verdict.BUSY


def may_begin(demand: Demand, running: Sequence[Demand], capacity: Capacity) -> bool:
    """Whether a job may begin while these jobs are running.

    Running background jobs do not delay a foreground job: they are suspended or aborted.
    """
    if demand.lane is Lane.TILE:
        return True
    foreground = [other for other in running if other.lane is not Lane.BACKGROUND]
    if demand.lane is Lane.BACKGROUND:
        return len(running) - len(foreground) < capacity.background_beside(
            len(foreground)
        ) and fits(demand, running, capacity)
    running = foreground
    full = sum(other.lane is Lane.FULL for other in running)
    heavy = sum(other.lane is not Lane.TILE for other in running)
    return (
        heavy < capacity.heavy
        and not (demand.lane is Lane.FULL and full >= capacity.full)
        and fits(demand, running, capacity)
    )


def fits(demand: Demand, running: Sequence[Demand], capacity: Capacity) -> bool:
    """Whether the memory suffices for a job besides the running ones."""
    return sum(other.bytes for other in running) + demand.bytes <= capacity.bytes


def next_jobs(
    waiting: Sequence[Demand],
    running: Sequence[Demand],
    capacity: Capacity,
    passed: Sequence[int] = (),
) -> tuple[int, ...]:
    """Indices of the jobs of which one begins next, in the order of arrival.

    They are in the lowest lane whose oldest job may begin: so the smaller jobs of a lane do not
    overtake a large one for ever. `passed` is the number of jobs of lower lanes that have begun
    while each job waited. The oldest job of a lane that was passed MAX_PASSED times is next as
    soon as it may begin: so lower lanes do not block a lane for ever, either.
    """
    oldest: dict[Lane, int] = {}
    for index, demand in enumerate(waiting):
        oldest.setdefault(demand.lane, index)
    for index in oldest.values():
        often = index < len(passed) and passed[index] >= MAX_PASSED
        if often and may_begin(waiting[index], running, capacity):
            return (index,)
    for lane in Lane:
        indices = [index for index, demand in enumerate(waiting) if demand.lane is lane]
        if indices and may_begin(waiting[indices[0]], running, capacity):
            return tuple(index for index in indices if may_begin(waiting[index], running, capacity))
    return ()
