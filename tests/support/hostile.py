"""Hostile originals, each small and generated: bombs, loops, contradictions and disguises."""

import struct
import zlib
from collections.abc import Callable
from typing import TypeAlias

from PIL import Image

from support import pictures
from support.pictures import photograph

# --- JPEG -----------------------------------------------------------------------------------


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """Return one segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_of_many_scans(scans: int, *, side: int = 64) -> bytes:
    """Return a progressive JPEG whose last scan is repeated.

    Each costs a pass over the coefficients.
    """
    data = pictures.jpeg(photograph(side, side), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def with_frame(data: bytes, width: int, height: int) -> bytes:
    """Return the JPEG with other dimensions in its frame header."""
    at = next(data.index(bytes((0xFF, sof))) for sof in (0xC0, 0xC2) if bytes((0xFF, sof)) in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def progressive(side: int = 64) -> bytes:
    """Return a progressive JPEG."""
    return pictures.jpeg(photograph(side, side), progressive=True)


def jpeg_with_two_frames() -> bytes:
    """Return a JPEG with one frame header for the inspection and another for the decoder."""
    data = pictures.jpeg(photograph(64, 64))
    at = data.index(b"\xff\xc0")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    frame = data[at:end]
    return data[:end] + frame[:5] + struct.pack(">HH", 30, 30) + frame[9:] + data[end:]


def after_start(data: bytes, inserted: bytes) -> bytes:
    """Return the JPEG with bytes after its SOI."""
    return data[:2] + inserted + data[2:]


def jpeg_thumbnail_truncated() -> bytes:
    """Return a JPEG cut in its middle, after the end marker of its thumbnail."""
    thumbnail = pictures.jpeg(photograph(32, 24))
    data = after_start(pictures.jpeg(photograph()), jpeg_segment(0xE1, b"Thumbs" + thumbnail))
    return data[: len(data) * 3 // 4]


# --- PNG ------------------------------------------------------------------------------------


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG, with its checksum."""
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png_of(*chunks: bytes) -> bytes:
    """Return a PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


def png_header(
    width: int, height: int, bits: int = 8, colour: int = 0, interlaced: int = 0
) -> bytes:
    """Return the IHDR chunk."""
    content = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return png_chunk(b"IHDR", content)


def packed_zeros(length: int) -> bytes:
    """Return so many zeros as a zlib stream of the best compression (RFC 1950), quickly."""
    pieces, rest = divmod(length, 1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(bytes(rest)) + packer.flush()
    adler = length % 65_521 << 16 | 1
    return b"\x78\xda" + piece * pieces + last + adler.to_bytes(4, "big")


def png_bomb(width: int, height: int, *, interlaced: int = 0) -> bytes:
    """Return a complete gray PNG of zeros."""
    return png_of(
        png_header(width, height, 8, 0, interlaced),
        png_chunk(b"IDAT", packed_zeros((width + 1) * height)),
    )


def png_with(chunk: bytes, *, behind: bool = False) -> bytes:
    """Return a valid PNG with one more chunk, before or after its pixels."""
    data = pictures.saved(Image.fromarray(photograph(64, 64)), "PNG")
    at = data.rindex(b"IEND") - 4 if behind else 8 + 25
    return data[:at] + chunk + data[at:]


def zipped_text(length: int, name: bytes = b"zTXt") -> bytes:
    """Return a chunk of compressed text that expands to so many bytes."""
    start = {b"zTXt": b"Comment\0\0", b"iCCP": b"icc\0\0", b"iTXt": b"Comment\0\1\0\0\0"}[name]
    return png_chunk(name, start + packed_zeros(length))


# --- GIF ------------------------------------------------------------------------------------

_PALETTE = bytes(range(6))


def gif_frame(
    width: int, height: int, data: bytes = b"\x02\x02\x4c\x01\x00", at: tuple[int, int] = (0, 0)
) -> bytes:
    """Return a frame; its data are those of one pixel by default."""
    return b"," + struct.pack("<HHHHB", *at, width, height, 0) + data


def gif_of(width: int, height: int, *frames: bytes) -> bytes:
    """Return a GIF with a screen of this size and a palette of two colours."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0)
    return b"GIF89a" + screen + _PALETTE + b"".join(frames) + b";"


def gif_lzw_bomb(width: int, height: int) -> bytes:
    """Return a GIF of one colour, compressed by Pillow: the best ratio of LZW."""
    return pictures.saved(Image.new("P", (width, height)), "GIF")


# --- TIFF -----------------------------------------------------------------------------------

TiffTag = tuple[int, int, int, int]
"""Number, type, count, and value or offset."""


