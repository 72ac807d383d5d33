"""Hostile files are refused by their headers, before they are decoded."""

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    OriginalRefusedError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.plan.original_format import Bounds, OriginalFormat
from iiif_server.server.problems import status_of
from support import hostile, pictures
from support.pictures import BY_NAME, PICTURES, Picture, photograph
from support.rendering import derive

LIMIT = 1_000_000_000
LONG = 15.0
"""Seconds in which a header is refused at the latest, on a machine with other things to do."""
BOMBS = hostile.bombs()
BY_DECODER = {"tiff of an odd tile", "bmp that ends at once"}
"""What only decoding shows; it costs no more than the file is long."""


def write(folder: Path, data: bytes, name: str = "original") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", sorted(BOMBS.keys() - BY_DECODER))
def test_a_bomb_is_refused_by_its_header(name: str, tmp_path: Path) -> None:
    status, make = BOMBS[name]
    path = write(tmp_path, make())
    started = time.monotonic()
    with pytest.raises(OriginalRefusedError) as caught:
        probe(path, LIMIT)
    assert status_of(caught.value) == status
    assert time.monotonic() - started < LONG


@pytest.mark.parametrize("name", sorted(BY_DECODER))
def test_a_bomb_is_refused_by_its_decoder(name: str, tmp_path: Path) -> None:
    status, make = BOMBS[name]
    with pytest.raises(OriginalRefusedError) as caught:
        derive(write(tmp_path, make()), "0,0,1,1/max/0/default.jpg", max_pixels=LIMIT)
    assert status_of(caught.value) == status


@pytest.mark.parametrize("name", hostile.STRANGERS)
@pytest.mark.parametrize("suffix", ["jpg", "svg", "pdf", "tif"])
def test_formats_that_are_not_read_reach_no_decoder(name: str, suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, hostile.STRANGERS[name], f"picture.{suffix}")
    with pytest.raises(UnsupportedOriginalError, match="JPEG, PNG, TIFF"):
        probe(path, LIMIT)


@pytest.mark.parametrize("name", hostile.POLYGLOTS)
def test_what_begins_like_an_image_is_taken_for_nothing_else(name: str, tmp_path: Path) -> None:
    with pytest.raises(OriginalRefusedError):
        probe(write(tmp_path, hostile.POLYGLOTS[name]), LIMIT)


def test_an_image_that_ends_as_something_else_is_the_image(tmp_path: Path) -> None:
    data = BY_NAME["palette.gif"].encode(photograph()) + hostile.STRANGERS["eps"]
    path = write(tmp_path, data, "picture.pdf")
    assert probe(path, LIMIT).format is OriginalFormat.GIF
    assert derive(path, "full/20,/0/default.jpg").image.size == (20, 15)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_formats_can_be_left_out(picture: Picture, tmp_path: Path) -> None:
    path = picture.write(tmp_path)
    others = frozenset(OriginalFormat) - {OriginalFormat(picture.format)}
    probe(path, LIMIT, Bounds(formats=frozenset({OriginalFormat(picture.format)})))
    with pytest.raises(UnsupportedOriginalError) as caught:
        probe(path, LIMIT, Bounds(formats=others))
    assert picture.format not in str(caught.value).partition(":")[2].replace(" ", "").split(",")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_sides_and_bytes_are_limited(picture: Picture, tmp_path: Path) -> None:
    path = picture.write(tmp_path)
    size = path.stat().st_size
    probe(path, LIMIT, Bounds(side=pictures.WIDTH, file_bytes=size))
    with pytest.raises(OriginalTooLargeError, match="203 pixels on one side"):
        probe(path, LIMIT, Bounds(side=pictures.WIDTH - 1))
    with pytest.raises(OriginalTooLargeError, match=f"{size:,} bytes; .* {size - 1:,}"):
        probe(path, LIMIT, Bounds(file_bytes=size - 1))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (hostile.gif_of(9, 9, *[hostile.gif_frame(9, 9)] * 5), "frames"),
        (hostile.webp_animation(5), "frames"),
        (hostile.tiff_chain(5), "pages"),
    ],
    ids=["gif", "webp", "tiff"],
)
def test_frames_are_limited(data: bytes, what: str, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    probe(path, LIMIT, Bounds(frames=5))
    with pytest.raises(OriginalTooLargeError, match=f"5 {what}; this server reads up to 4"):
        probe(path, LIMIT, Bounds(frames=4))


def test_frames_of_an_avif_sequence_are_limited(tmp_path: Path) -> None:
    frames = [Image.fromarray(photograph(32, 24, seed)) for seed in range(5)]
    data = pictures.saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    path = write(tmp_path, data)
    probe(path, LIMIT, Bounds(frames=5))
    with pytest.raises(OriginalTooLargeError, match="5 frames"):
        probe(path, LIMIT, Bounds(frames=4))


def test_scans_are_limited(tmp_path: Path) -> None:
    path = write(tmp_path, hostile.progressive())
    count = path.read_bytes().count(b"\xff\xda")
    probe(path, LIMIT, Bounds(scans=count))
    with pytest.raises(OriginalTooLargeError, match="scans"):
        probe(path, LIMIT, Bounds(scans=count - 1))


def test_scans_behind_the_image_and_in_its_thumbnail_do_not_count(tmp_path: Path) -> None:
    thumbnail = hostile.jpeg_segment(0xE1, hostile.progressive(16) * 3)
    data = hostile.after_start(hostile.progressive(), thumbnail) + hostile.progressive() * 50
    probe(write(tmp_path, data), LIMIT, Bounds(scans=20))


def test_scans_are_counted_behind_markers_that_look_like_the_end(tmp_path: Path) -> None:
    data = hostile.jpeg_of_many_scans(200)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    comment = hostile.jpeg_segment(0xFE, b"\xff\xd9 the end")
    with pytest.raises(OriginalTooLargeError, match="scans"):
        probe(write(tmp_path, data[:second] + comment + data[second:]), LIMIT)


@pytest.mark.parametrize("tables", [b"", b"\xff\xd9"], ids=["plain", "with a marker in it"])
def test_a_baseline_jpeg_of_one_scan_is_not_searched(tables: bytes, tmp_path: Path) -> None:
    data = pictures.jpeg(photograph()) + tables + b"\xff\xda\0\2" * 500
    probe(write(tmp_path, data), LIMIT)


@pytest.mark.parametrize(
    "compression",
    [9, 10, 32_766, 32_809, 32_895, 32_909, 34_661, 34_676, 34_887, 50_002, 65_000],
)  # fmt: skip
def test_tiff_compressions_are_an_allow_list(compression: int, tmp_path: Path) -> None:
    data = hostile.tiff_of(hostile.tiff_tags(8, 8, compression=compression))
    with pytest.raises(UnsupportedOriginalError, match=f"by method {compression},"):
        probe(write(tmp_path, data), LIMIT)


def test_webp_in_tiff_is_read(tmp_path: Path) -> None:
    data = pictures.tiff(pictures.vips(photograph(), "srgb"), compression="webp", Q=90)
    assert derive(write(tmp_path, data), "full/50,/0/default.jpg").image.width == 50


@pytest.mark.parametrize("bits", [2, 16])
def test_jpegs_of_other_depths_are_unsupported(bits: int, tmp_path: Path) -> None:
    data = bytearray(pictures.jpeg(photograph()))
    data[data.index(b"\xff\xc0") + 4] = bits
    with pytest.raises(UnsupportedOriginalError, match=f"samples of {bits} bits"):
        probe(write(tmp_path, bytes(data)), LIMIT)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (0xC5, "hierarchical"),
        (0xC7, "hierarchical"),
        (0xCB, "lossless in arithmetic coding"),
        (0xCF, "hierarchical"),
        (0xF7, "JPEG-LS"),
    ],
)
def test_other_processes_of_jpeg_are_unsupported(kind: int, what: str, tmp_path: Path) -> None:
    data = pictures.jpeg(photograph()).replace(b"\xff\xc0", bytes((0xFF, kind)), 1)
    with pytest.raises(UnsupportedOriginalError, match=what):
        probe(write(tmp_path, data), LIMIT)


