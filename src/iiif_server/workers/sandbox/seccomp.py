"""Seccomp: limits the system calls of a process, with libseccomp.

This C library is part of Debian, Ubuntu and Fedora, is maintained together with the kernel's part,
and has the numbers of system calls by name. Some of its functions are called directly, see
seccomp_rule_add(3): its Python bindings are not on PyPI, and the packages there are abandoned or
very new.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_LIBRARY = "libseccomp.so.2"
_ALLOW = 0x7FFF_0000
_FAIL = 0x0005_0000
"""SCMP_ACT_ERRNO, to which the error number is added."""
_EQUAL, _MASKED_EQUAL = 4, 7
_OPTIMIZE, _BY_TREE = 8, 2
"""SCMP_FLTATR_CTL_OPTIMIZE: the filter finds a call in a binary tree instead of one by one."""
_MACHINES = frozenset({"x86_64", "aarch64"})
"""Architectures on which the list below was tested."""

_ALWAYS = """
read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek close close_range
open openat openat2 stat lstat fstat newfstatat statx statfs fstatfs access faccessat faccessat2
readlink readlinkat getdents getdents64 getcwd dup dup2 dup3 pipe pipe2 eventfd2 flock fsync
fdatasync ftruncate fallocate fadvise64 readahead copy_file_range sendfile umask
recvmsg poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
munmap mremap mprotect madvise brk membarrier
futex futex_waitv set_robust_list get_robust_list set_tid_address rseq sched_yield
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min getcpu
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack
restart_syscall pause exit exit_group
nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage getrandom
getpid gettid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid
getgroups getpriority getrlimit uname sysinfo arch_prctl
"""
"""System calls for reading, decoding, encoding and writing files, and for threads.

`recvmsg` is for the worker's own socket; a worker sends with `write`, and no call here can send
descriptors. Not allowed are, for example: creating or connecting sockets, executing programs,
starting processes, reading the memory of others, changing names, owners and modes of files,
mounting, and new system calls of future kernels.
"""

_CLONE_THREAD = 0x0001_0000
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_PR_SET_NAME, _PR_GET_NAME = 15, 16
_F_OF_DESCRIPTORS = (0, 1, 2, 3, 4, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC; not F_SETOWN, which signals."""
_F_OF_LOCKS = (5, 6, 7)
_IOCTLS = (0x5401, 0x5413, 0x5421, 0x541B, 0x5450, 0x5451)
"""TCGETS and TIOCGWINSZ (for `isatty`), FIONBIO, FIONREAD, FIONCLEX, FIOCLEX."""


class _Comparison(ctypes.Structure):
    """Comparison of an argument (`scmp_arg_cmp`)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


@dataclass(frozen=True, slots=True)
class _Rule:
    """System call that is allowed if all of its conditions are true."""

    call: str
    conditions: tuple[tuple[int, int, int, int], ...] = ()
    """Argument, operation, and one or two numbers, of each condition."""


def _rules(process: int) -> Iterator[_Rule]:
    """Rules for the process with this id."""
    for call in _ALWAYS.split():
        yield _Rule(call)
    # Threads, but no processes. A filter cannot read the flags of `clone3`, which are in memory;
    # without it, the C library uses `clone`.
    yield _Rule("clone", ((0, _MASKED_EQUAL, _CLONE_THREAD, _CLONE_THREAD),))
    # No shared memory without a file: it would not count for RLIMIT_DATA.
    kinds = _MAP_SHARED | _MAP_ANONYMOUS
    for kind in (0, _MAP_SHARED, _MAP_ANONYMOUS):
        yield _Rule("mmap", ((3, _MASKED_EQUAL, kinds, kind),))
    # Signals to itself only, so that it can abort.
    yield _Rule("kill", ((0, _EQUAL, process, 0),))
    yield _Rule("tgkill", ((0, _EQUAL, process, 0),))
    yield _Rule("prlimit64", ((0, _EQUAL, 0, 0),))
    yield _Rule("setrlimit")
    for command in _F_OF_DESCRIPTORS + _F_OF_LOCKS:
        yield _Rule("fcntl", ((1, _EQUAL, command, 0),))
    for request in _IOCTLS:
        yield _Rule("ioctl", ((1, _EQUAL, request, 0),))
    for option in (_PR_SET_NAME, _PR_GET_NAME):
        yield _Rule("prctl", ((0, _EQUAL, option, 0),))


def version() -> str:
    """Version of libseccomp; empty if it cannot be used on this system."""
    if sys.platform != "linux" or os.uname().machine not in _MACHINES:
        return ""
    try:
        library = _library()
    except OSError:
        return ""
    found = library.seccomp_version().contents
    return f"{found.major}.{found.minor}.{found.micro}"


def restrict() -> str:
    """Restrict this thread and its later threads to the system calls above; for ever.

    All others fail as if the kernel did not have them (ENOSYS), so that libraries use their
    fallbacks for older kernels.

    Returns the version of libseccomp; raises OSError if it cannot be used.
    """
    available = version()
    if not available:
        raise OSError("there is no libseccomp on this system")
    library = _library()
    context = library.seccomp_init(_FAIL + errno.ENOSYS)
    if not context:
        raise MemoryError
    try:
        library.seccomp_attr_set(context, _OPTIMIZE, _BY_TREE)  # unknown before 2.5: only slower
        for rule in _rules(os.getpid()):
            number = library.seccomp_syscall_resolve_name(rule.call.encode())
            if number < 0:  # this architecture does not have the call, or this library version
                continue
            comparisons = (_Comparison * len(rule.conditions))(
                *(_Comparison(*condition) for condition in rule.conditions)
            )
            _check(
                library.seccomp_rule_add_array(
                    context, _ALLOW, number, len(rule.conditions), comparisons
                )
            )
        _check(library.seccomp_load(context))
    finally:
        library.seccomp_release(context)
    return available


def _library() -> ctypes.CDLL:
    """Loaded library with the types of its functions; raises OSError if it is missing."""
    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_version.restype = ctypes.POINTER(_Version)
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    )
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    return library


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
