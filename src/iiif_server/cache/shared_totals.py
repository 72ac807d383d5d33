"""Totals of the store, files and bytes, counted by all its processes in one small file."""

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
"""Longest wait for the lock, as a suspended process may hold it."""


@dataclass(frozen=True, slots=True)
class SharedTotals:
    """Content of the totals file: files and bytes now, and all that were added and removed."""

    files: int = 0
    size: int = 0
    """In bytes."""
    added_files: int = 0
    added_size: int = 0
    removed_files: int = 0
    removed_size: int = 0
    scanned_at: float = 0.0
    """Time of the last scan, in seconds since the epoch; 0 if there was none."""
    reach: float = 0.0
    """Idle time (seconds) of the entry used last among those last evicted; 0 if unknown."""

    def added(self, size: int) -> "SharedTotals":
        """Totals with one more file of `size` bytes."""
        return replace(
            self,
            files=self.files + 1,
            size=self.size + size,
            added_files=self.added_files + 1,
            added_size=self.added_size + size,
        )

    def removed(self, size: int) -> "SharedTotals":
        """Totals with one file of `size` bytes less."""
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
        """Totals corrected by a scan that found `files` of `size` bytes.

        `before` are the totals when the scan started. The scan may have missed files that were
        added or removed meanwhile. So a count stays if it can be right; otherwise it becomes the
        nearest possible one.
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
        """Bytes of the totals file."""
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
        """Parse the bytes of a totals file; zeros if they are invalid."""
        if len(data) != _FORM.size or not data.startswith(_MAGIC):
            return cls()
        found = cls(*_FORM.unpack(data)[1:])
        return found if found.files >= 0 and found.size >= 0 else cls()


class TotalsFile:
    """Totals file, changed by one process at a time (flock); a killed process leaves it unlocked.

    If it cannot be written, or locked in time, each process counts its own changes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._patience = _LOCK_SECONDS
        self.latest = SharedTotals()
        """Totals as this process last saw them, in memory."""

    def __repr__(self) -> str:
        return f"<TotalsFile {self.latest}>"

    def change(self, change: Callable[[SharedTotals], SharedTotals]) -> SharedTotals:
        """Replace the totals by the result of `change`, and return them. Waits for the disk."""
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
        """Read the totals. Waits for the disk."""
        return self.change(lambda totals: totals)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open and lock the file. Raises OSError.

        The file is closed afterwards, so that an idle server does not prevent unmounting the disk.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o666)
        try:
            self._wait_for_lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int) -> None:
        """Wait for the lock. Raises OSError after the timeout; then the next calls do not wait."""
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
