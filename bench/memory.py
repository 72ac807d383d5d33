"""Memory of a process and its descendants, as Linux counts it."""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_INTERVAL = 0.05


def process_tree(pid: int) -> list[int]:
    """Return the ids of the process and its descendants."""
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


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size (PSS) in bytes; 0 if the process has ended."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def peak_bytes(pid: int) -> int:
    """Return the exact peak of the resident bytes of a process, shared pages included."""
    return _field(Path(f"/proc/{pid}/status"), "VmHWM:")


def _field(path: Path, name: str) -> int:
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


class MemoryWatch:
    """Sampler of a process tree while the context is open; `peak` is the highest sum of PSS."""

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
            self.peak = max(
                self.peak, sum(proportional_bytes(pid) for pid in process_tree(self._pid))
            )
