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
    """The bytes of memory that a process holds for itself, without mapped files; 0 if unknown."""
    try:
        file = os.open(f"/proc/{process}/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return read_memory(file)
    finally:
        os.close(file)


def read_memory(file: int) -> int:
    """The bytes of `own_memory`, from an open `/proc/PID/statm` (see proc(5)); 0 if unknown."""
    try:
        _, resident, shared, *_ = map(int, os.pread(file, 200, 0).split())
    except (OSError, ValueError):  # the process has ended
        return 0
    return (resident - shared) * resource.getpagesize()
