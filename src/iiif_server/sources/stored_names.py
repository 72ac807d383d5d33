"""File names of fetched originals, on disks that fold case or Unicode normalisation.

On case-insensitive disks (macOS, Windows shares) `A.jpg` and `a.jpg` are one file, and on some so
are the two Unicode forms of one letter (NFC, NFD). Some disks fold only these (ZFS, if told to).
"""

import errno
import os
import stat
import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize

from iiif_server.sources.provenance import digest

_LONGEST_NAME = 240
"""In bytes; file systems take 255."""
_SAME_EVERYWHERE = frozenset(string.ascii_lowercase + string.digits + " !#$%&'()+,-./;=@[]^_`{}~")
"""Characters that every file system keeps as they are."""
PROBE = ".probe-\xe9"
"""Name of an empty folder that shows whether its disk folds case or Unicode normalisation."""

RECORDS, HASHED = ".provenance", ".hashed"
"""Below the folder of a type: records, and originals whose name cannot be that of a file."""


class Places:
    """Where the fetched originals of a type are, below its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<Places {self._folder}>"

    def record(self, name: str) -> Path:
        """The file of the provenance; no original can have its path."""
        return self._folder / RECORDS / f"{digest(name)}.json"

    def hashed(self, name: str) -> Path:
        """The path for a name that cannot be that of a file; nobody else writes there."""
        return self._folder / HASHED / digest(name)

    def all(self, name: str) -> list[Path]:
        """The paths at which an original may be.

        Operators, and former versions of this server, use any name as the path.
        """
        hashed = self.hashed(name)
        return [self._folder / name, hashed] if is_file_name(name) else [hashed]

    def new(self, name: str) -> Path:
        """The path for a new file of this name.

        It is the name itself unless another name could be the same file on this disk, or a file
        has the name of one of its folders. An existing file is replaced where it is.
        """
        path = self._folder / name
        if (
            is_file_name(name)
            and not is_kind(stat.S_ISDIR, path)
            and is_entry(self._folder, name)
            and (is_distinct(name) or is_kind(stat.S_ISREG, path) or not self._disk_folds_names())
        ):
            between = path.relative_to(self._folder).parents
            if not any(is_kind(stat.S_ISREG, self._folder / parent) for parent in between):
                return path
        return self.hashed(name)

    def _disk_folds_names(self) -> bool:
        """Whether names that differ in case or Unicode form are one file on this disk.

        Some disks fold only one of the two, so the name of the probe has another spelling in both.
        """
        probe = self._folder / PROBE
        with suppress(OSError):
            probe.mkdir(parents=True, exist_ok=True)
        return has_another_name(probe.parent, probe.name)


def record_of(folder: Path, below: str) -> Path:
    """The file of the provenance of the original at a path below the folder of a type."""
    parent, _, last = below.rpartition("/")
    return folder / RECORDS / f"{last if parent == HASHED else digest(below)}.json"


def is_file_name(name: str) -> bool:
    """Whether a name, with its slashes, is usable as the path of a file."""
    return (
        all(
            part and not part.startswith(".") and len(part.encode()) <= _LONGEST_NAME
            for part in name.split("/")
        )
        and len(name.encode()) <= 4 * _LONGEST_NAME
    )


def is_distinct(name: str) -> bool:
    """Whether no other such name can be the same file on any disk."""
    return _SAME_EVERYWHERE.issuperset(name) and not any(
        part.endswith((".", " "))
        for part in name.split("/")  # which Windows removes
    )


def is_entry(folder: Path, name: str) -> bool:
    """Whether the file found below a folder by this name has exactly this name.

    True also if nothing is found. A folder is listed only if its disk gives the same file for
    another name; False if it cannot be listed.
    """
    for part in name.split("/"):
        if has_another_name(folder, part) and part not in _names_in(folder):
            return False
        folder /= part
    return True


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def has_another_name(folder: Path, part: str) -> bool:
    """Whether the disk gives the same file for a name that differs in case or Unicode form."""
    others = {part.swapcase(), normalize("NFC", part), normalize("NFD", part)} - {part}
    return any(_is_same(folder / part, folder / other) for other in others)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def is_kind(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether a path is of a kind; raises OSError if the disk fails.

    `Path.is_file` and its like take any error for "no" from Python 3.14 on.
    """
    try:
        return kind(path.stat().st_mode)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return False
        raise
