"""Kinds of originals in docs/formats.md without a test module of their own."""

import base64
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError, UnsupportedOriginalError
from support import jpegs
from support.pictures import exif, saved, wide_profile
from support.rendering import assert_halves, write_file
from support.tiff_samples import TiffFile

SIDE = 48
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
HALF = (LEFT, RIGHT)
KEY = (12, 0, 19)
"""Black ink alone, by the press profile of libvips."""
SHORT, LONG = 3, 4
ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00RO70s;a90s;a90|NsD1_T5I1Ox~M1_cHQ2nq@b2nh)a3=a$n3l0kj2@"
    "Meq4i69z5fBOt5)%>-6Aus&5dYf%LjeN=0|WyE2m}NO5DN(l5D*X$5D*X$5D*X$5D*X$5D*X$5D*X$5D*X$5D*X$"
    "5D*X$5D*X$5D*X$5D*X$5D*X$5D@>s01*fP5C9+p0TBQK5di}c0sq7R761VO0RR910000000000000062mizX6c7"
    "Ob00000000000000000030!~hoo0RaI400000000000000000{>O|HJ?k5di=I0000000000000000095m01N{G0"
    "0I#M5dc2`#TmP`Ku4%rc>u6aMGXNSp=sm;|Je"
)
"""A JPEG of 32 x 16 pixels; Pillow writes none in arithmetic coding."""


def halves(left: Any, right: Any, type_: Any = np.uint8) -> NDArray[Any]:
    values = np.empty((SIDE, SIDE, len(left)), type_)
    values[:, : SIDE // 2], values[:, SIDE // 2 :] = left, right
    return values


RGB = halves(LEFT, RIGHT)


def bmp(bits: int, compression: int, data: bytes, colours: int = 2) -> bytes:
    palette = bytes([*LEFT[::-1], 0, *RIGHT[::-1], 0]) if colours else b""
    start = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    head += struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, bits, compression, 0, 0, 0, colours, 0)
    return head + palette + data


def fax(compression: str, *, planar: bool) -> bytes:
    """Strips of 1-bit samples in a CCITT compression, written by Pillow."""
    bilevel = Image.fromarray(RGB[:, :, 0] > 100)
    strip_of = Image.open(BytesIO(saved(bilevel, "TIFF", compression=compression)))
    tags: Any = strip_of.tag_v2  # type: ignore[attr-defined]
    file = BytesIO(saved(bilevel, "TIFF", compression=compression))
    file.seek(tags[273][0])
    strip = file.read(tags[279][0])
    samples = 3 if planar else 1
    photometric = 2 if planar else tags[262]
    values = np.zeros((SIDE, SIDE, samples), np.uint8)
    return TiffFile(
        values,
        photometric,
        bits=1,
        planar=planar,
        pieces=[strip] * samples,
        tags={259: (SHORT, [tags[259]]), 278: (LONG, [SIDE])},
    ).write()


def in_palette(*, planar: bool) -> TiffFile:
    colours = [v * 257 for c in range(3) for v in (LEFT[c], RIGHT[c], *[0] * 254)]
    values = halves([0, 255], [1, 128])
    return TiffFile(values, 3, extra=[2], planar=planar, tags={320: (SHORT, colours)})


def old_jpeg(piece: bytes) -> bytes:
    tags = {259: (SHORT, [6]), 278: (LONG, [SIDE])}
    return TiffFile(RGB, 6, pieces=[piece], tags=tags).write()


def frames(format_: str, **options: Any) -> bytes:
    first, second = Image.fromarray(RGB), Image.new("RGB", (SIDE, SIDE), (0, 255, 0))
    return saved(first, format_, save_all=True, append_images=[second], **options)


