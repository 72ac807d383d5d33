"""Lossless transforms: derivatives have the coefficients of the original."""

import io
import mmap
import resource
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from iiif_server.codecs import jpegtran, turbojpeg
from iiif_server.codecs.probe import probe
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT, Orientation
from support import pictures
from support.pictures import HEIGHT, WIDTH, photograph

pytestmark = pytest.mark.needs_lossless

TURNS = [Orientation(mirror, quarters) for mirror, quarters in product((False, True), range(4))]
MCU = {0: (8, 8), 1: (16, 8), 2: (16, 16)}
"""By Pillow's number of the chroma subsampling: 4:4:4, 4:2:2, 4:2:0."""


def transform(
    jpeg: jpegtran.Buffer,
    box: Box,
    turn: Orientation = UPRIGHT,
    *,
    gray: bool = False,
    keep_profile: bool = False,
) -> bytes:
    return jpegtran.transform(jpeg, box, turn, gray=gray, keep_profile=keep_profile)


def decoded(data: bytes) -> npt.NDArray[np.int16]:
    """Return all samples, gray or RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image, np.int16)


def luma(data: bytes) -> npt.NDArray[np.int16]:
    """Return the Y samples, which upsampling of chroma does not change."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", image.size)
        return np.asarray(image, np.int16)


