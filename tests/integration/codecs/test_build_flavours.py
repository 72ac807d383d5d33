"""Pyramid parts of every kind of original and shape: each tile is decoded and compared."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from iiif_server.codecs import jpegtran
from iiif_server.codecs.open_originals import OpenOriginal
from iiif_server.codecs.probe import probe
from iiif_server.codecs.pyramid_build import build
from iiif_server.errors import DamagedOriginalError, NotKeptError
from iiif_server.formats.pyramid_file import OpenPart
from iiif_server.iiif.geometry import Box, square
from iiif_server.plan import build_plan
from iiif_server.plan.build_plan import BuildPlan
from iiif_server.plan.grid import Grid, Part, Tile
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.render_plan import tile_profile
from support import pictures
from support.pictures import Floats, Pixels, detailed, photograph
from support.rendering import MAX_PIXELS, as_worker, psnr, shift

WIDTH, HEIGHT = 700, 500
"""Multiples of no MCU and of no tile."""


@pytest.fixture(scope="module", autouse=True)
def _worker() -> Iterator[None]:
    """Prepare this process like a worker; build small pictures like large ones."""
    with as_worker(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_plan, "_DECODED_WHOLE", 0)
        yield


# --- the collection -------------------------------------------------------------------------


def _saved(image: Callable[[Pixels], Image.Image], format_: str, **options: Any) -> Any:
    return lambda pixels: pictures.saved(image(pixels), format_, **options)


def _gray(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels).convert("L")


def _in_wide_gamut(pixels: Pixels) -> Image.Image:
    """Convert an sRGB picture to pixels with the same colours in the wide-gamut profile."""
    converted = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.createProfile("sRGB"),
        io.BytesIO(pictures.wide_profile()),
    )
    assert converted is not None
    return converted


def _wide(padding: int) -> Callable[[Pixels], bytes]:
    return lambda pixels: pictures.saved(
        _in_wide_gamut(pixels),
        "JPEG",
        quality=95,
        subsampling=0,
        icc_profile=pictures.wide_profile(padding),
    )


@dataclass(frozen=True, slots=True)
class Flavour:
    """Kind of original."""

    name: str
    encode: Callable[[Pixels], bytes]
    own: bool = False
    """Whether its full-resolution tiles are its own coefficients."""
    first_reduced: int = 4
    turned: int = 1
    """Its EXIF orientation."""
    mode: str = "RGB"


FLAVOURS = (
    Flavour("420.jpg", pictures.jpeg, own=True),
    Flavour("422.jpg", lambda p: pictures.jpeg(p, sampling=1), own=True),
    Flavour("444.jpg", lambda p: pictures.jpeg(p, sampling=0), own=True),
    Flavour("progressive.jpg", lambda p: pictures.jpeg(p, progressive=True), own=True),
    Flavour("gray.jpg", _saved(_gray, "JPEG", quality=92), own=True, mode="L"),
    Flavour("wide.jpg", _wide(0), own=True),
    Flavour("huge-profile.jpg", _wide(40_000)),
    Flavour("rgb.jpg", _saved(Image.fromarray, "JPEG", quality=95, keep_rgb=True)),
    Flavour("cmyk.jpg", _saved(pictures.cmyk, "JPEG", quality=95)),
    *(
        Flavour(
            f"turned{n}.jpg",
            lambda p, n=n: pictures.jpeg(p, exif=pictures.exif(n)),  # type: ignore[misc]
            turned=n,
        )
        for n in (2, 3, 6, 7)
    ),
    Flavour("rgb.png", _saved(Image.fromarray, "PNG"), first_reduced=2),
    Flavour(
        "alpha.png",
        _saved(lambda p: Image.fromarray(pictures.with_alpha(p)), "PNG"),
        first_reduced=2,
    ),
    Flavour("gray16.png", _saved(pictures.gray16, "PNG"), first_reduced=2, mode="L"),
    Flavour(
        "16.tif",
        lambda p: pictures.tiff(pictures.vips(pictures.deep(p), "rgb16"), compression="deflate"),
        first_reduced=2,
    ),
    Flavour("photo.jp2", _saved(Image.fromarray, "JPEG2000"), first_reduced=4),
    Flavour("photo.webp", _saved(Image.fromarray, "WEBP", lossless=True), first_reduced=2),
)
BY_NAME = {flavour.name: flavour for flavour in FLAVOURS}


def named(flavour: Flavour) -> str:
    return flavour.name


def seen(flavour: Flavour, pixels: Pixels) -> Floats:
    """Expected picture of the original, in sRGB on white."""
    upright = pictures.oriented(pixels, flavour.turned).astype(np.float64)
    if flavour.mode == "L":
        return np.repeat(pictures.luma(upright)[..., None], 3, axis=2)
    if flavour.name == "alpha.png":
        opacity = pictures.with_alpha(pixels)[..., 3:] / 255
        return upright * opacity + 255 * (1 - opacity)
    if flavour.name == "cmyk.jpg":
        return _inked(pixels)
    return upright


def _inked(pixels: Pixels) -> Floats:
    """Convert CMYK with libvips: here all tiles only have to agree with each other."""
    image = pictures.vips(np.asarray(pictures.cmyk(pixels)), "cmyk")
    shown = image.icc_transform(
        "srgb", embedded=True, input_profile="cmyk", black_point_compensation=True
    )
    return np.frombuffer(shown.write_to_memory(), np.uint8).reshape(pixels.shape).astype(np.float64)


# --- building -------------------------------------------------------------------------------


def plan_of(path: Path, part: Part, tile_size: int, target: Path) -> BuildPlan:
    header = probe(path, MAX_PIXELS)
    return BuildPlan(
        original=LocalFile.at(path),
        header=header,
        part=part,
        grid=Grid(header.dimensions, square(tile_size)),
        profile=tile_profile(header),
        lossless=jpegtran.available(),
        reduced_quality=90,
        full_quality=92,
        target=target,
    )


def run(plan: BuildPlan) -> int:
    if plan.target.parent.is_dir():
        plan.target.touch()
    original = OpenOriginal(plan.original)
    try:
        return build(plan, original)
    finally:
        original.close()


@dataclass(frozen=True, slots=True)
class Built:
    """Pyramid: entries of both parts."""

    reduced: Path
    detail: Path
    width: int
    height: int
    tile_size: int

    @property
    def factors(self) -> list[int]:
        factors = [1]
        while max(self.width, self.height) > self.tile_size * factors[-1]:
            factors.append(factors[-1] * 2)
        return factors

    def level(self, factor: int) -> tuple[int, int]:
        return ceil(self.width / factor), ceil(self.height / factor)

    def name(self, factor: int, column: int, row: int) -> str:
        """Return the Deep Zoom name of a tile: level 0 is one pixel, each next twice as large."""
        top = next(n for n in range(40) if 2**n >= max(self.width, self.height))
        return f"image_files/{top - (factor.bit_length() - 1)}/{column}_{row}.jpg"

    def places(self, factor: int) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
        """Yield column, row and box (left, top, right, bottom) of each tile of a level."""
        width, height = self.level(factor)
        for row in range(ceil(height / self.tile_size)):
            for column in range(ceil(width / self.tile_size)):
                x, y = column * self.tile_size, row * self.tile_size
                right, bottom = min(x + self.tile_size, width), min(y + self.tile_size, height)
                yield column, row, (x, y, right, bottom)

    def tiles(self) -> dict[str, bytes]:
        """Return all tiles of both parts, which have no name in common."""
        found: dict[str, bytes] = {}
        for part in (self.reduced, self.detail):
            with zipfile.ZipFile(part) as container:
                for name in container.namelist():
                    if name != "image.dzi":
                        assert name not in found
                        found[name] = container.read(name)
        return found

    def image(self, factor: int) -> Floats:
        """Join a level from its tiles, in RGB samples."""
        tiles, (width, height) = self.tiles(), self.level(factor)
        whole = Image.new("RGB", (width, height))
        for column, row, (x, y, *_) in self.places(factor):
            tile = Image.open(io.BytesIO(tiles[self.name(factor, column, row)]))
            whole.paste(tile.convert("RGB"), (x, y))
        return np.asarray(whole, np.float64)


def built(path: Path, folder: Path, tile_size: int = 128, **changes: Any) -> Built:
    """Build the pyramid of the original at a path."""
    folder.mkdir(exist_ok=True)
    for part in Part:
        target = folder / part
        assert run(replace(plan_of(path, part, tile_size, target), **changes)) > 0
    size = probe(path, MAX_PIXELS).dimensions
    return Built(folder / "reduced", folder / "detail", size.width, size.height, tile_size)


@pytest.fixture(scope="module")
def pyramids(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Flavour], Built]:
    """Pyramids of the photograph by kind of original; each is built once."""
    folder, made = tmp_path_factory.mktemp("pyramids"), dict[str, Built]()

    def pyramid(flavour: Flavour) -> Built:
        if flavour.name not in made:
            path = original(folder, flavour)
            made[flavour.name] = built(path, folder / f"{flavour.name}.parts")
        return made[flavour.name]

    return pyramid


def original(folder: Path, flavour: Flavour, pixels: Pixels | None = None) -> Path:
    path = folder / flavour.name
    path.write_bytes(flavour.encode(photograph(WIDTH, HEIGHT) if pixels is None else pixels))
    return path


def halves(pixels: Floats, factor: int) -> Floats:
    """Reduce the picture by Pillow's Lanczos filter; edges of partial pixels are repeated."""
    height, width = pixels.shape[:2]
    padding = ((0, -height % factor), (0, -width % factor), (0, 0))
    padded = np.pad(pixels, padding, mode="edge")
    size = ceil(width / factor), ceil(height / factor)
    bands = [
        Image.fromarray(padded[..., band].astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
        for band in range(3)
    ]
    return np.clip(np.dstack([np.asarray(band, np.float64) for band in bands]), 0, 255)


# --- every tile is there --------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS, ids=named)
def test_every_tile_of_every_level_is_there_and_of_its_size(
    flavour: Flavour, pyramids: Callable[[Flavour], Built]
) -> None:
    pyramid = pyramids(flavour)
    tiles = pyramid.tiles()
    expected = {
        pyramid.name(factor, column, row): (right - x, bottom - y)
        for factor in pyramid.factors
        for column, row, (x, y, right, bottom) in pyramid.places(factor)
    }
    assert tiles.keys() == expected.keys()
    for name, size in expected.items():
        with Image.open(io.BytesIO(tiles[name])) as tile:
            tile.load()
            assert (tile.format, tile.mode, tile.size) == ("JPEG", flavour.mode, size)
            assert "exif" not in tile.info


@pytest.mark.parametrize("flavour", FLAVOURS, ids=named)
def test_parts_divide_the_levels(flavour: Flavour, pyramids: Callable[[Flavour], Built]) -> None:
    pyramid = pyramids(flavour)
    with zipfile.ZipFile(pyramid.reduced) as reduced:
        names = set(reduced.namelist())
    for factor in pyramid.factors:
        inside = pyramid.name(factor, 0, 0) in names
        assert inside is (factor >= flavour.first_reduced)


@pytest.mark.parametrize(
    ("width", "height", "tile_size"),
    [
        *((1, 1, 128), (1, 700, 128), (700, 1, 128), (2, 1025, 128), (128, 128, 128)),
        *((129, 257, 128), (513, 3, 256), (1027, 1100, 256)),
    ],
)
@pytest.mark.parametrize("name", ["420.jpg", "turned6.jpg", "rgb.png", "photo.jp2"])
def test_images_of_every_shape_have_all_their_tiles(
    name: str, width: int, height: int, tile_size: int, tmp_path: Path
) -> None:
    path = original(tmp_path, BY_NAME[name], photograph(width, height))
    pyramid = built(path, tmp_path / "parts", tile_size)
    tiles = pyramid.tiles()
    count = 0
    for factor in pyramid.factors:
        for column, row, (x, y, right, bottom) in pyramid.places(factor):
            with Image.open(io.BytesIO(tiles[pyramid.name(factor, column, row)])) as tile:
                tile.load()
                assert tile.size == (right - x, bottom - y)
            count += 1
    assert count == len(tiles)


# --- full resolution ------------------------------------------------------------------------


OWN = [flavour for flavour in FLAVOURS if flavour.own]


def ycbcr(data: bytes) -> npt.NDArray[np.int16]:
    """Return the samples of a JPEG as stored, without colour conversion."""
    image = Image.open(io.BytesIO(data))
    image.draft("L" if image.mode == "L" else "YCbCr", image.size)
    samples = np.asarray(image, np.int16)
    return samples if samples.ndim == 3 else samples[..., None]


@pytest.mark.needs_lossless
@pytest.mark.parametrize("flavour", OWN, ids=named)
def test_full_resolution_tiles_are_the_originals_own_samples(
    flavour: Flavour, pyramids: Callable[[Flavour], Built]
) -> None:
    pyramid, data = pyramids(flavour), flavour.encode(photograph(WIDTH, HEIGHT))
    tiles, whole, tables = pyramid.tiles(), ycbcr(data), quantisation(data)
    for column, row, (x, y, right, bottom) in pyramid.places(1):
        tile = tiles[pyramid.name(1, column, row)]
        assert quantisation(tile) == tables
        samples, true = ycbcr(tile), whole[y:bottom, x:right]
        assert np.array_equal(samples[..., 0], true[..., 0])
        if flavour.name in {"444.jpg", "gray.jpg", "wide.jpg"}:
            assert np.array_equal(samples, true)
        else:
            # Where chroma is halved, a decoder looks over the border of what it has.
            assert np.array_equal(samples[2:-2, 2:-2], true[2:-2, 2:-2])


def quantisation(data: bytes) -> dict[int, list[int]]:
    image: Any = Image.open(io.BytesIO(data))
    tables: dict[int, list[int]] = image.quantization
    return tables


def test_samples_of_a_second_compression_would_be_noticed() -> None:
    data = pictures.jpeg(photograph(WIDTH, HEIGHT), sampling=0)
    again = pictures.saved(Image.open(io.BytesIO(data)), "JPEG", quality=91, subsampling=0)
    assert quantisation(again) != quantisation(data)
    assert not np.array_equal(ycbcr(again)[..., 0], ycbcr(data)[..., 0])


@pytest.mark.needs_lossless
@pytest.mark.parametrize("name", ["444.jpg", "420.jpg", "gray.jpg"])
def test_full_resolution_tiles_hold_the_coefficients_that_jpegtran_cuts(
    name: str, pyramids: Callable[[Flavour], Built]
) -> None:
    pyramid, data = pyramids(BY_NAME[name]), BY_NAME[name].encode(photograph(WIDTH, HEIGHT))
    tiles = pyramid.tiles()
    for column, row, (x, y, right, bottom) in pyramid.places(1):
        (cut,) = jpegtran.split(data, [Box(x, y, right - x, bottom - y)], keep_profile=False)
        assert tiles[pyramid.name(1, column, row)] == cut


# What is encoded once at quality 92 with halved chroma has 34 dB on coloured edges, and the luma
# alone above 40; a tile of another place has less than 25.
@pytest.mark.parametrize(
    "flavour", [f for f in FLAVOURS if f.name not in {"wide.jpg", "huge-profile.jpg"}], ids=named
)
def test_full_resolution_tiles_show_the_picture(
    flavour: Flavour, pyramids: Callable[[Flavour], Built]
) -> None:
    made, true = pyramids(flavour).image(1), seen(flavour, photograph(WIDTH, HEIGHT))
    assert psnr(pictures.luma(made), pictures.luma(true)) > 36
    assert psnr(made, true) > 32
    # every tile, not only most
    for _, _, (x, y, right, bottom) in pyramids(flavour).places(1):
        assert psnr(made[y:bottom, x:right], true[y:bottom, x:right]) > 27


def test_profile_goes_with_every_tile(pyramids: Callable[[Flavour], Built]) -> None:
    tiles = pyramids(BY_NAME["wide.jpg"]).tiles()
    for data in tiles.values():
        assert Image.open(io.BytesIO(data)).info["icc_profile"] == pictures.wide_profile()


def test_large_profile_is_applied_instead(pyramids: Callable[[Flavour], Built]) -> None:
    pyramid, true = pyramids(BY_NAME["huge-profile.jpg"]), photograph(WIDTH, HEIGHT)
    for data in pyramid.tiles().values():
        assert "icc_profile" not in Image.open(io.BytesIO(data)).info
    raw = np.asarray(_in_wide_gamut(true), np.float64)
    for factor in pyramid.factors:
        # Converted, the pixels are those of sRGB again, and no longer those of the file.
        better = psnr(pyramid.image(factor), halves(true.astype(np.float64), factor))
        assert better > psnr(pyramid.image(factor), halves(raw, factor)) + 3
        assert better > 28


def test_colours_of_a_profile_that_goes_along_stay_as_they_are(
    pyramids: Callable[[Flavour], Built],
) -> None:
    pyramid = pyramids(BY_NAME["wide.jpg"])
    raw = np.asarray(_in_wide_gamut(photograph(WIDTH, HEIGHT)), np.float64)
    for factor in pyramid.factors:
        assert psnr(pyramid.image(factor), halves(raw, factor)) > 30


# --- reduced levels -------------------------------------------------------------------------


SIZES = [(704, 512), (701, 499)]
REDUCED = [
    *("420.jpg", "444.jpg", "progressive.jpg", "gray.jpg", "cmyk.jpg", "rgb.png", "alpha.png"),
    *("16.tif", "photo.jp2", "photo.webp", "turned2.jpg", "turned3.jpg", "turned6.jpg"),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", REDUCED)
def test_reduced_levels_are_as_good_as_lanczos(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    flavour, pixels = BY_NAME[name], detailed(*size)
    pyramid = built(original(tmp_path, flavour, pixels), tmp_path / "parts")
    true = seen(flavour, pixels)
    assert pyramid.factors == [1, 2, 4, 8]
    for factor in pyramid.factors[1:]:
        made, reference = pyramid.image(factor), halves(true, factor)
        assert made.shape == reference.shape
        assert psnr(pictures.luma(made), pictures.luma(reference)) > 33
        assert psnr(made, reference) > 31
        right, down = shift(pictures.luma(made), pictures.luma(reference))
        # A sample of a reduced JPEG 2000 image lies where every n-th pixel was.
        allowed = 0.4 if name == "photo.jp2" else 0.06
        assert max(abs(right), abs(down)) < allowed


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_levels_a_fraction_of_a_pixel_aside_would_be_noticed(factor: int, axis: int) -> None:
    true = pictures.luma(halves(detailed(704, 512).astype(np.float64), factor))
    for fraction in (0.125, 0.25, 0.5):
        aside = true + fraction * (np.roll(true, 1, axis) - true)
        right_down = shift(aside, true)
        assert right_down[1 - axis] == pytest.approx(fraction, rel=0.3)
        assert abs(right_down[axis]) < 0.05


@pytest.mark.parametrize("name", ["420.jpg", "rgb.png"])
def test_no_tile_of_a_level_is_of_another_place(name: str, tmp_path: Path) -> None:
    flavour, pixels = BY_NAME[name], detailed(905, 603)
    pyramid = built(original(tmp_path, flavour, pixels), tmp_path / "parts")
    for factor in pyramid.factors:
        made, reference = pyramid.image(factor), halves(pixels.astype(np.float64), factor)
        for _, _, (x, y, right, bottom) in pyramid.places(factor):
            assert psnr(made[y:bottom, x:right], reference[y:bottom, x:right]) > 28


# --- the file -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["420.jpg", "rgb.png"])
@pytest.mark.parametrize("part", Part)
def test_part_is_a_zip_that_anything_opens(
    name: str, part: Part, pyramids: Callable[[Flavour], Built]
) -> None:
    pyramid = pyramids(BY_NAME[name])
    path = pyramid.reduced if part is Part.REDUCED else pyramid.detail
    with zipfile.ZipFile(path) as container:
        assert container.testzip() is None
        assert {info.compress_type for info in container.infolist()} == {zipfile.ZIP_STORED}
        assert len(set(container.namelist())) == len(container.namelist())
        description = container.read("image.dzi")
    image = ET.fromstring(description)  # noqa: S314 - our own
    names = {"dz": "http://schemas.microsoft.com/deepzoom/2008"}
    size = image.find("dz:Size", names)
    assert size is not None
    assert image.tag == f"{{{names['dz']}}}Image"
    assert image.attrib == {"Format": "jpg", "Overlap": "0", "TileSize": "128"}
    assert size.attrib == {"Width": str(WIDTH), "Height": str(HEIGHT)}


@pytest.mark.parametrize("name", ["420.jpg", "rgb.png"])
def test_open_part_reads_what_zip_reads(name: str, pyramids: Callable[[Flavour], Built]) -> None:
    pyramid = pyramids(BY_NAME[name])
    path = Path(pyramid.reduced.parent.parent / name)
    grid, tiles = Grid(probe(path, MAX_PIXELS).dimensions, square(128)), pyramid.tiles()
    first = BY_NAME[name].first_reduced
    with OpenPart(pyramid.reduced) as reduced, OpenPart(pyramid.detail) as detail:
        for factor in pyramid.factors:
            here, elsewhere = (reduced, detail) if factor >= first else (detail, reduced)
            for column, row, _ in pyramid.places(factor):
                tile = Tile(factor, column, row)
                assert here.read(tile, grid) == tiles[pyramid.name(factor, column, row)]
                with pytest.raises(KeyError):
                    elsewhere.read(tile, grid)
        with pytest.raises(KeyError):
            detail.read(Tile(1, 6, 0), grid)


def test_a_damaged_tile_is_not_read(tmp_path: Path) -> None:
    pyramid = built(original(tmp_path, BY_NAME["420.jpg"]), tmp_path / "parts")
    grid = Grid(probe(tmp_path / "420.jpg", MAX_PIXELS).dimensions, square(128))
    data = bytearray(pyramid.detail.read_bytes())
    with zipfile.ZipFile(pyramid.detail) as container:
        info = container.getinfo(pyramid.name(1, 1, 2))
    data[info.header_offset + 500] ^= 1
    pyramid.detail.write_bytes(data)
    with OpenPart(pyramid.detail) as part:
        with pytest.raises(OSError, match="pyramid"):
            part.read(Tile(1, 1, 2), grid)
        assert part.read(Tile(1, 1, 1), grid) == pyramid_tile(data, pyramid.name(1, 1, 1))


def pyramid_tile(data: bytearray, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as container:
        return container.read(name)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_part_that_is_cut_short_is_an_error_of_the_disk(keep: float, tmp_path: Path) -> None:
    pyramid = built(original(tmp_path, BY_NAME["420.jpg"]), tmp_path / "parts")
    data = pyramid.reduced.read_bytes()
    pyramid.reduced.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(OSError):  # noqa: PT011 - whatever the disk says
        OpenPart(pyramid.reduced)


def test_a_part_that_shrinks_while_it_is_open_is_an_error_of_the_disk(tmp_path: Path) -> None:
    pyramid = built(original(tmp_path, BY_NAME["420.jpg"]), tmp_path / "parts")
    grid = Grid(probe(tmp_path / "420.jpg", MAX_PIXELS).dimensions, square(128))
    with OpenPart(pyramid.detail) as part:
        with pyramid.detail.open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(OSError, match="pyramid"):
            part.read(Tile(1, 5, 3), grid)


@pytest.mark.parametrize("name", ["420.jpg", "turned6.jpg", "rgb.png", "photo.jp2", "16.tif"])
def test_the_same_pyramid_is_the_same_file(
    name: str, tmp_path: Path, pyramids: Callable[[Flavour], Built]
) -> None:
    one = pyramids(BY_NAME[name])
    other = built(original(tmp_path, BY_NAME[name]), tmp_path / "parts")
    assert one.reduced.read_bytes() == other.reduced.read_bytes()
    assert one.detail.read_bytes() == other.detail.read_bytes()


def test_number_of_bytes_is_told(tmp_path: Path) -> None:
    path = original(tmp_path, BY_NAME["420.jpg"])
    for part in Part:
        target = tmp_path / part
        assert run(plan_of(path, part, 128, target)) == target.stat().st_size


# --- memory ---------------------------------------------------------------------------------


@pytest.mark.needs_lossless
@pytest.mark.parametrize("bound", [1, 100_000, 700_000, 2_000_000])
def test_several_passes_give_what_one_gives(
    bound: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pyramids: Callable[[Flavour], Built],
) -> None:
    flavour, batches, split = BY_NAME["420.jpg"], list[int](), jpegtran.split
    one = pyramids(flavour)

    def counted(jpeg: jpegtran.Buffer, boxes: Sequence[Box], **options: Any) -> Iterator[bytes]:
        batches.append(len(boxes))
        return split(jpeg, boxes, **options)

    monkeypatch.setattr(jpegtran, "split", counted)
    monkeypatch.setattr(build_plan, "_MAX_COEFFICIENT_BYTES", bound)
    several = built(original(tmp_path, flavour), tmp_path / "parts")
    assert several.detail.read_bytes() == one.detail.read_bytes()
    assert sum(batches) == 24
    # 350,000 pixels take 2,100,000 bytes.
    assert len(batches) == {1: 24, 100_000: 12, 700_000: 3, 2_000_000: 2}[bound]


@pytest.mark.needs_lossless
def test_one_pass_is_enough_for_a_small_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, split = list[int](), jpegtran.split

    def counted(jpeg: jpegtran.Buffer, boxes: Sequence[Box], **options: Any) -> Iterator[bytes]:
        calls.append(len(boxes))
        return split(jpeg, boxes, **options)

    monkeypatch.setattr(jpegtran, "split", counted)
    built(original(tmp_path, BY_NAME["420.jpg"]), tmp_path / "parts")
    assert calls == [24]


# --- without jpegtran, and where it refuses -------------------------------------------------


@pytest.mark.parametrize("how", ["missing", "refuses"])
def test_without_the_lossless_engine_tiles_are_encoded_once(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Iterator[bytes]:
        raise jpegtran.LosslessFailedError("no")

    monkeypatch.setattr(jpegtran, "split", refuse)
    path = original(tmp_path, BY_NAME["420.jpg"])
    pyramid = built(path, tmp_path / "parts", lossless=how == "refuses")
    made, true = pyramid.image(1), photograph(WIDTH, HEIGHT)
    assert len(pyramid.tiles()) == 24 + 6 + 2 + 1
    assert psnr(made, true) > 32


@pytest.mark.needs_lossless
@pytest.mark.parametrize("sound", [0, 1, 2])
def test_a_pass_that_fails_writes_no_tile_twice(
    sound: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pyramids: Callable[[Flavour], Built],
) -> None:
    flavour, begun, split = BY_NAME["420.jpg"], list[int](), jpegtran.split
    lossless = pyramids(flavour).tiles()

    def fail_later(jpeg: jpegtran.Buffer, boxes: Sequence[Box], **options: Any) -> Iterator[bytes]:
        if len(begun) == sound:
            raise jpegtran.LosslessFailedError("no")
        begun.append(len(boxes))
        return split(jpeg, boxes, **options)

    monkeypatch.setattr(jpegtran, "split", fail_later)
    monkeypatch.setattr(
        build_plan, "_MAX_COEFFICIENT_BYTES", 700_000
    )  # three passes of eight tiles
    pyramid = built(original(tmp_path, flavour), tmp_path / "parts")
    with zipfile.ZipFile(pyramid.detail) as part:
        names = part.namelist()
    assert len(names) == len(set(names))
    made = pyramid.tiles()
    same = [
        made[name] == lossless[name]
        for name in (pyramid.name(1, column, row) for column, row, _ in pyramid.places(1))
    ]
    assert same == [True] * 8 * sound + [False] * (24 - 8 * sound)
    assert psnr(pyramid.image(1), photograph(WIDTH, HEIGHT)) > 32


# --- what fails -----------------------------------------------------------------------------


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize(
    "name",
    [
        *("420.jpg", "progressive.jpg", "turned6.jpg", "rgb.png", "16.tif", "photo.jp2"),
        "photo.webp",
    ],
)
def test_a_damaged_original_is_told_as_such(name: str, part: Part, tmp_path: Path) -> None:
    path = original(tmp_path, BY_NAME[name])
    data = path.read_bytes()
    plan = plan_of(path, part, 128, tmp_path / "part")  # by the header of what it once was
    path.write_bytes(data[: len(data) // 2])
    plan = replace(plan, original=LocalFile.at(path))
    with pytest.raises(DamagedOriginalError) as caught:
        run(plan)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("name", ["420.jpg", "rgb.png"])
def test_a_disk_that_refuses_is_no_fault_of_the_original(
    name: str, part: Part, tmp_path: Path
) -> None:
    path = original(tmp_path, BY_NAME[name])
    (tmp_path / "file").touch()
    for target in (tmp_path / "missing" / "part", tmp_path / "file" / "part", tmp_path):
        with pytest.raises(NotKeptError) as caught:
            run(plan_of(path, part, 128, target))
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("name", ["420.jpg", "rgb.png"])
def test_a_full_disk_is_no_fault_of_the_original(name: str, part: Part, tmp_path: Path) -> None:
    path = original(tmp_path, BY_NAME[name])
    with pytest.raises(NotKeptError):
        run(plan_of(path, part, 128, Path("/dev/full")))
