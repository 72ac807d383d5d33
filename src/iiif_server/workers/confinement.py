"""The fence around a worker process: a file that takes a decoder over gets no further.

Three fences, each of use without the others: limits on what is used up, Landlock on files, seccomp
on system calls. On systems other than Linux there is none of them.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from iiif_server.workers import landlock, limits, seccomp

_LIBRARIES = tuple(
    map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"))
)
_PACKAGE = Path(__file__).parents[1]
_SIGNALS_FROM = 6
"""The version of Landlock from which on it keeps signals inside."""


class Fence(StrEnum):
    """What holds a worker in."""

    LIMITS = "limits"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


class Barrier(StrEnum):
    """What a worker cannot do."""

    MEMORY = "memory"
    """Take more memory than it is given."""
    CPU = "cpu"
    """Go on working when its deadline has passed and nobody ends it."""
    FILE_SIZE = "file size"
    """Fill the disk with one file."""
    OPEN_FILES = "open files"
    """Open files without end."""
    FILES = "files"
    """Read files that are not originals, derivatives or the program; write any but those that are
    reserved for it, make or remove any."""
    NETWORK = "network"
    """Have a socket of any kind."""
    PROGRAMS = "programs"
    """Execute anything."""
    PROCESSES = "processes"
    """Start processes."""
    SIGNALS = "signals"
    """Send signals to other processes."""
    SPYING = "spying"
    """Look into the memory or the environment of other processes."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What one worker may do. Paths are absolute."""

    readable: tuple[Path, ...]
    """Folders and files, beside the Python installation and the system's libraries."""
    writable: tuple[Path, ...]
    """Folders in which it may write files that are there already."""
    limits: limits.Limits
    required: bool = False
    """Whether a worker that is not wholly confined must not start."""
    fences: frozenset[Fence] = frozenset(Fence)
    """Which fences are put up, as far as the system has them."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The fences that a worker is behind."""

    limits: bool = False
    landlock: int = 0
    """The version of the kernel's interface; 0: there is none."""
    seccomp: str = ""
    """The version of libseccomp; empty: there is none."""

    @property
    def lacking(self) -> tuple[Fence, ...]:
        """The fences that are not there."""
        there = {
            Fence.LIMITS: self.limits,
            Fence.LANDLOCK: bool(self.landlock),
            Fence.SECCOMP: bool(self.seccomp),
        }
        return tuple(fence for fence, present in there.items() if not present)

    @property
    def barriers(self) -> tuple[Barrier, ...]:
        """What they keep the worker from."""
        stands = {
            Barrier.MEMORY: self.limits,
            Barrier.CPU: self.limits,
            Barrier.FILE_SIZE: self.limits,
            Barrier.OPEN_FILES: self.limits,
            Barrier.FILES: bool(self.landlock),
            Barrier.NETWORK: bool(self.seccomp),
            Barrier.PROGRAMS: bool(self.landlock or self.seccomp),
            Barrier.PROCESSES: bool(self.seccomp),
            Barrier.SIGNALS: bool(self.seccomp) or self.landlock >= _SIGNALS_FROM,
            Barrier.SPYING: bool(self.landlock),
        }
        return tuple(barrier for barrier, stand in stands.items() if stand)


class ConfinementError(Exception):
    """A fence that was required could not be put up."""


class StaleError(Exception):
    """A folder that the worker may use has been replaced, and it cannot use the new one."""


Identity = tuple[int, int, str] | None
"""Device, inode and true path of what lies at a path; None where nothing does."""


@dataclass(slots=True)
class _Process:
    """What this process is behind."""

    confinement: Confinement | None = None
    in_force: InForce = InForce()
    let_in: dict[Path, Identity] = field(default_factory=dict)
    """What lay at the paths of the confinement when the fence was put up."""
    seen: dict[Path, Identity] = field(default_factory=dict)
    """What lay there when the last job began, and could be used."""


_process = _Process()


