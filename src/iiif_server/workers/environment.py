"""The environment that worker processes start with: nothing of the server's that they do not need.

Tokens, passwords and addresses are often given to a server in variables. What a process was started
with stays readable in its memory and in `/proc/self/environ`, whatever it removes later. Workers
are forked from the fork server; so that is started without them.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver

_KEPT = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_[A-Z]+|TZ"
    r"|LD_LIBRARY_PATH|LD_PRELOAD|MALLOC_[A-Z_]+|GLIBC_TUNABLES"
    r"|PYTHON[A-Z]+|VIPS_[A-Z_]+",
    re.ASCII,
)
"""Variables that change how Python, the C library and libvips run."""


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that worker processes may have."""
    return {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}


def start_fork_server() -> None:
    """Have the fork server running, with `kept` variables only. It is left alone if it runs."""
    with _scrubbed():
        forkserver.ensure_running()


@contextmanager
def _scrubbed() -> Iterator[None]:
    """This process without the variables that workers may not have, for as long as it takes.

    The fork server has no argument for its environment: it inherits ours.
    """
    left_out = {name: value for name, value in os.environ.items() if not _KEPT.fullmatch(name)}
    for name in left_out:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(left_out)
