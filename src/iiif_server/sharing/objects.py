"""Objects of the shared cache: their names below its prefix, and the trailer of each. Pure.

The trailer follows the content, so that a request for the table of a pyramid part reads it, too.
"""

import struct
from hashlib import blake2b

from iiif_server.cache.entries import EntryKey
from iiif_server.digests import crc32

ENTRIES = "entries"
"""Prefix of the entries and records of originals."""
PURGES = "purges"
"""Prefix of the markers of purges."""
_FORM = struct.Struct(">8sQI")
SIZE = _FORM.size
_CHECKSUM = 4
"""Bytes of the checksum, at the end of the trailer."""


def folder_of(group: str) -> str:
    """Prefix of all objects of one original."""
    return f"entries/{group[:2]}/{group}"


def name_of(key: EntryKey) -> str:
    """Name of the object of an entry."""
    return f"{folder_of(key.group)}/{key.digest}"


def record_of(group: str, image: str) -> str:
    """Name of the record of an image, see `images.shared_images`."""
    return f"{folder_of(group)}/image-{image}"


def trailer(name: str, length: int, checksum: int) -> bytes:
    """Trailer of an object, for its name, and the length (bytes) and CRC-32 of its content.

    The name makes an object invalid that was copied to another name.
    """
    return _FORM.pack(blake2b(name.encode(), digest_size=8).digest(), length, checksum)


def has_valid_trailer(name: str, end: bytes, size: int) -> bool:
    """Whether the end of an object of `size` bytes has a trailer of this name and length."""
    expected = trailer(name, max(0, size - SIZE), 0)[:-_CHECKSUM]
    return end[-SIZE:-_CHECKSUM] == expected


def wrapped(name: str, content: bytes) -> bytes:
    """Append the trailer to the content."""
    return content + trailer(name, len(content), crc32(content))


def unwrapped(name: str, data: bytes) -> bytes | None:
    """Content of an object; None if it is damaged, or of another name."""
    content = data[:-SIZE]
    return content if data == wrapped(name, content) else None
