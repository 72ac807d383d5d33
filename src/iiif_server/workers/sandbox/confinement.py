"""Sandbox of a worker process: a file that takes a decoder over gets no further.

It has three mechanisms, each of use without the others: resource limits, Landlock for files, and
seccomp for system calls. Other systems than Linux have none of them.
"""

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from iiif_server.process_limits import allow_cpu
from iiif_server.workers.sandbox import landlock, limits, seccomp

_LIBRARIES = tuple(
    map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"))
)
_FONTS = tuple(map(Path, ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts")))
"""Where PDFium looks for fonts that are not embedded."""
_RANDOM = Path("/dev/urandom")
"""Which qpdf opens for encrypted PDFs; the system call of it is allowed as well."""
_PACKAGE = Path(__file__).parents[1]
_SIGNALS_FROM = 6
"""The version of Landlock from which on it keeps signals inside."""


class Mechanism(StrEnum):
    """Mechanism of the sandbox."""

    LIMITS = "limits"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


class Restriction(StrEnum):
    """Something that the sandbox keeps a worker from doing."""

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
    """Sandbox policy: what one worker may do. Paths are absolute."""

    readable: tuple[Path, ...]
    """Folders and files, beside the Python installation and the system's libraries."""
    writable: tuple[Path, ...]
    """Folders in which it may write files that are there already."""
    limits: limits.Limits
    required: bool = False
    """Whether a worker that is not wholly confined must not start."""
    mechanisms: frozenset[Mechanism] = frozenset(Mechanism)
    """The mechanisms that are applied, as far as the system has them."""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """Sandbox status: the mechanisms that are applied to a worker."""

    limits: bool = False
    landlock: int = 0
    """The version of the kernel's interface; 0: there is none."""
    seccomp: str = ""
    """The version of libseccomp; empty: there is none."""

    @property
    def lacking(self) -> tuple[Mechanism, ...]:
        """The mechanisms that are missing."""
        there = {
            Mechanism.LIMITS: self.limits,
            Mechanism.LANDLOCK: bool(self.landlock),
            Mechanism.SECCOMP: bool(self.seccomp),
        }
        return tuple(mechanism for mechanism, present in there.items() if not present)

    @property
    def restrictions(self) -> tuple[Restriction, ...]:
        """What the mechanisms keep the worker from doing."""
        applies = {
            Restriction.MEMORY: self.limits,
            Restriction.CPU: self.limits,
            Restriction.FILE_SIZE: self.limits,
            Restriction.OPEN_FILES: self.limits,
            Restriction.FILES: bool(self.landlock),
            Restriction.NETWORK: bool(self.seccomp),
            Restriction.PROGRAMS: bool(self.landlock or self.seccomp),
            Restriction.PROCESSES: bool(self.seccomp),
            Restriction.SIGNALS: bool(self.seccomp) or self.landlock >= _SIGNALS_FROM,
            Restriction.SPYING: bool(self.landlock),
        }
        return tuple(restriction for restriction, applied in applies.items() if applied)


class ConfinementError(Exception):
    """A mechanism that is required could not be applied."""


class StaleError(Exception):
    """A folder that the worker may use has been replaced, and it cannot use the new one."""


Inode = tuple[int, int, str] | None
"""Device, inode and real path of a file; None if there is no file at a path."""


@dataclass(slots=True)
class _Process:
    """The sandbox of this process."""

    confinement: Confinement | None = None
    sandbox_status: SandboxStatus = SandboxStatus()
    let_in: dict[Path, Inode] = field(default_factory=dict)
    """The files at the paths of the policy when the sandbox was applied."""


_process = _Process()


def available() -> SandboxStatus:
    """The sandbox mechanisms that this system has."""
    linux = sys.platform == "linux"
    return SandboxStatus(limits=linux, landlock=landlock.version(), seccomp=seccomp.version())


def confine(confinement: Confinement) -> Sequence[str]:
    """Apply the sandbox to this process, for good.

    Returns why parts of it are missing, one sentence each. Raises ConfinementError if a part is
    required and missing, or if the process has more than one thread: the others would stay outside.
    """
    problems: list[str] = []
    chosen = _possible(confinement.mechanisms)
    _process.confinement = confinement
    _process.let_in = {
        path: _identity(path) for path in (*confinement.readable, *confinement.writable)
    }
    _process.sandbox_status = SandboxStatus(
        limits=Mechanism.LIMITS in chosen and _limited(confinement, problems),
        landlock=_landlocked(confinement, problems) if Mechanism.LANDLOCK in chosen else 0,
        seccomp=_filtered(problems) if Mechanism.SECCOMP in chosen else "",
    )
    lacking = _process.sandbox_status.lacking
    if confinement.required and lacking:
        reasons = "; ".join(problems) or "this system does not have it"
        raise ConfinementError(
            f"The sandbox is required, and a worker has no {', no '.join(lacking)}: {reasons}."
        )
    return problems


def sandbox_status() -> SandboxStatus:
    """The sandbox status of this process."""
    return _process.sandbox_status


def begin_job(paths: Iterable[Path]) -> None:
    """Give a job its processor time; raises StaleError if this process cannot open its files.

    Landlock lets a process into the folders that were there when it started, whatever bears their
    names later. Only the folders of the paths that the job names are looked at: the disk of another
    type may hang.
    """
    confinement, sandbox_status = _process.confinement, _process.sandbox_status
    if confinement is None:
        return
    if sandbox_status.landlock and not all(map(_let_in, paths)):
        raise StaleError
    if sandbox_status.limits:
        allow_cpu(confinement.limits.cpu_seconds)


def _limited(confinement: Confinement, problems: list[str]) -> bool:
    try:
        limits.apply(confinement.limits)
    except (OSError, ValueError) as error:
        problems.append(f"limits: {error}")
        return False
    return True


def _landlocked(confinement: Confinement, problems: list[str]) -> int:
    readable = (*_installation(), *confinement.readable)
    try:
        version, left_out = landlock.restrict(readable, confinement.writable)
    except OSError as error:
        if landlock.version():  # else the kernel has none, which `lacking` reports
            problems.append(f"landlock: {error}")
        return 0
    problems += [f"landlock: {path} is left out: {reason}" for path, reason in left_out.items()]
    return version


def _filtered(problems: list[str]) -> str:
    try:
        return seccomp.restrict()
    except OSError as error:
        if seccomp.version():
            problems.append(f"seccomp: {error}")
        return ""


def _possible(mechanisms: frozenset[Mechanism]) -> frozenset[Mechanism]:
    """The mechanisms that this system can apply; ConfinementError if threads run already."""
    if sys.platform != "linux":
        return frozenset()
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if threads > 1 and mechanisms & {Mechanism.LANDLOCK, Mechanism.SECCOMP}:
        raise ConfinementError(
            f"The process has {threads} threads before its sandbox is applied, and the sandbox "
            "would not hold the others. A library that is imported early starts them (numpy does, "
            "without OPENBLAS_NUM_THREADS=1): import it later, or limit its threads to one."
        )
    return mechanisms


def _installation() -> Iterator[Path]:
    """Where code is loaded from: modules may be imported when they are first needed."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(sysconfig.get_config_var("LIBDIR") or sys.base_prefix)
    yield _PACKAGE
    yield from (*_LIBRARIES, *_FONTS)
    yield _RANDOM


def _let_in(path: Path) -> bool:
    """Whether this process may open a path, as far as its folders were replaced meanwhile."""
    folders = [
        folder
        for folder, identity in _process.let_in.items()
        if path.is_relative_to(folder)
        or (identity is not None and path.is_relative_to(identity[2]))
    ] or list(_process.let_in)  # or one of them leads there since
    found = {folder: _identity(folder) for folder in folders}
    same = {folder for folder in folders if found[folder] == _process.let_in[folder]}
    roots = [folder.resolve() for folder in same if found[folder] is not None]
    writable = _process.confinement.writable if _process.confinement is not None else ()
    return all(
        folder in same
        or found[folder] is None
        or (folder not in writable and any(folder.resolve().is_relative_to(root) for root in roots))
        for folder in folders
    )


def _identity(path: Path) -> Inode:
    try:
        status = path.stat()
    except OSError:
        return None
    # A folder that is moved, and linked to from where it was, is the same one elsewhere.
    return status.st_dev, status.st_ino, os.path.realpath(path)
