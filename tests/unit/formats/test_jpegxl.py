"""Headers of JPEG XL codestreams, written bit by bit (ISO 18181-1, annex D)."""

import struct
from io import BytesIO

import pytest

from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.jpegxl import Metadata, inspect, read_metadata
from iiif_server.plan.original_format import OriginalFormat

Field = tuple[int, int]
"""A number and its bits."""
DEFAULT: Field = (1, 1)
SMALL: list[Field] = [(1, 1), (5, 5), (0, 3), (7, 5)]
"""64 x 48."""
EIGHT: list[Field] = [(0, 1), (0, 2)]
"""A depth of 8 bits."""
PLAIN_END: list[Field] = [(1, 1), (0, 2), (1, 1), (1, 1)]
"""16 bits suffice; no extra channel, XYB, sRGB."""


def stream(*fields: Field) -> bytes:
    value = position = 0
    for number, bits in fields:
        value |= number << position
        position += bits
    return b"\xff\x0a" + value.to_bytes(position // 8 + 8, "little")


def read(data: bytes) -> Metadata:
    return read_metadata(BoundedFile(BytesIO(data), OriginalFormat.JPEGXL))


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), name) + data


def boxed(*boxes: bytes) -> bytes:
    return box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ") + b"".join(boxes)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        (SMALL, (64, 48)),
        ([(1, 1), (31, 5), (0, 3), (0, 5)], (8, 256)),
        ([(0, 1), (0, 2), (511, 9), (0, 3), (0, 2), (0, 9)], (1, 512)),
        ([(0, 1), (1, 2), (8191, 13), (0, 3), (1, 2), (99, 13)], (100, 8192)),
        ([(0, 1), (2, 2), (99, 18), (0, 3), (3, 2), (299_999, 30)], (300_000, 100)),
        ([(0, 1), (0, 2), (99, 9), (1, 3)], (100, 100)),
        ([(0, 1), (0, 2), (99, 9), (2, 3)], (120, 100)),
        ([(0, 1), (0, 2), (99, 9), (3, 3)], (133, 100)),
        ([(0, 1), (0, 2), (99, 9), (4, 3)], (150, 100)),
        ([(0, 1), (0, 2), (99, 9), (5, 3)], (177, 100)),
        ([(0, 1), (0, 2), (99, 9), (6, 3)], (125, 100)),
        ([(1, 1), (0, 5), (7, 3)], (16, 8)),
    ],
)
def test_sizes(fields: list[Field], size: tuple[int, int]) -> None:
    found = read(stream(*fields, DEFAULT))
    assert (found.dimensions.width, found.dimensions.height) == size
    assert (found.bits, found.gray, found.alpha, found.xyb) == (8, False, False, True)


def test_orientation_preview_and_animation_are_passed() -> None:
    extra: list[Field] = [(0, 1), (1, 1), (5, 3)]  # orientation 6
    intrinsic = [(1, 1), *SMALL]
    preview: list[Field] = [(1, 1), (1, 1), (2, 2), (3, 5), (0, 3), (3, 2), (9, 9)]
    animation: list[Field] = [(1, 1), (2, 2), (9, 10), (0, 2), (2, 2), (7, 16), (1, 1)]
    depth: list[Field] = [(0, 1), (3, 2), (15, 6)]
    found = read(stream(*SMALL, *extra, *intrinsic, *preview, *animation, *depth, *PLAIN_END))
    assert (found.dimensions.width, found.dimensions.height) == (48, 64)
    assert (found.bits, found.floating, found.xyb) == (16, False, True)


def test_depth_gray_and_floating_point() -> None:
    floating: list[Field] = [(1, 1), (1, 2), (4, 4)]  # 16 bits, 5 of them the exponent
    gray: list[Field] = [(0, 1), (0, 2), (0, 1), (0, 1), (0, 1), (1, 2)]
    found = read(stream(*SMALL, (0, 1), (0, 1), *floating, *gray))
    assert (found.bits, found.floating, found.gray, found.xyb) == (16, True, True, False)
    assert found.channels == 1


def channel(kind: int, *rest: Field, name: int = 0) -> list[Field]:
    number: list[Field] = [(kind, 2)] if kind < 2 else [(2, 2), (kind - 2, 4)]
    named: list[Field] = [(1, 2), (name, 4), *[(65, 8)] * name] if name else [(0, 2)]
    return [(0, 1), *number, *EIGHT, (0, 2), *named, *rest]


def with_channels(count: list[Field], *channels: list[Field]) -> bytes:
    flat = [field for one in channels for field in one]
    return stream(*SMALL, (0, 1), (0, 1), *EIGHT, (1, 1), *count, *flat, (1, 1), (1, 1))


def test_extra_channels() -> None:
    depth, alpha = channel(1, name=5), channel(0, (1, 1))
    spot, cfa = channel(2, *[(0, 16)] * 4), channel(5, (1, 2), (2, 2))
    found = read(with_channels([(2, 2), (2, 4)], depth, spot, cfa, alpha))
    assert (found.extra, found.alpha, found.premultiplied, found.black) == (4, True, True, False)
    assert (found.channels, found.xyb) == (4, True)
    plain = read(with_channels([(1, 2)], [(1, 1)]))
    assert (plain.alpha, plain.premultiplied) == (True, False)


def test_inks_are_unsupported() -> None:
    data = with_channels([(1, 2)], channel(4))
    with pytest.raises(UnsupportedOriginalError, match="inks"):
        inspect(BoundedFile(BytesIO(data), OriginalFormat.JPEGXL))


def test_many_channels_are_too_many() -> None:
    with pytest.raises(OriginalTooLargeError, match="4,096 extra channels"):
        read(with_channels([(3, 2), (4095, 12)]))


@pytest.mark.parametrize("fields", [[(0, 1), (3, 2), (2**30 - 1, 30), (7, 3)]])
def test_sizes_are_limited(fields: list[Field]) -> None:
    file = BoundedFile(BytesIO(stream(*fields, DEFAULT)), OriginalFormat.JPEGXL, 10**9)
    with pytest.raises(OriginalTooLargeError):
        inspect(file)


def test_a_codestream_may_be_in_parts() -> None:
    data = stream(*SMALL, DEFAULT)
    parts = [box(b"jxlp", struct.pack(">I", at) + data[at : at + 1]) for at in range(len(data))]
    assert read(boxed(box(b"jxll", b"\5"), *parts)).dimensions.width == 64
    assert read(boxed(box(b"jxlc", data))).dimensions.width == 64


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\x0a\x01", "ends before its header does"),
        (boxed(), "no codestream"),
        (boxed(box(b"jxlc", b"other")), "no codestream"),
        (boxed(box(b"jxlc", stream(*SMALL, DEFAULT)))[:-1], "truncated"),
    ],
)
def test_damaged_headers(data: bytes, reason: str) -> None:
    with pytest.raises(DamagedOriginalError, match=reason):
        read(data)
