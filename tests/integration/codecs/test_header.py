"""Image headers of every kind of original."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalChangedError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Profile
from iiif_server.plan.orientation import FROM_EXIF
from support import pictures
from support.jpeg_metadata import segment, with_segments
from support.pictures import BY_NAME, HEIGHT, PICTURES, WIDTH, Picture, photograph
from support.rendering import derive

LIMIT = 10_000_000
MCU = {
    "420.jpg": Dimensions(16, 16),
    "422.jpg": Dimensions(16, 8),
    "444.jpg": Dimensions(8, 8),
    "progressive.jpg": Dimensions(16, 16),
    "gray.jpg": Dimensions(8, 8),
    "cmyk.jpg": None,
    "rgb.jpg": Dimensions(8, 8),
    "numbered.jpg": Dimensions(8, 8),
    "trailing.jpg": Dimensions(16, 16),
}
PLAIN = set(MCU) - {"cmyk.jpg", "rgb.jpg", "numbered.jpg"}


def write(folder: Path, data: bytes, name: str = "original") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_format_dimensions_and_colour_are_read(picture: Picture, tmp_path: Path) -> None:
    header = probe(picture.write(tmp_path), LIMIT)
    assert header.format == picture.format
    assert header.dimensions == header.stored == Dimensions(WIDTH, HEIGHT)
    assert header.colour == picture.colour
    assert header.transparent is picture.transparent
    stated = Profile.SRGB if picture.format == "JPEGXL" else Profile.NONE
    assert header.profile is stated
    assert bool(header.profile_bytes) is (stated is Profile.SRGB)


@pytest.mark.parametrize("name", MCU)
def test_jpeg_tells_what_lossless_work_needs(name: str, tmp_path: Path) -> None:
    facts = probe(BY_NAME[name].write(tmp_path), LIMIT).jpeg
    assert facts is not None
    assert facts.mcu == MCU[name]
    assert facts.plain is (name in PLAIN)
    assert facts.complete


@pytest.mark.parametrize(
    "picture", [p for p in PICTURES if p.format != "JPEG"], ids=lambda picture: picture.name
)
def test_only_a_jpeg_has_jpeg_facts(picture: Picture, tmp_path: Path) -> None:
    assert probe(picture.write(tmp_path), LIMIT).jpeg is None


def test_truncated_jpeg_is_incomplete(tmp_path: Path) -> None:
    data = pictures.jpeg(photograph())
    facts = probe(write(tmp_path, data[: len(data) * 3 // 4]), LIMIT).jpeg
    assert facts is not None
    assert not facts.complete


@pytest.mark.parametrize(
    ("name", "factor"), [("420.jpg", 8), ("gray.jpg", 8), ("8.png", 1), ("plain.tif", 1)]
)
def test_decoders_reduce_by_what_they_can(name: str, factor: int, tmp_path: Path) -> None:
    assert probe(BY_NAME[name].write(tmp_path), LIMIT).max_shrink == factor


@pytest.mark.parametrize("resolutions", [1, 2, 4, 6])
@pytest.mark.parametrize("bare", [False, True])
def test_jpeg_2000_reduces_as_often_as_it_was_decomposed(
    resolutions: int,
    bare: bool,  # noqa: FBT001 - by name, from the list above
    tmp_path: Path,
) -> None:
    image = Image.fromarray(photograph())
    data = pictures.saved(image, "JPEG2000", num_resolutions=resolutions, no_jp2=bare)
    assert probe(write(tmp_path, data), LIMIT).max_shrink == 2 ** (resolutions - 1)


# --- orientation ----------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_makes_dimensions_upright(
    format_: str, orientation: int, tmp_path: Path
) -> None:
    image = Image.fromarray(photograph())
    header = probe(
        write(tmp_path, pictures.saved(image, format_, exif=pictures.exif(orientation))), LIMIT
    )
    assert header.stored == Dimensions(WIDTH, HEIGHT)
    assert header.orientation == FROM_EXIF[orientation]
    upright = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
    assert header.dimensions == Dimensions(*upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_by_its_decoder(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(photograph())
    data = pictures.saved(image, "AVIF", exif=pictures.exif(orientation), speed=10)
    header = probe(write(tmp_path, data), LIMIT)
    upright = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
    assert header.dimensions == header.stored == Dimensions(*upright)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_out_of_range_is_none(orientation: int, tmp_path: Path) -> None:
    data = pictures.jpeg(photograph(), exif=pictures.exif(orientation))
    assert probe(write(tmp_path, data), LIMIT).orientation == FROM_EXIF[1]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    data = pictures.jpeg(photograph(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    header = probe(write(tmp_path, data), LIMIT)
    assert header.orientation == FROM_EXIF[1]
    assert header.dimensions == Dimensions(WIDTH, HEIGHT)


@pytest.mark.parametrize("payload", [b"JFIF", b"JFIF\0\1", b"Adobe", b"Adobe\0"])
def test_a_segment_that_is_too_short_is_no_reason_to_refuse(payload: bytes, tmp_path: Path) -> None:
    data, marker = pictures.jpeg(photograph()), 0xE0 if payload.startswith(b"JFIF") else 0xEE
    path = write(tmp_path, with_segments(data, segment(marker, payload)))
    expected = derive(write(tmp_path, data, "whole"), "full/max/0/default.png").pixels
    assert np.array_equal(derive(path, "full/max/0/default.png").pixels, expected)


def test_no_pixel_of_a_png_is_decoded(tmp_path: Path) -> None:
    data = pictures.saved(Image.fromarray(photograph()), "PNG", exif=pictures.exif(6))
    at = data.index(b"IDAT") + 4
    damaged = data[:at] + bytes(len(data) - at - 12) + data[-12:]
    assert probe(write(tmp_path, damaged), LIMIT) == probe(write(tmp_path, data), LIMIT)


# --- profiles -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "kind"),
    [
        (pictures.srgb_profile(), Profile.SRGB),
        (pictures.wide_profile(), Profile.OTHER),
        (pictures.wide_profile(40_000), Profile.OTHER),
        (pictures.broken_profile(), Profile.NONE),
        (pictures.gray_profile(), Profile.NONE),  # not one for an image in colour
        (pictures.lab_profile(), Profile.NONE),
    ],
    ids=["srgb", "wide", "large", "broken", "gray", "lab"],
)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_profile_is_classified(format_: str, profile: bytes, kind: Profile, tmp_path: Path) -> None:
    image = Image.fromarray(photograph(64, 48))
    header = probe(write(tmp_path, pictures.saved(image, format_, icc_profile=profile)), LIMIT)
    assert header.profile is kind
    if kind is not Profile.NONE:
        assert header.profile_bytes == len(profile)


def test_gray_image_has_a_gray_profile(tmp_path: Path) -> None:
    image = Image.fromarray(photograph()).convert("L")
    data = pictures.saved(image, "JPEG", icc_profile=pictures.gray_profile())
    assert probe(write(tmp_path, data), LIMIT).profile is Profile.OTHER


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text\n",
        b"<!doctype html><title>Not found</title>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0" * 64,
    ],
)
def test_what_is_no_image_is_unsupported(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOriginalError, match="JPEG, PNG, TIFF"):
        probe(write(tmp_path, data, "page.jpg"), LIMIT)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_signature_alone_is_a_damaged_header(picture: Picture, tmp_path: Path) -> None:
    # 12 bytes hold the header of a codestream of JPEG XL.
    data = picture.encode(photograph())[: 3 if picture.format == "JPEGXL" else 12]
    with pytest.raises(DamagedOriginalError, match=f"this {picture.format} "):
        probe(write(tmp_path, data), LIMIT)


@pytest.mark.parametrize("signature", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM"])
def test_signature_before_nonsense_is_a_damaged_header(signature: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedOriginalError):
        probe(write(tmp_path, signature + b"\xa5" * 5000), LIMIT)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_pixels_are_limited(picture: Picture, tmp_path: Path) -> None:
    path = picture.write(tmp_path)
    assert probe(path, WIDTH * HEIGHT).dimensions.area == WIDTH * HEIGHT
    with pytest.raises(OriginalTooLargeError, match="30,247 pixels"):
        probe(path, WIDTH * HEIGHT - 1)


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    with pytest.raises(OriginalTooLargeError):
        probe(write(tmp_path, buffer.getvalue()), 100_000_000)


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    with pytest.raises(UnsupportedOriginalError, match="regular file"):
        probe(path, LIMIT)


def test_folder_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOriginalError, match="regular file"):
        probe(tmp_path, LIMIT)


def test_removed_original_has_changed(tmp_path: Path) -> None:
    with pytest.raises(OriginalChangedError):
        probe(tmp_path / "gone.jpg", LIMIT)
