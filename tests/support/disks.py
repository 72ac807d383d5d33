"""A small disk of its own, to be filled and made read-only."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A file system in memory; the folder is where it is mounted."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    @property
    def free(self) -> int:
        """In bytes."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all space but so many bytes, as another user of the disk would."""
        chunk = bytes(1 << 12)
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while self.free > leave:
                file.write(chunk)

    def empty(self) -> None:
        """Give that space back."""
        self._ballast.unlink()

    def make_read_only(self) -> None:
        """Refuse every write; no file may be open for writing."""
        _run("mount", "-o", "remount,ro", str(self.folder))

    def make_writable(self) -> None:
        """Take writes again."""
        _run("mount", "-o", "remount,rw", str(self.folder))


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A disk of this size, mounted at a new folder; it goes with the context."""
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
