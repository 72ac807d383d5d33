"""Resource limits of a worker process (`setrlimit`), and the removal of root's capabilities."""

import ctypes
import math
import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GIB = 1 << 30
_BASE_MEMORY = 1 * _GIB
"""Memory of a worker besides pixels: interpreter, libraries, and one tile per thread."""
_BYTES_PER_SOURCE_PIXEL = 8
"""Bytes per pixel of an original: lossless cropping of a JPEG takes 6 at 4:2:0. If it needs more
than the limit, the worker decodes the pixels instead, which takes less."""
_BYTES_PER_RESULT_PIXEL = 18
"""Bytes per pixel of the result: rotated pixels (3), coefficients (6), the file (up to 3), and a
copy for writing (3)."""
_BYTES_PER_THREAD = 16 << 20
"""Bytes per thread: its stack, which counts in full, and its allocations."""
_MAPPED_BYTES = 4 * _GIB
"""Address space for libraries, and for reserved heaps (64 MB per thread)."""
_MAPPED_BYTES_PER_PIXEL = 4
"""Bytes per pixel of a JPEG, which is mapped as a whole: more than any JPEG has."""
_FILE_BYTES_PER_PIXEL = 4
"""Bytes per pixel of a file that the worker writes."""
_OPEN_FILES = 256
"""Maximum open files; a worker keeps at most some dozens of originals and pyramid parts open."""
_EXTRA_CPU_SECONDS = 5.0
"""Seconds of CPU time in addition to the timeout of a job."""
_KEPT_CAPABILITIES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root may read the originals of other users."""
_CAPABILITY_VERSION = 0x2008_0522
_OOM_SCORE_ADJ = "500"
"""`oom_score_adj` of workers, between 0 (the server) and 1000."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one worker, in bytes unless another unit is named."""

    memory: int
    """Private, writable memory: heap, stacks, pixels (RLIMIT_DATA), without mapped files."""
    address_space: int
    """Address space, including mapped files (RLIMIT_AS)."""
    cpu_seconds: int
    """CPU time of one job in seconds, over all of its threads (RLIMIT_CPU)."""
    file_size: int
    """Maximum size of a written file (RLIMIT_FSIZE)."""
    open_files: int = _OPEN_FILES
    """Maximum number of open files (RLIMIT_NOFILE)."""


def limits_for(
    *,
    source_pixels: int,
    result_pixels: int,
    threads: int,
    originals: int,
    deadline: float,
    memory: int | None = None,
) -> Limits:
    """Limits for jobs, by the pixels of the largest original and the largest result.

    `originals` is the number of originals that a worker keeps open, `deadline` the maximum duration
    of a job in seconds. `memory` replaces the computed memory limit.
    """
    if memory is None:
        pixels = max(
            source_pixels * _BYTES_PER_SOURCE_PIXEL, result_pixels * _BYTES_PER_RESULT_PIXEL
        )
        memory = _BASE_MEMORY + threads * _BYTES_PER_THREAD + pixels
    return Limits(
        memory=memory,
        address_space=memory
        + _MAPPED_BYTES
        + (originals + 1) * source_pixels * _MAPPED_BYTES_PER_PIXEL,
        cpu_seconds=math.ceil((deadline + _EXTRA_CPU_SECONDS) * (threads + 1)),
        file_size=max(_GIB, max(source_pixels, result_pixels) * _FILE_BYTES_PER_PIXEL),
    )


def apply(limits: Limits) -> None:
    """Apply the limits to this process for ever, and drop the capabilities that could undo them.

    Core dumps are disabled, since they contain pixels and would fill the disk. The number of
    processes has no limit here, because the kernel counts all processes and threads of a user;
    seccomp forbids processes.
    """
    _raise_oom_score()
    for kind, number in (
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_AS, limits.address_space),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard_limit = resource.getrlimit(kind)
        number = number if hard_limit == resource.RLIM_INFINITY else min(number, hard_limit)  # noqa: PLW2901
        resource.setrlimit(kind, (number, number))
    _drop_capabilities()


def _raise_oom_score() -> None:
    """Have the kernel kill a worker before the server if the machine is out of memory."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _drop_capabilities() -> None:
    """Drop all capabilities of root except reading and writing files; see capabilities(7)."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITY_VERSION, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    capabilities = sets[0].permitted & _KEPT_CAPABILITIES
    sets[0], sets[1] = _Sets(capabilities, capabilities, 0), _Sets(0, 0, 0)
    if libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
