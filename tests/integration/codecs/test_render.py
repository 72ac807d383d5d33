"""Derivatives of real originals, compared with results of numpy."""

import io
import math
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from iiif_server.codecs import jpegtran, raster
from iiif_server.codecs.jobs import prepare_process, render
from iiif_server.codecs.pixel_buffer import CAN_SCALE
from iiif_server.codecs.probe import probe
from iiif_server.codecs.tiles import Tiles
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalChangedError,
    OriginalRefusedError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.formats import FORMAT_FACTS, Format, parse_format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import parse_quality
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.orientation import Orientation
from iiif_server.plan.render_plan import Engine, PixelOperations, ProfileAction
from support import pictures
from support.pictures import BY_NAME, HEIGHT, PICTURES, WIDTH, Floats, Picture, photograph
from support.rendering import (
    BEST,
    MAX_PIXELS,
    as_worker,
    decoded_size,
    derive,
    plan_request,
    psnr,
    shift,
)

ROTATIONS = [f"{mirror}{degrees}" for mirror in ("", "!") for degrees in (0, 90, 180, 270)]
ENGINES = [pytest.param(Engine.JPEGTRAN, marks=pytest.mark.needs_lossless), Engine.RASTER]


@pytest.fixture(scope="module", autouse=True)
def _worker() -> Iterator[None]:
    """Prepare this process like a worker."""
    with as_worker():
        yield


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with every picture of the collection."""
    folder = tmp_path_factory.mktemp("originals")
    for picture in PICTURES:
        picture.write(folder)
    return folder


def write(folder: Path, data: bytes, name: str = "original") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def named(picture: Picture) -> str:
    return picture.name


def turned(pixels: npt.NDArray[np.float64], rotation: str) -> Floats:
    """Mirror the pixels and rotate them clockwise, with numpy."""
    mirrored = pixels[:, ::-1] if rotation.startswith("!") else pixels
    return np.rot90(mirrored, -int(rotation.removeprefix("!")) // 90)


# --- every format to every format -----------------------------------------------------------


def test_all_formats_can_be_made_here() -> None:
    assert prepare_process(1, 1).formats == tuple(Format)


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_derivative_has_exactly_the_size_asked_for(
    picture: Picture, format_: Format, originals: Path
) -> None:
    for size in ((61, 43), (250, 190)):
        made = derive(
            originals / picture.name,
            f"full/^{size[0]},{size[1]}/0/default.{format_}",
            encoding=EncodingOptions(),
        )
        assert decoded_size(made.data, format_) == size


@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_smallest_and_flattest_derivatives_can_be_made(picture: Picture, originals: Path) -> None:
    for size in ((1, 1), (WIDTH, 1), (1, HEIGHT), (2, 77)):
        made = derive(originals / picture.name, f"full/{size[0]},{size[1]}/0/default.png")
        assert decoded_size(made.data, Format.PNG) == size


@pytest.mark.parametrize("format_", Format)
def test_one_pixel_can_be_had_in_every_format(format_: Format, originals: Path) -> None:
    made = derive(originals / "8.png", f"17,23,1,1/max/0/default.{format_}")
    assert decoded_size(made.data, format_) == (1, 1)


@pytest.mark.parametrize("format_", [f for f in Format if f is not Format.PDF])
def test_derivative_is_of_the_format_asked_for(format_: Format, originals: Path) -> None:
    names = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}
    made = derive(originals / "8.png", f"full/max/0/default.{format_}")
    assert made.image.format == names.get(format_, format_.upper())
    assert getattr(made.image, "n_frames", 1) == 1
    # 256 colours are the least accurate; the others are within what compression does.
    assert psnr(made.pixels, photograph()) > (31 if format_ in {"gif", "avif", "webp"} else 40)


def test_pdf_is_one_page_of_one_picture(originals: Path) -> None:
    data = derive(originals / "8.png", "full/100,/0/default.pdf").data
    assert data.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) == 1


# What 4:2:0 and quality 92 leave of coloured edges is about 34 dB, a palette about 35, and the
# luma alone is above 42; a picture turned, shifted by 2 pixels or with channels exchanged is below
# 25 (test_regions_of_a_wrong_place_would_be_noticed).
LOSSLESS = {
    "8.png",
    "16.png",
    "interlaced.png",
    "striped.tif",
    "plain.tif",
    "tiled.tif",
    "16.tif",
    "big.tif",
    "lossless.webp",
    "lossless.jp2",
    "stream.j2k",
    "plain.bmp",
}


@pytest.mark.parametrize(
    "picture", [p for p in PICTURES if p.accurate and not p.transparent], ids=named
)
def test_picture_looks_like_the_original(picture: Picture, originals: Path) -> None:
    made = derive(originals / picture.name, "full/max/0/color.png").pixels
    if picture.name in LOSSLESS:
        assert np.array_equal(made, photograph())
        return
    assert psnr(pictures.luma(made), pictures.luma(photograph())) > 38
    if picture.colour != "gray":
        assert psnr(made, photograph()) > 33


@pytest.mark.parametrize("picture", [p for p in PICTURES if p.colour == "gray"], ids=named)
def test_gray_original_has_one_sample_a_pixel(picture: Picture, originals: Path) -> None:
    assert derive(originals / picture.name, "full/100,/0/default.png").image.mode == "L"
    assert derive(originals / picture.name, "full/100,/0/default.jpg").image.mode == "L"


@pytest.mark.parametrize("name", ["1bit.png", "fax.tif"])
def test_bilevel_original_is_black_where_it_is_black(name: str, originals: Path) -> None:
    made = derive(originals / name, "full/max/0/default.png").pixels
    assert np.array_equal(made[..., 0] > 127, pictures.luma(photograph()) >= 128)
    assert set(np.unique(made)) == {0, 255}


# --- regions and scaling --------------------------------------------------------------------

LARGE = (640, 480)
REGIONAL = [
    *("420.jpg", "progressive.jpg", "8.png", "tiled.tif", "striped.tif", "lossless.webp"),
    *("palette.gif", "lossless.jp2", "photo.avif", "plain.bmp", "16.tif", "interlaced.png"),
]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with larger pictures, whose neighbouring pixels differ little."""
    folder = tmp_path_factory.mktemp("large")
    for name in REGIONAL:
        BY_NAME[name].write(folder, photograph(*LARGE))
    return folder


