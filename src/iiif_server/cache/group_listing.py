"""File names of one group of entries, in 36 bytes each."""

import heapq
import struct
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice

from iiif_server.cache.entries import digest_of, is_entry_name

_FORM = struct.Struct(">16sQI8s")
_DIGEST = 16
_SORTED_AT_ONCE = 4096
"""Records: sorting a million at once would hold up all other threads for a second."""


class GroupListing:
    """The file names of a group, sorted by their digests. Not thread-safe."""

    __slots__ = ("_records", "changed_at")

    def __init__(self, names: Iterable[str] = (), changed_at: int | None = None) -> None:
        """`names` that are none of entries are left out."""
        records = (_record(name) for name in names if is_entry_name(name))
        runs = []
        while run := sorted(islice(records, _SORTED_AT_ONCE)):
            runs.append(run)
        self._records = bytearray().join(heapq.merge(*runs))
        self.changed_at = changed_at
        """When the folder was last changed (ns), if all its entries are known; else None."""

    def __len__(self) -> int:
        return len(self._records) // _FORM.size

    def __repr__(self) -> str:
        return f"<GroupListing of {len(self)}>"

    @property
    def weight(self) -> int:
        """Bytes of memory, roughly."""
        return len(self._records) + 400

    def name(self, digest: str) -> str | None:
        """The file name with a digest."""
        place = self._place(bytes.fromhex(digest))
        return None if place is None else _name(self._records, place)

    def add(self, name: str) -> None:
        """Add a file name; it replaces one with the same digest."""
        self.remove(digest_of(name))
        record = _record(name)
        place = self._first(record[:_DIGEST])
        self._records[place:place] = record

    def remove(self, digest: str) -> None:
        """Remove the file name with a digest, if there is one."""
        place = self._place(bytes.fromhex(digest))
        if place is not None:
            del self._records[place : place + _FORM.size]

    def _place(self, digest: bytes) -> int | None:
        place = self._first(digest)
        return place if self._records[place : place + _DIGEST] == digest else None

    def _first(self, digest: bytes) -> int:
        """Where the first record is that is not before a digest."""

        def digest_at(number: int) -> bytes:
            place = number * _FORM.size
            return bytes(self._records[place : place + _DIGEST])

        return bisect_left(range(len(self)), digest, key=digest_at) * _FORM.size


def _record(name: str) -> bytes:
    digest, length, checksum, suffix = name.split(".")
    return _FORM.pack(bytes.fromhex(digest), int(length), int(checksum, 16), suffix.encode())


def _name(records: bytearray, place: int) -> str:
    digest, length, checksum, suffix = _FORM.unpack_from(records, place)
    return f"{digest.hex()}.{length}.{checksum:08x}.{suffix.rstrip(bytes(1)).decode()}"
