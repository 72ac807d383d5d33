"""HEIC and AVIF: boxes written by hand around pictures of x265 and SVT-AV1 (ISO 23008-12)."""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import imagecodecs
import numpy as np

from support.jp2 import box
from support.matrix import profiles
from support.matrix.chart import FRACTIONS, GRAYS, LAB, RGB, Array, Kind, grays, painted
from support.matrix.colours import (
    BT2020,
    P3,
    curved,
    full_range,
    lab_of_srgb,
    light_of_lab,
    limited_range,
    video,
    ycbcr,
)
from support.matrix.ffmpeg import encoded
from support.matrix.jpegs import exif_block

_KR_KB = {5: (0.299, 0.114), 6: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
"""Shares of red and blue in luma, by MatrixCoefficients (ITU-T H.273)."""
_LOSSES = 0.7
"""Delta E by which SVT-AV1 is off at its best."""


def full(name: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags) + content)


@dataclass(frozen=True)
class Item:
    """An image of a file."""

    type: bytes
    data: bytes
    properties: Sequence[bytes]
    """Boxes that describe it, and then those that turn and crop it, in order."""


@dataclass(frozen=True)
class Heif:
    """A file of items, of which the first is the primary one."""

    items: Sequence[Item]
    brand: bytes = b"heic"
    references: Sequence[tuple[bytes, int, Sequence[int]]] = field(default_factory=list)
    """Type, from, and to, of items from 1."""

    def write(self) -> bytes:
        """The file."""
        start = box(b"ftyp", self.brand + bytes(4) + b"mif1" + self.brand + b"miaf")
        lengths = [len(item.data) for item in self.items]
        size = len(self._meta([0] * len(self.items)))
        offsets = [len(start) + size + 8 + sum(lengths[:at]) for at in range(len(lengths))]
        data = b"".join(item.data for item in self.items)
        return start + self._meta(offsets) + box(b"mdat", data)

    def _meta(self, offsets: Sequence[int]) -> bytes:
        entries, places, uses, shared = b"", b"", b"", b""
        number = 0
        for at, item in enumerate(self.items, 1):
            hidden = int(at > 1)
            entries += full(b"infe", struct.pack(">HH4s", at, 0, item.type) + b"\0", 2, hidden)
            places += struct.pack(">HHHII", at, 0, 1, offsets[at - 1], len(item.data))
            numbers = range(number + 1, number + 1 + len(item.properties))
            number += len(item.properties)
            shared += b"".join(item.properties)
            uses += struct.pack(">HB", at, len(numbers)) + bytes(0x80 | one for one in numbers)
        count = struct.pack(">H", len(self.items))
        inner = full(b"hdlr", struct.pack(">I4s12x", 0, b"pict") + b"\0")
        inner += full(b"pitm", b"\0\1")
        inner += full(b"iloc", b"\x44\0" + count + places)
        inner += full(b"iinf", count + entries)
        if self.references:
            links = b"".join(
                box(kind, struct.pack(f">HH{len(to)}H", origin, len(to), *to))
                for kind, origin, to in self.references
            )
            inner += full(b"iref", links)
        used = full(b"ipma", struct.pack(">I", len(self.items)) + uses)
        inner += box(b"iprp", box(b"ipco", shared) + used)
        return full(b"meta", inner)


# --- pictures -------------------------------------------------------------------------------


