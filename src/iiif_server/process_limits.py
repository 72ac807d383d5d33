"""Limits that the kernel holds this process to while it works: processor time and memory."""

import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CLOCK_OF_LIMIT = -8
"""Linux: the clock that RLIMIT_CPU is compared with, of this process (CPUCLOCK_PROF)."""
_expendable: list[bool] = []
"""Not empty in a worker, which is replaced when it ends."""


def allow_cpu(seconds: int) -> None:
    """Let this process, a worker, use so much processor time more; then it ends (SIGXCPU)."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = _least(math.ceil(_used_cpu()) + seconds, most)
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))
    _expendable[:] = [True]


@contextmanager
def tightened(cpu_seconds: float, memory: int) -> Iterator[None]:
    """A context for foreign code that can neither be interrupted nor be told what it may take.

    In a worker, more processor time than this ends the process (SIGXCPU), and it has no more than
    so many bytes of memory, without which some libraries end it, too (SIGABRT). Other processes
    are left alone.
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
    """The processor time of this process in seconds, as the kernel counts it for the limit.

    Linux counts clock ticks for it, which on a busy virtual machine differ much from the exact time
    that `getrusage` returns: a worker that lives for hours would be killed in its first job.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return time.clock_gettime(_CLOCK_OF_LIMIT)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
