"""PSD and PSB (Adobe Photoshop File Formats Specification): location of the merged image."""

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from iiif_server.formats.bounded_file import (
    MAX_CREDITS_BYTES,
    MAX_METADATA_BYTES,
    BoundedFile,
    Inspection,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT

_HEADER = 26
MAX_CHANNELS = 56
_MAX_BLOCKS = 4_000
_BIG = 2
_RAW, _RUN_LENGTHS = 0, 1
_RESOLUTION, _IPTC, _PROFILE, _VERSION, _EXIF, _XMP = 1005, 1028, 1039, 1057, 1058, 1060
"""Numbers of image resources."""
_LAYERS = frozenset({b"Layr", b"Lr16", b"Lr32"})
_LONG_KEYS = _LAYERS | {
    b"LMsk", b"Mt16", b"Mt32", b"Mtrn", b"Alph", b"FMsk", b"lnk2", b"FEid", b"FXid", b"PxSD"
}  # fmt: skip
"""Keys of layer information blocks with a length of 8 bytes in a PSB."""
_PALETTE_BYTES = 768
_RLE_SLACK = 128
"""Bytes by which the run lengths of a row may exceed twice its pixels."""
_INDEXED_BYTES = 12
"""Additional bytes per pixel while a palette is applied."""
_EFFORT, _ALPHA_EFFORT, _LAB_EFFORT = 20, 60, 110
"""Effort of a pixel; and the additional effort to take out the white, or to convert from Lab."""


class Mode(IntEnum):
    """Colour mode of a PSD."""

    BITMAP = 0
    GRAY = 1
    INDEXED = 2
    RGB = 3
    CMYK = 4
    DUOTONE = 8
    """Read as gray: only Photoshop knows the inks."""
    LAB = 9


_MODES: dict[int, tuple[int, Colour, frozenset[int]]] = {
    Mode.BITMAP: (1, Colour.GRAY, frozenset({1})),
    Mode.GRAY: (1, Colour.GRAY, frozenset({8, 16})),
    Mode.INDEXED: (1, Colour.RGB, frozenset({8})),
    Mode.RGB: (3, Colour.RGB, frozenset({8, 16})),
    Mode.CMYK: (4, Colour.OTHER, frozenset({8, 16})),
    Mode.DUOTONE: (1, Colour.GRAY, frozenset({8, 16})),
    Mode.LAB: (3, Colour.OTHER, frozenset({8, 16})),
}
"""Colour channels, colour and possible bits per sample, by mode."""
_UNSUPPORTED_MODES = {7: "has multichannel mode"}


@dataclass(frozen=True, slots=True)
class Composite:
    """Merged image of all layers: planar channels, each row by row."""

    dimensions: Dimensions
    mode: Mode
    bits: int
    channels: int
    """Number of channels that are shown: colour, then alpha."""
    alpha: bool
    """Whether the last channel is alpha, with colours blended with white."""
    palette: bytes
    """256 colours, planar: all red values first."""
    row_bytes: int
    start: int
    """Offset of the rows."""
    lengths: "array[int] | None"
    """Compressed bytes of each row; None: the rows are not compressed."""


def profile_of(file: BoundedFile) -> bytes:
    """Return the ICC profile."""
    return _resource(file, dict(_resources(file, _sections(file))), _PROFILE)


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a PSD with too many pixels, or without a merged image that can be shown."""
    resources = dict(_resources(file, _sections(file)))
    if _resource(file, resources, _VERSION)[4:5] == b"\0":
        raise file.unsupported(
            "was saved without its merged image (Photoshop: maximise compatibility)"
        )
    found = composite(file)
    rows = found.channels * found.dimensions.height
    stored = sum(found.lengths) if found.lengths else rows * found.row_bytes
    partial = found.start + stored > file.size and file.accept_truncated()
    pixel_bytes = found.channels * -(-found.bits // 8)
    header = ImageHeader(
        format=file.format,
        stored=found.dimensions,
        orientation=UPRIGHT,
        colour=_MODES[found.mode][1],
        transparent=found.alpha,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1,
        pixel_bytes=pixel_bytes,
        needs=_needs(found, pixel_bytes),
        reader=Reader.PSD,
        bits=found.bits,
        resolution=_parse_resolution(_optional_resource(file, resources, _RESOLUTION)),
    )
    return Inspection(
        header.needs,
        header=header,
        profile=_resource(file, resources, _PROFILE),
        exif=_resource(file, resources, _EXIF),
        xmp=_optional_resource(file, resources, _XMP),
        iptc=_optional_resource(file, resources, _IPTC),
        partial=partial,
    )


def _needs(found: Composite, pixel_bytes: int) -> Needs:
    """Return the needs of a part: its samples twice, and once more with alpha or from Lab."""
    lab, indexed = found.mode is Mode.LAB, found.mode is Mode.INDEXED
    copies = 2 + found.alpha + lab
    return Needs(
        part_bytes=copies * pixel_bytes + indexed * _INDEXED_BYTES,
        part_effort=_EFFORT + found.alpha * _ALPHA_EFFORT + lab * _LAB_EFFORT,
    )


def _parse_resolution(data: bytes) -> tuple[float, float] | None:
    """Return the resolution: dots per inch in fixed point, whatever unit is displayed."""
    if len(data) < 16:  # noqa: PLR2004 - of the resource
        return None
    across, down = struct.unpack_from(">I4xI", data)
    return across / 65_536, down / 65_536


def composite(file: BoundedFile) -> Composite:
    """Find the merged image and its channels. Raises OriginalRefusedError."""
    sections = _sections(file)
    channels, height, width, bits, number = sections.header
    file.check_size(width, height)
    if number not in _MODES:
        raise file.unsupported(_UNSUPPORTED_MODES.get(number, "has an unknown colour mode"))
    colours, _, depths = _MODES[number]
    if bits not in depths:
        raise file.unsupported(f"has samples of {bits} bits")
    if not colours <= channels <= MAX_CHANNELS:
        raise file.damaged("its number of channels is invalid")
    alpha = channels > colours and _merged_has_alpha(file, sections)
    palette = file.read_at(_HEADER + 4, _PALETTE_BYTES) if number == Mode.INDEXED else b""
    if number == Mode.INDEXED and len(palette) < _PALETTE_BYTES:
        raise file.damaged("it has no palette")
    (method,) = file.unpack_at(">H", sections.image) or (None,)
    if method is None:
        raise file.unsupported("has no merged image")
    if method not in {_RAW, _RUN_LENGTHS}:
        raise file.unsupported("has a merged image that is compressed by ZIP")
    start, lengths, shown = sections.image + 2, None, colours + alpha
    row_bytes = -(-width * bits // 8)
    if method == _RUN_LENGTHS:
        lengths = _lengths(file, start, height * shown, big=sections.big)
        if max(lengths) > 2 * row_bytes + _RLE_SLACK:
            raise file.damaged("its rows are longer than their pixels")
        start += lengths.itemsize * height * channels
    size = Dimensions(width, height)
    return Composite(size, Mode(number), bits, shown, alpha, palette, row_bytes, start, lengths)


def _lengths(file: BoundedFile, start: int, count: int, *, big: bool) -> "array[int]":
    """Return the compressed bytes of each row."""
    lengths = array("I" if big else "H")
    table = file.read_at(start, lengths.itemsize * count)
    if len(table) < lengths.itemsize * count:
        raise file.damaged("its table of rows is truncated")
    lengths.frombytes(table)
    if sys.byteorder == "little":
        lengths.byteswap()
    return lengths


@dataclass(frozen=True, slots=True)
class _Sections:
    """Offsets of the sections of a file."""

    big: bool
    header: tuple[int, int, int, int, int]
    """Channels, height, width, bits, mode."""
    resources: tuple[int, int]
    layers: tuple[int, int]
    image: int


def _sections(file: BoundedFile) -> _Sections:
    numbers = file.unpack_at(">4xH6xHIIHH", 0)
    if numbers is None:
        raise file.damaged("it ends in its header")
    version, *header = numbers
    big, position, extents = version == _BIG, _HEADER, []
    for layout, size in ((">I", 4), (">I", 4), (">Q", 8) if big else (">I", 4)):
        length = file.unpack_at(layout, position)
        if length is None:
            raise file.damaged("it is truncated before its image")
        extents.append((position + size, position + size + length[0]))
        position = extents[-1][1]
    channels, height, width, bits, mode = header
    return _Sections(big, (channels, height, width, bits, mode), extents[1], extents[2], position)


def _resources(file: BoundedFile, sections: _Sections) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the image resources: number, offset and length."""
    position, end = sections.resources
    file.check(end - position, MAX_METADATA_BYTES, "bytes of metadata")
    for _ in range(_MAX_BLOCKS):
        numbers = file.unpack_at(">4sHB", position)
        if numbers is None or position >= end or numbers[0] != b"8BIM":
            return
        position += 6 + (numbers[2] + 2) // 2 * 2  # the name, and the byte of its length
        (length,) = file.unpack_at(">I", position) or (0,)
        yield numbers[1], (position + 4, length)
        position += 4 + length + length % 2
    file.check(_MAX_BLOCKS + 1, _MAX_BLOCKS, "image resources")


def _resource(file: BoundedFile, resources: dict[int, tuple[int, int]], number: int) -> bytes:
    offset, length = resources.get(number, (0, 0))
    file.check_block(length, f"its image resource {number}")
    return file.read_at(offset, length)


def _optional_resource(
    file: BoundedFile, resources: dict[int, tuple[int, int]], number: int
) -> bytes:
    """Return an optional resource; empty if it is large."""
    offset, length = resources.get(number, (0, 0))
    return file.read_at(offset, length) if length <= MAX_CREDITS_BYTES else b""


def _merged_has_alpha(file: BoundedFile, sections: _Sections) -> bool:
    """Whether the first further channel is the opacity of the merged image: a negative count."""
    position, end = sections.layers
    layout, size = (">Q", 8) if sections.big else (">I", 4)
    if end - position < size:
        return False
    (length,) = file.unpack_at(layout, position) or (0,)
    if length:
        return _is_count_negative(file, position + size)
    # 16 bits: the layers are in a block behind the global mask.
    position += size
    (mask,) = file.unpack_at(">I", position) or (0,)
    position += 4 + mask
    for _ in range(_MAX_BLOCKS):
        numbers = file.unpack_at(">4s4s", position)
        if numbers is None or position >= end or numbers[0] not in {b"8BIM", b"8B64"}:
            return False
        long_ = sections.big and numbers[1] in _LONG_KEYS
        (length,) = file.unpack_at(">Q" if long_ else ">I", position + 8) or (0,)
        position += 16 if long_ else 12
        if numbers[1] in _LAYERS:
            return _is_count_negative(file, position)
        position += -(-length // 4) * 4
    return False


def _is_count_negative(file: BoundedFile, position: int) -> bool:
    (count,) = file.unpack_at(">h", position) or (0,)
    return bool(count < 0)
