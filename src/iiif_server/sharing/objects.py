"""Objects of the shared cache: their names below its prefix, and the trailer of each. Pure.

The trailer is behind the content, where a request for the table of a pyramid part reads it, too.
"""

import struct
from hashlib import blake2b

from iiif_server.cache.entries import EntryKey
from iiif_server.digests import crc32

ENTRIES = "entries"
"""Below it: all that is made of originals."""
PURGES = "purges"
"""Below it: the markers of purges."""
_FORM = struct.Struct(">8sQI")
SIZE = _FORM.size
_CHECKSUM = 4
"""Bytes of the checksum, which are the last."""


def folder_of(group: str) -> str:
    """The folder of all objects of one original."""
    return f"entries/{group[:2]}/{group}"


def name_of(key: EntryKey) -> str:
    """The object of an entry."""
    return f"{folder_of(key.group)}/{key.digest}"


def record_of(group: str, image: str) -> str:
    """The record of an image: see `images.shared_images`."""
    return f"{folder_of(group)}/image-{image}"


def trailer(name: str, length: int, checksum: int) -> bytes:
    """The trailer of the object of a name, by length and CRC-32 of its content.

    An object that was moved to another name is not taken for that one.
    """
    return _FORM.pack(blake2b(name.encode(), digest_size=8).digest(), length, checksum)


def is_whole(name: str, end: bytes, size: int) -> bool:
    """Whether the last bytes of an object of so many bytes say that it is that of the name."""
    expected = trailer(name, max(0, size - SIZE), 0)[:-_CHECKSUM]
    return end[-SIZE:-_CHECKSUM] == expected


def wrapped(name: str, content: bytes) -> bytes:
    """Content with its trailer."""
    return content + trailer(name, len(content), crc32(content))


def unwrapped(name: str, data: bytes) -> bytes | None:
    """The content of an object; None if it is not what was written under its name."""
    content = data[:-SIZE]
    return content if data == wrapped(name, content) else None
