"""Landlock: limits the files that a process may open (Linux 5.13 and later).

Called with `syscall` of the C library, which has no functions for it; the three system calls have
the same numbers on every architecture. https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from enum import IntFlag
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
"""LANDLOCK_CREATE_RULESET_VERSION: the call only returns the version of the interface."""
_PATH_BENEATH = 1
_SET_NO_NEW_PRIVS = 38


class _Access(IntFlag):
    """Access rights to files; a ruleset forbids all rights that it handles, except in its rules."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    TRUNCATE = 1 << 14
    """Truncation, from version 3."""


_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All access rights that can be forbidden, by the first version of the interface that has them."""
_TCP_FROM, _TCP = 4, 0b11
"""First version, and rights to bind and connect TCP sockets; no rule allows a port."""
_SCOPES_FROM, _SCOPES = 6, 0b11
"""First version, and scopes: abstract UNIX sockets of and signals to other processes."""
_FILE = _Access.EXECUTE | _Access.WRITE_FILE | _Access.READ_FILE | _Access.TRUNCATE
"""Access rights in a rule for a file that is no folder."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # `_pack_` implies it; Python 3.14 requires it
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """Version of the Landlock interface of this kernel; 0 if it has none."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> tuple[int, Mapping[Path, str]]:
    """Restrict this thread and its later threads to these files and folders; for ever.

    Files in `writable` can be read and written, but not created or removed. Executing programs is
    forbidden, and so are TCP ports (from version 4) and signals to other processes (from
    version 6). Paths that do not exist are left out.

    Returns the version of the interface, and the paths that cannot be opened, with the reason.
    Raises OSError without Landlock.
    """
    available = version()
    handled = max(mask for since, mask in _HANDLED.items() if since <= max(available, 1))
    attributes = _Ruleset(
        handled,
        _TCP if available >= _TCP_FROM else 0,
        _SCOPES if available >= _SCOPES_FROM else 0,
    )
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    reading = _Access.READ_FILE | _Access.READ_DIR
    writing = (reading | _Access.WRITE_FILE | _Access.TRUNCATE) & handled
    rules = [*((path, reading) for path in readable), *((path, writing) for path in writable)]
    skipped: dict[Path, str] = {}
    try:
        for path, access in rules:
            try:
                _allow(ruleset, path, access)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:  # leave out the folder, and apply the other rules
                skipped[path] = error.strerror or str(error)
        forbid_new_privileges()
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return available, skipped


def forbid_new_privileges() -> None:
    """Set `no_new_privs`: programs get no rights from set-user-ID bits. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(number) for number in (1, 0, 0, 0)]
    if libc.prctl(ctypes.c_int(_SET_NO_NEW_PRIVS), *arguments):
        raise _error()


def _allow(ruleset: int, path: Path, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _FILE
        rule = _PathBeneath(access, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    if sys.platform != "linux":
        raise OSError("there is no Landlock on this system")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    typed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *typed)
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
