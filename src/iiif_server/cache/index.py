"""Index in memory of the entries that this process has found on disk; it only saves looking."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from iiif_server.cache.entries import EntryKey, Stamp, digest_of, is_entry_name, stamp_of

_MANY = 64
"""Entries of a group from which on all of them are remembered; listing fewer is as quick."""


class EntryIndex:
    """File names by key, and what is known about files. The disk is the truth.

    Several threads use it: each step is one operation on a dictionary, and dictionaries are
    replaced as a whole when they are pruned.
    """

    def __init__(self, entries: Path) -> None:
        """`entries` is the folder of all groups."""
        self._entries = entries
        self._names: dict[EntryKey, str] = {}
        self._listed: dict[str, int] = {}
        """Large groups all of whose entries are known, and the time of their folder's last change
        when they were listed."""
        self._verified: dict[str, Stamp] = {}
        """Large files whose bytes were right, by name."""
        self._spoilt: dict[str, Stamp] = {}
        """Files that are wrong and cannot be removed, by name."""

    def __repr__(self) -> str:
        return f"<EntryIndex of {len(self._names)}>"

    def folder(self, group: str) -> Path:
        """The folder of a group."""
        return self._entries / group[:2] / group

    def get(self, key: EntryKey) -> str | None:
        """The file name of an entry that this process has found or written."""
        return self._names.get(key)

    def add(self, key: EntryKey, name: str) -> None:
        """Remember an entry that was found."""
        self._names[key] = name

    def forget(self, key: EntryKey) -> None:
        """Forget an entry that was not found."""
        self._names.pop(key, None)

    def look_up(self, key: EntryKey) -> str | None:
        """The file name of an entry that another process, or an earlier one, has written.

        A group may have thousands of entries, and is not listed for each miss. What is added to a
        group while it is listed is not found then, and is made once more.
        """
        if self.knows_all(key.group):
            return None
        folder, listed = self.folder(key.group), self._listed
        changed = _changed_at(folder)
        with contextlib.suppress(OSError):
            # `listdir` makes no object for each.
            names = [name for name in os.listdir(folder) if is_entry_name(name)]  # noqa: PTH208
            if len(names) >= _MANY:
                self._names.update((EntryKey(key.group, digest_of(name)), name) for name in names)
                listed[key.group] = changed
            return next((name for name in names if digest_of(name) == key.digest), None)
        return None

    def knows_all(self, group: str) -> bool:
        """Whether all entries of a group are known: it has not changed since it was listed."""
        listed = self._listed.get(group)
        if listed is None or listed == _changed_at(self.folder(group)):
            return listed is not None
        self._listed.pop(group, None)
        return False

    def forget_listing(self, group: str) -> None:
        """List a group again at the next miss, as another process may have added to it."""
        self._listed.pop(group, None)

    def replace(self, key: EntryKey, path: Path, move: Callable[[Path], None]) -> str | None:
        """Move a new entry to its path; the name of the file that had its key before, if another.

        Raises what `move` raises.
        """
        all_known, listed = self.knows_all(key.group), self._listed
        move(path)
        self._spoilt.pop(path.name, None)
        former = self._names.get(key, path.name)
        self._names[key] = path.name
        if all_known:
            listed[key.group] = _changed_at(path.parent)
        return None if former == path.name else former

    def is_verified(self, name: str, stamp: Stamp) -> bool:
        """Whether the bytes of a file were right, and it has not changed since."""
        return self._verified.get(name) == stamp

    def set_verified(self, name: str, stamp: Stamp | None) -> None:
        """Remember that the bytes of a file are right; None: forget it."""
        if stamp is None:
            self._verified.pop(name, None)
        else:
            self._verified[name] = stamp

    def is_spoilt(self, name: str, status: os.stat_result) -> bool:
        """Whether a file is known to be wrong, and has not changed since."""
        return name in self._spoilt and self._spoilt[name] == stamp_of(status)

    def set_spoilt(self, path: Path) -> None:
        """Remember that a file is wrong and cannot be removed."""
        with contextlib.suppress(OSError):
            self._spoilt[path.name] = stamp_of(path.lstat())

    def prune(self, present: set[str]) -> None:
        """Forget all files but these."""
        # Lists first: other threads may be adding to them.
        self._names = {key: name for key, name in list(self._names.items()) if name in present}
        # What was added since may be forgotten, so no group is known as a whole. A new dictionary:
        # `look_up` and `replace` must not note it in this one for a group listed before.
        self._listed = {}
        self._verified = _those_in(present, self._verified)
        self._spoilt = _those_in(present, self._spoilt)


def _changed_at(folder: Path) -> int:
    """The time of a folder's last change (ns); 0 if there is no such folder."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - for each miss
    except OSError:
        return 0


def _those_in(names: set[str], stamps: dict[str, Stamp]) -> dict[str, Stamp]:
    return {name: stamp for name, stamp in list(stamps.items()) if name in names}
