"""Files and bytes of the store, counted by all processes that share it, in one small file."""

import contextlib
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_FORM = struct.Struct("<8s6q2d")
_MAGIC = b"iiif-n1\n"
_LOCK_SECONDS = 1.0
"""For which the lock is waited for: a process that was stopped may have it."""


@dataclass(frozen=True, slots=True)
class SharedTotals:
    """The content of the file: what the store has, and what was ever added and removed."""

    files: int = 0
    size: int = 0
    """In bytes."""
    added_files: int = 0
    added_size: int = 0
    removed_files: int = 0
    removed_size: int = 0
    scanned_at: float = 0.0
    """When the folder was last scanned, in seconds since the epoch; 0: never."""
    reach: float = 0.0
    """Seconds since the last use of the youngest entry that was last evicted; 0: not known."""

    def added(self, size: int) -> "SharedTotals":
        """With one file more."""
        return replace(
            self,
            files=self.files + 1,
            size=self.size + size,
            added_files=self.added_files + 1,
            added_size=self.added_size + size,
        )

    def removed(self, size: int) -> "SharedTotals":
        """With one file less."""
        return replace(
            self,
            files=max(0, self.files - 1),
            size=max(0, self.size - size),
            removed_files=self.removed_files + 1,
            removed_size=self.removed_size + size,
        )

    def corrected(
        self, before: "SharedTotals", files: int, size: int, now: float
    ) -> "SharedTotals":
        """Corrected by a scan that found so much, and before which the totals were `before`.

        What was added or removed during the scan may or may not have been found. So the counts stay
        where they can be right, and otherwise become the nearest ones that can.
        """
        return replace(
            self,
            files=_between(
                files - (self.removed_files - before.removed_files),
                self.files,
                files + (self.added_files - before.added_files),
            ),
            size=_between(
                size - (self.removed_size - before.removed_size),
                self.size,
                size + (self.added_size - before.added_size),
            ),
            scanned_at=now,
        )

    def packed(self) -> bytes:
        """The bytes of the file."""
        return _FORM.pack(
            _MAGIC,
            self.files,
            self.size,
            self.added_files,
            self.added_size,
            self.removed_files,
            self.removed_size,
            self.scanned_at,
            self.reach,
        )

    @classmethod
    def parse(cls, data: bytes) -> "SharedTotals":
        """The totals in a file; nothing, never scanned, if it is no such file."""
        if len(data) != _FORM.size or not data.startswith(_MAGIC):
            return cls()
        found = cls(*_FORM.unpack(data)[1:])
        return found if found.files >= 0 and found.size >= 0 else cls()


class TotalsFile:
    """The file, changed by one process at a time (flock); a killed process leaves it unlocked.

    Where it cannot be written or locked in time, each process counts for itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._patience = _LOCK_SECONDS
        self.latest = SharedTotals()
        """The totals as this process last saw them; reading them waits for nothing."""

    def __repr__(self) -> str:
        return f"<TotalsFile {self.latest}>"

    def change(self, change: Callable[[SharedTotals], SharedTotals]) -> SharedTotals:
        """Replace the totals; returns the new ones. Waits for the disk."""
        with self._lock:
            try:
                with self._locked() as descriptor:
                    former = SharedTotals.parse(os.pread(descriptor, _FORM.size, 0))
                    totals = change(former)
                    if totals != former:
                        os.pwrite(descriptor, totals.packed(), 0)
                    self.latest = totals
            except OSError:
                self.latest = change(self.latest)
            return self.latest

    def refresh(self) -> SharedTotals:
        """The totals now. Waits for the disk."""
        return self.change(lambda totals: totals)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open only while it is used: an idle server keeps no disk from being unmounted.

        Raises OSError.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o666)
        try:
            self._wait_for_lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int) -> None:
        """Raise OSError if another process keeps the lock; then the next calls do not wait."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self._patience = 0.0
                    raise
                time.sleep(0.001)
            else:
                self._patience = _LOCK_SECONDS
                return


def _between(least: int, value: int, most: int) -> int:
    return max(0, least, min(value, most))