def planes_of(values: Array, chroma: str) -> list[Array]:
    """Planes of luma and chroma, which is averaged."""
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "gray": (1, 1)}[chroma]
    height, width, _ = values.shape
    if chroma == "gray":
        return [values[:, :, 0]]
    padded = np.pad(values, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    mean = padded.reshape(rows, down, columns, across, 3).mean(axis=(1, 3))
    return [values[:, :, 0], *(np.rint(mean[:, :, at]).astype(values.dtype) for at in (1, 2))]


def hevc(planes: list[Array], format_: str, *, ranged: bool) -> tuple[bytes, bytes]:
    """The configuration box of a picture of x265, and its data (ISO 14496-15)."""
    chosen = f"lossless=1:log-level=none:range={'full' if ranged else 'limited'}:pools=none"
    stream = encoded("libx265", format_, planes, colour={"color_range": 2 if ranged else 1},
                     options={"preset": "ultrafast", "x265-params": chosen})  # fmt: skip
    units = [unit.rstrip(b"\0") for unit in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")]
    units = [unit for unit in units if unit]
    heads = {kind: [unit for unit in units if unit[0] >> 1 == kind] for kind in (32, 33, 34)}
    pictures = [unit for unit in units if unit[0] >> 1 < 32]
    level = heads[33][0].replace(b"\0\0\3", b"\0\0")[3:15]
    deep = 10 if "10" in format_ else 12 if "12" in format_ else 8
    chroma = {"gray": 0, "yuv420p": 1, "yuv422p": 2}.get(format_.removesuffix(f"{deep}le"), 3)
    content = (
        b"\1" + level + b"\xf0\0\xfc" + bytes([0xFC | chroma, 0xF8 | deep - 8, 0xF8 | deep - 8])
    )
    content += b"\0\0\x0f" + bytes([len(heads)])
    for kind, found in heads.items():
        content += bytes([0x80 | kind]) + struct.pack(">H", len(found))
        content += b"".join(struct.pack(">H", len(unit)) + unit for unit in found)
    data = b"".join(struct.pack(">I", len(unit)) + unit for unit in pictures)
    return box(b"hvcC", content), data


def av1(planes: list[Array], format_: str, *, ranged: bool) -> tuple[bytes, bytes]:
    """The configuration box of a picture of SVT-AV1, and its data without its delimiter."""
    deep = "10" in format_
    colour = {"color_range": 2 if ranged else 1}
    options = {"crf": "1", "preset": "8", "svtav1-params": "avif=1"}
    try:
        stream = encoded("libsvtav1", format_, planes, colour=colour, options=options)
    finally:
        # For root, SVT-AV1 makes the calling thread a real-time one, and servers would inherit it.
        if hasattr(os, "sched_setscheduler"):  # Linux
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    flags = (0x40 if deep else 0) | 0x0C
    return box(b"av1C", b"\x81\x1f" + bytes([flags, 0])), stream.removeprefix(b"\x12\0")


def nclx(primaries: int, transfer: int, matrix: int, *, ranged: bool) -> bytes:
    """A colour box of code points."""
    content = b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0x80 * ranged)
    return box(b"colr", content)


def picture(
    coded: tuple[bytes, bytes], shape: tuple[int, ...], *more: bytes, bits: int = 8, count: int = 3,
    type_: bytes = b"hvc1",
) -> Item:  # fmt: skip
    """An item of a coded picture."""
    configuration, data = coded
    size = full(b"ispe", struct.pack(">II", shape[1], shape[0]))
    depth = full(b"pixi", bytes([count]) + bytes([bits] * count))
    return Item(type_, data, [configuration, size, depth, *more])


def chart(
    codec: str, rgb: Array, *more: bytes, matrix: int = 6, ranged: bool = True, chroma: str = "420",
    bits: int = 8, orientation: int = 1,
) -> bytes:  # fmt: skip
    """A file of the chart, of RGB from 0 to 1."""
    end = "" if bits == 8 else f"{bits}le"
    range_ = full_range if ranged else limited_range
    if matrix == 0:
        whole = painted(np.rint(rgb * ((1 << bits) - 1)), orientation)
        whole = whole.astype(np.uint8 if bits == 8 else np.uint16)
        planes, format_ = [whole[:, :, at] for at in (1, 2, 0)], f"gbrp{end}"
    else:
        whole = painted(range_(ycbcr(rgb, *_KR_KB[matrix]), bits), orientation)
        if codec == "hevc":
            whole, more = _even(whole), (*_cut(whole), *more)
        planes = planes_of(whole, chroma)
        format_ = f"gray{end}" if chroma == "gray" else f"yuv{chroma}p{end}"
    code = hevc if codec == "hevc" else av1
    type_, brand = (b"hvc1", b"heic") if codec == "hevc" else (b"av01", b"avif")
    item = picture(code(planes, format_, ranged=ranged), whole.shape, *more, bits=bits, type_=type_,
                   count=1 if chroma == "gray" else 3)  # fmt: skip
    return Heif([item], brand).write()


def _even(values: Array) -> Array:
    """Pictures of x265 have even sides."""
    height, width, _ = values.shape
    return np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _cut(values: Array) -> list[bytes]:
    """The box that cuts even sides to those of the values."""
    height, width, _ = values.shape
    if height % 2 == width % 2 == 0:
        return []
    numbers = (width, 1, height, 1, -(width % 2), 2, -(height % 2), 2)
    return [box(b"clap", struct.pack(">8i", *numbers))]


def _colours(codec: str) -> Iterator[Kind]:
    near = 0.5 if codec == "hevc" else _LOSSES
    p3, bt2020 = curved(light_of_lab(LAB, P3)), video(light_of_lab(LAB, BT2020))
    adobe = profiles.in_space((0.64, 0.33, 0.21, 0.71, 0.15, 0.06), profiles.GAMMA)
    icc = box(b"colr", b"prof" + profiles.ADOBE_RGB)
    name = "heic" if codec == "hevc" else "avif"
    cases: list[tuple[str, Array, tuple[bytes, ...], dict[str, object]]] = []
    for ranged in (True, False):
        span = "full" if ranged else "limited"
        cases += [
            (f"matrix {matrix} {span}", FRACTIONS, (nclx(1, 13, matrix, ranged=ranged),),
             {"matrix": matrix, "ranged": ranged})
            for matrix in (1, 5, 6, 9)
        ]  # fmt: skip
        cases.append((f"10 bits {span}", FRACTIONS, (nclx(1, 13, 6, ranged=ranged),),
                      {"ranged": ranged, "bits": 10}))  # fmt: skip
    cases += [
        ("Display P3", p3, (nclx(12, 13, 6, ranged=True),), {}),
        ("BT.2020", bt2020, (nclx(9, 14, 9, ranged=False),),
         {"matrix": 9, "ranged": False, "bits": 10}),
        ("profile", adobe, (icc,), {}),
        ("profile and code points", adobe, (icc, nclx(1, 13, 6, ranged=True)), {}),
        ("profile and limited range", adobe, (icc, nclx(2, 2, 1, ranged=False)),
         {"matrix": 1, "ranged": False}),
        ("unspecified code points", FRACTIONS, (nclx(2, 2, 6, ranged=True),), {}),
        ("no colour box", FRACTIONS, (), {}),
        ("broken profile", FRACTIONS, (box(b"colr", b"prof" + profiles.ADOBE_RGB[:150]),), {}),
    ]  # fmt: skip
    if codec == "hevc":
        for chroma in ("422", "444"):
            cases.append((chroma, FRACTIONS, (nclx(1, 13, 6, ranged=True),), {"chroma": chroma}))
        cases += [
            ("identity", FRACTIONS, (nclx(1, 13, 0, ranged=True),), {"matrix": 0}),
            (
                "12 bits 444",
                FRACTIONS,
                (nclx(1, 13, 6, ranged=True),),
                {"chroma": "444", "bits": 12},
            ),
        ]  # fmt: skip
    for own, values, boxes, options in cases:
        yield Kind(f"{name} {own}", partial(chart, codec, values, *boxes, **options), near=near)  # type: ignore[arg-type]
    if codec == "hevc":
        gray = np.repeat(GRAYS[:, None] / 255, 3, axis=1)
        data = partial(chart, codec, gray, nclx(1, 13, 6, ranged=True), chroma="gray")
        yield Kind(f"{name} gray", data, grays()[1], near=near)


def _structures(codec: str) -> Iterator[Kind]:
    near = 0.5 if codec == "hevc" else _LOSSES
    name = "heic" if codec == "hevc" else "avif"
    colours = nclx(1, 13, 6, ranged=True)

    def transformed(orientation: int, *boxes: bytes) -> Kind:
        data = partial(chart, codec, FRACTIONS, colours, *boxes, orientation=orientation)
        return Kind(f"{name} transformed {orientation}", data, near=near)

    for orientation, angle in ((6, 3), (3, 2), (8, 1)):
        yield transformed(orientation, box(b"irot", bytes([angle])))
    # Axis 0 exchanges top and bottom, 1 left and right.
    yield transformed(4, box(b"imir", b"\0"))
    yield transformed(2, box(b"imir", b"\1"))
    yield transformed(5, box(b"irot", b"\1"), box(b"imir", b"\0"))
    yield transformed(7, box(b"irot", b"\1"), box(b"imir", b"\1"))


def _clipped(codec: str) -> bytes:
    """The chart in a larger picture."""
    values = full_range(ycbcr(FRACTIONS))
    whole = np.pad(painted(values), ((0, 11), (0, 45), (0, 0)), mode="constant", constant_values=77)
    height, width, _ = painted(values).shape
    code = hevc if codec == "hevc" else av1
    # The middle of the chart is that far from the middle of the picture.
    across, down = width - whole.shape[1], height - whole.shape[0]
    clap = box(b"clap", struct.pack(">8i", width, 1, height, 1, across, 2, down, 2))
    type_, brand = (b"hvc1", b"heic") if codec == "hevc" else (b"av01", b"avif")
    item = picture(code(planes_of(whole, "420"), "yuv420p", ranged=True), whole.shape,
                   nclx(1, 13, 6, ranged=True), clap, type_=type_)  # fmt: skip
    return Heif([item], brand).write()


def _grid() -> bytes:
    """The chart in four pictures of 128 x 96 (ISO 23008-12, 6.6.2.3)."""
    whole = painted(full_range(ycbcr(FRACTIONS)))
    height, width, _ = whole.shape
    padded = np.pad(whole, ((0, 192 - height), (0, 256 - width), (0, 0)), mode="edge")
    parts = [padded[y : y + 96, x : x + 128] for y in (0, 96) for x in (0, 128)]
    colours = nclx(1, 13, 6, ranged=True)
    items = [
        picture(hevc(planes_of(part, "420"), "yuv420p", ranged=True), part.shape, colours)
        for part in parts
    ]
    size = full(b"ispe", struct.pack(">II", width, height))
    data = b"\0\0\1\1" + struct.pack(">HH", width, height)
    grid = Item(b"grid", data, [size, colours])
    return Heif([grid, *items], references=[(b"dimg", 1, (2, 3, 4, 5))]).write()


def _with_alpha(codec: str, bits: int = 8) -> bytes:
    """The chart, half transparent by an auxiliary image."""
    values = painted(full_range(ycbcr(FRACTIONS), bits))
    whole = _even(values) if codec == "hevc" else values
    cut = _cut(values) if codec == "hevc" else []
    code = hevc if codec == "hevc" else av1
    type_, brand = (b"hvc1", b"heic") if codec == "hevc" else (b"av01", b"avif")
    urn = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
    half = np.full(whole.shape, 1 << (bits - 1), whole.dtype)
    format_ = "yuv420p" if bits == 8 else f"yuv420p{bits}le"
    colour = picture(code(planes_of(whole, "420"), format_, ranged=True), whole.shape,
                     nclx(1, 13, 6, ranged=True), *cut, type_=type_, bits=bits)  # fmt: skip
    alpha = picture(code(planes_of(half, "420"), format_, ranged=True), whole.shape,
                    full(b"auxC", urn), *cut, type_=type_, bits=bits)  # fmt: skip
    return Heif([colour, alpha], brand, [(b"auxl", 2, (1,))]).write()


def _with_exif() -> bytes:
    """The chart, whose EXIF says an orientation, which counts for nothing (ISO 23008-12, A.2.1)."""
    values = painted(full_range(ycbcr(FRACTIONS)))
    whole, colours = _even(values), nclx(1, 13, 6, ranged=True)
    coded = hevc(planes_of(whole, "420"), "yuv420p", ranged=True)
    item = picture(coded, whole.shape, colours, *_cut(values))
    exif = Item(b"Exif", struct.pack(">I", 0) + exif_block(6), [])
    return Heif([item, exif], references=[(b"cdsc", 2, (1,))]).write()


def _by_libavif() -> Iterator[Kind]:
    """Kinds that SVT-AV1 does not write."""
    pixels, words = painted(RGB), painted(RGB.astype(np.uint16) * 16 + (RGB >> 4))
    for name, data, options in (
        ("444", pixels, {"pixelformat": "444"}),
        ("422", pixels, {"pixelformat": "422"}),
        ("444 12 bits", words, {"pixelformat": "444", "bitspersample": 12}),
        ("identity", pixels, {"pixelformat": "444", "matrix": 0, "primaries": 1, "transfer": 13}),
        ("BT.709", pixels, {"pixelformat": "444", "matrix": 1, "primaries": 1, "transfer": 13}),
    ):
        write = partial(imagecodecs.avif_encode, data, level=100, speed=10, **options)
        yield Kind(f"avif {name}", partial(_written, write), near=0.5)
    write = partial(imagecodecs.avif_encode, painted(GRAYS)[:, :, 0], level=100, speed=10)
    yield Kind("avif gray", lambda: bytes(write()), grays()[1], near=0.5)


def _written(write: Callable[[], bytes | bytearray]) -> bytes:
    return bytes(write())


def kinds() -> Iterator[Kind]:
    """All kinds of HEIC and AVIF."""
    mixed = lab_of_srgb((FRACTIONS * 128 + 127) / 255)
    for codec in ("hevc", "av1"):
        yield from _colours(codec)
        yield from _structures(codec)
        name, near = ("heic", 0.5) if codec == "hevc" else ("avif", _LOSSES)
        yield Kind(f"{name} cropped", partial(_clipped, codec), near=near)
        yield Kind(
            f"{name} half transparent", partial(_with_alpha, codec), mixed, near, dithered=True
        )
    deep = partial(_with_alpha, "hevc", 10)
    yield Kind("heic 10 bits half transparent", deep, mixed, 0.5, dithered=True)
    yield Kind("heic grid", _grid, near=0.5)
    yield Kind("heic EXIF is ignored", _with_exif, near=0.5)
    yield from _by_libavif()
