"""Index in memory of the entries that this process has seen on disk; it only saves looking."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from iiif_server.cache.entries import EntryKey, Stamp, stamp_of
from iiif_server.cache.group_listing import GroupListing
from iiif_server.cache.lru import Lru

_MANY = 64
"""Entries of a group from which on a miss does not list it again; listing fewer is as quick."""
_BYTES = 64_000_000
"""Most memory for the listings of groups: enough for more than a million entries."""
_STAMPS = 16_384
"""Most large files of which it is remembered that their bytes are right, or wrong."""


class EntryIndex:
    """File names by key, and what is known about files. The disk is the truth. Thread-safe."""

    def __init__(self, entries: Path) -> None:
        """`entries` is the folder of all groups."""
        self._entries = entries
        self._lock = threading.Lock()
        """Held for no disk."""
        self._groups: Lru[str, GroupListing] = Lru(_BYTES)
        self._verified: Lru[str, Stamp] = Lru(_STAMPS)
        """Large files whose bytes were right, by name."""
        self._spoilt: Lru[str, Stamp] = Lru(_STAMPS)
        """Files that are wrong and cannot be removed, by name."""

    def __repr__(self) -> str:
        return f"<EntryIndex of {len(self._groups)} groups>"

    def folder(self, group: str) -> Path:
        """The folder of a group."""
        return self._entries / group[:2] / group

    def get(self, key: EntryKey) -> str | None:
        """The file name of an entry that this process has found or written."""
        with self._lock:
            listing = self._groups.get(key.group)
            return None if listing is None else listing.name(key.digest)

    def forget(self, key: EntryKey) -> None:
        """Forget an entry that was not found."""
        with self._lock:
            if (listing := self._groups.get(key.group)) is not None:
                listing.remove(key.digest)
                self._put(key.group, listing)

    def look_up(self, key: EntryKey) -> str | None:
        """The file name of an entry that another process, or an earlier one, has written.

        A group may have thousands of entries, and is not listed for each miss. What is added to a
        group while it is listed is not found then, and is made once more.
        """
        if self._complete(key.group) is not None:
            return None
        folder = self.folder(key.group)
        changed_at = _changed_at(folder)
        with contextlib.suppress(OSError):
            # `listdir` makes no object for each.
            listing = GroupListing(os.listdir(folder))  # noqa: PTH208
            if len(listing) >= _MANY:
                listing.changed_at = changed_at
            with self._lock:
                self._put(key.group, listing)
                return listing.name(key.digest)
        return None

    def forget_listing(self, group: str) -> None:
        """List a group again at the next miss, as another process may have added to it."""
        with self._lock:
            if (listing := self._groups.get(group)) is not None:
                listing.changed_at = None

    def replace(self, key: EntryKey, path: Path, move: Callable[[Path], None]) -> str | None:
        """Move a new entry to its path; the name of the file that had its key before, if another.

        Raises what `move` raises.
        """
        complete = self._complete(key.group)
        move(path)
        changed_at = None if complete is None else _changed_at(path.parent)
        with self._lock:
            self._spoilt.remove(path.name)
            listing = self._groups.get(key.group)
            if listing is None:
                listing = GroupListing()
            former = listing.name(key.digest)
            listing.add(path.name)
            # Another thread may have listed the group before this entry was there.
            listing.changed_at = changed_at if listing is complete else None
            self._put(key.group, listing)
        return None if former == path.name else former

    def is_verified(self, name: str, stamp: Stamp) -> bool:
        """Whether the bytes of a file were right, and it has not changed since."""
        with self._lock:
            return self._verified.get(name) == stamp

    def set_verified(self, name: str, stamp: Stamp | None) -> None:
        """Remember that the bytes of a file are right; None: forget it."""
        with self._lock:
            if stamp is None:
                self._verified.remove(name)
            else:
                self._verified.put(name, stamp)

    def is_spoilt(self, name: str, status: os.stat_result) -> bool:
        """Whether a file is known to be wrong, and has not changed since."""
        with self._lock:
            return name in self._spoilt and self._spoilt.get(name) == stamp_of(status)

    def set_spoilt(self, path: Path) -> None:
        """Remember that a file is wrong and cannot be removed."""
        with contextlib.suppress(OSError):
            stamp = stamp_of(path.lstat())
            with self._lock:
                self._spoilt.put(path.name, stamp)

    def _complete(self, group: str) -> GroupListing | None:
        """The listing of a group that has not changed since; None if entries may be unknown."""
        with self._lock:
            listing = self._groups.get(group)
            changed_at = None if listing is None else listing.changed_at
        if changed_at is None or changed_at != _changed_at(self.folder(group)):
            return None
        return listing

    def _put(self, group: str, listing: GroupListing) -> None:
        self._groups.put(group, listing, listing.weight)


def _changed_at(folder: Path) -> int:
    """The time of a folder's last change (ns); 0 if there is no such folder."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - for each miss
    except OSError:
        return 0
