"""Sandbox of a worker process, which limits a decoder that a hostile file has taken over.

It has three independent mechanisms: resource limits, Landlock for files, and seccomp for system
calls. Only Linux has them.
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
"""Folders in which PDFium searches for fonts that are not embedded."""
_RANDOM = Path("/dev/urandom")
"""Device that qpdf opens for encrypted PDFs; the filter also allows the system call `getrandom`."""
_PACKAGE = Path(__file__).parents[1]
_SIGNALS_FROM = 6
"""First version of Landlock that blocks signals to other processes."""


class Mechanism(StrEnum):
    """Mechanism of the sandbox."""

    LIMITS = "limits"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


class Restriction(StrEnum):
    """Restriction of a worker by the sandbox."""

    MEMORY = "memory"
    """The worker cannot use more memory than its limit."""
    CPU = "cpu"
    """The worker cannot use more CPU time than its job is allowed."""
    FILE_SIZE = "file size"
    """The worker cannot fill the disk with one file."""
    OPEN_FILES = "open files"
    """The worker cannot open more files than its limit."""
    FILES = "files"
    """The worker can read only originals, derivatives and the program, can write only to the files
    reserved for it, and cannot create or remove files."""
    NETWORK = "network"
    """The worker cannot open sockets."""
    PROGRAMS = "programs"
    """The worker cannot execute programs."""
    PROCESSES = "processes"
    """The worker cannot start processes."""
    SIGNALS = "signals"
    """The worker cannot send signals to other processes."""
    SPYING = "spying"
    """The worker cannot read the memory or the environment of other processes."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """Sandbox policy of a worker, with absolute paths."""

    readable: tuple[Path, ...]
    """Readable folders and files, besides the Python installation and the system's libraries."""
    writable: tuple[Path, ...]
    """Folders in which the worker may write existing files."""
    limits: limits.Limits
    required: bool = False
    """Whether a worker must not start if a mechanism is missing."""
    mechanisms: frozenset[Mechanism] = frozenset(Mechanism)
    """Mechanisms to apply, as far as the system has them."""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """Sandbox status: the mechanisms that a worker has applied."""

    limits: bool = False
    landlock: int = 0
    """Version of the Landlock interface of the kernel; 0: not applied."""
    seccomp: str = ""
    """Version of libseccomp; empty: not applied."""

    @property
    def unavailable(self) -> tuple[Mechanism, ...]:
        """Unavailable mechanisms."""
        applied_mechanisms = {
            Mechanism.LIMITS: self.limits,
            Mechanism.LANDLOCK: bool(self.landlock),
            Mechanism.SECCOMP: bool(self.seccomp),
        }
        return tuple(mechanism for mechanism, present in applied_mechanisms.items() if not present)

    @property
    def restrictions(self) -> tuple[Restriction, ...]:
        """Restrictions of the applied mechanisms."""
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
    """A required mechanism could not be applied."""


class StaleError(Exception):
    """A folder of the policy has been replaced, and the worker cannot open files in the new one."""


Inode = tuple[int, int, str] | None
"""Device, inode and real path of a file; None if there is no file at a path."""


@dataclass(slots=True)
class _Process:
    """State of the sandbox of this process."""

    confinement: Confinement | None = None
    sandbox_status: SandboxStatus = SandboxStatus()
    allowed_inodes: dict[Path, Inode] = field(default_factory=dict)
    """Files at the paths of the policy at the time when the sandbox was applied."""


_process = _Process()


def available() -> SandboxStatus:
    """Sandbox mechanisms that this system offers."""
    linux = sys.platform == "linux"
    return SandboxStatus(limits=linux, landlock=landlock.version(), seccomp=seccomp.version())