def expected(box: tuple[int, int, int, int], size: tuple[int, int]) -> Floats:
    """Scale a region of the large photograph with Pillow."""
    x, y, width, height = box
    cut = Image.fromarray(photograph(*LARGE)).crop((x, y, x + width, y + height))
    return np.asarray(cut.resize(size, Image.Resampling.LANCZOS), np.float64)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((101, 67, 300, 250), (300, 250)),
        ((64, 64, 256, 256), (256, 256)),
        ((512, 448, 128, 32), (128, 32)),
        ((101, 67, 300, 250), (150, 125)),
        ((0, 0, 640, 480), (320, 240)),
        ((33, 71, 303, 252), (101, 84)),
        ((49, 7, 584, 438), (80, 60)),
        ((256, 0, 384, 384), (48, 48)),
        ((200, 150, 80, 60), (200, 150)),
        ((639, 0, 1, 480), (1, 480)),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", REGIONAL)
def test_region_shows_that_part_of_the_picture(
    name: str, box: tuple[int, int, int, int], size: tuple[int, int], large: Path
) -> None:
    region = ",".join(map(str, box))
    made = derive(large / name, f"{region}/^{size[0]},{size[1]}/0/default.png").pixels
    # Half a pixel aside would be 28 dB or less on these, and a pixel 24 (the test below).
    assert psnr(pictures.luma(made), pictures.luma(expected(box, size))) > 34
    assert psnr(made, expected(box, size)) > 31


@pytest.mark.parametrize("aside", [(2, 0), (0, 2), (-2, 0), (0, -2)])
def test_regions_of_a_wrong_place_would_be_noticed(aside: tuple[int, int]) -> None:
    right, down = aside
    true = expected((101, 67, 300, 250), (300, 250))
    assert psnr(expected((101 + right, 67 + down, 300, 250), (300, 250)), true) < 31


@pytest.mark.parametrize("name", ["8.png", "420.jpg", "tiled.tif", "lossless.jp2"])
def test_tiles_of_a_level_fit_together(name: str, large: Path) -> None:
    """Single tiles together give the picture, without visible seams."""
    whole = np.zeros((120, 160, 3))
    for x, y in product(range(0, 640, 256), range(0, 480, 256)):
        width, height = min(256, 640 - x), min(256, 480 - y)
        made = derive(
            large / name, f"{x},{y},{width},{height}/{width // 4},{height // 4}/0/default.png"
        )
        whole[y // 4 : (y + height) // 4, x // 4 : (x + width) // 4] = made.pixels
    true = expected((0, 0, 640, 480), (160, 120))
    assert psnr(whole, true) > 33
    # No row or column, those at seams included, is further off than the others by much.
    error = np.abs(pictures.luma(whole) - pictures.luma(true))
    assert max(error.mean(axis=0).max(), error.mean(axis=1).max()) < 6


@pytest.mark.parametrize("factor", [2, 3, 4, 5.3, 8, 16])
@pytest.mark.parametrize("size", [(1600, 1200), (1203, 901)], ids=str)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "JPEG2000"])
def test_reduced_picture_is_as_good_as_lanczos(
    format_: str,
    size: tuple[int, int],
    factor: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path, pixels = _detailed(tmp_path_factory, format_, size)
    target = round(size[0] / factor), round(size[1] / factor)
    made = derive(path, f"full/{target[0]},{target[1]}/0/default.png").pixels
    reference = Image.fromarray(pixels).resize(target, Image.Resampling.LANCZOS)
    true = np.asarray(reference, np.float64)
    assert psnr(made, true) > (34 if format_ == "JPEG2000" else 44)
    aside = shift(pictures.luma(made), pictures.luma(true))
    # The samples of a reduced JPEG 2000 image lie where every n-th pixel was, not in the middle of
    # n pixels. A reduced JPEG lacks its last, incomplete pixel, so it is cut at another place.
    tolerance = {"JPEG2000": 0.4, "JPEG": 0.06, "PNG": 0.02}[format_]
    assert max(map(abs, aside)) < tolerance


_written: dict[tuple[str, tuple[int, int]], tuple[Path, pictures.Pixels]] = {}


def _detailed(
    factory: pytest.TempPathFactory, format_: str, size: tuple[int, int]
) -> tuple[Path, pictures.Pixels]:
    if (format_, size) not in _written:
        pixels = pictures.detailed(*size)
        options = {"JPEG": {"quality": 97, "subsampling": 0}, "PNG": {"compress_level": 1}}
        data = pictures.saved(Image.fromarray(pixels), format_, **options.get(format_, {}))
        _written[format_, size] = write(factory.mktemp("detailed"), data), pixels
    return _written[format_, size]


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_shift_of_half_a_pixel_would_be_noticed(factor: int) -> None:
    pixels = np.asarray(Image.fromarray(pictures.detailed(600, 400)).resize((300, 200)))
    true = pictures.luma(pixels)
    moved = true + factor / 4 * (np.roll(true, 1, axis=1) - true)
    assert shift(moved, true)[0] == pytest.approx(factor / 4, abs=0.1)
    assert shift(moved, true)[1] == pytest.approx(0, abs=0.05)


# --- turns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_rotation_by_either_engine(
    orientation: int, rotation: str, engine: Engine, tmp_path: Path
) -> None:
    pixels = photograph(160, 112)
    data = pictures.jpeg(pixels, exif=pictures.exif(orientation))
    path = write(tmp_path, data)
    upright = pictures.oriented(pixels, orientation).astype(np.float64)
    for x, y, width, height in ((16, 32, 80, 48), (0, 0, upright.shape[1], upright.shape[0])):
        request = f"{x},{y},{width},{height}/max/{rotation}/default.jpg"
        made = derive(path, request, engine=engine)
        assert made.made_by is engine
        true = turned(upright[y : y + height, x : x + width], rotation)
        assert made.pixels.shape == true.shape
        # Compression makes 2; another orientation, 20 and more.
        assert np.abs(made.pixels - true).mean() < 4
        assert "exif" not in made.image.info


