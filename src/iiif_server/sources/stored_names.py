"""File names of fetched originals, on disks that fold case or Unicode normalisation.

On case-insensitive disks (macOS, Windows shares), `A.jpg` and `a.jpg` are one file. On some of them
the Unicode forms of a letter (NFC, NFD) are one file, too; ZFS can fold only these.
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

_MAX_NAME = 240
"""Maximum bytes of one part of a path; file systems accept 255."""
_CASELESS = frozenset(string.ascii_lowercase + string.digits + " !#$%&'()+,-./;=@[]^_`{}~")
"""Characters that all file systems store unchanged."""
PROBE = ".probe-\xe9"
"""Name of an empty folder that shows whether its disk folds case or Unicode normalisation."""

RECORDS, HASHED = ".provenance", ".hashed"
"""Folders below that of a type: records, and originals with names that no file can have."""


class Places:
    """Paths of the fetched originals of a type, below its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<Places {self._folder}>"

    def record(self, name: str) -> Path:
        """Path of the provenance record; no original can have this path."""
        return self._folder / RECORDS / f"{digest(name)}.json"

    def hashed(self, name: str) -> Path:
        """Path for a name that no file can have; only this server writes there."""
        return self._folder / HASHED / digest(name)

    def all(self, name: str) -> list[Path]:
        """Paths at which an original may be.

        Operators, and older versions of this server, store files under any name.
        """
        hashed = self.hashed(name)
        return [self._folder / name, hashed] if is_file_name(name) else [hashed]

    def new(self, name: str) -> Path:
        """Path for a new file of this name; an existing file is replaced at its path.

        It is the name itself, unless another name could be the same file on this disk, or a file
        has the path of one of its folders.
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

        As some disks fold only one of them, the name of the probe has other spellings of both
        kinds.
        """
        probe = self._folder / PROBE
        with suppress(OSError):
            probe.mkdir(parents=True, exist_ok=True)
        return has_another_name(probe.parent, probe.name)


def record_of(folder: Path, below: str) -> Path:
    """Path of the provenance record for an original at a path below the folder of a type."""
    parent, _, last = below.rpartition("/")
    return folder / RECORDS / f"{last if parent == HASHED else digest(below)}.json"


def is_file_name(name: str) -> bool:
    """Whether a name, with its slashes, can be the path of a file."""
    return (
        all(
            part and not part.startswith(".") and len(part.encode()) <= _MAX_NAME
            for part in name.split("/")
        )
        and len(name.encode()) <= 4 * _MAX_NAME
    )


def is_distinct(name: str) -> bool:
    """Whether no other distinct name can be the same file on any disk."""
    return _CASELESS.issuperset(name) and not any(
        part.endswith((".", " "))
        for part in name.split("/")  # Windows removes dots and spaces at the end
    )


def is_entry(folder: Path, name: str) -> bool:
    """Whether the file at this name below a folder has exactly this name, in case and form.

    True also if no file exists. A folder is listed only if its disk finds the same file by another
    name; False if it cannot be listed.
    """
    for part in name.split("/"):
        if has_another_name(folder, part) and part not in _names_in(folder):
            return False
        folder /= part
    return True


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - only names are needed
    except OSError:
        return []


def has_another_name(folder: Path, part: str) -> bool:
    """Whether the disk finds the same file by a name that differs in case or Unicode form."""
    others = {part.swapcase(), normalize("NFC", part), normalize("NFD", part)} - {part}
    return any(_is_same(folder / part, folder / other) for other in others)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def is_kind(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether an existing path is of a kind, as `stat.S_ISDIR`. Raises OSError if the disk fails.

    From Python 3.14 on, `Path.is_file` and `Path.is_dir` return False for any error.
    """
    try:
        return kind(path.stat().st_mode)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return False
        raise
