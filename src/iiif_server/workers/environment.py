"""Environment of worker processes: only the variables that they need.

Operators often pass tokens, passwords and URLs to a server in variables. The initial environment
of a process stays readable in its memory and in `/proc/self/environ`, even if the process removes
variables later. So workers are started with an environment of their own.
"""

import os
import re
import signal
from collections.abc import Mapping, Sequence

_INHERITED = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_[A-Z]+|TZ"
    r"|LD_LIBRARY_PATH|LD_PRELOAD|DYLD_[A-Z_]+|MALLOC_[A-Z_]+|GLIBC_TUNABLES"
    r"|PYTHON[A-Z]+|VIPS_[A-Z_]+",
    re.ASCII,
)
"""Variables that configure Python, the C library or libvips."""

SIGNALS_OF_SERVER = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""Signals that terminals and systemd send to all processes of a service. Workers ignore them: a
worker ends when its server process ends it, or has ended."""
_SINGLE_THREADED = dict.fromkeys(
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
"""Variables that keep libraries from starting threads on import, before the sandbox is applied."""


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of the server that worker processes get."""
    return {name: value for name, value in environment.items() if _INHERITED.fullmatch(name)}


def worker_environment(
    environment: Mapping[str, str], search_path: Sequence[str]
) -> dict[str, str]:
    """Environment for starting a worker process.

    `search_path` is the module search path of the server, so that workers find the same modules.
    """
    paths = os.pathsep.join(filter(None, search_path))
    return inherited(environment) | _SINGLE_THREADED | {"PYTHONPATH": paths}


def release_threads() -> None:
    """Allow libraries that are loaded from now on to start threads."""
    for name in _SINGLE_THREADED:
        os.environ.pop(name, None)
