"""Admission control: which jobs may begin, which wait, and which are refused. Pure.

Work goes in four lanes. *Tile*: tiles and small images, whatever they are cut from; one worker at
least is never given to anything else. *Build*: the parts of pyramids, which the tiles of somebody
who has just opened an image wait for. *Full*: full-size images and what is as expensive; it is
capped by number and by the bytes that all work under way takes, and what waits of it is bounded.
These three are foreground work. *Background*: parts of pyramids that nobody waits for yet. They run
in workers of their own, and only as far as foreground work leaves CPUs and memory.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

TILE_PIXELS = 4_000_000
"""The largest image made in the tile lane."""
TILE_BYTES = 200_000_000
"""The most memory that work in the tile lane takes, as estimated: it is not asked for."""
TILE_EFFORT = 250_000_000
"""The longest that it takes, in pixels of a JPEG that could be decoded meanwhile: a second."""

_CPUS_A_JOB = 2
"""CPUs that one job may keep busy: builds decode and encode side by side."""
MOST_PASSED = 64
"""How many jobs of lower lanes begin before an expensive job that waits: about a second's tiles."""


class Lane(IntEnum):
    """Class of work; of the jobs that wait, those of the lower lane go first."""

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
    """Estimated peak memory."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Resources for all jobs of a pool."""

    workers: int
    bytes: int = sys.maxsize
    """Memory for all jobs that run at the same time, as estimated."""
    queue: int = sys.maxsize
    """How many jobs may wait in each lane but the tile lane."""
    cpus: int = 1
    """CPUs that jobs may keep busy."""

    @property
    def full(self) -> int:
        """The workers that the full lane may occupy at most."""
        return max(1, self.workers // 2)

    @property
    def heavy(self) -> int:
        """The workers that the full lane and builds may occupy together."""
        return max(1, self.workers - 1)

    @property
    def background(self) -> int:
        """The workers that do background jobs, besides the others; started when needed."""
        return max(1, self.workers // 2)

    def background_beside(self, foreground: int) -> int:
        """How many background jobs may run beside so many foreground jobs without slowing them."""
        if not foreground:
            return self.background
        return min(self.background, max(0, self.cpus // _CPUS_A_JOB - foreground))


class Verdict(Enum):
    """Decision about a new job."""

    TAKEN = "taken"
    """It runs now or waits."""
    BUSY = "busy"
    """Too many wait already."""
    NEVER = "never"
    """It needs more memory than all jobs may take."""


def lane_of(pixels: int, bytes_: int, effort: int) -> Lane:
    """The lane for making an image of so many pixels, with what it takes as estimated."""
    small = pixels <= TILE_PIXELS and bytes_ <= TILE_BYTES and effort <= TILE_EFFORT
    return Lane.TILE if small else Lane.FULL


def admit(demand: Demand, waiting: Sequence[Demand], capacity: Capacity) -> Verdict:
    """The decision about a new job, by the jobs that wait already."""
    if demand.lane is Lane.TILE:
        return Verdict.TAKEN
    if demand.bytes > capacity.bytes:
        return Verdict.NEVER
    before = sum(other.lane is demand.lane for other in waiting)
    return Verdict.TAKEN if before < capacity.queue else Verdict.BUSY


def may_begin(demand: Demand, running: Sequence[Demand], capacity: Capacity) -> bool:
    """Whether a job may be given an idle worker beside what is running.

    Background jobs do not keep foreground jobs from beginning: they are suspended or aborted.
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
    """Whether there is memory for a job beside what is running."""
    return sum(other.bytes for other in running) + demand.bytes <= capacity.bytes


def next_jobs(
    waiting: Sequence[Demand],
    running: Sequence[Demand],
    capacity: Capacity,
    passed: Sequence[int] = (),
) -> tuple[int, ...]:
    """The indices of the jobs of which one begins next, in the order in which they came.

    They are of the lowest lane whose oldest job may begin: what is too large for the moment is not
    overtaken in its own lane for ever. Nor is a lane by lower ones: `passed` tells how many jobs of
    lower lanes have begun while each job waited, and an oldest job that was passed often enough is
    next as soon as it may begin.
    """
    oldest: dict[Lane, int] = {}
    for index, demand in enumerate(waiting):
        oldest.setdefault(demand.lane, index)
    for index in oldest.values():
        often = index < len(passed) and passed[index] >= MOST_PASSED
        if often and may_begin(waiting[index], running, capacity):
            return (index,)
    for lane in Lane:
        indices = [index for index, demand in enumerate(waiting) if demand.lane is lane]
        if indices and may_begin(waiting[indices[0]], running, capacity):
            return tuple(index for index in indices if may_begin(waiting[index], running, capacity))
    return ()
