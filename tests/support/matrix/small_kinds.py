"""GIF, BMP and WebP."""

import struct
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from support.matrix import profiles
from support.matrix.chart import BITS, FRACTIONS, HEIGHT, LAB, RGB, WIDTH, Array, Kind, painted
from support.matrix.colours import ADOBE, lab_of_srgb, limited_range, ycbcr
from support.matrix.ffmpeg import encoded
from support.matrix.jpegs import exif_block
from support.matrix.packing import riff, webp_lossless

_INDEX = np.arange(24, dtype=np.uint8)
_BLACK_AND_WHITE = lab_of_srgb(np.repeat(BITS[:, None].astype(float), 3, axis=1))


# --- GIF ------------------------------------------------------------------------------------


def _lzw(data: bytes, bits: int) -> bytes:
    """Codes of single values; the table is cleared before its codes become longer."""
    clear, width = 1 << bits, bits + 1
    codes = []
    for at, value in enumerate(data):
        if at % (clear - 2) == 0:
            codes.append(clear)
        codes.append(value)
    text = "".join(format(code, f"0{width}b")[::-1] for code in [*codes, clear + 1])
    text += "0" * (-len(text) % 8)
    packed = int(text[::-1], 2).to_bytes(len(text) // 8, "little")
    pieces = [packed[at : at + 255] for at in range(0, len(packed), 255)]
    return bytes([bits]) + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def _frame(
    index: Array, left: int, top: int, table: bytes = b"", *, interlaced: bool = False
) -> bytes:
    height, width = index.shape[:2]
    rows = index.reshape(height, width)
    if interlaced:
        rows = np.concatenate([rows[a::b] for a, b in ((0, 8), (4, 8), (2, 4), (1, 2))])
    flags = (0x84 if table else 0) | (0x40 if interlaced else 0)
    head = b"," + struct.pack("<HHHHB", left, top, width, height, flags)
    return head + table + _lzw(rows.tobytes(), 5)


def _gif(*parts: bytes, table: bytes, version: bytes = b"89a", background: int = 0) -> bytes:
    flags = 0x84 if table else 0
    head = b"GIF" + version + struct.pack("<HHBBB", WIDTH, HEIGHT, flags, background, 0)
    return head + table + b"".join(parts) + b";"


def _control(transparent: int | None = None, disposal: int = 0) -> bytes:
    flags = disposal << 2 | (transparent is not None)
    return b"!\xf9\4" + struct.pack("<BHBB", flags, 10, transparent or 0, 0)


def _gifs() -> Iterator[Kind]:
    table, index = RGB.tobytes() + bytes(24), painted(_INDEX)
    plain = _frame(index, 0, 0)
    other = _frame(painted(_INDEX[::-1]), 0, 0)
    white = table[:-3] + b"\xff\xff\xff"
    for name, data in (
        ("87a", _gif(plain, table=table, version=b"87a")),
        ("89a", _gif(plain, table=table)),
        ("local table", _gif(_frame(index, 0, 0, table), table=b"")),
        ("interlaced", _gif(_frame(index, 0, 0, interlaced=True), table=table)),
        ("animated", _gif(_control(), plain, _control(), other, table=table)),
        ("white is transparent", _gif(_control(18), plain, table=table)),
        (
            "comment and loop",
            _gif(b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", b"!\xfe\3abc\0", plain, table=white),
        ),
        (
            "black around the frame",
            _gif(
                _control(),
                _frame(painted(_INDEX)[:, : WIDTH - 5], 0, 0),
                table=table,
                background=23,
            ),
        ),
    ):
        yield Kind(f"gif {name}", partial(bytes, data), dithered=True)


# --- BMP ------------------------------------------------------------------------------------


def _rows(data: Array) -> bytes:
    """Rows from the last to the first, of multiples of four bytes."""
    flat = data.reshape(HEIGHT, -1)[::-1]
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).tobytes()


def bmp(
    bits: int,
    data: bytes,
    *,
    compression: int = 0,
    table: bytes = b"",
    size: int = 40,
    more: bytes = b"",
    top_down: bool = False,
    behind: bytes = b"",
) -> bytes:
    """A BMP of the chart's dimensions."""
    if size == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    elif size == 16:
        head = struct.pack("<IIIHH", 16, WIDTH, HEIGHT, 1, bits)
    else:
        head = struct.pack(
            "<IiiHHIIiiII",
            size,
            WIDTH,
            -HEIGHT if top_down else HEIGHT,
            1,
            bits,
            compression,
            len(data),
            2835,
            2835,
            len(table) // 4,
            0,
        ) + more.ljust(size - 40, b"\0")
        head += more[size - 40 :] if size == 40 else b""
    start = 14 + len(head) + len(table)
    return (
        b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + table + data + behind
    )


def _profiled() -> bytes:
    """A BMP with an ICC profile behind its pixels."""
    wide = profiles.as_bytes(profiles.in_space(ADOBE, profiles.GAMMA))
    data, profile = _rows(painted(wide[:, ::-1])), profiles.ADOBE_RGB
    place = struct.pack("<4xIII", 124 + len(data), len(profile), 0)
    more = bytes(16) + b"DEBM" + bytes(48) + place
    return bmp(24, data, size=124, more=more, behind=profile)


def _runs(rows: Sequence[Sequence[int]], *, half: bool) -> bytes:
    """Run lengths, row by row from the last."""
    found = b""
    for row in reversed(rows):
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and run < 255 and row[at + run] == row[at]:
                run += 1
            found += bytes([run, row[at] * (17 if half else 1)])
            at += run
        found += b"\0\0"
    return found + b"\0\1"


def _bmps() -> Iterator[Kind]:
    bgr = RGB[:, ::-1]
    table = np.hstack((bgr, np.zeros((24, 1), np.uint8))).tobytes()
    index = painted(_INDEX)
    sixteen = painted(_INDEX % 16)
    lab16 = LAB[_INDEX % 16]
    nibbles = np.pad(sixteen[:, :, 0], ((0, 0), (0, 1)))
    nibbles = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).astype(np.uint8)
    bits = np.packbits(painted(BITS)[:, :, 0], axis=1)
    two = b"\0\0\0\0\xff\xff\xff\0"
    four = painted(np.hstack((bgr, np.zeros((24, 1), np.uint8))))
    opaque = painted(np.hstack((bgr, np.full((24, 1), 255, np.uint8))))
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    odd = struct.pack("<3I", 0xFF000000, 0xFF0000, 0xFF00)
    r, g, b = (RGB.astype(np.uint16) >> 3).T
    green6 = RGB[:, 1].astype(np.uint16) >> 2
    in555, in565 = r << 10 | g << 5 | b, r << 11 | green6 << 5 | b
    lab555 = lab_of_srgb(np.stack((r, g, b), 1) / 31)
    lab565 = lab_of_srgb(np.stack((r / 31, green6 / 63, b / 31), 1))
    small = np.hstack((bgr, np.zeros((24, 0), np.uint8))).tobytes()
    words = struct.pack("<3I", 0xF800, 0x7E0, 0x1F)
    for name, data, lab in (
        ("24 bits", bmp(24, _rows(painted(bgr))), LAB),
        ("24 bits top down", bmp(24, _rows(painted(bgr)[::-1]), top_down=True), LAB),
        ("24 bits OS/2 1", bmp(24, _rows(painted(bgr)), size=12), LAB),
        ("24 bits OS/2 2", bmp(24, _rows(painted(bgr)), size=64), LAB),
        ("24 bits version 5", bmp(24, _rows(painted(bgr)), size=124), LAB),
        ("24 bits OS/2 2 of 16 bytes", bmp(24, _rows(painted(bgr)), size=16), LAB),
        ("32 bits version 2", bmp(32, _rows(four), compression=3, size=52, more=masks[:12]), LAB),
        ("32 bits version 3", bmp(32, _rows(opaque), compression=3, size=56, more=masks), LAB),
        ("24 bits version 5, profile", _profiled(), LAB),
        ("32 bits", bmp(32, _rows(four)), LAB),
        ("32 bits bit fields", bmp(32, _rows(opaque), compression=3, size=108, more=masks), LAB),
        (
            "32 bits odd bit fields",
            bmp(
                32,
                _rows(painted(np.hstack((np.zeros((24, 1), np.uint8), bgr)))),
                compression=3,
                table=odd,
            ),
            LAB,
        ),
        ("16 bits", bmp(16, _rows(painted(in555).astype("<u2").view(np.uint8))), lab555),
        (
            "16 bits 565",
            bmp(16, _rows(painted(in565).astype("<u2").view(np.uint8)), compression=3, table=words),
            lab565,
        ),
        ("8 bits", bmp(8, _rows(index), table=table), LAB),
        ("8 bits OS/2 1", bmp(8, _rows(index), table=small + bytes(3 * 232), size=12), LAB),
        ("4 bits", bmp(4, _rows(nibbles), table=table[:64]), lab16),
        ("1 bit", bmp(1, _rows(bits), table=two), _BLACK_AND_WHITE),
        (
            "run lengths 8 bits",
            bmp(8, _runs(index[:, :, 0].tolist(), half=False), compression=1, table=table),
            LAB,
        ),
        (
            "run lengths 4 bits",
            bmp(4, _runs(sixteen[:, :, 0].tolist(), half=True), compression=2, table=table[:64]),
            lab16,
        ),
        ("24 bits, bytes behind", bmp(24, _rows(painted(bgr)), behind=b"more" * 10), LAB),
    ):
        yield Kind(f"bmp {name}", partial(bytes, data), lab)