DEEP = RGB.astype(int) * 16 + 8
GRAY = RGB[:, :, :1].astype(int)
GRAYS = ((LEFT[0],) * 3, (RIGHT[0],) * 3)
JPEG = bytes(imagecodecs.jpeg_encode(RGB, level=95, subsampling="444"))
KINDS: dict[str, tuple[bytes, Any]] = {
    "JPEG, arithmetic coding": (ARITHMETIC, HALF),
    "JPEG of 12 bits": (jpegs.dct(DEEP, 12, before=jpegs.RGB), HALF),
    "JPEG of 12 bits, gray": (jpegs.dct(GRAY * 16 + 8, 12), GRAYS),
    "JPEG of 12 bits, inks": (
        jpegs.dct(halves([4095] * 3 + [0], [4095] * 4, np.uint16), 12, before=jpegs.RGB),
        (KEY, WHITE),
    ),
    "JPEG, lossless": (jpegs.lossless(RGB, 8, before=jpegs.RGB), HALF),
    "JPEG, lossless, 16 bits": (jpegs.lossless(RGB.astype(int) * 257, 16, before=jpegs.RGB), HALF),
    "JPEG, lossless, 10 bits, gray": (jpegs.lossless(GRAY * 4 + 2, 10), GRAYS),
    "JPEG, lossless, 2 bits, gray": (jpegs.lossless(GRAY // 64, 2), ((255,) * 3, BLACK)),
    "TIFF, lossless JPEG": (
        TiffFile(
            RGB,
            2,
            rows=SIDE,
            pieces=[jpegs.lossless(RGB, 8, before=jpegs.RGB)],
            tags={259: (SHORT, [7])},
        ).write(),
        HALF,
    ),
    "TIFF, JPEG by the old method": (old_jpeg(JPEG), HALF),
    "TIFF, modified Huffman": (fax("tiff_ccitt", planar=False), (WHITE, BLACK)),
    "TIFF, group 3": (fax("group3", planar=False), (WHITE, BLACK)),
    "TIFF, group 4": (fax("group4", planar=False), (WHITE, BLACK)),
    "TIFF, group 4, planar": (fax("group4", planar=True), (WHITE, BLACK)),
    "JPX": (saved(Image.fromarray(RGB), "JPEG2000").replace(b"ftypjp2 ", b"ftypjpx "), HALF),
    "the first frame of a GIF": (frames("GIF"), HALF),
    "the first frame of a WebP": (frames("WEBP", lossless=True), HALF),
    "the first frame of an AVIF": (frames("AVIF", quality=95, speed=10), HALF),
    "BMP of 1 bit": (bmp(1, 0, (b"\0\0\0\xff\xff\xff\0\0") * SIDE), HALF),
    "BMP of 4 bits": (bmp(4, 0, (b"\0" * 12 + b"\x11" * 12) * SIDE), HALF),
    "BMP of 16 bits": (
        bmp(16, 0, (b"\xa5\x64" * 24 + b"\xf9\x14" * 24) * SIDE, colours=0),
        ((205, 41, 41), (41, 57, 205)),
    ),
    "BMP of 32 bits": (
        bmp(32, 0, np.dstack((RGB[:, :, ::-1], RGB[:, :, :1] * 0)).tobytes(), colours=0),
        HALF,
    ),
    "BMP, run lengths of 8 bits": (bmp(8, 1, b"\x18\0\x18\1\0\0" * SIDE + b"\0\1"), HALF),
    "BMP, run lengths of 4 bits": (bmp(4, 2, b"\x18\0\x18\x11\0\0" * SIDE + b"\0\1"), HALF),
}


@pytest.mark.parametrize("name", KINDS)
def test_colours_are_right_in_every_view(name: str, tmp_path: Path) -> None:
    data, (left, right) = KINDS[name]
    with open_image(write_file(tmp_path, data)) as image:
        x = image.info.width // 2 - 8
        assert_halves(image, (x, 4), left, right)


def transformed(*boxes: bytes) -> bytes:
    """AVIF with more item properties, in the order of their application."""
    plain = saved(Image.fromarray(RGB), "AVIF", quality=95, speed=10)
    uses, pixels = plain.index(b"ipma") - 4, plain.index(b"mdat") + 4
    old = plain[uses : pixels - 8]
    known = old[18]  # properties of the one item
    more = bytes(0x80 | known + 1 + number for number in range(len(boxes)))
    new = struct.pack(">I", len(old) + len(more)) + old[4:18] + bytes([known + len(more)])
    inserted = b"".join(boxes)
    data = bytearray(plain[:uses] + inserted + new + old[19:] + more + plain[pixels - 8 :])
    growth = len(inserted) + len(more)
    grown = {plain.index(name) - 4: growth for name in (b"meta", b"iprp")}
    grown[plain.index(b"ipco") - 4] = len(inserted)
    grown[plain.index(struct.pack(">I", pixels))] = growth
    for at, by in grown.items():
        struct.pack_into(">I", data, at, struct.unpack_from(">I", plain, at)[0] + by)
    return bytes(data)


CROPPED = struct.pack(">I4s8i", 40, b"clap", 24, 1, 40, 1, 12, 1, 0, 1)
TURNED = struct.pack(">I4sB", 9, b"irot", 1)


@pytest.mark.parametrize(
    ("boxes", "size", "colour"),
    [
        ((), (48, 48), LEFT),
        ((CROPPED,), (24, 40), RIGHT),
        ((TURNED,), (48, 48), RIGHT),
        ((CROPPED, TURNED), (40, 24), RIGHT),
    ],
    ids=["plain", "cropped", "turned", "cropped and turned"],
)
def test_avif_is_cropped_and_turned_as_its_boxes_say(
    boxes: tuple[bytes, ...], size: tuple[int, int], colour: Any, tmp_path: Path
) -> None:
    with open_image(write_file(tmp_path, transformed(*boxes))) as image:
        assert (image.info.width, image.info.height) == size
        made = np.asarray(Image.open(BytesIO(image.render(format="png"))).convert("RGB"))
    assert np.abs(made.astype(int)[2, 2] - colour).max() <= 6


def test_arithmetic_coding_is_not_passed_on(tmp_path: Path) -> None:
    """Browsers do not read it."""
    with open_image(write_file(tmp_path, ARITHMETIC)) as image:
        for region, rotation in (("full", "0"), ("0,0,16,16", "0"), ("full", "90")):
            data = image.render(region=region, rotation=rotation)
            assert b"\xff\xc0" in data


@pytest.mark.parametrize(
    "data", [jpegs.dct(DEEP, 12, before=jpegs.RGB), jpegs.lossless(RGB, 8, before=jpegs.RGB)]
)
def test_jpegs_of_samples_are_not_passed_on(data: bytes, tmp_path: Path) -> None:
    """Browsers do not read them."""
    with open_image(write_file(tmp_path, data)) as image:
        for region, rotation in (("full", "0"), ("0,0,16,16", "0"), ("full", "90")):
            assert b"\xff\xc0" in image.render(region=region, rotation=rotation)


def test_jpegs_of_samples_have_profile_and_orientation(tmp_path: Path) -> None:
    profile = wide_profile()
    metadata = jpegs.segment(0xE1, exif(6))
    metadata += jpegs.segment(0xE2, b"ICC_PROFILE\0\1\1" + profile)
    wide = np.repeat(DEEP, 2, axis=1)
    data = jpegs.dct(wide, 12, before=jpegs.RGB + metadata)
    with open_image(write_file(tmp_path, data)) as image:
        assert (image.info.width, image.info.height) == (SIDE, 2 * SIDE)
        made = Image.open(BytesIO(image.render(format="png")))
    assert made.info["icc_profile"] == profile
    assert made.getpixel((2, 2)) == LEFT
    assert made.getpixel((2, 2 * SIDE - 3)) == RIGHT


@pytest.mark.parametrize("write", [jpegs.dct, jpegs.lossless])
def test_jpegs_of_samples_that_end_early_are_refused(write: Any, tmp_path: Path) -> None:
    """The decoder would fill in missing pixels."""
    with pytest.raises(DamagedOriginalError, match="truncated"):
        open_image(write_file(tmp_path, write(DEEP, 12, end=False)))


@pytest.mark.parametrize("planar", [False, True])
def test_a_palette_may_have_alpha_beside_it(planar: bool, tmp_path: Path) -> None:  # noqa: FBT001
    with open_image(write_file(tmp_path, in_palette(planar=planar).write())) as image:
        made = np.asarray(Image.open(BytesIO(image.render(format="png"))))
    assert made[2, 2].tolist() == [*LEFT, 255]
    assert made[2, -3].tolist() == [*RIGHT, 128]


def test_a_part_of_a_jpeg_in_a_tiff_is_unsupported_and_not_damaged(tmp_path: Path) -> None:
    scan = JPEG[JPEG.index(b"\xff\xda") + 14 :]
    with pytest.raises(UnsupportedOriginalError, match="parts of a JPEG"):
        probe(write_file(tmp_path, old_jpeg(scan)), 10**9)


@pytest.mark.parametrize("screen", [(30, 20), (640, 480), (1024, 768)])
def test_what_a_gif_leaves_free_is_transparent(screen: tuple[int, int], tmp_path: Path) -> None:
    """Pillow reads screens of common sizes: libvips shrinks them to the frame."""
    frame = Image.new("P", (20, 10), 1)
    frame.putpalette([*BLACK, *LEFT])
    frame.paste(0, (0, 0, 10, 10))
    data = bytearray(saved(frame, "GIF", transparency=0))
    struct.pack_into("<HH", data, 6, *screen)
    with open_image(write_file(tmp_path, bytes(data))) as image:
        assert image.info.transparent
        made = np.asarray(Image.open(BytesIO(image.render(format="png"))))
    assert made[5, 5, 3] == made[15, 15, 3] == 0
    assert made[5, 15].tolist() == [*LEFT, 255]
