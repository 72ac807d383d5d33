"""Entries of the store: their keys, their file names, and reading their files."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_NAME = re.compile(r"([0-9a-f]{32})\.(\d{1,15})\.([0-9a-f]{8})\.([a-z0-9]{1,8})", re.ASCII)

Stamp = tuple[int, int]
"""Inode and the time of its last change (ns): any change to a file changes one of them."""


@dataclass(frozen=True, slots=True)
class EntryKey:
    """Cache key: group and digest, 32 hexadecimal digits each."""

    group: str
    """The digest of the original it was made of."""
    digest: str
    """The digest of all that decides its bytes."""

    def name(self, length: int, checksum: int, suffix: str) -> str:
        """The file name of an entry with this key."""
        return f"{self.digest}.{length}.{checksum:08x}.{suffix}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the store that was there, and as long as it must be."""

    path: Path
    length: int
    """In bytes."""
    checksum: int
    """The CRC-32 that its bytes must have."""


def is_entry_name(name: str) -> bool:
    """Whether a file name is that of an entry."""
    return _NAME.fullmatch(name) is not None


def parse_name(name: str) -> tuple[int, int] | None:
    """The length and the checksum in an entry's file name; None if it is no such name."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[2]), int(match[3], 16))


def digest_of(name: str) -> str:
    """The digest in an entry's file name."""
    return name[:32]


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file's status."""
    return status.st_ino, status.st_ctime_ns


def reason_of(error: OSError) -> str:
    """Text of an OSError for the log, without a path."""
    return f"{type(error).__name__}: {error.strerror or 'no reason given'}"


def open_file(path: Path) -> BinaryIO:
    """The file, open for reading. Symbolic links and FIFOs raise OSError or read as empty."""
    return open(path, "rb", opener=_open_regular)


def _open_regular(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def read_nowait(path: Path, length: int) -> bytes | None:
    """So many bytes of a file from the page cache; None if they are not in it, or may not be."""
    data = bytearray(length)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            count = os.preadv(descriptor, [data], 0, os.RWF_NOWAIT)
        finally:
            os.close(descriptor)
    except (OSError, AttributeError):
        return None
    return bytes(data) if count == length else None


def files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The entry files below a folder; none if the folder is missing."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                yield from files_below(Path(item.path))
            elif is_entry_name(item.name):
                yield item
