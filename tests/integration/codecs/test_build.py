"""Pyramid parts built from real originals."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from iiif_server.codecs.encode import encode_tiles, supports_trellis
from iiif_server.codecs.open_originals import OpenOriginal
from iiif_server.codecs.probe import probe
from iiif_server.codecs.pyramid_build import build
from iiif_server.errors import DamagedOriginalError, NotKeptError
from iiif_server.formats.pyramid_file import OpenPart
from iiif_server.iiif.geometry import Dimensions, square
from iiif_server.plan import build_plan
from iiif_server.plan.build_plan import BuildPlan, expected_length, first_reduced
from iiif_server.plan.grid import Grid, Part, Tile
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.render_plan import tile_profile
from iiif_server.workers.messages import Failure, decode, encode, exception_of, failure_of
from support import pictures
from support.rendering import psnr

WIDTH, HEIGHT, SIDE = 700, 500, 128


def make(path: Path, part: Part, target: Path) -> Grid:
    """Build one pyramid part of a file; return its grid."""
    header = probe(path, 10**8)
    file = LocalFile.at(path)
    grid = Grid(header.dimensions, square(SIDE))
    original = OpenOriginal(file)
    if target.parent.is_dir():
        target.touch()
    try:
        plan = BuildPlan(file, header, part, grid, tile_profile(header), True, 90, 92, target)
        length = build(plan, original)
    finally:
        original.close()
    assert length == target.stat().st_size
    return grid


def levels(path: Path, folder: Path) -> dict[int, Image.Image]:
    """Return every level of the pyramid of a file, joined from its tiles."""
    found = {}
    factors = [1, 2, 4, 8]
    grid = Grid(Dimensions(1, 1), square(SIDE))
    for part in Part:
        target = folder / part
        grid = make(path, part, target)
        with OpenPart(target) as opened:
            for factor in factors:
                if (factor >= first_reduced(probe(path, 10**8))) == (part is Part.REDUCED):
                    found[factor] = merge_extents(opened, grid, factor)
    assert tuple(sorted(found)) == grid.scale_factors
    return found


def merge_extents(opened: OpenPart, grid: Grid, factor: int) -> Image.Image:
    size = grid.level(factor)
    level = Image.new("RGB", (size.width, size.height))
    for tile, box in grid.tiles(factor):
        image = Image.open(io.BytesIO(opened.read(tile, grid)))
        assert image.format == "JPEG"
        assert image.size == (box.width, box.height)
        level.paste(image.convert("RGB"), (box.x, box.y))
    return level


ORIGINALS = {
    "420.jpg": lambda pixels: pictures.jpeg(pixels),  # noqa: PLW0108
    "444.jpg": lambda pixels: pictures.jpeg(pixels, sampling=0),
    "progressive.jpg": lambda pixels: pictures.jpeg(pixels, progressive=True),
    "plain.png": lambda pixels: pictures.saved(Image.fromarray(pixels), "PNG"),
    "plain.webp": lambda pixels: pictures.saved(Image.fromarray(pixels), "WEBP", quality=95),
    "plain.tif": lambda pixels: pictures.saved(Image.fromarray(pixels), "TIFF"),
    "plain.jp2": lambda pixels: pictures.saved(Image.fromarray(pixels), "JPEG2000"),
    "plain.bmp": lambda pixels: pictures.saved(Image.fromarray(pixels), "BMP"),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_every_level_is_the_whole_picture_reduced(name: str, tmp_path: Path) -> None:
    pixels = pictures.photograph(WIDTH, HEIGHT)
    path = tmp_path / name
    path.write_bytes(ORIGINALS[name](pixels))
    whole = Image.fromarray(pixels)
    for factor, level in levels(path, tmp_path).items():
        assert level.size == (-(-WIDTH // factor), -(-HEIGHT // factor))
        reference = whole.resize(level.size, Image.Resampling.LANCZOS)
        assert psnr(np.asarray(level), np.asarray(reference)) > 29, factor


@pytest.mark.parametrize("orientation", range(2, 9))
def test_levels_of_an_original_that_asks_to_be_turned_are_upright(
    orientation: int, tmp_path: Path
) -> None:
    pixels = pictures.photograph(WIDTH, HEIGHT)
    path = tmp_path / "turned.jpg"
    path.write_bytes(pictures.jpeg(pixels, exif=pictures.exif(orientation)))
    upright = Image.fromarray(pictures.oriented(pixels, orientation))
    for factor, level in levels(path, tmp_path).items():
        reference = upright.resize(level.size, Image.Resampling.LANCZOS)
        # Where a reversed side is no multiple of the factor, pixels lie up to one further on.
        assert psnr(np.asarray(level), np.asarray(reference)) > (29 if factor == 1 else 22)


@pytest.mark.parametrize("options", [{"sampling": 0}, {"sampling": 2}, {"progressive": True}])
def test_full_resolution_tiles_are_the_originals_own_coefficients(
    options: dict[str, int], tmp_path: Path
) -> None:
    path = tmp_path / "original.jpg"
    path.write_bytes(pictures.jpeg(pictures.photograph(WIDTH, HEIGHT), **options))
    original = Image.open(path)
    target = tmp_path / "detail"
    grid = make(path, Part.DETAIL, target)
    luma = np.asarray(original.convert("YCbCr").split()[0]).astype(int)
    with OpenPart(target) as opened:
        for tile, box in grid.tiles(1):
            image = Image.open(io.BytesIO(opened.read(tile, grid)))
            assert image.quantization == original.quantization  # type: ignore[attr-defined]
            cut = luma[box.y : box.y + box.height, box.x : box.x + box.width]
            made = np.asarray(image.convert("YCbCr").split()[0]).astype(int)
            # Decoding to RGB and back rounds; compressing anew would differ by far more.
            assert np.abs(made - cut)[8:-8, 8:-8].max(initial=0) <= 2, tile


def test_several_passes_cut_the_same_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "original.jpg"
    path.write_bytes(pictures.jpeg(pictures.photograph(WIDTH, HEIGHT)))
    make(path, Part.DETAIL, tmp_path / "once")
    monkeypatch.setattr(build_plan, "_MAX_COEFFICIENT_BYTES", WIDTH * HEIGHT)
    make(path, Part.DETAIL, tmp_path / "often")
    assert (tmp_path / "once").read_bytes() == (tmp_path / "often").read_bytes()


@pytest.mark.parametrize("decoded_whole", [0, 50_000_000])
def test_wide_gamut_profile_goes_with_every_tile(
    decoded_whole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_plan, "_DECODED_WHOLE", decoded_whole)
    path = tmp_path / "wide.jpg"
    profile = pictures.wide_profile()
    path.write_bytes(pictures.jpeg(pictures.photograph(WIDTH, HEIGHT), icc_profile=profile))
    half = Part.REDUCED if decoded_whole else Part.DETAIL
    for part, factor in ((Part.DETAIL, 1), (half, 2), (Part.REDUCED, 4)):
        grid = make(path, part, tmp_path / "part")
        with OpenPart(tmp_path / "part") as opened:
            image = Image.open(io.BytesIO(opened.read(Tile(factor, 0, 0), grid)))
        assert image.info["icc_profile"] == profile


def test_a_part_is_a_zip_in_deep_zoom_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_plan, "_DECODED_WHOLE", 0)  # as a large one
    path = tmp_path / "original.jpg"
    path.write_bytes(pictures.jpeg(pictures.photograph(WIDTH, HEIGHT)))
    make(path, Part.REDUCED, tmp_path / "part")
    with zipfile.ZipFile(tmp_path / "part") as container:
        assert container.testzip() is None
        names = container.namelist()
        description = container.read("image.dzi").decode()
    # 700 pixels are level 10; a quarter of that is level 8, of 2 x 1 tiles, and an eighth level 7.
    assert names == [
        "image.dzi",
        "image_files/8/0_0.jpg",
        "image_files/8/1_0.jpg",
        "image_files/7/0_0.jpg",
    ]
    assert 'Width="700" Height="500"' in description


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("name", ["420.jpg", "plain.png", "plain.tif"])
def test_damaged_original_has_no_pyramid(name: str, part: Part, tmp_path: Path) -> None:
    path = tmp_path / name
    data = ORIGINALS[name](pictures.photograph(WIDTH, HEIGHT))
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DamagedOriginalError):
        make(path, part, tmp_path / "part")


def test_disk_that_refuses_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "original.jpg"
    path.write_bytes(pictures.jpeg(pictures.photograph(WIDTH, HEIGHT)))
    with pytest.raises(NotKeptError) as caught:
        make(path, Part.REDUCED, tmp_path / "missing" / "part")
    answered = exception_of(decode(encode(failure_of(caught.value)), Failure))  # as a worker does
    assert isinstance(answered, NotKeptError)
    assert isinstance(answered.disk_error, FileNotFoundError)


@pytest.mark.parametrize("name", ["420.jpg", "plain.png"])
def test_the_length_of_a_part_is_about_what_is_expected(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(ORIGINALS[name](pictures.photograph(2000, 1500)))
    header = probe(path, 10**8)
    for part in Part:
        make(path, part, tmp_path / part)
        length = (tmp_path / part).stat().st_size
        assert length / 4 < expected_length(header, part, path.stat().st_size) < length * 4


def test_tile_that_a_part_does_not_have_is_a_key_error(tmp_path: Path) -> None:
    path = tmp_path / "original.jpg"
    path.write_bytes(pictures.jpeg(pictures.photograph(WIDTH, HEIGHT)))
    grid = make(path, Part.REDUCED, tmp_path / "part")
    with OpenPart(tmp_path / "part") as opened, pytest.raises(KeyError):
        opened.read(Tile(1, 0, 0), grid)
    assert grid.dimensions == Dimensions(WIDTH, HEIGHT)


@pytest.mark.skipif(not supports_trellis(), reason="libvips is without mozjpeg")
@pytest.mark.parametrize("quality", [60, 80, 100])
def test_what_is_encoded_thoroughly_is_smaller_and_nearer_than_what_is_as_small(
    quality: int,
) -> None:
    pixels = pictures.photograph(512, 512)
    level = pyvips.Image.new_from_array(pixels)

    def tile(quality: int, *, thorough: bool) -> bytes:
        with encode_tiles(level, 512, quality, thorough=thorough) as tiles:
            return tiles.read("tiles_files/0/0_0.jpg")

    def error(data: bytes) -> float:
        shown = np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)
        return float(((shown - pictures.luma(pixels)) ** 2).mean())

    best = tile(quality, thorough=True)
    as_small = next(
        data
        for lower in range(quality, 0, -1)
        if len(data := tile(lower, thorough=False)) <= len(best)
    )
    assert len(best) < len(tile(quality, thorough=False))
    assert error(best) < error(as_small)
    assert b"\xff\xc0" in best  # baseline: progressive ones are decoded at half the speed


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_tiles_state_the_resolution_of_their_level(
    part: Part, format_: str, tmp_path: Path
) -> None:
    path, target = tmp_path / "original", tmp_path / "part"
    Image.new("RGB", (WIDTH, HEIGHT), "teal").save(path, format_, dpi=(600, 600))
    grid = make(path, part, target)
    factor = grid.scale_factors[-1] if part is Part.REDUCED else 1
    with OpenPart(target) as opened:
        data = opened.read(Tile(factor, 0, 0), grid)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.info["jfif_unit"], image.info["dpi"]) == (1, (600 // factor,) * 2)
