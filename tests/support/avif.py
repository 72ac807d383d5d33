"""AVIF collections: images coded by Pillow's libavif, in a container written by hand."""

import struct
from collections.abc import Sequence
from io import BytesIO

from PIL import Image


def collection(images: Sequence[Image.Image], *, primary: int) -> bytes:
    """Return an AVIF of these images as items 1, 2, ..., none of them hidden."""
    coded = [_coded(image) for image in images]
    count = len(images)
    kind = _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    entries = b"".join(
        _box(b"infe", struct.pack(">IHH", 2 << 24, number, 0) + b"av01\0")
        for number in _items(count)
    )
    properties, uses = b"", b""
    for number, (image, (configuration, _)) in enumerate(zip(images, coded, strict=True), 1):
        properties += configuration + _box(b"ispe", struct.pack(">III", 0, *image.size))
        properties += _box(b"pixi", b"\0\0\0\0\3\x08\x08\x08")
        uses += struct.pack(">HBBBB", number, 3, 0x80 | 3 * number - 2, 3 * number - 1, 3 * number)
    uses = _box(b"ipma", struct.pack(">II", 0, count) + uses)

    def meta(start: int) -> bytes:
        places, at = b"", start
        for number, (_, data) in enumerate(coded, 1):
            places += struct.pack(">HHHII", number, 0, 1, at, len(data))
            at += len(data)
        return _box(
            b"meta",
            bytes(4)
            + _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
            + _box(b"pitm", struct.pack(">IH", 0, primary))
            + _box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, count) + places)
            + _box(b"iinf", struct.pack(">IH", 0, count) + entries)
            + _box(b"iprp", _box(b"ipco", properties) + uses),
        )

    start = len(kind) + len(meta(0)) + 8
    return kind + meta(start) + _box(b"mdat", b"".join(data for _, data in coded))


def _items(count: int) -> range:
    return range(1, count + 1)


def _coded(image: Image.Image) -> tuple[bytes, bytes]:
    """Return the av1C box and the data of an image."""
    file = BytesIO()
    image.save(file, "AVIF", quality=95)
    data = file.getvalue()
    at = data.index(b"av1C") - 4
    return data[at : at + struct.unpack_from(">I", data, at)[0]], data[data.index(b"mdat") + 4 :]


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
