"""Processes to which file permissions apply, even where tests run as root."""

import os
import shutil
import subprocess

import pytest

_DROP = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""Root without these capabilities is refused like any other user. (Another user could not execute
a Python that is installed in the home of root.)"""


def unprivileged() -> tuple[str, ...]:
    """Return the prefix of a command that runs without root's privileges; skip without it."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("UNREADABLE FOLDERS ARE NOT TESTED: root reads all, and there is no setpriv")
    done = subprocess.run([*_DROP, "true"], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"UNREADABLE FOLDERS ARE NOT TESTED: setpriv fails ({done.stderr!r})")
    return _DROP
