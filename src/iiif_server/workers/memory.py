"""How much memory there is."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def memory_there_is() -> int:
    """Bytes of memory of this machine, or of its container where that has less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_bounds(_GROUPS, Path("/proc/self/cgroup"))])


def _bounds(groups: Path, membership: Path) -> Iterator[int]:
    """The limits of the control groups that a process is in, of version 1 and 2 alike."""
    own = [""]
    with suppress(OSError):
        own += [line.split(":", 2)[2] for line in membership.read_text().splitlines()]
    for group in own:
        for file in ("memory.max", "memory/memory.limit_in_bytes"):
            for folder in (Path(group.lstrip("/")), *Path(group.lstrip("/")).parents):
                top, _, name = file.rpartition("/")
                with suppress(OSError, ValueError):  # "max" is no number
                    yield int((groups / top / folder / name).read_text())