def test_wrong_orientations_would_be_noticed() -> None:
    pixels = photograph(112, 112).astype(np.float64)
    for one, other in product(range(1, 9), repeat=2):
        difference = pictures.oriented(pixels, one) - pictures.oriented(pixels, other)
        assert bool(np.abs(difference).mean() > 20) is (one != other)


@pytest.mark.needs_lossless
@pytest.mark.parametrize("orientation", range(2, 9))
def test_tiles_of_a_turned_original_are_lossless(orientation: int, tmp_path: Path) -> None:
    data = pictures.jpeg(photograph(160, 112), exif=pictures.exif(orientation))
    for quality in ("default", "gray"):
        request = f"16,16,64,64/max/0/{quality}.jpg"
        assert derive(write(tmp_path, data), request).made_by is Engine.JPEGTRAN


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP", "AVIF", "TIFF LAB"])
def test_orientation_of_other_formats(format_: str, orientation: int, tmp_path: Path) -> None:
    pixels = photograph(160, 112)
    image = pictures.lab(pixels) if format_ == "TIFF LAB" else Image.fromarray(pixels)
    format_ = format_.removesuffix(" LAB")
    options: dict[str, Any] = {"quality": 95, "speed": 10} if format_ == "AVIF" else {}
    if format_ == "WEBP":
        options = {"lossless": True}
    data = pictures.saved(image, format_, exif=pictures.exif(orientation), **options)
    path = write(tmp_path, data)
    upright = pictures.oriented(pixels, orientation).astype(np.float64)
    for request, rotation in (("full/max/0", "0"), ("16,8,90,70/max/!90", "!90")):
        x, y, width, height = (16, 8, 90, 70) if rotation != "0" else (0, 0, 160, 160)
        made = derive(path, f"{request}/default.png").pixels
        true = turned(upright[y : y + height, x : x + width], rotation)
        assert made.shape == true.shape
        assert np.abs(made - true).mean() < 4


@pytest.mark.parametrize("format_", ["tif", "png", "webp", "jpg", "avif"])
def test_what_has_been_turned_does_not_ask_to_be_turned_again(format_: str, tmp_path: Path) -> None:
    path = write(tmp_path, pictures.jpeg(photograph(), exif=pictures.exif(6)))
    data = derive(path, f"full/max/0/default.{format_}").data
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (HEIGHT, WIDTH)
        assert image.getexif().get(pictures.ORIENTATION_TAG, 1) == 1


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_size_is_of_the_picture_before_its_rotation(rotation: str, originals: Path) -> None:
    made = derive(originals / "8.png", f"full/80,40/{rotation}/default.png")
    sideways = rotation.endswith(("90", "270"))
    assert made.image.size == ((40, 80) if sideways else (80, 40))


def bounding_box(width: int, height: int, degrees: float) -> tuple[float, float]:
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    return width * cosine + height * sine, width * sine + height * cosine


@pytest.mark.parametrize("degrees", [22.5, 45, 100.25, 200, 359])
def test_any_angle_has_its_bounding_box(degrees: float, originals: Path) -> None:
    made = derive(originals / "8.png", f"full/max/{degrees:g}/default.png")
    expected_size = bounding_box(WIDTH, HEIGHT, degrees)
    assert made.image.size == pytest.approx(expected_size, abs=1.5)


