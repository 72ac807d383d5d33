"""DICOM by hand (PS3.3 and PS3.5): elements, windows, tables, and frames of foreign encoders."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from support import jpegs
from support.matrix.chart import FRACTIONS, GRAYS, LAB, RGB, Array, Kind, grays, painted
from support.matrix.colours import full_range, lab_of_srgb, ycbcr
from support.matrix.ffmpeg import encoded, jpeg2000
from support.matrix.jpegs import Jpeg, segment

IMPLICIT, LITTLE, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
RUNS = "1.2.840.10008.1.2.5"
JPEG, LOSSLESS, JPEG_LS, JPEG_2000 = (
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 70, 80, 90)
)
Value = str | int | float | bytes | Sequence[int] | Sequence["Elements"]
Elements = Mapping[int, tuple[str, Value]]
PATIENT = "Doe^Jane"
"""A name that is to appear nowhere."""
_LONG = {"OB", "OF", "OW", "SQ", "UN"}
_INDEX = np.arange(24, dtype=np.uint8)


def element(tag: int, vr: str, value: Value, syntax: str = LITTLE) -> bytes:
    """An element; sequences, and items, have lengths that are not told."""
    order = ">" if syntax == BIG else "<"
    if vr == "SQ":
        assert not isinstance(value, str | bytes | int | float)
        items = b"".join(
            item(elements(one, syntax), syntax) for one in value if isinstance(one, Mapping)
        )
        data, length = items + struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0), 0xFFFF_FFFF
    else:
        data = _bytes_of(vr, value, order)
        data += (b" " if vr not in {"OB", "OW", "UI", "UN"} else b"\0") * (len(data) % 2)
        length = len(data)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", length) + data
    if vr in _LONG:
        return head + vr.encode() + struct.pack(f"{order}HI", 0, length) + data
    return head + vr.encode() + struct.pack(f"{order}H", length) + data


def item(data: bytes, syntax: str = LITTLE) -> bytes:
    """An item of a sequence, of no told length."""
    order = ">" if syntax == BIG else "<"
    start = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF)
    return start + data + struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0)


def _bytes_of(vr: str, value: Value, order: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str | float):
        return str(value).encode()
    numbers = [value] if isinstance(value, int) else [one for one in value if isinstance(one, int)]
    if vr in {"IS", "DS"}:
        return "\\".join(map(str, numbers)).encode()
    kind = {"US": "H", "SS": "h", "UL": "I", "OW": "H"}[vr]
    return struct.pack(f"{order}{len(numbers)}{kind}", *numbers)


def elements(found: Elements, syntax: str = LITTLE) -> bytes:
    """Elements in the order of their tags."""
    return b"".join(element(tag, vr, value, syntax) for tag, (vr, value) in sorted(found.items()))


def encapsulated(fragments: Sequence[bytes], offsets: Sequence[int] = ()) -> bytes:
    """Pixel data in fragments, behind a table of offsets."""
    table = struct.pack(f"<{len(offsets)}I", *offsets)
    data = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(one) + len(one) % 2) + one + bytes(len(one) % 2)
        for one in (table, *fragments)
    )
    head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFF_FFFF)
    return head + data + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def dicom(
    pixels: Array, photometric: str, *, syntax: str = LITTLE, stored: int = 0, planar: bool = False,
    fragments: Sequence[bytes] = (), offsets: Sequence[int] = (), more: Elements | None = None,
    data: bytes = b"", preamble: bytes = b"",
) -> bytes:  # fmt: skip
    """A file of pixels: rows, columns, samples, or frames of these; or of fragments, or data."""
    frames = pixels if pixels.ndim == 4 else pixels[np.newaxis]
    count, rows, columns, samples = frames.shape
    bits = 8 * frames.dtype.itemsize
    found: dict[int, tuple[str, Value]] = {
        0x0008_0005: ("CS", "ISO_IR 100"),
        0x0010_0010: ("PN", PATIENT),
        0x0028_0002: ("US", samples),
        0x0028_0004: ("CS", photometric),
        0x0028_0006: ("US", int(planar)),
        0x0028_0008: ("IS", count),
        0x0028_0010: ("US", rows),
        0x0028_0011: ("US", columns),
        0x0028_0100: ("US", bits),
        0x0028_0101: ("US", stored or bits),
        0x0028_0102: ("US", (stored or bits) - 1),
        0x0028_0103: ("US", int(frames.dtype.kind == "i")),
        **(more or {}),
    }
    if planar:
        frames = frames.transpose(0, 3, 1, 2)
    if not (fragments or data):
        type_ = frames.dtype.newbyteorder(">" if syntax == BIG else "<")
        data = frames.astype(type_).tobytes()
    own = element(0x7FE0_0010, "OB" if bits == 8 else "OW", data, syntax)
    body = elements(found, syntax) + (encapsulated(fragments, offsets) if fragments else own)
    meta = element(0x0002_0010, "UI", syntax)
    meta = element(0x0002_0000, "UL", len(meta)) + meta
    return preamble.ljust(128, b"\0") + b"DICM" + meta + body


def runs(pixels: Array) -> bytes:
    """A frame of run lengths: a segment for each byte of each sample, the highest first."""
    size = pixels.dtype.itemsize
    planes = [
        pixels[:, :, at].astype(np.uint16) >> 8 * byte & 255
        for at in range(pixels.shape[2])
        for byte in range(size - 1, -1, -1)
    ]
    segments = [_packed(plane) for plane in planes]
    starts = [64 + sum(map(len, segments[:at])) for at in range(len(segments))]
    head = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return head + b"".join(segments)


def _packed(plane: Array) -> bytes:
    data = b""
    for row in plane.tolist():
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and run < 128 and row[at + run] == row[at]:
                run += 1
            data += bytes([0, row[at]] if run == 1 else [257 - run, row[at]])
            at += run
    return data + bytes(len(data) % 2)


def jpeg_ls(pixels: Array) -> bytes:
    """A JPEG-LS without losses, as FFmpeg writes it: of gray or RGB."""
    height, width, count = pixels.shape
    kind = "gray" if pixels.dtype == np.uint8 else "gray16le"
    rows = pixels.reshape(height, width * count)
    return encoded("jpegls", "rgb24" if count == 3 else kind, [rows], width=width, options={})


def _table(entries: Sequence[int], first: int = 0, bits: int = 16) -> Elements:
    return {
        0x0028_3002: ("US", [len(entries), first, bits]),
        0x0028_3006: ("OW", list(entries)),
    }


def _grays() -> Iterator[Kind]:
    levels, lab = grays(4096)
    stored = painted(np.rint(levels * 4095).astype(np.uint16))
    yield Kind("dicom gray 12 bits", partial(dicom, stored, "MONOCHROME2", stored=12), lab)
    levels, lab = grays(65_536)
    words = painted(np.rint(levels * 65_535).astype(np.uint16))
    yield Kind("dicom gray big-endian", partial(dicom, words, "MONOCHROME2", syntax=BIG), lab)
    longs = words.astype(np.uint32) * 65_537
    yield Kind("dicom gray 32 bits", partial(dicom, longs, "MONOCHROME2"), lab)
    lab = grays()[1]
    bytes_ = painted(255 - GRAYS)
    yield Kind("dicom gray MONOCHROME1", partial(dicom, bytes_, "MONOCHROME1"), lab)
    # From -1,000 to 3,000 in its own units, stored with a slope of 2 and an intercept of -1,024.
    signed = painted(np.rint((GRAYS / 255 * 4_000 - 1_000 + 1_024) / 2).astype(np.int16))
    window: Elements = {
        0x0028_1050: ("DS", "1000.5\\40"),
        0x0028_1051: ("DS", "4001\\80"),
        0x0028_1052: ("DS", "-1024"),
        0x0028_1053: ("DS", "2"),
    }
    yield Kind("dicom gray signed", partial(dicom, signed, "MONOCHROME2", more=window), lab)
    exact: Elements = {**window, 0x0028_1056: ("CS", "LINEAR_EXACT"), 0x0028_1050: ("DS", "1000"),
                       0x0028_1051: ("DS", "4000")}  # fmt: skip
    yield Kind("dicom gray exact window",
               partial(dicom, signed, "MONOCHROME2", syntax=IMPLICIT, more=exact), lab)  # fmt: skip
    groups: Elements = {
        0x5200_9229: ("SQ", [{0x0028_9145: ("SQ", [{tag: window[tag] for tag in
                                                    (0x0028_1052, 0x0028_1053)}])}]),
        0x5200_9230: ("SQ", [{0x0028_9132: ("SQ", [{tag: window[tag] for tag in
                                                    (0x0028_1050, 0x0028_1051)}])}]),
    }  # fmt: skip
    yield Kind("dicom gray enhanced", partial(dicom, signed, "MONOCHROME2", more=groups), lab)
    part = np.clip(GRAYS / 255, 0.001, 0.999)
    curve = painted(np.rint(20_000 - 1_000 * np.log(1 / part - 1)).astype(np.uint16))
    sigmoid: Elements = {0x0028_1050: ("DS", "20000"), 0x0028_1051: ("DS", "4000"),
                         0x0028_1056: ("CS", "SIGMOID")}  # fmt: skip
    yield Kind("dicom gray sigmoid", partial(dicom, curve, "MONOCHROME2", more=sigmoid),
               lab_of_srgb(np.repeat(part[:, None], 3, axis=1)))  # fmt: skip
    falling = [257 * (255 - at) for at in range(256)]
    for name, tag in (("VOI", 0x0028_3010), ("modality", 0x0028_3000)):
        more: Elements = {tag: ("SQ", [_table(falling)])}
        yield Kind(
            f"dicom gray {name} table", partial(dicom, bytes_, "MONOCHROME2", more=more), lab
        )


def _colours() -> Iterator[Kind]:
    pixels = painted(RGB)
    ycc = painted(full_range(ycbcr(FRACTIONS)))
    yield Kind("dicom RGB", partial(dicom, pixels, "RGB"))
    yield Kind("dicom RGB implicit", partial(dicom, pixels, "RGB", syntax=IMPLICIT))
    yield Kind("dicom RGB planar", partial(dicom, pixels, "RGB", syntax=BIG, planar=True))
    yield Kind("dicom RGB 16 bits", partial(dicom, painted(RGB.astype(np.uint16) * 257), "RGB"))
    yield Kind("dicom YBR_FULL", partial(dicom, ycc, "YBR_FULL"), near=0.5)
    for bits in (8, 16):
        entries = RGB.astype(np.uint16).T * (257 if bits == 16 else 1)
        more: Elements = {
            **{0x0028_1101 + at: ("US", [24, 0, bits]) for at in range(3)},
            **{0x0028_1201 + at: ("OW", entries[at].astype(f"<u{bits // 8}").tobytes())
               for at in range(3)},
        }  # fmt: skip
        write = partial(dicom, painted(_INDEX), "PALETTE COLOR", more=more)
        yield Kind(f"dicom palette of {bits} bits", write)


def _coded() -> Iterator[Kind]:
    pixels, words = painted(RGB), painted(np.rint(GRAYS / 255 * 65_535).astype(np.uint16))
    lab = grays()[1]
    ycc = painted(full_range(ycbcr(FRACTIONS)))
    cases = (
        ("run lengths RGB", pixels, "RGB", RUNS, lambda: [runs(pixels)]),
        ("JPEG YBR", ycc, "YBR_FULL_422", JPEG, lambda: [Jpeg(ycc).write()]),
        ("JPEG RGB", pixels, "RGB", JPEG, lambda: [Jpeg(pixels, segments=b"").write()]),
        (
            "JPEG RGB and part of a segment of Adobe",
            pixels,
            "RGB",
            JPEG,
            lambda: [Jpeg(pixels, segments=segment(0xEE, b"Adobe" + bytes(5))).write()],
        ),
        # Converters may leave a wrong photometric interpretation; the JPEG's own markers decide.
        ("JPEG said to be RGB", ycc, "RGB", JPEG, lambda: [Jpeg(ycc).write()]),
        ("JPEG YBR without JFIF", ycc, "YBR_FULL", JPEG, lambda: [Jpeg(ycc, segments=b"").write()]),
        ("JPEG lossless RGB", pixels, "RGB", LOSSLESS, lambda: [jpegs.lossless(pixels, 8)]),
        ("JPEG lossless YBR", ycc, "YBR_FULL", LOSSLESS, lambda: [jpegs.lossless(ycc, 8)]),
        ("JPEG-LS RGB", pixels, "RGB", JPEG_LS, lambda: [jpeg_ls(pixels)]),
        ("JPEG 2000 RCT", pixels, "YBR_RCT", JPEG_2000, lambda: [jpeg2000(pixels)]),
        ("JPEG 2000 YBR", ycc, "YBR_FULL", JPEG_2000, lambda: [jpeg2000(ycc, transform=False)]),
        ("run lengths gray", words, "MONOCHROME2", RUNS, lambda: [runs(words)]),
        ("JPEG lossless gray", words, "MONOCHROME2", LOSSLESS, lambda: [jpegs.lossless(words, 16)]),
        ("JPEG-LS gray", words, "MONOCHROME2", JPEG_LS, lambda: [jpeg_ls(words)]),
        ("JPEG 2000 gray", words, "MONOCHROME2", JPEG_2000, lambda: [jpeg2000(words)]),
    )

    def write(values: Array, photometric: str, syntax: str, fragments: object) -> bytes:
        assert callable(fragments)
        (data,) = fragments()
        # In two fragments, of even lengths.
        middle = len(data) // 4 * 2
        parts = [data] if syntax == RUNS else [data[:middle], data[middle:]]
        return dicom(values, photometric, syntax=syntax, fragments=parts)

    for name, values, photometric, syntax, fragments in cases:
        near = 0.5 if "YBR" in name else 0
        whole = partial(write, values, photometric, syntax, fragments)
        yield Kind(f"dicom {name}", whole, lab if values is words else LAB, near)
    yield Kind("dicom slide", partial(slide, pixels))
    yield Kind("dicom slide of JPEGs", partial(slide, pixels, coded=True))


def slide(pixels: Array, side: int = 48, *, coded: bool = False, full: bool = True) -> bytes:
    """A slide of tiles."""
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    tiles = np.array(
        [padded[y : y + side, x : x + side] for y in range(0, height, side)
         for x in range(0, width, side)]
    )  # fmt: skip
    more: Elements = {
        0x0020_9311: ("CS", "TILED_FULL" if full else "TILED_SPARSE"),
        0x0048_0006: ("UL", width),
        0x0048_0007: ("UL", height),
    }
    fragments = [Jpeg(tile, segments=b"").write() for tile in tiles] if coded else []
    syntax = JPEG if coded else LITTLE
    return dicom(tiles, "RGB", more=more, fragments=fragments, syntax=syntax)


def kinds() -> Iterator[Kind]:
    """All kinds of DICOM."""
    yield from _grays()
    yield from _colours()
    yield from _coded()


def small() -> list[bytes]:
    """Small files of many kinds."""
    pixels = painted(RGB)[:16, :24]
    gray = pixels[:, :, :1]
    window: Elements = {0x0028_1050: ("DS", "40"), 0x0028_1051: ("DS", "80")}
    groups: Elements = {0x5200_9230: ("SQ", [{0x0028_9132: ("SQ", [window])}])}
    table: Elements = {0x0028_3010: ("SQ", [_table(range(64), bits=6)])}
    return [
        dicom(gray.astype(np.int16), "MONOCHROME1", stored=12, more=window),
        dicom(gray, "MONOCHROME2", syntax=IMPLICIT, more=groups),
        dicom(gray.astype(np.uint16), "MONOCHROME2", syntax=BIG, more=table),
        dicom(np.array([pixels, pixels]), "RGB", syntax=RUNS, fragments=[runs(pixels)] * 2),
        dicom(pixels, "RGB", syntax=LOSSLESS, fragments=[jpegs.lossless(pixels, 8)]),
        dicom(gray, "MONOCHROME2", syntax=JPEG_LS, fragments=[jpeg_ls(gray)]),
        dicom(pixels, "YBR_RCT", syntax=JPEG_2000, fragments=[jpeg2000(pixels)]),
        slide(pixels, 8, coded=True),
    ]
