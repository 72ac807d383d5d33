"""Index in memory of the entries that this process has seen on disk; the disk is the truth."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from iiif_server.cache.entries import EntryKey, Stamp, stamp_of
from iiif_server.cache.group_listing import GroupListing
from iiif_server.cache.lru import Lru

_MANY = 64
"""Number of entries from which a complete listing is cached, so that a miss does not list the group
again; listing fewer is as fast."""
_BYTES = 64_000_000
"""Maximum bytes of memory for the listings: enough for more than a million entries."""
_STAMPS = 16_384
"""Maximum number of large files whose checksum result is cached."""


class EntryIndex:
    """File names by cache key, and cached checksum results. Thread-safe."""

    def __init__(self, entries: Path) -> None:
        """`entries`: the folder of all groups."""
        self._entries = entries
        self._lock = threading.Lock()
        """Never held while the disk is accessed."""
        self._groups: Lru[str, GroupListing] = Lru(_BYTES)
        self._verified: Lru[str, Stamp] = Lru(_STAMPS)
        """Stamps of large files whose checksum was right, by file name."""
        self._spoilt: Lru[str, Stamp] = Lru(_STAMPS)
        """Stamps of damaged files that cannot be removed, by file name."""

    def __repr__(self) -> str:
        return f"<EntryIndex of {len(self._groups)} groups>"

    def folder(self, group: str) -> Path:
        """Folder of a group."""
        return self._entries / group[:2] / group

    def get(self, key: EntryKey) -> str | None:
        """File name of an entry that this process has found or written; None if unknown."""
        with self._lock:
            listing = self._groups.get(key.group)
            return None if listing is None else listing.name(key.digest)

    def forget(self, key: EntryKey) -> None:
        """Remove an entry from the index, as its file is missing."""
        with self._lock:
            if (listing := self._groups.get(key.group)) is not None:
                listing.remove(key.digest)
                self._put(key.group, listing)

    def look_up(self, key: EntryKey) -> str | None:
        """Look for an entry on the disk, which another process may have written.

        Returns its file name, or None. A group may have thousands of entries, so a complete listing
        is used until the folder changes. A listing may miss entries that are added while it is
        read: they are rendered again.
        """
        if self._complete(key.group) is not None:
            return None
        folder = self.folder(key.group)
        changed_at = _changed_at(folder)
        with contextlib.suppress(OSError):
            # `listdir` creates no object per entry.
            listing = GroupListing(os.listdir(folder))  # noqa: PTH208
            if len(listing) >= _MANY:
                listing.changed_at = changed_at
            with self._lock:
                self._put(key.group, listing)
                return listing.name(key.digest)
        return None

    def forget_listing(self, group: str) -> None:
        """Have the next miss list a group again, as another process may have added entries."""
        with self._lock:
            if (listing := self._groups.get(group)) is not None:
                listing.changed_at = None

    def replace(self, key: EntryKey, path: Path, move: Callable[[Path], None]) -> str | None:
        """Move a new entry to its path, with `move`.

        Returns the name of the former file with this key, if it has another name; else None.
        Raises the errors of `move`.
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
            # Another thread may have listed the group before this entry existed.
            listing.changed_at = changed_at if listing is complete else None
            self._put(key.group, listing)
        return None if former == path.name else former

    def is_verified(self, name: str, stamp: Stamp) -> bool:
        """Whether the checksum of a file was right, and the file has not changed since."""
        with self._lock:
            return self._verified.get(name) == stamp

    def set_verified(self, name: str, stamp: Stamp | None) -> None:
        """Store that the checksum of a file is right; with None, remove this result."""
        with self._lock:
            if stamp is None:
                self._verified.remove(name)
            else:
                self._verified.put(name, stamp)

    def is_spoilt(self, name: str, status: os.stat_result) -> bool:
        """Whether a file was damaged, and has not changed since."""
        with self._lock:
            return name in self._spoilt and self._spoilt.get(name) == stamp_of(status)

    def set_spoilt(self, path: Path) -> None:
        """Store that a file is damaged and cannot be removed."""
        with contextlib.suppress(OSError):
            stamp = stamp_of(path.lstat())
            with self._lock:
                self._spoilt.put(path.name, stamp)

    def _complete(self, group: str) -> GroupListing | None:
        """Listing of a group if it is complete and its folder has not changed; else None."""
        with self._lock:
            listing = self._groups.get(group)
            changed_at = None if listing is None else listing.changed_at
        if changed_at is None or changed_at != _changed_at(self.folder(group)):
            return None
        return listing

    def _put(self, group: str, listing: GroupListing) -> None:
        self._groups.put(group, listing, listing.weight)


def _changed_at(folder: Path) -> int:
    """Modification time of a folder (ns); 0 if it cannot be read."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - for each miss
    except OSError:
        return 0