@pytest.mark.parametrize("rotation", ["22.5", "!22.5", "110", "301.7"])
@pytest.mark.parametrize("name", ["8.png", "alpha.png", "420.jpg"])
def test_any_angle_turns_clockwise(name: str, rotation: str, originals: Path) -> None:
    made = derive(originals / name, f"full/max/{rotation}/default.png").image.convert("RGBA")
    source = Image.fromarray(photograph())
    if rotation.startswith("!"):
        source = source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    degrees = float(rotation.removeprefix("!"))
    both = [
        source.rotate(sign * degrees, Image.Resampling.BICUBIC, expand=True) for sign in (-1, 1)
    ]
    middle = np.asarray(_middle(made), np.float64)
    opaque = middle[..., 3] > 60
    right, wrong = (
        psnr(middle[opaque][:, :3], np.asarray(_middle(turn), np.float64)[opaque]) for turn in both
    )
    # A pixel aside at most, for how the middle of the bounding box is rounded.
    assert right > 24
    assert wrong < right - 5


def _middle(image: Image.Image) -> Image.Image:
    left, top = (image.width - 90) // 2, (image.height - 90) // 2
    return image.crop((left, top, left + 90, top + 90))


@pytest.mark.parametrize("format_", [f for f in Format if f not in {Format.PDF, Format.GIF}])
def test_corners_are_transparent_or_white(format_: Format, originals: Path) -> None:
    made = derive(originals / "8.png", f"full/max/22.5/default.{format_}").image
    corners = [(0, 0), (made.width - 1, 0), (0, made.height - 1), (made.width - 1, made.height - 1)]
    rgba = made.convert("RGBA")
    for corner in corners:
        pixel = rgba.getpixel(corner)
        assert isinstance(pixel, tuple)
        if FORMAT_FACTS[format_].transparent:
            assert pixel[3] == 0
        else:
            assert min(pixel) > 250
    inside = rgba.getpixel((made.width // 2, made.height // 2))
    assert isinstance(inside, tuple)
    assert inside[3] == 255


def test_corners_of_a_gif_are_transparent(originals: Path) -> None:
    made = derive(originals / "8.png", "full/max/22.5/default.gif").image.convert("RGBA")
    assert np.asarray(made)[0, 0, 3] == 0
    assert np.asarray(made)[made.height // 2, made.width // 2, 3] == 255


# --- colour ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [f for f in Format if f is not Format.PDF])
@pytest.mark.parametrize("name", ["420.jpg", "8.png", "cmyk.tif", "lab.tif", "16.tif", "alpha.png"])
def test_gray_has_no_chroma(name: str, format_: Format, originals: Path) -> None:
    made = derive(originals / name, f"full/max/0/gray.{format_}")
    visible = np.asarray(made.image.convert("RGBA"))[..., 3] > 0
    assert np.ptp(made.pixels, axis=2)[visible].max() <= (1 if format_ in {"webp", "avif"} else 0)
    if format_ in {"jpg", "png", "tif", "jp2"}:
        assert made.image.mode in {"L", "LA"}


@pytest.mark.parametrize("name", ["420.jpg", "8.png", "lab.tif", "16.tif"])
def test_gray_is_as_bright_as_the_colours(name: str, originals: Path) -> None:
    made = derive(originals / name, "full/max/0/gray.png").pixels[..., 0]
    # Weighted in linear light or not, which differs most for saturated colours.
    assert np.abs(made - pictures.luma(photograph())).mean() < 12
    assert np.corrcoef(made.ravel(), pictures.luma(photograph()).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("request_", ["full/max/0", "full/70,/0", "9,9,99,99/max/22.5"])
@pytest.mark.parametrize("name", ["420.jpg", "8.png", "gray.jpg", "alpha.png", "16.tif", "fax.tif"])
@pytest.mark.parametrize("format_", ["png", "tif", "gif"])
def test_bitonal_is_black_and_white(
    format_: str, name: str, request_: str, originals: Path
) -> None:
    made = derive(originals / name, f"{request_}/bitonal.{format_}")
    assert set(np.unique(made.pixels)) == {0, 255}
    if format_ in {"png", "tif"}:
        assert made.image.mode == "1"


def test_bitonal_is_split_at_middle_gray(originals: Path) -> None:
    made = derive(originals / "8.png", "full/max/0/bitonal.png").pixels[..., 0]
    gray = derive(originals / "8.png", "full/max/0/gray.png").pixels[..., 0]
    assert np.array_equal(made == 255, gray >= 128)


def _patches(mode: str) -> Image.Image:
    """Six fields: no ink, cyan, magenta, yellow, black, all three."""
    image = Image.new(mode, (60, 10))
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    for number, ink in enumerate([*inks, (255, 255, 255, 0)]):
        image.paste(ink, (number * 10, 0, number * 10 + 10, 10))
    return image


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
@pytest.mark.parametrize("output", ["png", "jpg"])
def test_inks_look_like_inks(format_: str, output: str, tmp_path: Path) -> None:
    options = {"quality": 100} if format_ == "JPEG" else {}
    path = write(tmp_path, pictures.saved(_patches("CMYK"), format_, **options))
    made = derive(path, f"full/max/0/default.{output}")
    assert made.image.mode == "RGB"
    paper, cyan, magenta, yellow, black, dark = made.pixels[5, 5::10]
    assert paper.min() > 245
    assert max(cyan[0], magenta[1], yellow[2]) < 90
    assert min(cyan[1], cyan[2], magenta[0]) > 120
    assert min(yellow[0], yellow[1]) > 180
    assert black.max() < 70
    assert dark.max() < 80


def test_separated_picture_looks_like_the_picture(originals: Path) -> None:
    """Real inks are duller than the formula that separated the picture."""
    made = [
        derive(originals / name, "full/max/0/default.png").pixels
        for name in ("cmyk.jpg", "cmyk.tif")
    ]
    assert psnr(*made) > 30
    for channel in range(3):
        true = photograph()[..., channel].ravel()
        assert np.corrcoef(made[1][..., channel].ravel(), true)[0, 1] > 0.85
    assert np.abs(made[1] - photograph()).mean() < 30


@pytest.mark.parametrize("name", ["16.png", "16.tif", "gray16.png", "gray16.tif", "gray16.jp2"])
@pytest.mark.parametrize("size", ["max", "100,80"])
def test_sixteen_bits_use_the_whole_range(name: str, size: str, originals: Path) -> None:
    made = pictures.luma(derive(originals / name, f"full/{size}/0/default.png").pixels)
    true = pictures.luma(photograph())
    if size != "max":
        resized = Image.fromarray(photograph()).resize((100, 80), Image.Resampling.LANCZOS)
        true = pictures.luma(np.asarray(resized))
    assert psnr(made, true) > 40


@pytest.mark.parametrize("name", ["alpha.png", "alpha.tif", "alpha.jp2", "alpha.webp"])
@pytest.mark.parametrize("format_", ["png", "tif", "jp2", "webp"])
def test_transparency_is_kept(format_: str, name: str, originals: Path) -> None:
    made = np.asarray(derive(originals / name, f"full/max/0/default.{format_}").image)
    true = pictures.with_alpha(photograph())
    assert made.shape == true.shape
    assert np.array_equal(made[..., 3], true[..., 3])
    visible = true[..., 3] > 0
    assert psnr(made[visible], true[visible]) > (31 if format_ == "webp" else 45)


@pytest.mark.parametrize("name", ["alpha.png", "alpha.tif", "alpha.jp2", "alpha.webp"])
@pytest.mark.parametrize("format_", ["jpg", "pdf"])
def test_transparency_is_white_where_there_is_none(
    format_: str, name: str, originals: Path, tmp_path: Path
) -> None:
    made = derive(originals / name, f"full/max/0/default.{format_}").data
    if format_ == "pdf":
        made = made[made.index(b"\xff\xd8\xff") : made.rindex(b"\xff\xd9") + 2]
    true = pictures.with_alpha(photograph()).astype(np.float64)
    opacity = true[..., 3:] / 255
    flattened = true[..., :3] * opacity + 255 * (1 - opacity)
    with Image.open(write(tmp_path, made)) as image:
        # The hole has hard edges, which ring a little.
        assert psnr(np.asarray(image.convert("RGB"), np.float64), flattened) > 31


def test_transparent_pixels_do_not_bleed_when_scaled(tmp_path: Path) -> None:
    """Invisible black stays invisible: it is not averaged with the red beside it."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 30:] = (250, 20, 20, 255)
    path = write(tmp_path, pictures.saved(Image.fromarray(pixels), "PNG"))
    made = np.asarray(derive(path, "full/9,9/0/default.png").image).astype(np.int16)
    partly = made[made[..., 3] > 20]
    assert np.abs(partly[:, :3] - (250, 20, 20)).max() <= 2


def test_opacity_makes_no_picture_darker(originals: Path, tmp_path: Path) -> None:
    """Alpha is computed in fractions, which are rounded at the end, not truncated."""
    opaque = np.dstack([photograph(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    path = write(tmp_path, pictures.saved(Image.fromarray(opaque), "PNG"))
    request_ = "full/101,75/0/default.png"
    difference = derive(path, request_).pixels - derive(originals / "8.png", request_).pixels
    assert abs(difference.mean()) < 0.2  # a quarter and more where they are cut off


def test_turning_keeps_plain_colours(tmp_path: Path) -> None:
    for colour in ((37, 201, 90), (1, 129, 254), (77, 78, 79)):
        image = Image.new("RGB", (90, 70), colour)
        path = write(tmp_path, pictures.saved(image, "PNG"), f"{colour[0]}")
        for angle in ("22.5", "133"):
            made = derive(path, f"full/max/{angle}/default.png").image
            inside = np.asarray(_middle(made))[25:65, 25:65]
            assert np.array_equal(inside, np.broadcast_to((*colour, 255), inside.shape))


# --- profiles -------------------------------------------------------------------------------


def to_srgb(pixels: pictures.Pixels, profile: bytes) -> Floats:
    """Convert the pixels with Pillow."""
    converted = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None
    return np.asarray(converted, np.float64)


def profiled(folder: Path, format_: str, profile: bytes) -> Path:
    options = {"quality": 97, "subsampling": 0} if format_ == "JPEG" else {}
    image = Image.fromarray(pictures.smooth(WIDTH, HEIGHT))
    return write(folder, pictures.saved(image, format_, icc_profile=profile, **options))


def test_wide_gamut_is_wide() -> None:
    pixels = pictures.smooth(WIDTH, HEIGHT)
    assert psnr(to_srgb(pixels, pictures.wide_profile()), pixels) < 28


@pytest.mark.parametrize("format_", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
def test_wide_gamut_is_kept_with_its_profile(source: str, format_: str, tmp_path: Path) -> None:
    profile = pictures.wide_profile()
    path = profiled(tmp_path, source, profile)
    made = derive(path, f"5,5,120,100/max/0/default.{format_}")
    assert made.made_by is Engine.RASTER
    assert made.image.info["icc_profile"] == profile
    stored = pictures.smooth(WIDTH, HEIGHT)[5:105, 5:125]
    assert psnr(made.pixels, stored) > 36


@pytest.mark.needs_lossless
def test_lossless_and_raster_tiles_of_wide_gamut_are_alike(tmp_path: Path) -> None:
    profile = pictures.wide_profile()
    path = profiled(tmp_path, "JPEG", profile)
    lossless, decoded = (
        derive(path, f"64,64,64,64/max/0/default.{format_}") for format_ in ("jpg", "png")
    )
    assert (lossless.made_by, decoded.made_by) == (Engine.JPEGTRAN, Engine.RASTER)
    assert lossless.image.info["icc_profile"] == decoded.image.info["icc_profile"] == profile
    assert np.abs(lossless.pixels - decoded.pixels).max() <= 1


@pytest.mark.parametrize("format_", ["gif", "jp2"])
def test_wide_gamut_is_converted_where_a_format_has_no_profile(
    format_: str, tmp_path: Path
) -> None:
    path = profiled(tmp_path, "PNG", pictures.wide_profile())
    made = derive(path, f"full/max/0/default.{format_}")
    assert "icc_profile" not in made.image.info
    true = to_srgb(pictures.smooth(WIDTH, HEIGHT), pictures.wide_profile())
    # 256 colours cost more than the conversion changes, but not so much that it is not seen.
    assert psnr(made.pixels, true) > psnr(made.pixels, pictures.smooth(WIDTH, HEIGHT)) + 3


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
def test_large_profile_is_applied_instead_of_repeated(source: str, tmp_path: Path) -> None:
    profile = pictures.wide_profile(40_000)
    path = profiled(tmp_path, source, profile)
    made = derive(path, "0,0,64,64/max/0/default.jpg")
    assert made.made_by is Engine.RASTER
    assert "icc_profile" not in made.image.info
    true = to_srgb(pictures.smooth(WIDTH, HEIGHT), profile)[:64, :64]
    assert psnr(made.pixels, true) > 36


def test_gray_of_wide_gamut_is_that_of_the_converted_picture(tmp_path: Path) -> None:
    path = profiled(tmp_path, "PNG", pictures.wide_profile())
    made = derive(path, "full/max/0/gray.png")
    assert "icc_profile" not in made.image.info
    converted = to_srgb(pictures.smooth(WIDTH, HEIGHT), pictures.wide_profile())
    reference = write(
        tmp_path, pictures.saved(Image.fromarray(converted.astype(np.uint8)), "PNG"), "reference"
    )
    assert psnr(made.pixels, derive(reference, "full/max/0/gray.png").pixels) > 38


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("profile", ["srgb", "broken"])
def test_srgb_and_broken_profiles_are_dropped(profile: str, source: str, tmp_path: Path) -> None:
    icc = {"srgb": pictures.srgb_profile, "broken": pictures.broken_profile}[profile]()
    path = profiled(tmp_path, source, icc)
    for format_, region in product(("jpg", "png", "tif", "webp", "avif"), ("full", "0,0,64,64")):
        made = derive(path, f"{region}/40,/0/default.{format_}")
        assert "icc_profile" not in made.image.info
    whole = derive(path, "full/max/0/default.png").pixels
    assert psnr(whole, pictures.smooth(WIDTH, HEIGHT)) > 33


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_broken_profile_of_other_colours_is_no_error(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(photograph()).convert(mode)
    for profile in (pictures.broken_profile(), pictures.wide_profile()):
        data = pictures.saved(image, "JPEG", icc_profile=profile, quality=95)
        made = derive(write(tmp_path, data), "full/max/0/default.png")
        assert "icc_profile" not in made.image.info
        assert np.abs(pictures.luma(made.pixels) - pictures.luma(photograph())).mean() < 25


def test_gray_profile_is_kept(tmp_path: Path) -> None:
    image = Image.fromarray(photograph()).convert("L")
    path = write(tmp_path, pictures.saved(image, "PNG", icc_profile=pictures.gray_profile()))
    made = derive(path, "full/max/0/default.png")
    assert made.image.info["icc_profile"] == pictures.gray_profile()
    assert np.array_equal(np.asarray(made.image), np.asarray(image))


# --- engines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "request_", "engine"),
    [
        ("420.jpg", "full/max/0/default.jpg", Engine.ORIGINAL),
        ("trailing.jpg", "full/max/0/default.jpg", Engine.ORIGINAL),
        ("gray.jpg", "full/max/0/gray.jpg", Engine.ORIGINAL),
        ("420.jpg", "full/max/0/gray.jpg", Engine.JPEGTRAN),
        ("420.jpg", "64,64,64,64/max/0/default.jpg", Engine.JPEGTRAN),
        ("420.jpg", "64,64,64,64/max/!90/default.jpg", Engine.JPEGTRAN),
        ("trailing.jpg", "64,64,139,85/max/0/default.jpg", Engine.JPEGTRAN),
        ("420.jpg", "8,0,64,64/max/0/default.jpg", Engine.RASTER),
        ("444.jpg", "8,0,64,64/max/0/default.jpg", Engine.JPEGTRAN),
        ("420.jpg", "64,64,64,64/max/0/default.png", Engine.RASTER),
        ("420.jpg", "64,64,64,64/32,/0/default.jpg", Engine.RASTER),
        ("420.jpg", "64,64,64,64/max/1/default.jpg", Engine.RASTER),
        ("rgb.jpg", "full/max/0/default.jpg", Engine.RASTER),
        ("cmyk.jpg", "full/max/0/default.jpg", Engine.RASTER),
        ("8.png", "full/max/0/default.png", Engine.RASTER),
    ],
)
def test_least_is_done_to_the_original(
    name: str, request_: str, engine: Engine, originals: Path
) -> None:
    if engine is Engine.JPEGTRAN and not jpegtran.available():
        engine = Engine.RASTER
    made = derive(originals / name, request_)
    assert made.planned is made.made_by is engine


def test_what_cannot_be_done_without_loss_is_done_with_pixels(originals: Path) -> None:
    """A plan that jpegtran refuses is rendered by another engine, which the result names."""
    made = derive(originals / "420.jpg", "8,8,64,64/max/0/default.jpg", engine=Engine.JPEGTRAN)
    assert made.made_by is Engine.RASTER
    assert psnr(made.pixels, photograph()[8:72, 8:72]) > 31


def test_encoding_settings_are_obeyed(originals: Path) -> None:
    path, request_ = originals / "8.png", "full/max/0/default."
    coarse = EncodingOptions(jpeg_quality=20, webp_quality=5, avif_quality=5, jp2_ratio=80)
    for format_ in ("jpg", "webp", "avif", "jp2"):
        fine = derive(path, request_ + format_, encoding=BEST)
        assert len(derive(path, request_ + format_, encoding=coarse).data) < len(fine.data) / 2
    progressive = derive(path, request_ + "jpg", encoding=EncodingOptions(jpeg_progressive=True))
    assert progressive.image.info["progressive"]
    assert "progressive" not in derive(path, request_ + "jpg").image.info
    assert np.array_equal(derive(path, request_ + "jp2", encoding=BEST).pixels, photograph())
    for compression in ("none", "deflate", "lzw", "jpeg"):
        encoding = EncodingOptions(tiff_compression=compression, jpeg_quality=95)
        assert psnr(derive(path, request_ + "tif", encoding=encoding).pixels, photograph()) > 31


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.15, 0.4, 0.7, 0.93])
@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_truncated_original_is_refused(picture: Picture, share: float, tmp_path: Path) -> None:
    data = picture.encode(photograph())
    if picture.name == "trailing.jpg":
        data = data[: data.rindex(b"\xff\xd9")]
    path = write(tmp_path, data[: int(len(data) * share)])
    for request_ in ("full/max/0/default.png", "full/50,/0/default.jpg"):
        with pytest.raises((DamagedOriginalError, UnsupportedOriginalError)) as refusal:
            derive(path, request_)
        assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_flipped_bits_are_refused_or_drawn(picture: Picture, tmp_path: Path) -> None:
    """Every input gives pixels of the right size, or an error of this package."""
    sound = picture.encode(photograph(96, 80))
    rng = np.random.default_rng(len(sound))
    for round_ in range(12):
        data = bytearray(sound)
        # Half of the time near the start, where the headers and tables are.
        reach = len(data) if round_ % 2 else min(len(data), 600)
        for position in rng.integers(12, reach, 3):
            data[position] ^= 1 << int(rng.integers(8))
        path = write(tmp_path, bytes(data), f"{round_}")
        for request_ in ("full/40,30/0/default.png", "0,0,16,16/max/0/default.jpg"):
            try:
                made = derive(path, request_, max_pixels=1_000_000)
            except OriginalRefusedError:
                continue
            assert made.image.size == ((40, 30) if "full" in request_ else (16, 16))


def test_damage_behind_the_end_is_none(tmp_path: Path) -> None:
    data = pictures.jpeg(photograph()) + b"\xff\xd8\xff\x00 garbage" * 100
    path = write(tmp_path, data)
    assert psnr(derive(path, "full/max/0/default.png").pixels, photograph()) > 33
    lossless = jpegtran.available()
    made_by = derive(path, "0,0,64,64/max/0/default.jpg").made_by
    assert made_by is (Engine.JPEGTRAN if lossless else Engine.RASTER)


# --- the file and the target ----------------------------------------------------------------


def test_original_replaced_before_it_is_opened_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path, pictures.jpeg(photograph()))
    plan = plan_request(path, "0,0,64,64/max/0/default.jpg")
    other = write(tmp_path, pictures.jpeg(photograph(seed=2)) + b"longer", "other")
    other.replace(path)
    with pytest.raises(OriginalChangedError):
        render(plan)


def test_original_of_the_same_length_but_another_time_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path, pictures.jpeg(photograph()))
    plan = plan_request(path, "0,0,64,64/max/0/default.jpg")
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    with pytest.raises(OriginalChangedError):
        render(plan)


def test_original_overwritten_while_it_is_kept_open_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path, pictures.jpeg(photograph()))
    plan = plan_request(path, "0,0,64,64/max/0/default.jpg")
    render(plan)
    path.write_bytes(path.read_bytes() + b"longer")
    with pytest.raises(OriginalChangedError):
        render(plan)
    plan = plan_request(path, "0,0,64,64/max/0/default.jpg")
    assert render(plan).engine is plan.engine


def test_original_removed_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path, pictures.jpeg(photograph()))
    plan = plan_request(path, "0,0,64,64/max/0/default.jpg")
    path.unlink()
    with pytest.raises(OriginalChangedError):
        render(plan)


def test_original_renamed_away_while_it_is_kept_open_is_still_the_one_planned_for(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, pictures.jpeg(photograph()))
    plan = plan_request(path, "0,0,64,64/max/0/default.jpg")
    first = render(plan).data
    write(tmp_path, pictures.jpeg(photograph(seed=2)) + b"longer", "other").replace(path)
    assert render(plan).data == first


def test_more_originals_than_are_kept_open(originals: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        for name in ("420.jpg", "422.jpg", "444.jpg", "8.png", "tiled.tif", "lossless.jp2"):
            made = derive(originals / name, "64,64,64,64/max/0/default.png")
            assert psnr(made.pixels, photograph()[64:128, 64:128]) > 30
    assert len(os.listdir("/proc/self/fd")) < before + 20


@pytest.mark.parametrize("engine", ENGINES)
def test_derivative_is_written_to_its_target(
    engine: Engine, originals: Path, tmp_path: Path
) -> None:
    target = tmp_path / "made"
    target.touch()
    request_ = "0,0,64,64/max/0/default.jpg"
    made = render(plan_request(originals / "420.jpg", request_, engine=engine, target=target))
    assert made.data is None
    assert made.engine is engine
    assert target.stat().st_size == made.length
    assert target.read_bytes() == derive(originals / "420.jpg", request_, engine=engine).data


def test_target_that_cannot_be_written_is_no_reason_to_fail(
    originals: Path, tmp_path: Path
) -> None:
    in_the_way = write(tmp_path, b"a file where a folder should be")
    for target in (in_the_way / "made", tmp_path / "nowhere" / "made", tmp_path):
        request_ = "0,0,64,64/max/0/default.jpg"
        made = render(plan_request(originals / "420.jpg", request_, target=target))
        assert made.data == derive(originals / "420.jpg", request_).data
        assert made.length == len(made.data)


def test_target_that_was_given_up_is_not_made_again(originals: Path, tmp_path: Path) -> None:
    target = tmp_path / "given up"
    made = render(plan_request(originals / "420.jpg", "0,0,64,64/max/0/default.jpg", target=target))
    assert made.data is not None
    assert isinstance(made.write_error, FileNotFoundError)
    assert not target.exists()


def test_disk_that_is_full_is_told(originals: Path) -> None:
    plan = plan_request(
        originals / "420.jpg", "0,0,64,64/max/0/default.jpg", target=Path("/dev/full")
    )
    made = render(plan)
    assert made.data is not None
    assert made.write_error is not None
    assert made.write_error.filename is None


def test_refusal_of_too_large_an_original_comes_from_the_header(originals: Path) -> None:
    with pytest.raises(OriginalRefusedError, match=re.escape("30,247")):
        derive(originals / "8.png", "full/max/0/default.png", max_pixels=30_000)
    assert MAX_PIXELS > 30_247


@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("format_", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("rotation", ["0", "90", "!0", "!270", "12.5"])
@pytest.mark.parametrize("quality", ["default", "gray", "bitonal"])
def test_levels_look_alike_whoever_scales_them(
    *,
    gray: bool,
    format_: str,
    rotation: str,
    quality: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = photograph(400, 300)
    stored = pixels[..., 1] if gray else pixels
    data = pictures.jpeg(stored, quality=97, sampling=0, icc_profile=pictures.wide_profile())
    header = probe(write(tmp_path, data), MAX_PIXELS)
    tiles = Tiles([data], 1, Dimensions(400, 300), Box(0, 0, 400, 300))
    made = []
    for can in (True, False):
        monkeypatch.setattr(raster, "CAN_SCALE", can and CAN_SCALE)
        operations = PixelOperations(
            box=Box(21, 34, 701, 503),
            size=Dimensions(250, 180),
            orientation=Orientation("!" in rotation, round(float(rotation.strip("!"))) // 90),
            degrees=12.5 if rotation == "12.5" else 0,
            quality=parse_quality(quality),
            format=parse_format(format_),
            profile=ProfileAction.KEEP if quality == "default" else ProfileAction.CONVERT,
            shrink=2,
        )
        image = raster.encoded(
            raster.pixels_of_tiles(tiles, header, operations), header, operations, BEST
        )
        made.append(Image.open(io.BytesIO(image)))
    assert made[0].size == made[1].size
    assert made[0].mode == made[1].mode
    assert made[0].info.get("icc_profile") == made[1].info.get("icc_profile")
    one, other = (np.asarray(image.convert("RGB"), np.float64) for image in made)
    assert psnr(one, other) > (15 if quality == "bitonal" else 36)
