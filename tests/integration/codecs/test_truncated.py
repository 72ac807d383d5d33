"""Truncated originals: refused with the reason, or shown partially."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError, OriginalRefusedError
from iiif_server.plan.original_format import Bounds
from support import jpegs
from support.hostile import png_chunk
from support.matrix.png_kinds import ADAM7, png
from support.pictures import BY_NAME, HEIGHT, WIDTH, photograph, saved
from support.rendering import derive, write_file
from support.tiff_samples import TiffFile

SHOWN = Bounds(show_truncated=True)
PNG = "full/max/0/default.png"
SHOWABLE = (
    "420.jpg", "444.jpg", "gray.jpg", "cmyk.jpg", "8.png", "16.png", "gray16.png", "alpha.png",
    "jpeg.tif", "palette.gif", "plain.bmp",
)  # fmt: skip
WHOLE_ONLY = ("lossy.webp", "lossless.webp", "photo.avif", "lossless.jp2", "stream.j2k")


def striped() -> bytes:
    return TiffFile(photograph(), 2, in_front=True).write()


def one_strip() -> bytes:
    return TiffFile(photograph(), 2, rows=HEIGHT, in_front=True).write()


def tiled() -> bytes:
    return TiffFile(photograph(), 2, tile=(32, 32), deflate=True, in_front=True).write()


TIFFS: dict[str, Callable[[], bytes]] = {
    "strips": striped,
    "one strip": one_strip,
    "tiles": tiled,
}


def whole_of(name: str) -> bytes:
    if name == "palette.gif":
        return saved(Image.fromarray(photograph()).quantize(16), "GIF", interlace=0)
    return TIFFS[name]() if name in TIFFS else BY_NAME[name].encode(photograph())


@pytest.mark.parametrize("name", [name for name in SHOWABLE if name != "jpeg.tif"] + [*TIFFS])
def test_a_truncated_original_is_shown_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    whole = whole_of(name)
    expected = derive(write_file(tmp_path, whole), PNG).pixels
    path = write_file(tmp_path, whole[: int(len(whole) * 0.6)])
    with pytest.raises(DamagedOriginalError, match="truncated"):
        derive(path, PNG)
    made = derive(path, PNG, bounds=SHOWN)
    assert made.pixels.shape == (HEIGHT, WIDTH, 3)
    # A BMP stands upside down.
    rows = slice(-40, None) if name.endswith("bmp") else slice(0, 40)
    assert np.array_equal(made.pixels[rows], expected[rows])
    assert not np.array_equal(made.pixels, expected)
    tile = derive(path, "0,100,64,49/max/0/default.jpg", bounds=SHOWN)
    assert tile.image.size == (64, 49)


@pytest.mark.parametrize("name", [*SHOWABLE, *TIFFS])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_any_length_is_shown_or_refused(name: str, share: float, tmp_path: Path) -> None:
    whole = whole_of(name)
    path = write_file(tmp_path, whole[: int(len(whole) * share)])
    with pytest.raises(OriginalRefusedError):
        derive(path, PNG)
    try:
        made = derive(path, PNG, bounds=SHOWN)
    except OriginalRefusedError:
        assert share < 0.1 or name == "jpeg.tif", "its tables and directory are at its end"
    else:
        assert made.image.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("name", WHOLE_ONLY)
def test_decoders_of_whole_files_are_given_no_truncated_ones(name: str, tmp_path: Path) -> None:
    whole = whole_of(name)
    path = write_file(tmp_path, whole[: int(len(whole) * 0.6)])
    for bounds in (Bounds(), SHOWN):
        with pytest.raises(DamagedOriginalError, match="truncated"):
            probe(path, 10**9, bounds)


@pytest.mark.parametrize("name", ["8.png", "16.png", "palette.gif"])
def test_what_is_damaged_otherwise_is_refused_in_any_case(name: str, tmp_path: Path) -> None:
    data = bytearray(whole_of(name))
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xa5" * 400
    with pytest.raises(DamagedOriginalError) as refusal:
        derive(write_file(tmp_path, bytes(data)), PNG, bounds=SHOWN)
    assert "truncated" not in str(refusal.value)


def test_the_rest_of_a_truncated_tiff_is_black(tmp_path: Path) -> None:
    data = striped()
    made = derive(write_file(tmp_path, data[:-9000]), PNG, bounds=SHOWN).pixels
    assert not made[-12:].any()
    assert made[:-20].all(axis=-1).any()


def test_jpegs_of_samples_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    values = photograph(64, 64).astype(int) * 16
    data = jpegs.dct(values, 12, before=jpegs.RGB)
    made = derive(write_file(tmp_path, data[: len(data) * 2 // 3]), PNG, bounds=SHOWN).pixels
    assert np.abs(made[:24] - photograph(64, 64)[:24]).max() <= 2
    assert np.abs(made[-8:] - photograph(64, 64)[-8:]).max() > 20


def test_what_follows_the_end_of_a_png_makes_it_no_truncated_one(tmp_path: Path) -> None:
    data = whole_of("8.png")
    path = write_file(tmp_path, data + b"\xa5" * 300_000)
    assert np.array_equal(derive(path, PNG).pixels, photograph())


@pytest.mark.parametrize("left", [0, 3, 7])
def test_a_png_that_lacks_only_its_last_chunk_is_whole(left: int, tmp_path: Path) -> None:
    data = whole_of("8.png")
    path = write_file(tmp_path, data[: data.rindex(b"IEND") - 4 + left])
    for bounds in (Bounds(), SHOWN):
        assert np.array_equal(derive(path, PNG, bounds=bounds).pixels, photograph())


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_ends_between_its_chunks_is_refused_or_shown(
    interlaced: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    """The header is refused already: otherwise info.json would describe an unusable image."""
    data = png(photograph(), 2, interlaced=interlaced)
    start = data.index(b"IDAT")
    pixels = data[start + 4 : start + 4 + (len(data) - start) // 2]
    path = write_file(tmp_path, data[: start - 4] + png_chunk(b"IDAT", pixels))
    with pytest.raises(DamagedOriginalError, match="truncated"):
        probe(path, 10**9)
    made = derive(path, PNG, bounds=SHOWN).pixels
    exact = made[::2, ::2], photograph()[::2, ::2]  # all but the last two of seven passes
    assert np.array_equal(*exact) if interlaced else np.array_equal(made[:20], photograph()[:20])
    whole = write_file(tmp_path, data[: data.rindex(b"IEND") - 4])
    assert not probe(whole, 10**9, SHOWN).partial


def waves(bands: int) -> NDArray[np.int64]:
    y, x = np.mgrid[0:61, 0:83]
    plane = np.rint(128 + 90 * np.sin(x / 19) * np.cos(y / 23)).astype(int)
    return np.dstack([plane, 255 - plane, plane // 2][:bands])


@pytest.mark.parametrize(
    ("type_", "depth", "bands"),
    [(0, 8, 1), (0, 16, 1), (2, 8, 3), (2, 16, 3)],
)
@pytest.mark.parametrize(
    ("passes", "off"), [(1, 40), (2, 30), (3, 20), (4, 16), (5, 10), (6, 6), (6.5, 6)]
)
def test_an_interlaced_png_is_shown_as_coarse_as_it_is(  # noqa: PLR0917
    type_: int, depth: int, bands: int, passes: float, off: int, tmp_path: Path
) -> None:
    """Pixels of early passes fill those of later ones, as in browsers during loading."""
    values = waves(bands)
    data = png(values * (257 if depth == 16 else 1), type_, depth, interlaced=True)
    start = data.index(b"IDAT")
    rows = zlib.decompress(data[start + 4 : data.rindex(b"IEND") - 8])
    sizes = [
        sum(1 + len(range(x, 83, across)) * bands * depth // 8 for _ in range(y, 61, down))
        for x, y, across, down in ADAM7
    ]
    received = sum(sizes[: int(passes)]) + int(sizes[-1] * (passes % 1))
    pixels = png_chunk(b"IDAT", zlib.compress(rows[:received]))[:-8]
    made = derive(write_file(tmp_path, data[: start - 4] + pixels), PNG, bounds=SHOWN).pixels
    shown = made[:, :, :bands].astype(int)
    assert np.abs(shown - values).max() <= off
    for x, y, across, down in ADAM7[: int(passes)]:
        assert np.array_equal(shown[y::down, x::across], values[y::down, x::across])
    half = shown[1:25:2], values[1:25:2]
    assert np.array_equal(*half) is (passes > 6)


def test_a_png_that_ends_behind_damaged_pixels_is_not_truncated(tmp_path: Path) -> None:
    head = whole_of("8.png").partition(b"IDAT")[0][:-4]
    path = write_file(tmp_path, head + png_chunk(b"IDAT", b"no zlib stream" * 1000))
    with pytest.raises(DamagedOriginalError) as refusal:
        derive(path, PNG)
    assert "truncated" not in str(refusal.value)


@pytest.mark.parametrize("end", [b"", b"\x18", b"\0\1"])
def test_run_lengths_of_a_bmp_are_shown_as_far_as_they_go(end: bytes, tmp_path: Path) -> None:
    palette = b"\0\0\0\0\xff\xff\xff\0"
    runs = b"\x18\1\0\0" * 20 + b"\x0c\1" + end
    head = struct.pack("<IIIHHIIIIII", 40, 24, 24, 1, 8, 1, len(runs), 0, 0, 2, 0)
    path = write_file(tmp_path, struct.pack("<2sIII", b"BM", 0, 0, 62) + head + palette + runs)
    with pytest.raises(DamagedOriginalError, match="truncated"):
        derive(path, PNG)
    made = derive(path, PNG, bounds=SHOWN).pixels
    assert made[4:].all()
    assert made[3, :12].all()
    assert not made[3, 12:].any()
    assert not made[:3].any()
