"""The memory of a process and all that descend from it, as Linux counts it."""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_INTERVAL = 0.05


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += parents.get(current, [])
    return found


def proportional(pid: int) -> int:
    """Bytes of a process, pages that several share divided among them (PSS); 0 if it is gone."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def highest(pid: int) -> int:
    """The most bytes that a process ever had, shared and mapped ones included; exact."""
    return _field(Path(f"/proc/{pid}/status"), "VmHWM:")


def _field(path: Path, name: str) -> int:
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


class Watch:
    """Samples a process tree while the context is open; `peak` is the highest sum of PSS."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = 0

    def __repr__(self) -> str:
        return f"<Watch of {self._pid}: {self.peak:,} bytes>"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self.peak = max(self.peak, sum(proportional(pid) for pid in tree(self._pid)))
