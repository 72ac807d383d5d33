"""Store of derivatives on a real disk, with a clock that tests set."""

import os
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.cache.eviction import Bounds
from iiif_server.cache.pending_files import PendingFile
from iiif_server.cache.store import Store
from iiif_server.telemetry.events import Event

HOUR = 3600.0
IN_MEMORY = 100_000
"""Bytes above which what is read comes as a file."""


@dataclass
class OpenStore:
    """Store with its events, and a clock that tests set."""

    root: Path
    bounds: Bounds = field(default_factory=Bounds)
    events: list[Event] = field(default_factory=list)
    ahead: float = 0.0
    """By how many seconds the clock is ahead of the true time."""
    later: float = 0.0
    """How many seconds have passed, as far as the store knows, beside the true ones."""

    def __post_init__(self) -> None:
        self.store = Store(self.root, self.bounds, self.events.append, self.clock, self.monotonic)
        self.store.open()

    def clock(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.later

    def pending_file(self, data: bytes = b"") -> PendingFile:
        """Return a pending file with this content."""
        pending_file = self.store.reserve()
        assert pending_file is not None
        pending_file.path.write_bytes(data)
        return pending_file

    def put(self, name: str, data: bytes | None = None, group: str = "an original") -> Entry:
        """Commit an entry with this name."""
        pending_file = self.pending_file(content(name) if data is None else data)
        entry = self.store.commit(key(name, group), pending_file, "jpg")
        pending_file.close()
        assert entry is not None
        return entry

    def get(self, name: str, group: str = "an original") -> bytes | None:
        """Return the content of an entry; None if it is missing, or evicted before it is read."""
        entry = self.store.find(key(name, group))
        found = None if entry is None else self.store.read(entry, IN_MEMORY)
        if found is None or isinstance(found, bytes):
            return found
        with found:
            return found.read()

    def set_last_used(self, name: str, seconds_ago: float) -> None:
        """Set the last use of an entry to so many seconds ago."""
        entry = self.store.find(key(name))
        assert entry is not None
        then = time.time() - seconds_ago
        os.utime(entry.path, (then, then))

    def set_last_used_now(self, name: str) -> None:
        """Set the last use of an entry to now by the store's clock, not the disk's."""
        (path,) = (path for path in self.store.paths() if path.name.startswith(hexadecimal(name)))
        os.utime(path, (self.clock(), self.clock()))


def key(name: str, group: str = "an original") -> EntryKey:
    """Return the key of an entry with this name."""
    return EntryKey(hexadecimal(group), hexadecimal(name))


def hexadecimal(text: str) -> str:
    """Return a digest of a text, as entries have."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def content(name: str, length: int = 1000) -> bytes:
    """Return bytes that repeat the name of their entry."""
    return (name.encode() * length)[:length]
