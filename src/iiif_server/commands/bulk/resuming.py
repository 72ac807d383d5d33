"""Resuming of `iiif-server prepare`: originals that were found to need no pyramid."""

import sqlite3
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from iiif_server.iiif.identifier import Identifier

_AT_ONCE = 1000
"""Entries that one transaction writes; a run that is interrupted loses no more."""


class Prepared:
    """Originals that need no pyramid, in a SQLite file in the cache, which may be deleted.

    Several runs can share it. If it cannot be used, nothing is remembered.
    """

    def __init__(self, path: Path, conditions: str) -> None:
        """`conditions` are the settings that decide which originals need pyramids."""
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
        """Whether an original in this version was found to need no pyramid."""
        query = "SELECT 1 FROM done WHERE key = ?"
        with suppress(sqlite3.Error):
            return self._database.execute(query, (self._key(fingerprint),)).fetchone() is not None
        return False

    def add(self, fingerprint: str) -> None:
        """Remember that an original in this version needs none."""
        self._new.append((self._key(fingerprint),))
        if len(self._new) >= _AT_ONCE:
            self._write()

    def close(self) -> None:
        """Write what is new."""
        self._write()
        self._database.close()

    def _write(self) -> None:
        with suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR IGNORE INTO done VALUES (?)", self._new)
        self._new.clear()

    def _key(self, fingerprint: str) -> bytes:
        return blake2b(f"{self._conditions} {fingerprint}".encode(), digest_size=16).digest()


def in_shard(subject: Identifier | str, number: int, shards: int) -> bool:
    """Whether a subject belongs to a shard, counted from 1, on every machine the same."""
    digest = blake2b(str(subject).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards == number - 1
