"""The environment of worker processes: nothing of the server's that they do not need.

Tokens, passwords and addresses are often given to a server in variables. What a process was started
with stays readable in its memory and in `/proc/self/environ`, whatever it removes later. So workers
are started with an environment of their own.
"""

import os
import re
import signal
from collections.abc import Mapping, Sequence

_KEPT = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_[A-Z]+|TZ"
    r"|LD_LIBRARY_PATH|LD_PRELOAD|DYLD_[A-Z_]+|MALLOC_[A-Z_]+|GLIBC_TUNABLES"
    r"|PYTHON[A-Z]+|VIPS_[A-Z_]+",
    re.ASCII,
)
"""Variables that change how Python, the C library and libvips run."""

SIGNALS_OF_SERVER = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""Terminals and systemd send them to all processes of a service. Workers ignore them: the server
decides, and a worker ends with it."""
_ONE_THREAD = dict.fromkeys(
    (
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
"""Libraries that start threads when they are loaded, which must not be before the sandbox."""


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the server that worker processes may have."""
    return {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}


def of_worker(environment: Mapping[str, str], search_path: Sequence[str]) -> dict[str, str]:
    """The environment that a worker process is started with.

    `search_path` are the folders in which the server finds modules, so that its workers find the
    same ones.
    """
    paths = os.pathsep.join(filter(None, search_path))
    return kept(environment) | _ONE_THREAD | {"PYTHONPATH": paths}


def release_threads() -> None:
    """Let libraries that are loaded from now on start as many threads as they like."""
    for name in _ONE_THREAD:
        os.environ.pop(name, None)