def confine(confinement: Confinement) -> Sequence[str]:
    """Apply the sandbox to this process; that cannot be undone.

    Returns the reasons why parts are missing, one sentence each. Raises ConfinementError if a
    required mechanism is missing, or if the process has several threads: the sandbox would not
    apply to the others.
    """
    problems: list[str] = []
    chosen = _applicable(confinement.mechanisms)
    _process.confinement = confinement
    _process.allowed_inodes = {
        path: _inode_of(path) for path in (*confinement.readable, *confinement.writable)
    }
    _process.sandbox_status = SandboxStatus(
        limits=Mechanism.LIMITS in chosen and _apply_limits(confinement, problems),
        landlock=_apply_landlock(confinement, problems) if Mechanism.LANDLOCK in chosen else 0,
        seccomp=_apply_seccomp(problems) if Mechanism.SECCOMP in chosen else "",
    )
    unavailable = _process.sandbox_status.unavailable
    if confinement.required and unavailable:
        reasons = "; ".join(problems) or "this system does not have it"
        raise ConfinementError(
            f"The sandbox is required, and a worker has no {', no '.join(unavailable)}: {reasons}."
        )
    return problems


def sandbox_status() -> SandboxStatus:
    """Sandbox status of this process."""
    return _process.sandbox_status


def begin_job(paths: Iterable[Path]) -> None:
    """Set the CPU limit of a job; raises StaleError if this process cannot open its files.

    Landlock allows the folders that existed when the process started, and not those that replace
    them later. Only the folders of the paths of the job are checked, as the disk of another type
    may hang.
    """
    confinement, sandbox_status = _process.confinement, _process.sandbox_status
    if confinement is None:
        return
    if sandbox_status.landlock and not all(map(_is_accessible, paths)):
        raise StaleError
    if sandbox_status.limits:
        allow_cpu(confinement.limits.cpu_seconds)


def _apply_limits(confinement: Confinement, problems: list[str]) -> bool:
    try:
        limits.apply(confinement.limits)
    except (OSError, ValueError) as error:
        problems.append(f"limits: {error}")
        return False
    return True


def _apply_landlock(confinement: Confinement, problems: list[str]) -> int:
    readable = (*_installation(), *confinement.readable)
    try:
        version, skipped = landlock.restrict(readable, confinement.writable)
    except OSError as error:
        if landlock.version():  # without Landlock in the kernel, `unavailable` reports it
            problems.append(f"landlock: {error}")
        return 0
    problems += [f"landlock: {path} is left out: {reason}" for path, reason in skipped.items()]
    return version


def _apply_seccomp(problems: list[str]) -> str:
    try:
        return seccomp.restrict()
    except OSError as error:
        if seccomp.version():
            problems.append(f"seccomp: {error}")
        return ""


def _applicable(mechanisms: frozenset[Mechanism]) -> frozenset[Mechanism]:
    """Mechanisms that this system can apply; ConfinementError if threads run already."""
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
    """Folders of Python code and libraries, which a worker may load during a job."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(sysconfig.get_config_var("LIBDIR") or sys.base_prefix)
    yield _PACKAGE
    yield from (*_LIBRARIES, *_FONTS)
    yield _RANDOM


def _is_accessible(path: Path) -> bool:
    """Whether this process may still open a path: none of its folders has been replaced."""
    folders = [
        folder
        for folder, inode in _process.allowed_inodes.items()
        if path.is_relative_to(folder) or (inode is not None and path.is_relative_to(inode[2]))
    ] or list(_process.allowed_inodes)  # one of them may be a link to it by now
    current = {folder: _inode_of(folder) for folder in folders}
    unchanged = {folder for folder in folders if current[folder] == _process.allowed_inodes[folder]}
    roots = [folder.resolve() for folder in unchanged if current[folder] is not None]
    writable = _process.confinement.writable if _process.confinement is not None else ()
    return all(
        folder in unchanged
        or current[folder] is None
        or (folder not in writable and any(folder.resolve().is_relative_to(root) for root in roots))
        for folder in folders
    )


def _inode_of(path: Path) -> Inode:
    try:
        status = path.stat()
    except OSError:
        return None
    # With the real path: a folder that was moved and replaced by a link has the same inode.
    return status.st_dev, status.st_ino, os.path.realpath(path)
