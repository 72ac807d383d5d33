"""File names of fetched originals, on disks that fold case or Unicode normalisation.

On case-insensitive disks (macOS, Windows shares) `A.jpg` and `a.jpg` are one file, and on some so
are the two Unicode forms of one letter (NFC, NFD). Some disks fold only these (ZFS, if told to).
"""

import errno
import os
import string
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

_LONGEST_NAME = 240
"""In bytes; file systems take 255."""
_SAME_EVERYWHERE = frozenset(string.ascii_lowercase + string.digits + " !#$%&'()+,-./;=@[]^_`{}~")
"""Characters that every file system keeps as they are."""
PROBE = ".probe-\xe9"
"""Name of an empty folder that shows whether its disk folds case or Unicode normalisation."""


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
