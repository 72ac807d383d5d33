"""BMPs of every header, depth and compression, written by hand."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError, UnsupportedOriginalError
from support.pictures import wide_profile
from support.rendering import write_file

SIDE = 48
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)
HALF = SIDE // 2
HEADERS = (12, 16, 20, 40, 52, 56, 60, 64, 108, 124)
BGR = (bytes(LEFT[::-1]) * HALF + bytes(RIGHT[::-1]) * HALF) * SIDE
PALETTE = bytes([*LEFT[::-1], 0, *RIGHT[::-1], 0])


def bmp(
    bits: int,
    data: bytes,
    *,
    size: int = 40,
    height: int = SIDE,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
    fields: dict[int, bytes] | None = None,
) -> bytes:
    colours = len(palette) // 4
    if size == 12:
        head = struct.pack("<IHHHH", 12, SIDE, height, 1, bits)
        palette = b"".join(palette[at : at + 3] for at in range(0, len(palette), 4))
    else:
        head = struct.pack(
            "<IiiHHIIiiII", size, SIDE, height, 1, bits, compression, 0, 0, 0, colours, 0
        )
        head = head[:size].ljust(size, b"\0")
    header = bytearray(head)
    if size > 40 and masks:
        header[40 : 40 + 4 * len(masks)] = struct.pack(f"<{len(masks)}I", *masks)
    for at, value in (fields or {}).items():
        header[at : at + len(value)] = value
    behind = struct.pack(f"<{len(masks)}I", *masks) if size == 40 else b""
    start = 14 + size + len(behind) + len(palette)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(data), 0, 0, start)
        + header
        + behind
        + palette
        + data
    )


def words(left: int, right: int, kind: str) -> bytes:
    return (struct.pack(kind, left) * HALF + struct.pack(kind, right) * HALF) * SIDE


def fields_of(colour: tuple[int, ...], masks: tuple[int, ...]) -> int:
    value = 0
    for sample, mask in zip(colour, masks, strict=False):
        shift = (mask & -mask).bit_length() - 1
        value |= round(sample / 255 * (mask >> shift)) << shift
    return value


def masked(masks: tuple[int, ...], kind: str) -> bytes:
    return words(fields_of(LEFT, masks), fields_of(RIGHT, masks), kind)


M565, M444 = (0xF800, 0x07E0, 0x001F), (0x0F00, 0x00F0, 0x000F)
M101010, SWAPPED = (0x3FF00000, 0xFFC00, 0x3FF), (0xFF, 0xFF00, 0xFF0000)
BOTH = b"\x18\0\x18\1\0\0" * SIDE + b"\0\1"
KINDS: dict[str, bytes] = {
    **{f"header of {size}": bmp(24, BGR, size=size) for size in HEADERS},
    "header of 12, palette": bmp(8, (bytes(HALF) + b"\1" * HALF) * SIDE, size=12, palette=PALETTE),
    "header of 64, palette": bmp(8, (bytes(HALF) + b"\1" * HALF) * SIDE, size=64, palette=PALETTE),
    "from the top": bmp(24, BGR, height=-SIDE),
    "1 bit": bmp(1, (b"\0\0\0\xff\xff\xff\0\0") * SIDE, palette=PALETTE),
    "2 bits": bmp(2, (bytes(6) + b"\x55" * 6) * SIDE, palette=PALETTE),
    "4 bits": bmp(4, (bytes(12) + b"\x11" * 12) * SIDE, palette=PALETTE),
    "16 bits": bmp(16, masked((0x7C00, 0x03E0, 0x001F), "<H")),
    "16 bits, 5-6-5": bmp(16, masked(M565, "<H"), compression=3, masks=M565),
    "16 bits, 4-4-4": bmp(16, masked(M444, "<H"), compression=3, masks=M444, size=56),
    "32 bits": bmp(32, masked((0xFF0000, 0xFF00, 0xFF), "<I")),
    "32 bits, 10-10-10": bmp(32, masked(M101010, "<I"), compression=3, masks=M101010, size=108),
    "32 bits, other order": bmp(32, masked(SWAPPED, "<I"), compression=3, masks=SWAPPED, size=52),
    "run lengths of 8": bmp(8, BOTH, compression=1, palette=PALETTE),
    "run lengths of 4": bmp(
        4, b"\x18\0\x18\x11\0\0" * SIDE + b"\0\1", compression=2, palette=PALETTE
    ),
    "literals of 8": bmp(
        8,
        (b"\0\x17" + bytes(23) + b"\0" + b"\1\0\x18\1\0\0") * SIDE + b"\0\1",
        compression=1,
        palette=PALETTE,
    ),
    "literals of 4": bmp(
        4,
        (b"\0\x18" + bytes(12) + b"\0\x18" + b"\x11" * 12 + b"\0\0") * SIDE + b"\0\1",
        compression=2,
        palette=PALETTE,
    ),
    "moves": bmp(8, b"\0\2\x18\0\x18\1\0\0" * SIDE + b"\0\1", compression=1, palette=PALETTE),
}  # fmt: skip


def shown(path: Path, **request: Any) -> Image.Image:
    with open_image(path) as image:
        return Image.open(BytesIO(image.render(format="png", **request)))


@pytest.mark.parametrize("name", KINDS)
def test_colours_are_right_in_every_view(name: str, tmp_path: Path) -> None:
    near = 9 if "bits" in name and "16" in name else 1
    path = write_file(tmp_path, KINDS[name])
    for request in ({}, {"size": "16,"}, {"region": "16,4,16,8"}):
        pixels = np.asarray(shown(path, **request).convert("RGB")).astype(int)
        assert np.abs(pixels[1, 1] - LEFT).max() <= near
        assert np.abs(pixels[1, -2] - RIGHT).max() <= near


PAINTED = bmp(8, (bytes(HALF) + b"\1" * HALF) * SIDE, palette=PALETTE)
MASKED = bmp(16, masked(M565, "<H"), compression=3, masks=M565)


@pytest.mark.parametrize(
    "data",
    [
        PAINTED[:10] + bytes(4) + PAINTED[14:],
        PAINTED[:10] + struct.pack("<I", 54) + PAINTED[14:],
        MASKED[:10] + bytes(4) + MASKED[14:],
        bmp(24, BGR)[:10] + bytes(4) + bmp(24, BGR)[14:],
    ],
)
def test_rows_are_found_where_the_header_has_no_valid_offset(data: bytes, tmp_path: Path) -> None:
    pixels = np.asarray(shown(write_file(tmp_path, data))).astype(int)
    assert np.abs(pixels[2, 2] - LEFT).max() <= 9
    assert np.abs(pixels[2, -3] - RIGHT).max() <= 9


def test_a_palette_may_have_more_colours_than_indices(tmp_path: Path) -> None:
    data = bmp(8, (bytes(HALF) + b"\1" * HALF) * SIDE, palette=PALETTE + bytes(4 * 298))
    made = shown(write_file(tmp_path, data))
    assert (made.getpixel((2, 2)), made.getpixel((SIDE - 3, 2))) == (LEFT, RIGHT)


@pytest.mark.parametrize("height", [SIDE, -SIDE])
def test_rows_begin_at_the_bottom_or_the_top(height: int, tmp_path: Path) -> None:
    first = bytes(LEFT[::-1]) * SIDE
    rest = bytes(RIGHT[::-1]) * SIDE * (SIDE - 1)
    made = shown(write_file(tmp_path, bmp(24, first + rest, height=height)))
    assert made.getpixel((5, SIDE - 1 if height > 0 else 0)) == LEFT
    assert made.getpixel((5, 0 if height > 0 else SIDE - 1)) == RIGHT


@pytest.mark.parametrize(("size", "compression"), [(40, 6), (56, 3), (108, 3), (124, 3)])
def test_alpha_has_a_mask(size: int, compression: int, tmp_path: Path) -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    left, right = fields_of((*LEFT, 255), masks), fields_of((*RIGHT, 128), masks)
    data = bmp(32, words(left, right, "<I"), size=size, compression=compression, masks=masks)
    made = shown(write_file(tmp_path, data))
    assert made.getpixel((2, 2)) == (*LEFT, 255)
    assert made.getpixel((SIDE - 3, 2)) == (*RIGHT, 128)


def test_a_profile_is_embedded(tmp_path: Path) -> None:
    profile = wide_profile()
    place = {56: b"DEBM", 112: struct.pack("<II", 124 + len(BGR), len(profile))}
    made = shown(write_file(tmp_path, bmp(24, BGR, size=124, fields=place) + profile))
    assert made.info["icc_profile"] == profile


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (bmp(24, BGR, compression=4), UnsupportedOriginalError, "contains a JPEG"),
        (bmp(24, BGR, compression=5), UnsupportedOriginalError, "contains a PNG"),
        (bmp(24, BGR, compression=9), UnsupportedOriginalError, "unknown method"),
        (bmp(1, BGR, compression=3, size=64), UnsupportedOriginalError, "unknown method"),
        (bmp(48, BGR), UnsupportedOriginalError, "48 bits"),
        (bmp(24, BGR, size=44)[:30], DamagedOriginalError, "truncated"),
        (bmp(24, BGR, fields={0: b"\x0d\0\0\0"}), DamagedOriginalError, "unknown length"),
        (bmp(24, BGR, compression=1), DamagedOriginalError, "another depth"),
        (bmp(24, BGR, compression=3, masks=M565), DamagedOriginalError, "another depth"),
        (
            bmp(16, BGR, compression=3, masks=(0xF0F0, 1, 2)),
            DamagedOriginalError,
            "bit fields are invalid",
        ),
        (
            bmp(16, BGR, compression=3, masks=(0xFF0000, 1, 2)),
            DamagedOriginalError,
            "bit fields are invalid",
        ),
    ],
)
def test_others_are_refused(
    data: bytes, error: type[Exception], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason):
        probe(write_file(tmp_path, data), 10**9)


@pytest.mark.parametrize("runs", [b"\x18\0" * 90, b"\0\1", b"\xff\0" * 40, b"\0\xff"])
def test_run_lengths_that_end_early_are_damaged(runs: bytes, tmp_path: Path) -> None:
    with (
        open_image(write_file(tmp_path, bmp(8, runs, compression=1, palette=PALETTE))) as image,
        pytest.raises(DamagedOriginalError),
    ):
        image.render()


def test_colours_beyond_the_palette_are_black(tmp_path: Path) -> None:
    data = bmp(8, b"\xfe" * SIDE * SIDE, palette=PALETTE)
    assert shown(write_file(tmp_path, data)).getpixel((3, 3)) == (0, 0, 0)
