"""Resource limits of this process, which the kernel enforces: processor time and memory."""

import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CLOCK_OF_LIMIT = -8
"""Linux clock of this process with which the kernel checks RLIMIT_CPU (CPUCLOCK_PROF)."""
_expendable: list[bool] = []
"""Set in workers, because the pool replaces a worker that ends."""


def allow_cpu(seconds: int) -> None:
    """Allow this worker `seconds` more of processor time, after which the kernel ends it."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = _least(math.ceil(_used_cpu()) + seconds, most)
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))
    _expendable[:] = [True]


@contextmanager
def tightened(cpu_seconds: float, memory: int) -> Iterator[None]:
    """Lower the limits for a library call that has no timeout and no memory limit of its own.

    In a worker, the kernel ends the process after `cpu_seconds` (SIGXCPU), and allocations beyond
    `memory` bytes fail, at which some libraries end the process, too (SIGABRT). In other processes
    this does nothing.
    """
    if not _expendable:
        yield
        return
    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_DATA)
    before = [resource.getrlimit(kind) for kind in kinds]
    numbers = (math.ceil(_used_cpu() + cpu_seconds), memory)
    try:
        for kind, number, (soft, most) in zip(kinds, numbers, before, strict=True):
            resource.setrlimit(kind, (_least(number, soft), most))
        yield
    finally:
        for kind, limit in zip(kinds, before, strict=True):
            resource.setrlimit(kind, limit)


def _least(number: int, limit: int) -> int:
    return number if limit == resource.RLIM_INFINITY else min(number, limit)


def _used_cpu() -> float:
    """Return the processor time of this process in seconds, as the kernel counts it for the limit.

    Linux counts clock ticks. On a busy virtual machine these differ much from the exact time of
    `getrusage`, with which a worker that lives for hours would be killed in its next job.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return time.clock_gettime(_CLOCK_OF_LIMIT)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
