"""How long a worker process is kept."""

import os
import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a worker has served its time: decoders leak, and heaps do not shrink. None: never."""

    max_jobs: int | None = None
    max_memory: int | None = None
    """In bytes: what it may hold on to for itself between two jobs."""

    def over(self, jobs: int, memory: int) -> str | None:
        """Why a worker that has done so many jobs and holds so much memory is to go, if it is."""
        if self.max_memory is not None and memory > self.max_memory:
            return "memory"
        if self.max_jobs is not None and jobs >= self.max_jobs:
            return "jobs"
        return None


FOR_EVER = Lifetime()


def own_memory(process: int) -> int:
    """The bytes of memory that a process holds for itself: no files, mapped or not; 0 if unknown.

    From `/proc/PID/statm`, see proc(5).
    """
    try:
        file = os.open(f"/proc/{process}/statm", os.O_RDONLY)  # after each job: no more than that
    except OSError:
        return 0
    try:
        fields = os.read(file, 200).split()
    except OSError:
        return 0
    finally:
        os.close(file)
    _, resident, shared, *_ = map(int, fields)
    return (resident - shared) * resource.getpagesize()
