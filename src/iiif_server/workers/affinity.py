"""Affinity: which waiting job goes to which idle worker. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from iiif_server.cache.lru import Lru

LOOK_AHEAD = 16
"""How many waiting jobs are considered for a worker that has their original open."""
MOST_OVERTAKEN = 8
"""How often a job lets a better-suited one pass."""


Memory = Lru[str, None]
"""The originals that a worker is predicted to hold open."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waiting job as `choose` sees it."""

    subject: str | None
    """Key of its original; None: it does not matter."""
    overtaken: int = 0


def choose(waiting: Sequence[Waiting], idle: Sequence[Memory]) -> tuple[int, int]:
    """The indices of the next job and of the idle worker for it; both sequences are not empty.

    The first job of the look-ahead whose subject an idle worker has open, with that worker; where
    there is none, or where the oldest job has been overtaken often enough, the oldest job, with a
    worker that has it open or else with the one that holds least.
    """
    if waiting[0].overtaken < MOST_OVERTAKEN:
        for job, candidate in enumerate(waiting[:LOOK_AHEAD]):
            for worker, memory in enumerate(idle):
                if candidate.subject in memory:
                    return job, worker
    return 0, min(
        range(len(idle)),
        key=lambda worker: (waiting[0].subject not in idle[worker], len(idle[worker])),
    )
