"""Listing of a group: the file names of its entries, in 36 bytes each."""

import heapq
import struct
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice

from iiif_server.cache.entries import digest_of, is_entry_name

_FORM = struct.Struct(">16sQI8s")
_DIGEST = 16
_SORTED_AT_ONCE = 4096
"""Number of records sorted at once: sorting a million would block all threads for a second."""


class GroupListing:
    """File names of a group, sorted by digest. Not thread-safe."""

    __slots__ = ("_records", "changed_at")

    def __init__(self, names: Iterable[str] = (), changed_at: int | None = None) -> None:
        """Names in `names` that are not those of entries are ignored."""
        records = (_record(name) for name in names if is_entry_name(name))
        runs = []
        while run := sorted(islice(records, _SORTED_AT_ONCE)):
            runs.append(run)
        self._records = bytearray().join(heapq.merge(*runs))
        self.changed_at = changed_at
        """Modification time of the folder (ns) if the listing is complete; else None."""

    def __len__(self) -> int:
        return len(self._records) // _FORM.size

    def __repr__(self) -> str:
        return f"<GroupListing of {len(self)}>"

    @property
    def weight(self) -> int:
        """Approximate size in memory, in bytes."""
        return len(self._records) + 400

    def name(self, digest: str) -> str | None:
        """File name with this digest; None if there is none."""
        place = self._place(bytes.fromhex(digest))
        return None if place is None else _name(self._records, place)

    def add(self, name: str) -> None:
        """Add a file name; it replaces another with the same digest."""
        self.remove(digest_of(name))
        record = _record(name)
        place = self._first(record[:_DIGEST])
        self._records[place:place] = record

    def remove(self, digest: str) -> None:
        """Remove the file name with this digest, if there is one."""
        place = self._place(bytes.fromhex(digest))
        if place is not None:
            del self._records[place : place + _FORM.size]

    def _place(self, digest: bytes) -> int | None:
        place = self._first(digest)
        return place if self._records[place : place + _DIGEST] == digest else None

    def _first(self, digest: bytes) -> int:
        """Offset (bytes) of the first record whose digest is equal or greater."""

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
