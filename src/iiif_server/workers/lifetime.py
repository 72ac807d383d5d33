"""Lifetime of worker processes, and their memory."""

import os
import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Limits after which a worker is replaced, as decoders leak and heaps do not shrink.

    None: no limit.
    """

    max_jobs: int | None = None
    max_memory: int | None = None
    """Maximum bytes of private memory between two jobs."""

    def reached_limit(self, jobs: int, memory: int) -> str | None:
        """Limit that a worker has reached, `memory` or `jobs`; None if it has reached none."""
        if self.max_memory is not None and memory > self.max_memory:
            return "memory"
        if self.max_jobs is not None and jobs >= self.max_jobs:
            return "jobs"
        return None


UNLIMITED = Lifetime()


def own_memory(process: int) -> int:
    """Private memory of a process in bytes, without mapped files; 0 if unknown."""
    try:
        file = os.open(f"/proc/{process}/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return read_memory(file)
    finally:
        os.close(file)


def read_memory(file: int) -> int:
    """Private memory in bytes, from an open `/proc/PID/statm` (see proc(5)); 0 if unknown."""
    try:
        _, resident, shared, *_ = map(int, os.pread(file, 200, 0).split())
    except (OSError, ValueError):  # the process has ended
        return 0
    return (resident - shared) * resource.getpagesize()