def planes_at_half_size(data: bytes) -> npt.NDArray[np.int16]:
    """Return Y, Cb and Cr of a 4:2:0 JPEG at the size of its chroma, without upsampling."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        image.draft("YCbCr", (width // 2, height // 2))
        assert image.size == (-(-width // 2), -(-height // 2))
        return np.asarray(image, np.int16)


def cut(pixels: npt.NDArray[np.int16], box: Box, scale: int = 1) -> npt.NDArray[np.int16]:
    """Return the box of the samples, at 1/scale."""
    right, bottom = -(-(box.x + box.width) // scale), -(-(box.y + box.height) // scale)
    return pixels[box.y // scale : bottom, box.x // scale : right]


def turned(pixels: npt.NDArray[np.int16], turn: Orientation) -> npt.NDArray[np.int16]:
    """Mirror the samples, then rotate them clockwise, with numpy."""
    return np.rot90(pixels[:, ::-1] if turn.mirror else pixels, -turn.quarters)


def boxes(mcu: tuple[int, int]) -> list[Box]:
    """Return boxes that begin on the grid: inside, whole, ending anywhere, with partial MCUs."""
    x, y = mcu[0] * 2, mcu[1] * 3
    return [
        Box(x, y, mcu[0] * 3, mcu[1] * 2),
        Box(x, y, 37, 29),
        Box(x, y, 1, 1),
        Box(0, 0, WIDTH, HEIGHT),
        Box(x, 0, WIDTH - x, 40),
        Box(0, y, 40, HEIGHT - y),
        Box(WIDTH // mcu[0] * mcu[0], HEIGHT // mcu[1] * mcu[1], WIDTH % mcu[0], HEIGHT % mcu[1]),
    ]


def quantisation(data: bytes) -> list[list[int]]:
    with Image.open(io.BytesIO(data)) as image:
        tables: dict[int, list[int]] = getattr(image, "quantization")  # noqa: B009 - a JPEG's own
        return [list(tables[number]) for number in sorted(tables)]


def sampling(data: bytes) -> list[tuple[int, int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        layers: list[tuple[int, int, int, int]] = getattr(image, "layer")  # noqa: B009
        return [(horizontal, vertical, table) for _, horizontal, vertical, table in layers]


# --- cuts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("box", boxes((8, 8)), ids=str)
@pytest.mark.parametrize("kind", ["444", "gray", "444 progressive"])
def test_every_sample_of_a_cut_is_the_originals(kind: str, box: Box) -> None:
    pixels = photograph()
    if kind == "gray":
        original = pictures.saved(Image.fromarray(pixels).convert("L"), "JPEG", quality=90)
    else:
        original = pictures.jpeg(pixels, sampling=0, progressive="progressive" in kind)
    made = transform(original, box)
    assert np.array_equal(decoded(made), cut(decoded(original), box))
    assert quantisation(made) == quantisation(original)
    assert sampling(made) == sampling(original)


@pytest.mark.parametrize("box", boxes((16, 16)), ids=str)
@pytest.mark.parametrize("subsampling", [1, 2])
def test_every_luma_sample_of_a_cut_is_the_originals(subsampling: int, box: Box) -> None:
    original = pictures.jpeg(photograph(), sampling=subsampling)
    made = transform(original, box)
    assert np.array_equal(luma(made), cut(luma(original), box))
    assert quantisation(made) == quantisation(original)
    assert sampling(made) == sampling(original)


@pytest.mark.parametrize("box", boxes((16, 16)), ids=str)
def test_every_chroma_sample_of_a_cut_is_the_originals(box: Box) -> None:
    original = pictures.jpeg(photograph(), sampling=2)
    made = transform(original, box)
    expected = cut(planes_at_half_size(original), box, scale=2)
    if min(box.width, box.height) >= 2:
        assert np.array_equal(planes_at_half_size(made), expected)
    assert expected[..., 1:].std() > 0 or box.width < 16


def test_tiles_hold_the_image_and_nothing_else() -> None:
    original = pictures.jpeg(photograph(), sampling=2)
    whole = np.zeros((HEIGHT, WIDTH), np.int16)
    for x, y in product(range(0, WIDTH, 64), range(0, HEIGHT, 64)):
        box = Box(x, y, min(64, WIDTH - x), min(64, HEIGHT - y))
        whole[y : y + 64, x : x + 64] = luma(transform(original, box))
    assert np.array_equal(whole, luma(original))


# --- turns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_turn_and_its_inverse_give_the_same_bytes(subsampling: int, turn: Orientation) -> None:
    """A round trip loses and rounds no coefficient."""
    original = pictures.jpeg(photograph(), sampling=subsampling)
    box = Box(32, 16, 96, 64)
    there = transform(original, box, turn)
    size = turn.apply(box.dimensions)
    back = transform(there, Box(0, 0, size.width, size.height), turn.inverse)
    assert back == transform(original, box)


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_turn_goes_the_right_way(subsampling: int, turn: Orientation) -> None:
    original = pictures.jpeg(photograph(), sampling=subsampling)
    box = Box(32, 16, 96, 64)
    made = luma(transform(original, box, turn))
    expected = turned(cut(luma(original), box), turn)
    assert made.shape == expected.shape
    # Decoders round between rows and columns, so that a transposed block may differ by one.
    assert np.abs(made - expected).max() <= 1
    if not turn.transposes:
        assert np.array_equal(made, expected)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_partial_mcus_turn_where_they_stay_last(turn: Orientation) -> None:
    original = pictures.jpeg(photograph(), sampling=2)
    width = 96 if turn.reverses_x else WIDTH - 64
    height = 64 if turn.reverses_y else HEIGHT - 64
    box = Box(64, 64, width, height)
    made = luma(transform(original, box, turn))
    assert np.abs(made - turned(cut(luma(original), box), turn)).max() <= 1


@pytest.mark.parametrize("turn", [turn for turn in TURNS if turn.reverses_x or turn.reverses_y])
def test_partial_mcus_that_would_come_first_are_refused(turn: Orientation) -> None:
    original = pictures.jpeg(photograph(), sampling=2)
    with pytest.raises(jpegtran.LosslessFailedError):
        transform(original, Box(0, 0, WIDTH, HEIGHT), turn)


def test_the_turns_are_those_of_exif() -> None:
    pixels = photograph(96, 64)
    original = pictures.jpeg(pixels, sampling=0)
    for orientation, turn in FROM_EXIF.items():
        made = decoded(transform(original, Box(0, 0, 96, 64), turn))
        expected = pictures.oriented(decoded(original), orientation)
        assert np.abs(made - expected).mean() < 1, orientation


# --- gray -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_gray_is_the_luma_of_the_original(subsampling: int, turn: Orientation) -> None:
    original = pictures.jpeg(photograph(), sampling=subsampling)
    box = Box(32, 48, 64, 32)
    made = transform(original, box, turn, gray=True)
    assert Image.open(io.BytesIO(made)).mode == "L"
    assert len(sampling(made)) == 1
    assert np.abs(luma(made) - turned(cut(luma(original), box), turn)).max() <= turn.transposes


def test_gray_keeps_partial_mcus() -> None:
    original = pictures.jpeg(photograph(), sampling=2)
    box = Box(160, 128, WIDTH - 160, HEIGHT - 128)
    made = transform(original, box, gray=True)
    assert np.array_equal(luma(made), cut(luma(original), box))


# --- what is beside the pixels --------------------------------------------------------------


def test_nothing_but_pixels_is_kept() -> None:
    original = pictures.jpeg(
        photograph(),
        exif=pictures.exif(6),
        icc_profile=pictures.wide_profile(),
        comment=b"a secret comment",
    )
    assert b"Exif" in original
    made = transform(original, Box(0, 0, 64, 64))
    for leftover in (b"Exif", b"ICC_PROFILE", b"a secret comment"):
        assert leftover in original
        assert leftover not in made
    assert not Image.open(io.BytesIO(made)).getexif()


@pytest.mark.parametrize("padding", [0, 150_000], ids=["one segment", "three segments"])
@pytest.mark.parametrize("turn", [UPRIGHT, Orientation(False, 1)], ids=str)
def test_profile_is_kept_when_asked_for(turn: Orientation, padding: int) -> None:
    profile = pictures.wide_profile(padding)
    original = pictures.jpeg(photograph(), icc_profile=profile, exif=pictures.exif(3))
    made = transform(original, Box(0, 0, 64, 64), turn, keep_profile=True)
    image = Image.open(io.BytesIO(made))
    assert image.info["icc_profile"] == profile
    assert "exif" not in image.info
    assert np.array_equal(luma(made), luma(transform(original, Box(0, 0, 64, 64), turn)))


def test_result_is_a_jfif_file_that_ends() -> None:
    made = transform(pictures.jpeg(photograph()), Box(0, 0, 64, 64), keep_profile=True)
    assert made[:4] == b"\xff\xd8\xff\xe0"
    assert made[6:11] == b"JFIF\0"
    assert made.endswith(b"\xff\xd9")


# --- what cannot be done --------------------------------------------------------------------

FAILING = {
    "no JPEG": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "only a start": b"\xff\xd8\xff\xe0",
    "no scan": pictures.jpeg(photograph())[:300],
}


@pytest.mark.parametrize("name", FAILING)
def test_what_is_no_jpeg_is_refused(name: str) -> None:
    with pytest.raises(jpegtran.LosslessFailedError):
        transform(FAILING[name], Box(0, 0, 16, 16))


@pytest.mark.parametrize("box", [Box(8, 0, 64, 64), Box(0, 8, 64, 64)], ids=str)
def test_cut_off_the_grid_is_refused(box: Box) -> None:
    with pytest.raises(jpegtran.LosslessFailedError):
        transform(pictures.jpeg(photograph(), sampling=2), box)


def test_cut_outside_the_image_is_refused() -> None:
    with pytest.raises(jpegtran.LosslessFailedError):
        transform(pictures.jpeg(photograph()), Box(208, 0, 16, 16))


def test_absurd_number_of_scans_is_refused() -> None:
    original = pictures.jpeg(photograph(64, 64), progressive=True)
    # The last scan again and again: each has all of the image visited.
    last = original.rindex(b"\xff\xda")
    bomb = original[:-2] + original[last:-2] * 600 + b"\xff\xd9"
    with pytest.raises(jpegtran.LosslessFailedError, match="scans"):
        transform(bomb, Box(0, 0, 16, 16))


def test_file_is_read_from_a_memory_map_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "original.jpg"
    path.write_bytes(pictures.jpeg(photograph()))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        made = transform(mapped, Box(0, 0, 64, 64))
        with pytest.raises(jpegtran.LosslessFailedError):
            transform(mapped, Box(8, 8, 64, 64))
        mapped.close()  # BufferError if anybody still looked at it
    assert made == transform(path.read_bytes(), Box(0, 0, 64, 64))


def test_nothing_leaks() -> None:
    """Neither results nor unfinished transforms leak memory (20 MB would be measured)."""
    pixels = np.random.default_rng(1).integers(0, 256, (800, 1200, 3), dtype=np.uint8)
    original = pictures.jpeg(pixels, sampling=0, quality=85)
    assert len(original) > 1_000_000
    cut_off = original[: len(original) // 2]

    def operations(times: int) -> None:
        for _ in range(times):
            assert len(transform(original, Box(0, 0, 1200, 400))) > 400_000
            with pytest.raises(jpegtran.LosslessFailedError):
                transform(original, Box(4, 4, 64, 64))
            with pytest.raises(jpegtran.LosslessFailedError):
                transform(cut_off[:2000] + bytes(100), Box(0, 0, 1200, 800), Orientation(False, 1))

    operations(5)
    before = _resident()
    operations(40)
    assert _resident() - before < 12_000_000


def test_what_a_transform_works_with_is_given_back() -> None:
    original = pictures.jpeg(photograph(16, 16))

    def operations(times: int) -> None:
        for _ in range(times):
            transform(original, Box(0, 0, 16, 16), Orientation(False, 1))
            with pytest.raises(jpegtran.LosslessFailedError):
                transform(original, Box(8, 8, 8, 8))

    operations(200)
    before = _resident()
    operations(2000)
    assert _resident() - before < 4_000_000  # 6000 transforms: 700 bytes each


def _resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# --- samplings as the header promises them --------------------------------------------------


@pytest.mark.parametrize("factors", [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (1, 4)], ids=str)
def test_every_mcu_that_the_header_announces_can_be_cut(
    factors: tuple[int, int], tmp_path: Path
) -> None:
    data = _with_sampling(*factors)
    path = tmp_path / "original.jpg"
    path.write_bytes(data)
    header = probe(path, 1_000_000)
    assert header.jpeg is not None
    assert header.jpeg.mcu == Dimensions(8 * factors[0], 8 * factors[1])
    mcu = header.jpeg.mcu
    box = Box(mcu.width, mcu.height, mcu.width * 2, mcu.height * 2)
    if factors == (1, 4) and not turbojpeg.available():
        with pytest.raises(jpegtran.LosslessFailedError):  # 4:4:1 is known from 3.0 on
            transform(data, box)
        return
    for turn in TURNS:
        made = luma(transform(data, box, turn))
        assert np.abs(made - turned(cut(luma(data), box), turn)).max() <= 1


def _with_sampling(horizontal: int, vertical: int) -> bytes:
    """JPEG of 128x128 pixels with these luma sampling factors; those of chroma are 1x1.

    One that libjpeg has written with 4:4:4, whose header is given other factors: the scan then has
    too few blocks for its luma, so its blocks are written anew as flat ones.
    """
    rows, columns = 128 // (8 * vertical), 128 // (8 * horizontal)
    blocks = rows * columns * (horizontal * vertical + 2)
    plain = bytearray(pictures.jpeg(photograph(128, 128), sampling=0, quality=75))
    frame = plain.index(b"\xff\xc0")
    plain[frame + 11] = horizontal << 4 | vertical
    scan = plain.index(b"\xff\xda")
    length = int.from_bytes(plain[scan + 2 : scan + 4], "big")
    return (
        bytes(plain[: scan + 2 + length])
        + _flat_blocks(blocks, horizontal * vertical)
        + b"\xff\xd9"
    )


def _flat_blocks(count: int, luma_blocks: int) -> bytes:
    """Encode blocks by the Huffman tables of ITU-T T.81, Annex K: DC steps, and no AC."""
    bits = ""
    per_mcu = luma_blocks + 2
    for number in range(count):
        if number % per_mcu < luma_blocks:
            step = (number * 7) % 8 if number % 2 else -((number * 5) % 8)
            category = abs(step).bit_length()
            code = {0: "00", 1: "010", 2: "011", 3: "100"}[category]
            value = step if step >= 0 else step + (1 << category) - 1
            bits += code + (f"{value:0{category}b}" if category else "") + "1010"
        else:
            bits += "00" + "00"
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")