def test_a_truncated_jpeg_is_not_complete_for_its_thumbnail(tmp_path: Path) -> None:
    path = write(tmp_path, hostile.jpeg_thumbnail_truncated())
    facts = probe(path, LIMIT).jpeg
    assert facts is not None
    assert not facts.complete
    with pytest.raises(DamagedOriginalError):
        derive(path, "full/max/0/default.jpg")


def test_a_small_frame_of_a_gif_lies_on_its_screen(tmp_path: Path) -> None:
    """libvips ignores a screen of 800 x 600 pixels."""
    frame = pictures.saved(Image.fromarray(photograph(40, 30)).quantize(16), "GIF")
    data = bytearray(frame)
    struct.pack_into("<HH", data, 6, 800, 600)
    made = derive(write(tmp_path, bytes(data)), "full/max/0/default.png")
    assert made.image.size == (800, 600)
    shown = np.asarray(made.image.convert("RGB"), np.float64)[:30, :40]
    assert np.abs(shown - photograph(40, 30)).mean() < 20


# --- truncated and flipped ------------------------------------------------------------------

# Rows that were read before the end of the file was met are right: only the whole shows it.
TOLERANT = {
    "trailing.jpg",  # what is missing is what the camera appended
}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_truncated_original_is_refused_at_every_length(picture: Picture, tmp_path: Path) -> None:
    whole = picture.encode(photograph())
    path = tmp_path / "original"
    for part in range(1, 12):
        path.write_bytes(whole[: len(whole) * part // 12])
        if picture.name in TOLERANT and part > 9:
            continue
        with pytest.raises(OriginalRefusedError):
            derive(path, "full/max/0/default.png")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_flipped_bit_gives_an_image_of_the_promised_size_or_a_refusal(
    picture: Picture, tmp_path: Path
) -> None:
    whole = picture.encode(photograph(64, 48))
    path = tmp_path / "original"
    chance = np.random.default_rng(5)
    for place in [*range(0, min(len(whole), 300), 7), *chance.integers(0, len(whole), 40)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(chance.integers(8))
        path.write_bytes(flipped)
        try:
            header = probe(path, 1_000_000)
            made = derive(path, "full/max/0/default.png", max_pixels=1_000_000)
        except OriginalRefusedError:
            continue
        except IiifServerError as error:
            raise AssertionError(place) from error
        assert made.image.size == (header.dimensions.width, header.dimensions.height)