# --- WebP -----------------------------------------------------------------------------------


def _extended(flags: int) -> tuple[bytes, bytes]:
    size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + size


def _key_frame(pixels: Array) -> bytes:
    """A key frame of VP8; BT.601 in limited range (RFC 6386, 9.2)."""
    ycc = limited_range(ycbcr(pixels / 255))
    padded = np.pad(ycc, ((0, ycc.shape[0] % 2), (0, ycc.shape[1] % 2), (0, 0)), mode="edge")
    chroma = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, 3).mean(axis=(1, 3))
    planes = [ycc[:, :, 0], *(np.rint(chroma[:, :, at]).astype(np.uint8) for at in (1, 2))]
    return encoded(
        "libvpx", "yuv420p", planes, options={"qmin": "0", "qmax": "2", "crf": "1", "b": "90M"}
    )


def _webps() -> Iterator[Kind]:
    pixels = painted(RGB)
    vp8l = (b"VP8L", webp_lossless(pixels)[20:])
    half = painted(np.hstack((RGB, np.full((24, 1), 128, np.uint8))))
    mixed = lab_of_srgb((FRACTIONS * 128 + 127) / 255)
    vp8 = (b"VP8 ", _key_frame(pixels))
    adobe = profiles.as_bytes(profiles.in_space(ADOBE, profiles.GAMMA))
    yield Kind("webp lossless", lambda: riff(vp8l))
    yield Kind(
        "webp lossless half transparent",
        lambda: webp_lossless(half, alpha=True),
        mixed,
        dithered=True,
    )
    yield Kind("webp lossy", lambda: riff(vp8), near=1)
    alpha = (b"ALPH", b"\0" + np.full(HEIGHT * WIDTH, 128, np.uint8).tobytes())
    yield Kind(
        "webp lossy half transparent",
        lambda: riff(_extended(0x10), alpha, vp8),
        mixed,
        near=1,
        dithered=True,
    )
    wide = (b"VP8L", webp_lossless(painted(adobe))[20:])
    profile = (b"ICCP", profiles.ADOBE_RGB)
    yield Kind("webp profile", lambda: riff(_extended(0x20), profile, wide), near=1)
    lossy = (b"VP8 ", _key_frame(painted(adobe)))
    yield Kind("webp lossy profile", lambda: riff(_extended(0x20), profile, lossy), near=1.5)
    broken = (b"ICCP", profiles.ADOBE_RGB[:150])
    yield Kind("webp broken profile", lambda: riff(_extended(0x20), broken, vp8l))
    for orientation in (3, 6, 7):
        turned = (b"VP8L", webp_lossless(painted(RGB, orientation))[20:])
        height, width, _ = painted(RGB, orientation).shape
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        head = (b"VP8X", b"\x08\0\0\0" + size)
        for mark in (b"", b"Exif\0\0"):
            exif = (b"EXIF", mark + exif_block(orientation))
            yield Kind(
                f"webp EXIF {orientation}{' marked' if mark else ''}",
                partial(riff, head, turned, exif),
            )
    yield Kind("webp animated", lambda: _animated(vp8l))


def _animated(image: tuple[bytes, bytes]) -> bytes:
    name, data = image
    size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    inner = name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    frame = (b"ANMF", bytes(6) + size + (100).to_bytes(3, "little") + b"\2" + inner)
    return riff(_extended(0x02), (b"ANIM", b"\xff\xff\xff\xff\0\0"), frame, frame)


def kinds() -> Iterator[Kind]:
    """All kinds of GIF, BMP and WebP."""
    for some in (_gifs, _bmps, _webps):
        yield from some()
