"""Animated GIFs written by hand, and WebPs whose container is."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
CLEAR = 3
"""The index that is transparent, if a frame has one."""
KEPT, BACKGROUND, PREVIOUS = 1, 2, 3
"""Disposal methods of GIF."""


@dataclass(frozen=True)
class Frame:
    """A rectangle of one colour, but for its first pixel, which may be transparent."""

    colour: int
    box: tuple[int, int, int, int]
    """Left, top, width, height."""
    disposal: int = KEPT
    hole: bool = False
    blend: bool = True
    """Of WebP: whether what is transparent shows the frame below."""


def gif(size: tuple[int, int], frames: Sequence[Frame]) -> bytes:
    """A GIF without compression: the table of codes is cleared before it grows."""
    data = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80 | 1, 0, 0)
    data += bytes(value for colour in PALETTE for value in colour)
    data += b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    for frame in frames:
        flags = frame.disposal << 2 | frame.hole
        data += b"!\xf9\x04" + struct.pack("<BHBB", flags, 10, CLEAR, 0)
        data += b"," + struct.pack("<HHHHB", *frame.box, 0) + b"\x02" + _codes(frame)
    return data + b";"


def _codes(frame: Frame) -> bytes:
    """Codes of three bits: a clear code (4) before every second pixel, and the end (5)."""
    count = frame.box[2] * frame.box[3]
    pixels = [CLEAR if frame.hole and at == 0 else frame.colour for at in range(count)]
    codes = [code for at, pixel in enumerate(pixels) for code in ([4] * (at % 2 == 0) + [pixel])]
    number = sum(code << 3 * at for at, code in enumerate([*codes, 5]))
    packed = number.to_bytes(-(-3 * (len(codes) + 1) // 8), "little")
    blocks = (packed[at : at + 255] for at in range(0, len(packed), 255))
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def webp(size: tuple[int, int], frames: Sequence[Frame]) -> bytes:
    """An animated WebP: lossless frames in a container."""
    chunks = _chunk(b"VP8X", struct.pack("<I", 0x12) + _sides(*size))
    chunks += _chunk(b"ANIM", b"\xff\xff\0\xff\0\0")  # a background, which nobody shows
    for frame in frames:
        x, y, width, height = frame.box
        flags = (not frame.blend) << 1 | (frame.disposal == BACKGROUND)
        place = struct.pack("<I", x // 2)[:3] + struct.pack("<I", y // 2)[:3]
        head = place + _sides(width, height) + b"\x64\0\0" + bytes([flags])
        chunks += _chunk(b"ANMF", head + _still(frame))
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _still(frame: Frame) -> bytes:
    image = Image.new("RGBA", frame.box[2:], (*PALETTE[frame.colour], 255))
    if frame.hole:
        image.putpixel((0, 0), (0, 0, 0, 0))
    file = BytesIO()
    image.save(file, "WEBP", lossless=True, exact=True)
    data = file.getvalue()
    at = data.index(b"VP8L")
    return data[at : at + 8 + (struct.unpack_from("<I", data, at + 4)[0] + 1) // 2 * 2]


def _sides(width: int, height: int) -> bytes:
    return struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
