"""CPUs and memory that this process may use, with the limits of its container."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_MEMORY_FILES = (("", "memory.max"), ("", "memory.high"), ("memory", "memory.limit_in_bytes"))
"""Folder of the controller (none in version 2), and name of the file with a limit in bytes."""
_CPU_FOLDERS_V1 = ("cpu", "cpu,cpuacct")


@dataclass(frozen=True, slots=True)
class Machine:
    """CPUs and memory that this process may use, and those of the machine."""

    cpus: int
    """CPUs that may be busy at the same time: the affinity of the process, the CPU limit of its
    control groups rounded up, and at least 1."""
    all_cpus: int
    memory: int
    """Usable bytes: the memory of the machine, or the lowest limit of the control groups."""
    all_memory: int


def this_machine(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> Machine:
    """Resources of the machine, and the limits of control groups (version 1 and 2)."""
    all_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    all_cpus = os.cpu_count() or 1
    quota = min(cpu_limits(groups, membership), default=math.inf)
    cpus = _usable_cpus() if quota == math.inf else min(_usable_cpus(), math.ceil(quota))
    memory = min([all_memory, *memory_limits(groups, membership)])
    return Machine(max(1, cpus), all_cpus, memory, all_memory)


def memory_limits(groups: Path, membership: Path) -> Iterator[int]:
    """Memory limits in bytes of the control groups that a process is in."""
    for folder in _folders(membership):
        for controller, file in _MEMORY_FILES:
            with suppress(OSError, ValueError):  # "max" is no number
                yield int((groups / controller / folder / file).read_text())


def cpu_limits(groups: Path, membership: Path) -> Iterator[float]:
    """CPU limits of the control groups that a process is in, in CPUs, as 1.5."""
    for folder in _folders(membership):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (groups / folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        for controller in _CPU_FOLDERS_V1:
            group = groups / controller / folder
            with suppress(OSError, ValueError, ZeroDivisionError):
                quota_us = int((group / "cpu.cfs_quota_us").read_text())
                if quota_us > 0:  # -1: no limit
                    yield quota_us / int((group / "cpu.cfs_period_us").read_text())


def _folders(membership: Path) -> list[Path]:
    """Control groups of a process and their parents, relative to the root of the tree.

    The root is always included, because a container may see its own group there.
    """
    folders = {Path(): None}
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            own = Path(line.split(":", 2)[-1].lstrip("/"))
            folders |= dict.fromkeys((own, *own.parents))
    return [folder for folder in folders if ".." not in folder.parts]


def _usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_for(cpus: int, processes: int) -> int:
    """Number of threads of one image worker, at least 2 if there are as many CPUs.

    `processes` is the number of image workers of all server processes. Together they may have more
    threads than there are CPUs, which costs nothing measurable.
    """
    return min(cpus, max(2, cpus // processes))
