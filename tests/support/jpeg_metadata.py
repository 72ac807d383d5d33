"""JPEGs with metadata that is written by hand: EXIF, XMP, IPTC, gain maps, colour spaces of DCF."""

import struct
from collections.abc import Mapping, Sequence

Value = tuple[int, int, bytes]
"""Type, count and bytes of an EXIF value."""
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
ADOBE_EXIF, ADOBE_INTEROP = 34_665, 40_965
_GPS = 34_853


def text(value: str) -> Value:
    """An EXIF value of type ASCII."""
    data = value.encode() + b"\0"
    return 2, len(data), data


def short(value: int, order: str = "<") -> Value:
    """An EXIF value of type SHORT."""
    return 3, 1, struct.pack(f"{order}H", value)


def degrees(value: int, order: str = "<") -> Value:
    """An EXIF position: degrees, minutes and seconds."""
    return 5, 3, struct.pack(f"{order}6I", value, 1, 30, 1, 59, 1)


def exif(directory: Mapping[int, object], order: str = "<") -> bytes:
    """A TIFF structure; a value that is a mapping is a directory of its own."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}I", 8) + _directory(directory, order, 8)


def _directory(tags: Mapping[int, object], order: str, at: int) -> bytes:
    place, entries, body = at + 2 + 12 * len(tags) + 4, b"", b""
    for tag, value in sorted(tags.items()):
        if isinstance(value, Mapping):
            kind, count = 4, 1
            body += _directory(value, order, place + len(body))
            data = struct.pack(f"{order}I", place + len(body) - len(_last(body, value, order)))
        else:
            kind, count, data = value  # type: ignore[misc]
            if len(data) > 4:
                body, data = body + data, struct.pack(f"{order}I", place + len(body))
        entries += struct.pack(f"{order}HHI", tag, kind, count) + data.ljust(4, b"\0")
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + body


def _last(body: bytes, value: Mapping[int, object], order: str) -> bytes:
    return body[len(body) - len(_directory(value, order, 0)) :]


def segment(marker: int, payload: bytes) -> bytes:
    """A marker segment."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments after its JFIF header."""
    at = 4 + int.from_bytes(jpeg[4:6]) if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:at] + b"".join(segments) + jpeg[at:]


def xmp(properties: str, spaces: str = "") -> bytes:
    """A segment with an XMP packet."""
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    packet = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {rdf}><rdf:Description rdf:about="" '
        f"{spaces}>{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    return segment(0xE1, XMP + packet.encode())


def iptc(*datasets: tuple[int, str]) -> bytes:
    """Datasets of record 2."""
    return b"".join(
        b"\x1c\x02" + bytes((number,)) + struct.pack(">H", len(value.encode())) + value.encode()
        for number, value in datasets
    )


def photoshop(*resources: tuple[int, bytes]) -> bytes:
    """A segment with image resources."""
    data = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(value)) + value + bytes(len(value) % 2)
        for number, value in resources
    )
    return segment(0xED, b"Photoshop 3.0\0" + data)


def multi_picture(jpeg: bytes, further: Sequence[bytes], *segments: bytes) -> bytes:
    """A JPEG followed by further images, with an index of them (CIPA DC-007)."""
    count = 1 + len(further)
    length = len(segment(0xE2, bytes(4 + 50 + 16 * count)))
    first = with_segments(jpeg, *segments)
    at = 4 + int.from_bytes(first[4:6])  # of the segment; its index begins 8 bytes later
    place, entries = (
        len(first) + length,
        struct.pack("<IIIHH", 0x030000, len(first) + length, 0, 0, 0),
    )
    for one in further:
        entries += struct.pack("<IIIHH", 0, len(one), place - at - 8, 0, 0)
        place += len(one)
    tags = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, count)
    tags += struct.pack("<HHII", 0xB002, 7, 16 * count, 50)
    index = b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + tags + bytes(4) + entries
    return with_segments(first, segment(0xE2, index)) + b"".join(further)
