"""What a worker process may use up, set by `setrlimit`; and what it may not do as root."""

import ctypes
import math
import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GIB = 1 << 30
_BASE = 1 * _GIB
"""Memory of a worker beside its pixels: interpreter, libraries, a tile of each thread's work."""
_READ_A_PIXEL = 8
"""Bytes for each pixel of an original: cutting a JPEG without loss takes 6 at 4:2:0. Where more are
needed and not had, the same is done to decoded pixels, which takes less."""
_MADE_A_PIXEL = 18
"""Bytes for each pixel of what is made: turned (3), as coefficients (6), as a file (up to 3), and
as the bytes of it that are written (3)."""
_A_THREAD = 16 << 20
"""A stack, which counts in full, and what is allocated by the thread."""
_MAPS = 4 * _GIB
"""Address space for libraries, and for heaps that are reserved and not used (64 MB a thread)."""
_ORIGINAL_A_PIXEL = 4
"""Bytes of a JPEG, which is mapped as a whole, for each of its pixels: more than any has."""
_FILE_A_PIXEL = 4
"""Bytes of a file that is made, for each pixel in it."""
_OPEN_FILES = 256
"""Originals and parts of pyramids that are kept open are some dozens at most."""
_SLACK = 5.0
"""Seconds of processor time more than a deadline leaves room for."""
_KEPT_CAPABILITIES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root reads the originals of others."""
_CAPABILITY_VERSION = 0x2008_0522
_KILLED_FIRST = "500"
"""Between 0, the server, and 1000."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may use; bytes, unless it says otherwise."""

    memory: int
    """Private and writable: heap, stacks, pixels (RLIMIT_DATA). Mapped files do not count."""
    address_space: int
    """Everything, mapped files included (RLIMIT_AS)."""
    cpu_seconds: int
    """Processor time of one job, over all of its threads (RLIMIT_CPU)."""
    file_size: int
    """The largest file written (RLIMIT_FSIZE)."""
    open_files: int = _OPEN_FILES
    """A number (RLIMIT_NOFILE)."""


def limits_for(
    *,
    read: int,
    made: int,
    threads: int,
    originals: int,
    deadline: float,
    memory: int | None = None,
) -> Limits:
    """The limits for jobs on originals and images of up to so many pixels.

    `originals` are kept open; `deadline` is the longest that a job may take, in seconds. `memory`
    is taken instead of what is computed.
    """
    if memory is None:
        pixels = max(read * _READ_A_PIXEL, made * _MADE_A_PIXEL)
        memory = _BASE + threads * _A_THREAD + pixels
    return Limits(
        memory=memory,
        address_space=memory + _MAPS + (originals + 1) * read * _ORIGINAL_A_PIXEL,
        cpu_seconds=math.ceil((deadline + _SLACK) * (threads + 1)),
        file_size=max(_GIB, max(read, made) * _FILE_A_PIXEL),
    )


def apply(limits: Limits) -> None:
    """Put this process under the limits, for good, and take from it what root could undo them by.

    Core files are not written: they hold pixels and would fill the disk. The number of processes is
    not limited here: the kernel counts all of a user's, threads included; seccomp forbids them.
    """
    _prefer_to_be_killed()
    for kind, number in (
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_AS, limits.address_space),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        number = number if most == resource.RLIM_INFINITY else min(number, most)  # noqa: PLW2901
        resource.setrlimit(kind, (number, number))
    _give_up_capabilities()


def _prefer_to_be_killed() -> None:
    """When the machine has no memory left, a worker goes and not the server."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _give_up_capabilities() -> None:
    """Without what root has beyond reading and writing files; see capabilities(7)."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITY_VERSION, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    left = sets[0].permitted & _KEPT_CAPABILITIES
    sets[0], sets[1] = _Sets(left, left, 0), _Sets(0, 0, 0)
    if libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
