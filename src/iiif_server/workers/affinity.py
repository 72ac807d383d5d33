"""Affinity: which waiting job goes to which idle worker. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from iiif_server.cache.lru import Lru

LOOK_AHEAD = 16
"""Maximum waiting jobs that are compared with the open originals of idle workers."""
MAX_OVERTAKEN = 8
"""Maximum times that affinity lets later jobs begin before a job."""


OpenOriginals = Lru[str, None]
"""Originals that a worker has probably open."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waiting job as `choose` sees it."""

    subject: str | None
    """Key of its original; None: any worker."""
    overtaken: int = 0


def choose(waiting: Sequence[Waiting], idle: Sequence[OpenOriginals]) -> tuple[int, int]:
    """Indices of the next job and of the idle worker for it; neither sequence may be empty.

    The result is the first of LOOK_AHEAD jobs whose original an idle worker has open, with that
    worker. If there is none, or if the oldest job has been overtaken MAX_OVERTAKEN times, it is
    the oldest job, with a worker that has its original open, or the one with fewest originals.
    """
    if waiting[0].overtaken < MAX_OVERTAKEN:
        for job, candidate in enumerate(waiting[:LOOK_AHEAD]):
            for worker, memory in enumerate(idle):
                if candidate.subject in memory:
                    return job, worker
    return 0, min(
        range(len(idle)),
        key=lambda worker: (waiting[0].subject not in idle[worker], len(idle[worker])),
    )
