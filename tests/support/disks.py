"""Small disk that tests fill and make read-only."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """File system in memory (tmpfs), mounted at a folder."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    @property
    def free(self) -> int:
        """Return the free space in bytes."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Fill the disk but for so many bytes, as another user would."""
        chunk = bytes(1 << 12)
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while self.free > leave:
                file.write(chunk)

    def empty(self) -> None:
        """Free that space again."""
        self._ballast.unlink()

    def make_read_only(self) -> None:
        """Mount the disk read-only; no file may be open for writing."""
        _run("mount", "-o", "remount,ro", str(self.folder))

    def make_writable(self) -> None:
        """Mount the disk writable again."""
        _run("mount", "-o", "remount,rw", str(self.folder))


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at a new folder until the context closes."""
    folder.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"FULL AND READ-ONLY DISKS ARE NOT TESTED: nothing can be mounted ({error})")
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "-l", str(folder))


def _run(*command: str) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, *command], check=True, capture_output=True)