def tiff_directory(tags: list[TiffTag], following: int = 0) -> bytes:
    """Return one directory of a little-endian TIFF."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def tiff_tags(width: int, height: int, **other: int) -> dict[int, TiffTag]:
    """Return the tags of an 8-bit gray TIFF of one strip, whose data begin at 8."""
    return {
        256: (256, 4, 1, width),
        257: (257, 4, 1, height),
        258: (258, 3, 1, other.get("bits", 8)),
        259: (259, 3, 1, other.get("compression", 1)),
        262: (262, 3, 1, 1),
        273: (273, 4, 1, 8),
        277: (277, 3, 1, other.get("samples", 1)),
        278: (278, 4, 1, other.get("rows", height)),
        279: (279, 4, 1, other.get("length", width * height)),
    }


def tiff_of(
    tags: dict[int, TiffTag], data: bytes = bytes(64), following: int | None = None
) -> bytes:
    """Return a TIFF of one directory after its data."""
    data += bytes(len(data) % 2)
    offset = 8 + len(data)
    after = 0 if following is None else following or offset
    return b"II*\0" + struct.pack("<I", offset) + data + tiff_directory([*tags.values()], after)


def tiff_chain(directories: int, *, loop: bool = False) -> bytes:
    """Return a TIFF of so many equal pages of 8 x 8 pixels; `loop` chains the last to the first."""
    tags = list(tiff_tags(8, 8).values())
    size = len(tiff_directory(tags))
    parts = [b"II*\0" + struct.pack("<I", 72) + bytes(64)]
    for index in range(directories):
        last = index == directories - 1
        following = (72 if loop else 0) if last else 72 + (index + 1) * size
        parts.append(tiff_directory(tags, following))
    return b"".join(parts)


def tiff_tiled(
    width: int, height: int, tile: tuple[int, int], count: int = 1, data: bytes = bytes(64)
) -> bytes:
    """Return a TIFF that declares tiles of this size."""
    tags = tiff_tags(width, height)
    for number in (273, 278, 279):
        del tags[number]
    tags[322], tags[323] = (322, 4, 1, tile[0]), (323, 4, 1, tile[1])
    tags[324], tags[325] = (324, 4, count, 8), (325, 4, count, len(data))
    return tiff_of(tags, data)


# --- WebP -----------------------------------------------------------------------------------


def riff(*chunks: bytes) -> bytes:
    """Return a WebP file of these chunks."""
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def riff_chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk of a WebP."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp_canvas(width: int, height: int, flags: int = 0) -> bytes:
    """Return a VP8X chunk."""
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    return riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


def webp_animation(frames: int, width: int = 16, height: int = 16) -> bytes:
    """Return an animated WebP of equal frames."""
    still = pictures.saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    frame = bytes(6) + b"\x0f\0\0\x0f\0\0" + b"\x0a\0\0\0" + still
    animation = riff_chunk(b"ANIM", bytes(6))
    return riff(webp_canvas(width, height, 2), animation, *[riff_chunk(b"ANMF", frame)] * frames)


# --- JPEG 2000 ------------------------------------------------------------------------------


def jp2_stream(**options: object) -> bytes:
    """Return a codestream of 64 x 64 pixels."""
    return pictures.saved(Image.fromarray(photograph(64, 64)), "JPEG2000", no_jp2=True, **options)


def jp2_with_size(data: bytes, **numbers: int) -> bytes:
    """Return the codestream with other numbers in its SIZ segment."""
    places = {
        "width": (8, ">I"),
        "height": (12, ">I"),
        "tile_width": (24, ">I"),
        "tile_height": (28, ">I"),
        "components": (40, ">H"),
    }
    changed = bytearray(data)
    start = data.index(b"\xff\x4f\xff\x51")
    for name, value in numbers.items():
        place, layout = places[name]
        struct.pack_into(layout, changed, start + place, value)
    return bytes(changed)


def jp2_with_style(data: bytes, place: int, value: int) -> bytes:
    """Return the codestream with another byte in its COD segment; byte 9 is the level count."""
    changed = bytearray(data)
    changed[data.index(b"\xff\x52") + place] = value
    return bytes(changed)


def jp2_segment(marker: int, content: bytes) -> bytes:
    """Return a marker segment of a codestream."""
    return struct.pack(">HH", marker, len(content) + 2) + content


def jp2_style(
    block: tuple[int, int], levels: int = 5, layers: int = 1, precinct: int | None = None
) -> bytes:
    """Return the content of a COD segment; sides are exponents of 2."""
    precincts = b"" if precinct is None else bytes([precinct << 4 | precinct]) * (levels + 1)
    spatial = bytes([levels, block[0] - 2, block[1] - 2, 0, 1])
    return struct.pack(">BBHB", precinct is not None, 0, layers, 0) + spatial + precincts


def jp2_of_blocks(
    side: int, style: bytes, *, components: int = 3, tile: int | None = None, of_tiles: bytes = b""
) -> bytes:
    """Return a codestream of a square image of empty packets; `of_tiles` is in all tile headers."""
    tile = tile or side
    size = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, tile, tile, 0, 0, components)
    levels = style[5]
    steps = bytes([0x40]) + bytes([8 << 3]) * (3 * levels + 1)
    data = jp2_segment(0xFF51, size + bytes([7, 1, 1]) * components)
    data = b"\xff\x4f" + data + jp2_segment(0xFF52, style) + jp2_segment(0xFF5C, steps)
    content = of_tiles + b"\xff\x93" + bytes(64)
    for number in range((-(-side // tile)) ** 2):
        head = struct.pack(">HHHIBB", 0xFF90, 10, number, 12 + len(content), 0, 1)
        data += head + content
    return data + b"\xff\xd9"


def jp2_with_precincts(levels: int = 5) -> bytes:
    """Return a codestream of one tile of 4096 x 4096 pixels that declares precincts of 1 x 1."""
    data = jp2_with_size(jp2_stream(), width=4096, height=4096, tile_width=4096, tile_height=4096)
    at = data.index(b"\xff\x52")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    style = bytearray(data[at + 4 : at + 2 + length])
    style[0] |= 1
    style[5] = levels
    style += bytes(levels + 1)
    return data[:at] + jpeg_segment(0x52, bytes(style)) + data[at + 2 + length :]


# --- AVIF -----------------------------------------------------------------------------------


def avif() -> bytes:
    """Return an AVIF of 64 x 64 pixels."""
    return pictures.saved(Image.fromarray(photograph(64, 64)), "AVIF", speed=10)


def avif_with_size(data: bytes, width: int, height: int) -> bytes:
    """Return the AVIF with other dimensions in its `ispe` boxes."""
    changed, at = bytearray(data), data.find(b"ispe")
    while at >= 0:
        struct.pack_into(">II", changed, at + 8, width, height)
        at = data.find(b"ispe", at + 4)
    return bytes(changed)


# --- BMP ------------------------------------------------------------------------------------


def bmp_of(
    width: int, height: int, *, bits: int = 8, compression: int = 0, data: bytes = bytes(64),
    colours: int = 2,
) -> bytes:  # fmt: skip
    """Return a BMP with a header of 40 bytes and a palette of two colours."""
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colours, 0
    )
    palette = bytes(4) + b"\xff\x80\x40\0"
    offset = 14 + len(header) + len(palette)
    start = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    return start + header + palette + data


# --- disguises ------------------------------------------------------------------------------

_PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(r) file\nshowpage\n"
_MVG = b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 '/etc/passwd'\n"

STRANGERS: dict[str, bytes] = {
    "svg": _SVG,
    "svg declared": b'<?xml version="1.0"?>' + _SVG,
    "svgz": zlib.compress(_SVG),
    "eps": _EPS,
    "dos eps": b"\xc5\xd0\xd3\xc6" + bytes(28) + _EPS,
    "mvg": _MVG,
    "fits": b"SIMPLE  =                    T" + b" " * 2850,
    "mp4": struct.pack(">I", 24) + b"ftypisom\0\0\2\0isommp41",
    "webm": b"\x1a\x45\xdf\xa3" + bytes(60),
    "avi": b"RIFF\x40\0\0\0AVI LIST" + bytes(60),
    "wav": b"RIFF\x40\0\0\0WAVEfmt " + bytes(60),
    "ppm": b"P6\n1 1\n255\nabc",
    "pfm": b"PF\n1 1\n-1.0\n" + bytes(12),
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\nabcd",
    "exr": b"v/1\x01" + bytes(60),
    "ico": b"\0\0\1\0\1\0" + bytes(60),
    "tga": bytes((0, 0, 2)) + bytes(60),
    "pcx": b"\x0a\x05\x01\x08" + bytes(124),
    "qoi": b"qoif" + struct.pack(">IIBB", 1, 1, 3, 0),
    "dds": b"DDS " + bytes(124),
    "xpm": b"/* XPM */\nstatic char *a[] = {};\n",
    "matlab": b"MATLAB 5.0 MAT-file" + bytes(109),
    "vips": b"\x08\xf2\xa6\xb6" + bytes(60),
    "html": b"<!doctype html><script>alert(1)</script>",
    "zip": b"PK\3\4" + bytes(60),
    "nothing": b"",
    "zeros": bytes(64),
}
"""Files of formats that are not read, whatever they are called."""

POLYGLOTS: dict[str, bytes] = {
    "pdf that begins like a gif": b"GIF89a" + _PDF,
    "pdf that begins like a bmp": b"BM" + _PDF,
    "pdf that begins like a jpeg": b"\xff\xd8\xff\xe0" + _PDF,
    "pdf that begins like a tiff": b"II*\0" + _PDF,
    "pdf that begins like a png": b"\x89PNG\r\n\x1a\n" + _PDF,
    "svg that begins like a webp": b"RIFF\x40\0\0\0WEBP" + _SVG,
    "svg that begins like an avif": struct.pack(">I", 24) + b"ftypavif" + _SVG,
    "eps that begins like a jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + _EPS,
    "mvg that begins like a j2k": b"\xff\x4f\xff\x51" + _MVG,
    "heic that says it is avif": struct.pack(">I", 24) + b"ftypavif\0\0\0\0mif1heic",
    "script that begins like a gif": b"GIF89a/*" + bytes(4) + b"*/=1;alert(1)",
}
"""Files that begin like an image and go on as something else."""


Bomb: TypeAlias = tuple[int, Callable[[], bytes]]


def harmless() -> dict[str, bytes]:
    """Return 8 x 8 pixels each, with loops and sizes that readers ignore: they are read."""
    return {
        "tiff that is its own next page": tiff_of(tiff_tags(8, 8), following=0),
        "tiff below itself": tiff_below_itself(),
        "bmp of many colours": bmp_of(8, 8, colours=65_536),
    }


def bombs() -> dict[str, Bomb]:
    """Return files that decode to far more than their size, each with its expected status.

    Each is made when it is called.
    """
    good = pictures.jpeg(photograph(64, 64))
    short = jp2_stream()
    return {
        "jpeg of 1000 scans": (413, lambda: jpeg_of_many_scans(1000)),
        "jpeg of 30000 x 30000": (422, lambda: with_frame(good, 30_000, 30_000)),
        "progressive jpeg of 30000 x 30000": (
            422,
            lambda: with_frame(progressive(), 30_000, 30_000),
        ),
        "the same, padded": (
            422,
            lambda: with_frame(progressive(), 30_000, 30_000) + bytes(500_000),
        ),
        "jpeg of two frames": (422, jpeg_with_two_frames),
        "jpeg without lines": (422, lambda: with_frame(good, 64, 0)),
        "jpeg of junk": (422, lambda: after_start(good, b"\xff\xe5\0\2" + bytes(5_000_000))),
        "jpeg of many segments": (
            413,
            lambda: after_start(good, jpeg_segment(0xE5, b"") * 100_000),
        ),
        "jpeg of long segments": (
            413,
            lambda: after_start(good, jpeg_segment(0xE5, bytes(65_000)) * 1100),
        ),
        "png of 40000 x 40000": (413, lambda: png_bomb(40_000, 40_000)),
        "png of a long row": (413, lambda: png_bomb(20_000_000, 4)),
        "png of nothing": (
            422,
            lambda: png_of(png_header(30_000, 30_000), png_chunk(b"IDAT", b"")),
        ),
        "png of packed text": (413, lambda: png_with(zipped_text(50_000_000))),
        "png of packed international text": (
            413,
            lambda: png_with(zipped_text(50_000_000, b"iTXt")),
        ),
        "png of a packed profile": (413, lambda: png_with(zipped_text(50_000_000, b"iCCP"))),
        "png of many chunks": (413, lambda: png_with(png_chunk(b"tEXt", b"a\0b") * 50_000)),
        "png of a long chunk": (413, lambda: png_with(png_chunk(b"eXIf", bytes(17 << 20)))),
        "png of two headers": (422, lambda: png_with(png_header(30_000, 30_000))),
        "gif of a huge screen": (415, lambda: gif_of(30_000, 30_000, gif_frame(1, 1))),
        "gif of a huge frame": (413, lambda: gif_of(9, 9, gif_frame(30_000, 30_000))),
        "gif of many frames": (413, lambda: gif_of(9, 9, *[gif_frame(1, 1)] * 20_000)),
        "gif of many blocks": (
            413,
            lambda: gif_of(9, 9, gif_frame(1, 1, b"\2" + b"\1a" * 5_000_000)),
        ),
        "tiff of pages without end": (413, lambda: tiff_chain(20_000)),
        "tiff of a huge tile": (413, lambda: tiff_tiled(10, 10, (30_000, 30_000))),
        "tiff of an odd tile": (422, lambda: tiff_tiled(100_000, 1, (100_000, 1))),
        "tiff of tiny tiles": (413, lambda: tiff_tiled(30_000, 30_000, (16, 16), 3_515_625)),
        "tiff of missing tiles": (422, lambda: tiff_tiled(3_000, 3_000, (16, 16))),
        "tiff of many samples": (413, lambda: tiff_of(tiff_tags(8, 8, samples=60_000))),
        "tiff of many tags": (413, lambda: tiff_of({n: (n, 3, 1, 1) for n in range(1000, 6000)})),
        "tiff of a huge profile": (
            413,
            lambda: tiff_of(tiff_tags(8, 8) | {34_675: (34_675, 7, 17 << 20, 8)}, bytes(17 << 20)),
        ),
        "tiff of no rows": (422, lambda: tiff_of(tiff_tags(8, 8, rows=0))),
        "webp of a huge canvas": (413, lambda: riff(webp_canvas(1 << 16, 1 << 15))),
        "webp of many frames": (413, lambda: webp_animation(20_000)),
        "webp of many chunks": (
            413,
            lambda: riff(webp_canvas(9, 9), riff_chunk(b"abcd", b"") * 5_000),
        ),
        "webp of another canvas": (422, lambda: riff(webp_canvas(9_999, 9_999), webp_frame())),
        "jp2 of 65536 tiles": (
            413,
            lambda: jp2_with_size(short, tile_width=1, tile_height=1, width=256, height=256),
        ),
        "jp2 of missing tiles": (422, lambda: jp2_with_size(short, width=640, height=640)),
        "jp2 of many components": (415, lambda: jp2_with_size(short, components=16_000)),
        "jp2 of many levels": (422, lambda: jp2_with_style(short, 9, 200)),
        "jp2 of many precincts": (413, jp2_with_precincts),
        "jp2 of many layers": (413, jp2_with_layers),
        "jp2 of two sizes": (422, jp2_of_two_sizes),
        "jp2 of a long box": (422, lambda: b"\0\0\0\x0cjP  \r\n\x87\n\x7f\xff\xff\xffjp2h"),
        "avif of 40000 x 40000": (413, lambda: avif_with_size(avif(), 40_000, 40_000)),
        "avif of many items": (413, avif_of_many_items),
        "bmp of 30000 x 30000": (422, lambda: bmp_of(30_000, 30_000)),
        "bmp of a negative width": (422, lambda: bmp_of(-100, 100)),
        "bmp of the least height": (413, lambda: bmp_of(100, -(1 << 31))),
        "bmp of empty rows": (
            413,
            lambda: bmp_of(30_000, 3_000, compression=1, data=b"\0\0" * 3_000),
        ),
        "bmp that ends at once": (422, lambda: bmp_of(3_000, 3_000, compression=1, data=b"\0\1")),
        "bmp that holds a jpeg": (415, lambda: bmp_of(64, 64, compression=4, data=good)),
    }


def tiff_below_itself() -> bytes:
    """Return a TIFF whose first page is its own SubIFD."""
    return tiff_of(tiff_tags(8, 8) | {330: (330, 13, 1, 8 + 64)})


def webp_frame() -> bytes:
    """Return a chunk with a picture of 16 x 16 pixels."""
    return pictures.saved(Image.new("RGB", (16, 16)), "WEBP")[12:]


def jp2_with_layers() -> bytes:
    """Return a codestream of 65535 quality layers of small, empty precincts."""
    data = bytearray(jp2_with_size(jp2_stream(), width=2048, height=2048, tile_width=2048,
                                   tile_height=2048))  # fmt: skip
    at = data.index(b"\xff\x52")
    data[at + 4] |= 1
    struct.pack_into(">H", data, at + 6, 65_535)
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    struct.pack_into(">H", data, at + 2, length + 6)
    return bytes(data[: at + 2 + length]) + b"\x66" * 6 + bytes(data[at + 2 + length :])


def jp2_of_two_sizes() -> bytes:
    """Return a JP2 whose box says 203 x 149 and whose codestream says more."""
    data = pictures.saved(Image.fromarray(photograph()), "JPEG2000")
    return jp2_with_size(data, width=20_000, height=20_000, tile_width=20_000, tile_height=20_000)


def avif_of_many_items() -> bytes:
    """Return an AVIF that claims a grid of 60000 items."""
    data = bytearray(avif())
    struct.pack_into(">H", data, data.index(b"iinf") + 8, 60_000)
    return bytes(data)
