"""Envelope of a shared object: what it must be as long as, and its checksum. Pure."""

import struct
from dataclasses import dataclass
from typing import Self

from iiif_server.digests import crc32

_FORM = struct.Struct(">8sQI")
_MAGIC = b"iiif-c1\n"
SIZE = _FORM.size
"""Bytes in front of the content."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Length and CRC-32 of the content that follows."""

    length: int
    checksum: int

    @classmethod
    def read(cls, data: bytes) -> Self | None:
        """The envelope at the begin of an object; None if there is none."""
        if len(data) < SIZE:
            return None
        magic, length, checksum = _FORM.unpack_from(data)
        return cls(length, checksum) if magic == _MAGIC else None

    def __bytes__(self) -> bytes:
        return _FORM.pack(_MAGIC, self.length, self.checksum)


def wrapped(content: bytes) -> bytes:
    """Content in its envelope."""
    return bytes(Envelope(len(content), crc32(content))) + content


def unwrapped(data: bytes) -> bytes | None:
    """The content of an object; None if it is not what was written."""
    envelope, content = Envelope.read(data), data[SIZE:]
    if envelope is None or (len(content), crc32(content)) != (envelope.length, envelope.checksum):
        return None
    return content
