"""Entries of the store: cache keys, file names, and functions that read the files."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_NAME = re.compile(r"([0-9a-f]{32})\.(\d{1,15})\.([0-9a-f]{8})\.([a-z0-9]{1,8})", re.ASCII)

Stamp = tuple[int, int]
"""Inode and ctime (ns) of a file: any change to the file changes one of them."""


@dataclass(frozen=True, slots=True)
class EntryKey:
    """Cache key: group and digest, 32 hexadecimal digits each."""

    group: str
    """Digest of the original."""
    digest: str
    """Digest of everything that the bytes of the entry depend on."""

    def name(self, length: int, checksum: int, suffix: str) -> str:
        """File name of an entry with this key; `length` is in bytes, `checksum` a CRC-32."""
        return f"{self.digest}.{length}.{checksum:08x}.{suffix}"


@dataclass(frozen=True, slots=True)
class Entry:
    """File of the store, which existed with the right length when it was checked."""

    path: Path
    length: int
    """In bytes."""
    checksum: int
    """Expected CRC-32 of its bytes."""


def is_entry_name(name: str) -> bool:
    """Whether this is the file name of an entry."""
    return _NAME.fullmatch(name) is not None


def parse_name(name: str) -> tuple[int, int] | None:
    """Length (bytes) and CRC-32 in the file name of an entry; None for other names."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[2]), int(match[3], 16))


def digest_of(name: str) -> str:
    """Digest in the file name of an entry."""
    return name[:32]


def stamp_of(status: os.stat_result) -> Stamp:
    """Stamp of a file with this status."""
    return status.st_ino, status.st_ctime_ns


def reason_of(error: OSError) -> str:
    """Text of an OSError for the log, without its path."""
    return f"{type(error).__name__}: {error.strerror or 'no reason given'}"


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. Raises OSError, also for symbolic links; a FIFO does not block."""
    return open(path, "rb", opener=_open_regular)


def _open_regular(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def read_nowait(path: Path, length: int) -> bytes | None:
    """First `length` bytes of a file, from the page cache only.

    None if they are not cached, the file is shorter, or it cannot be read.
    """
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
    """Entry files below a folder, at any depth; none if the folder is missing."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                yield from files_below(Path(item.path))
            elif is_entry_name(item.name):
                yield item
