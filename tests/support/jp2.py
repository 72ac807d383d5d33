"""JP2 boxes written by hand."""

import struct

SIDE = 32
"""Width and height."""


def box(name: bytes, content: bytes) -> bytes:
    """A box."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def jp2(stream: bytes, *inner: bytes, count: int = 3) -> bytes:
    """A JP2 of a codestream of so many components, with boxes in its header."""
    signature = box(b"jP  ", b"\r\n\x87\n")
    kind = box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    header = box(b"ihdr", struct.pack(">IIHBBBB", SIDE, SIDE, count, 7, 7, 0, 0))
    return signature + kind + box(b"jp2h", header + b"".join(inner)) + box(b"jp2c", stream)


def enumerated(space: int) -> bytes:
    """A colour specification box with an enumerated colour space."""
    return box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))


def palette(*entries: tuple[int, ...]) -> bytes:
    """A palette box of bytes."""
    table = b"".join(bytes(entry) for entry in entries)
    columns = len(entries[0])
    return box(b"pclr", struct.pack(">HB", len(entries), columns) + b"\7" * columns + table)


def mapping(*columns: int) -> bytes:
    """A component mapping box: these columns of the palette, by the first component."""
    return box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in columns))


def channels(*definitions: tuple[int, int, int]) -> bytes:
    """A channel definition box: channel, type and association of each."""
    content = b"".join(struct.pack(">HHH", *definition) for definition in definitions)
    return box(b"cdef", struct.pack(">H", len(definitions)) + content)
