"""CPU limits by control groups of Linux (version 1 or 2; needs root)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
"""Microseconds."""


@contextmanager
def cpu_limit_prefix(name: str, cores: float) -> Iterator[list[str]]:
    """Return the prefix of a command that limits it and its children to so many cores."""
    second = (_ROOT / "cgroup.controllers").exists()
    group = _ROOT / name if second else _ROOT / "cpu" / name
    group.mkdir()
    try:
        quota = int(cores * _PERIOD)
        if second:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        group.rmdir()
