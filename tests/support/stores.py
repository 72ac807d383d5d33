"""A store of derivatives on a real disk, with a clock that is moved by hand."""

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
class Opened:
    """A store, what it told, and a clock that is moved by hand."""

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

    def draft(self, data: bytes = b"") -> PendingFile:
        """A file being written."""
        draft = self.store.reserve()
        assert draft is not None
        draft.path.write_bytes(data)
        return draft

    def put(self, name: str, data: bytes | None = None, group: str = "an original") -> Entry:
        """Commit what stands for a derivative."""
        draft = self.draft(content(name) if data is None else data)
        entry = self.store.commit(key(name, group), draft, "jpg")
        draft.close()
        assert entry is not None
        return entry

    def get(self, name: str, group: str = "an original") -> bytes | None:
        """What is found, if it has not been evicted before it could be read."""
        entry = self.store.find(key(name, group))
        found = None if entry is None else self.store.read(entry, IN_MEMORY)
        if found is None or isinstance(found, bytes):
            return found
        with found:
            return found.read()

    def used(self, name: str, seconds_ago: float) -> None:
        """Make an entry's last use as long ago."""
        entry = self.store.find(key(name))
        assert entry is not None
        then = time.time() - seconds_ago
        os.utime(entry.path, (then, then))

    def used_now(self, name: str) -> None:
        """Make an entry's last use now, by the store's clock; the disk's is another."""
        (path,) = (path for path in self.store.paths() if path.name.startswith(hexadecimal(name)))
        os.utime(path, (self.clock(), self.clock()))


def key(name: str, group: str = "an original") -> EntryKey:
    """The key of what stands for a derivative."""
    return EntryKey(hexadecimal(group), hexadecimal(name))


def hexadecimal(text: str) -> str:
    """What stands for the digest of something."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def content(name: str, length: int = 1000) -> bytes:
    """Bytes that tell the name they are kept under."""
    return (name.encode() * length)[:length]
