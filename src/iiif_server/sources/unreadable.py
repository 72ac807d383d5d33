"""Search below the folder of a type for files and links that the server cannot serve.

It opens each file, as only that checks access control lists, containers and failing disks. Only
`iiif-server check` uses it; the search is limited in entries and time.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOENT, ENOTDIR
from pathlib import Path

from iiif_server.sources.opening import containing

_MAX_ENTRIES = 100_000
_SECONDS = 8.0
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(slots=True)
class Unreadable:
    """Files and folders that cannot be read for one reason."""

    example: Path
    """Path of the first one."""
    number: int = 0


@dataclass(slots=True)
class Survey:
    """Result of the search below a folder."""

    entries: int = 0
    """Number of checked files and folders."""
    unreadable: dict[int, Unreadable] = field(default_factory=dict)
    """Unreadable files and folders, by errno."""
    outside_links: Unreadable | None = None
    """Links to targets outside of the folder."""
    link_target: str = ""
    """Target of the first such link."""
    folder_to_follow: str = ""
    """Folder of this target, or the target itself if it is a folder."""
    is_complete: bool = True
    """Whether all files were checked; False if a limit was reached."""

    @property
    def failures(self) -> int:
        """Number of files and folders that cannot be read."""
        return sum(found.number for found in self.unreadable.values())

    def add_link(self, path: str, allowed: Sequence[str]) -> None:
        """Count a link with an existing target outside of the allowed folders."""
        with suppress(OSError):
            target = os.path.realpath(path, strict=True)
            if containing(target, allowed) is None:
                if self.outside_links is None:
                    self.outside_links, self.link_target = Unreadable(Path(path)), target
                    target_path = Path(target)
                    self.folder_to_follow = str(
                        target_path if target_path.is_dir() else target_path.parent
                    )
                self.outside_links.number += 1

    def add(self, path: Path, error: OSError) -> None:
        """Count a file or folder that cannot be read, unless it does not exist any more."""
        if error.errno is not None and error.errno not in {ENOENT, ENOTDIR}:
            self.unreadable.setdefault(error.errno, Unreadable(path)).number += 1


def check_can_enter(folder: Path) -> None:
    """Raise OSError if files in a folder cannot be opened, even if it can be listed."""
    os.stat(f"{folder}/.")  # noqa: PTH116 - pathlib would remove the dot


def find_unreadable(
    folder: Path,
    links: Sequence[Path] = (),
    max_entries: int = _MAX_ENTRIES,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Survey:
    """Check that the files and folders below a folder can be read, within limits.

    Hidden files are skipped, as the server does not serve them. Links to targets outside of the
    folder and of `links` are counted; the targets of other links are not checked. Never raises
    OSError.
    """
    survey, end = Survey(), clock() + seconds
    allowed = tuple(map(os.path.realpath, (folder, *links)))
    folders = deque([folder])
    while folders:
        at = folders.popleft()
        try:
            check_can_enter(at)
            for entry in _visible(at):
                if survey.entries >= max_entries or clock() >= end:
                    survey.is_complete = False
                    return survey
                if entry.is_symlink():
                    survey.add_link(entry.path, allowed)
                    continue
                survey.entries += 1
                if _is_folder(survey, entry):
                    folders.append(Path(entry.path))
        except OSError as error:
            survey.add(at, error)
    return survey


def _visible(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry


def _is_folder(survey: Survey, entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder. Opens a file, and counts it if that fails."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return True
        if entry.is_file(follow_symlinks=False):  # opening a device may have side effects
            os.close(os.open(entry.path, _READ))
    except OSError as error:
        survey.add(Path(entry.path), error)
    return False