def available() -> InForce:
    """The fences that this system has."""
    linux = sys.platform == "linux"
    return InForce(limits=linux, landlock=landlock.version(), seccomp=seccomp.version())


def confine(confinement: Confinement) -> None:
    """Put up the fences around this process, for good. It must not have started a thread.

    Raises ConfinementError where they are required and one of them is not to be had.
    """
    chosen = _possible(confinement.fences)
    _close_what_is_not_needed()
    _process.confinement = confinement
    _process.let_in = _process.seen = _identities(confinement)
    _process.in_force = InForce(
        limits=Fence.LIMITS in chosen and _limited(confinement),
        landlock=_landlocked(confinement) if Fence.LANDLOCK in chosen else 0,
        seccomp=_filtered() if Fence.SECCOMP in chosen else "",
    )
    lacking = _process.in_force.lacking
    if confinement.required and lacking:
        raise ConfinementError(", ".join(lacking))


def in_force() -> InForce:
    """The fences that the process which runs this is behind."""
    return _process.in_force


def begin_job() -> None:
    """Give the job that begins its processor time; raises StaleError if it cannot begin here.

    The kernel keeps to the folders that were there, whatever bears their names later.
    """
    confinement, in_force = _process.confinement, _process.in_force
    if confinement is None:
        return
    if in_force.landlock:
        found = _identities(confinement)
        if found != _process.seen and not _usable(confinement, found):
            raise StaleError
        _process.seen = found
    if in_force.limits:
        limits.allow_cpu(confinement.limits.cpu_seconds)


def _limited(confinement: Confinement) -> bool:
    try:
        limits.apply(confinement.limits)
    except (OSError, ValueError):
        return False
    return True


def _landlocked(confinement: Confinement) -> int:
    readable = (*_installation(), *confinement.readable)
    try:
        return landlock.restrict(readable, confinement.writable)
    except OSError:
        return 0


def _filtered() -> str:
    try:
        return seccomp.restrict()
    except OSError:
        return ""


def _possible(fences: frozenset[Fence]) -> frozenset[Fence]:
    """Those of the fences that can be put up here."""
    if sys.platform != "linux":
        return frozenset()
    if len(list(Path("/proc/self/task").iterdir())) > 1:  # the other threads would stay outside
        return fences & {Fence.LIMITS}
    return fences


def _installation() -> Iterator[Path]:
    """Where code is loaded from: modules may be imported when they are first needed."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(sysconfig.get_config_var("LIBDIR") or sys.base_prefix)
    yield _PACKAGE
    yield from _LIBRARIES


def _identities(confinement: Confinement) -> dict[Path, Identity]:
    return {path: _identity(path) for path in (*confinement.readable, *confinement.writable)}


def _usable(confinement: Confinement, found: Mapping[Path, Identity]) -> bool:
    """Whether this process was let into all that is there now, or into a folder above it."""
    same = {path for path, identity in _process.let_in.items() if identity == found[path]}
    roots = [path.resolve() for path in same if found[path] is not None]
    for path, identity in found.items():
        if identity is None or path in same:
            continue
        if path in confinement.writable or not any(
            path.resolve().is_relative_to(root) for root in roots
        ):
            return False
    return True


def _identity(path: Path) -> Identity:
    try:
        status = path.stat()
    except OSError:
        return None
    # A folder that is moved, and linked to from where it was, is the same one elsewhere.
    return status.st_dev, status.st_ino, os.path.realpath(path)


def _close_what_is_not_needed() -> None:
    """Give back what multiprocessing hands to every process so that it may start others.

    Standard output and error may be a log, or a socket to its writer.
    """
    for holder, name in (
        (forkserver._forkserver, "_forkserver_alive_fd"),  # noqa: SLF001
        (resource_tracker._resource_tracker, "_fd"),  # noqa: SLF001
    ):
        descriptor = getattr(holder, name, None)
        if isinstance(descriptor, int):
            setattr(holder, name, None)
            os.close(descriptor)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
