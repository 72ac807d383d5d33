"""Resuming of `iiif-server prepare`: the originals that need no pyramid; and shards."""

import sqlite3
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from iiif_server.iiif.identifier import Identifier

_BATCH = 1000
"""Entries per transaction, and most entries that an interrupted run loses."""


class Prepared:
    """Set of the originals that need no pyramid, in an SQLite file in the cache.

    Several runs can share the file, and the operator may delete it. If it cannot be used, the set
    is in memory only.
    """

    def __init__(self, path: Path, conditions: str) -> None:
        """`conditions` are the settings, as text, on which the need for a pyramid depends."""
        self._conditions = conditions
        self._new: list[tuple[bytes]] = []
        create = "CREATE TABLE IF NOT EXISTS done (key BLOB PRIMARY KEY) WITHOUT ROWID"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute(create)
        except (OSError, sqlite3.Error):
            self._database = sqlite3.connect(":memory:")
            self._database.execute(create)

    def __contains__(self, fingerprint: str) -> bool:
        """Whether the version of an original with this fingerprint needs no pyramid."""
        query = "SELECT 1 FROM done WHERE key = ?"
        with suppress(sqlite3.Error):
            return self._database.execute(query, (self._key(fingerprint),)).fetchone() is not None
        return False

    def add(self, fingerprint: str) -> None:
        """Add the fingerprint of an original that needs no pyramid."""
        self._new.append((self._key(fingerprint),))
        if len(self._new) >= _BATCH:
            self._write()

    def close(self) -> None:
        """Write the new entries, and close the file."""
        self._write()
        self._database.close()

    def _write(self) -> None:
        with suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR IGNORE INTO done VALUES (?)", self._new)
        self._new.clear()

    def _key(self, fingerprint: str) -> bytes:
        return blake2b(f"{self._conditions} {fingerprint}".encode(), digest_size=16).digest()


def in_shard(subject: Identifier | str, number: int, shards: int) -> bool:
    """Whether a subject belongs to shard `number` (from 1); the same on every machine."""
    digest = blake2b(str(subject).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards == number - 1
