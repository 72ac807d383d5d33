"""PSD and PSB: the merged image in every colour mode, or the reason of the refusal."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalRefusedError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.plan.original_format import Bounds
from support import psds
from support.pictures import exif, wide_profile
from support.psds import psd
from support.rendering import assert_halves, derive, write_file

SIDE = 48
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)
HALF = (LEFT, RIGHT)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
KEY = (12, 0, 19)
"""Black ink alone, by the press profile of libvips."""


def halves(left: Any, right: Any) -> NDArray[np.uint16]:
    values = np.empty((SIDE, SIDE, len(left)), np.uint16)
    values[:, : SIDE // 2], values[:, SIDE // 2 :] = left, right
    return values


def lab_of(colour: tuple[int, ...]) -> tuple[int, ...]:
    """Convert to L*, a*, b* (D50) in 8 bits with lcms."""
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    convert = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    converted = ImageCms.applyTransform(Image.new("RGB", (1, 1), colour), convert)
    assert converted is not None
    light, red, yellow = converted.tobytes()
    return light, red ^ 0x80, yellow ^ 0x80


RGB = halves(LEFT, RIGHT)
LABS = halves(lab_of(LEFT), lab_of(RIGHT))
BITS = halves([1], [0])
GRAYS = ((200,) * 3, (40,) * 3)
COLOURS = psds.palette(LEFT, RIGHT)
KINDS: dict[str, tuple[bytes, Any]] = {
    "RGB": (psd(RGB, psds.RGB), HALF),
    "RGB, packed": (psd(RGB, psds.RGB, packed=True), HALF),
    "RGB, 16 bits": (psd(RGB * 257, psds.RGB, bits=16), HALF),
    "RGB, 16 bits, packed": (psd(RGB * 257, psds.RGB, bits=16, packed=True), HALF),
    "RGB, PSB": (psd(RGB, psds.RGB, big=True), HALF),
    "RGB, PSB, packed": (psd(RGB, psds.RGB, big=True, packed=True), HALF),
    "gray": (psd(halves([200], [40]), psds.GRAY, packed=True), GRAYS),
    "gray, 16 bits": (psd(halves([200 * 257], [40 * 257]), psds.GRAY, bits=16), GRAYS),
    "duotone": (psd(halves([200], [40]), psds.DUOTONE, colours=b"ink"), GRAYS),
    "bitmap": (psd(BITS, psds.BITMAP, bits=1), (BLACK, WHITE)),
    "bitmap, packed": (psd(BITS, psds.BITMAP, bits=1, packed=True), (BLACK, WHITE)),
    "indexed": (psd(halves([0], [1]), psds.INDEXED, colours=COLOURS), HALF),
    "inks": (psd(halves([255] * 3 + [0], [255] * 4), psds.CMYK, packed=True), (KEY, WHITE)),
    "inks, 16 bits": (
        psd(halves([65535] * 3 + [0], [65535] * 4), psds.CMYK, bits=16),
        (KEY, WHITE),
    ),
    "Lab": (psd(LABS, psds.LAB), HALF),
    "Lab, 16 bits": (psd(LABS * 256 + [[[0, 0, 0]]], psds.LAB, bits=16), HALF),
    "a saved selection": (psd(halves([*LEFT, 0], [*RIGHT, 0]), psds.RGB), HALF),
}


@pytest.mark.parametrize("name", KINDS)
def test_colours_are_right_in_every_view(name: str, tmp_path: Path) -> None:
    data, (left, right) = KINDS[name]
    with open_image(write_file(tmp_path, data)) as image:
        assert not image.info.transparent
        assert_halves(image, (16, 4), left, right)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_merged_image_is_freed_of_white(
    bits: int,
    big: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    half = [round(255 - (255 - value) * 128 / 255) for value in LEFT]
    values = halves([*half, 128], [255, 255, 255, 0])
    values = values * 257 if bits == 16 else values
    data = psd(values, psds.RGB, bits=bits, big=big, layers=psds.layers(-1, bits=bits, big=big))
    with open_image(write_file(tmp_path, data)) as image:
        assert image.info.transparent
        made = np.asarray(Image.open(BytesIO(image.render(format="png")))).astype(int)
    assert np.abs(made[2, 2] - [*LEFT, 128]).max() <= 1
    assert made[2, -3, 3] == 0


def test_layers_without_transparency_leave_a_selection_alone(tmp_path: Path) -> None:
    data = psd(halves([*LEFT, 0], [*RIGHT, 9]), psds.RGB, layers=psds.layers(1))
    assert not probe(write_file(tmp_path, data), 10**9).transparent


def test_profile_and_orientation_are_in_resources(tmp_path: Path) -> None:
    profile = wide_profile()
    resources = {1005: b"odd", 1039: profile, 1058: exif(6)[6:]}
    data = psd(np.repeat(RGB, 2, axis=1), psds.RGB, resources=resources)
    with open_image(write_file(tmp_path, data)) as image:
        assert (image.info.width, image.info.height) == (SIDE, 2 * SIDE)
        made = Image.open(BytesIO(image.render(format="png")))
    assert made.info["icc_profile"] == profile
    assert made.getpixel((2, 2)) == LEFT
    assert made.getpixel((2, 2 * SIDE - 3)) == RIGHT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (psd(RGB, psds.RGB, resources={1057: b"\0\0\0\1\0"}), "maximise compatibility"),
        (psd(RGB, psds.RGB)[: -RGB.size - 2], "no merged image"),
        (psd(RGB, psds.MULTICHANNEL), "multichannel"),
        (psd(RGB, 5), "unknown colour mode"),
        (psd(RGB, psds.RGB, bits=32), "32 bits"),
        (psd(RGB, psds.RGB, method=2), "ZIP"),
    ],
    ids=["no composite", "no image", "multichannel", "mode", "float", "ZIP"],
)
def test_what_is_not_shown_is_unsupported(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOriginalError, match=reason):
        probe(write_file(tmp_path, data), 10**9)


def test_a_merged_image_that_is_said_to_exist_is_shown(tmp_path: Path) -> None:
    data = psd(RGB, psds.RGB, resources={1057: b"\0\0\0\1\1"})
    assert probe(write_file(tmp_path, data), 10**9).stored.width == SIDE


def stated(data: bytes, offset: int, layout: str, *numbers: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, offset, *numbers)
    return bytes(changed)


GOOD, PACKED = psd(RGB, psds.RGB), psd(RGB, psds.RGB, packed=True)
BLOCKS = b"".join(b"8BIM" + struct.pack(">H2xI", 1000, 0) for _ in range(5000))
HOSTILE: dict[str, tuple[bytes, type[OriginalRefusedError]]] = {
    "40,000 x 40,000": (stated(GOOD, 14, ">II", 40_000, 40_000), OriginalTooLargeError),
    "no pixels": (stated(GOOD, 14, ">II", 0, 9), DamagedOriginalError),
    "no channels": (stated(GOOD, 12, ">H", 0), DamagedOriginalError),
    "many channels": (stated(GOOD, 12, ">H", 60_000), DamagedOriginalError),
    "raw rows that are missing": (stated(GOOD, 14, ">II", 900, 900), DamagedOriginalError),
    "packed rows that are missing": (stated(PACKED, 14, ">II", 900, 900), DamagedOriginalError),
    "long rows": (stated(PACKED, 40, ">H", 60_000), DamagedOriginalError),
    "a profile of 4 GB": (
        GOOD[:30] + struct.pack(">I4sH2xI", 12, b"8BIM", 1039, 2**32 - 1) + GOOD[34:],
        OriginalTooLargeError,
    ),
    "resources of 4 GB": (stated(GOOD, 30, ">I", 2**32 - 1), DamagedOriginalError),
    "many resources": (
        GOOD[:30] + struct.pack(">I", len(BLOCKS)) + BLOCKS + GOOD[34:],
        OriginalTooLargeError,
    ),
    "a header alone": (GOOD[:20], DamagedOriginalError),
    "sections that are missing": (GOOD[:28], DamagedOriginalError),
    "no palette": (psd(halves([0], [1]), psds.INDEXED)[:100], DamagedOriginalError),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_their_structure(name: str, tmp_path: Path) -> None:
    data, error = HOSTILE[name]
    with pytest.raises(error):
        probe(write_file(tmp_path, data), 10**9)


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_one_is_shown_as_far_as_it_goes(
    packed: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    gray = np.random.default_rng(1).integers(1, 255, (64, 64, 1))
    data = psd(gray, psds.GRAY, packed=packed)
    path = write_file(tmp_path, data[:-2000])
    with pytest.raises(DamagedOriginalError, match="truncated"):
        probe(path, 10**9)
    made = derive(path, "full/max/0/default.png", bounds=Bounds(show_truncated=True)).pixels
    assert np.array_equal(made[:30, :, 0], gray[:30, :, 0])
    assert not made[-8:].any()


def test_rows_that_unpack_to_anything_are_cut_or_filled(tmp_path: Path) -> None:
    data = bytearray(psd(halves([200], [200]), psds.GRAY, packed=True))
    rows = len(data) - 2 * SIDE
    data[rows : rows + 2] = bytes([129, 9])  # 128 pixels instead of 48
    data[rows + 2 : rows + 4] = bytes([255, 9])  # two
    made = derive(write_file(tmp_path, bytes(data)), "full/max/0/default.png").pixels
    assert (made[0] == 9).all()
    assert made[1, 1, 0] == 9
    assert made[1, 2, 0] == 0
    assert (made[2:] == 200).all()
