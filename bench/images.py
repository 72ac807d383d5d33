"""Images of photographic entropy, the same on every machine, generated once."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyvips

QUALITY = 90
GRAIN = 7.0
"""Standard deviation of the grain: with it, the JPEG takes 0.25-0.45 bytes a pixel."""
BYTES_A_PIXEL = (0.25, 0.45)
TIFF_QUALITY = 85
TIFF_TILES = (256, 512)
_OCTAVES = ((2048, 60.0), (512, 40.0), (128, 26.0), (32, 16.0), (8, 9.0))
"""Size of the features in pixels, and their contrast."""


@dataclass(frozen=True, slots=True)
class BenchImage:
    """Original, and the files that peers need of it."""

    megapixels: int
    width: int
    height: int
    jpeg: Path

    @property
    def name(self) -> str:
        """Name of the original, without its type."""
        return self.jpeg.name

    def tiff(self, tile: int) -> Path:
        """Return the path of the pyramidal TIFF with JPEG tiles of this side."""
        return self.jpeg.with_name(f"{self.jpeg.stem}-{tile}.tif")


_SIZES = {2: (1632, 1224), 24: (6000, 4000), 108: (12000, 9000), 320: (20000, 16000)}


def make_images(folder: Path, megapixels: Iterable[int]) -> dict[int, BenchImage]:
    """Generate the images by megapixels, with their TIFFs; existing files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for size in megapixels:
        image = make_image(folder, size)
        for tile in TIFF_TILES:
            if not image.tiff(tile).exists():
                part = image.tiff(tile).with_suffix(".part.tif")
                subprocess.run(tiffsave_command(image.jpeg, part, tile), check=True)
                part.rename(image.tiff(tile))
        _check_size(image)
        images[size] = image
    return images


def make_image(folder: Path, megapixels: int) -> BenchImage:
    """Generate the image of so many megapixels, without TIFFs."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = _SIZES[megapixels]
    image = BenchImage(megapixels, width, height, folder / f"{megapixels}.jpg")
    if not image.jpeg.exists():
        print(f"Making an image of {megapixels} megapixels", flush=True)
        _make(image)
    return image


def tiffsave_command(source: Path, target: Path, tile: int) -> list[str]:
    """Return the command that writes a pyramidal TIFF."""
    return [
        *("vips", "tiffsave", str(source), str(target), "--tile", "--pyramid"),
        *("--compression", "jpeg", "--Q", str(TIFF_QUALITY)),
        *("--tile-width", str(tile), "--tile-height", str(tile)),
    ]


def link_copies(image: BenchImage, folder: Path, names: Iterable[str]) -> list[str]:
    """Link further names to an original: new images to a server."""
    made = []
    for name in names:
        full = f"{image.jpeg.stem}-{name}.jpg"
        target = folder / full
        target.unlink(missing_ok=True)
        os.link(image.jpeg, target)
        made.append(full)
    return made


def _make(image: BenchImage) -> None:
    part = image.jpeg.with_suffix(".part.jpg")
    pixels(image.width, image.height).jpegsave(
        str(part), Q=QUALITY, subsample_mode=pyvips.ForeignSubsample.ON
    )
    part.rename(image.jpeg)


def _check_size(image: BenchImage) -> None:
    ratio = image.jpeg.stat().st_size / (image.width * image.height)
    low, high = BYTES_A_PIXEL
    if not low <= ratio <= high:
        raise ValueError(f"{image.name} has {ratio:.2f} bytes a pixel, not {low}-{high}")


def pixels(width: int, height: int) -> pyvips.Image:
    """Return clouds of five octaves, shapes with sharp outlines, colour gradients, and grain."""
    light = pyvips.Image.gaussnoise(width, height, sigma=GRAIN, mean=118, seed=5)
    for seed, (cell, contrast) in enumerate(_OCTAVES):
        light += _clouds(width, height, cell, seed) * contrast
    shapes = _clouds(width, height, 384, 77) + _clouds(width, height, 48, 78) * 0.25
    inside = shapes > 0.1  # noqa: PLR2004 - where the outline is does not matter
    light += inside.ifthenelse(38, -8)
    red = light + _clouds(width, height, 1024, 91) * 30 + _clouds(width, height, 64, 92) * 8
    blue = light - _clouds(width, height, 768, 93) * 26 - inside.ifthenelse(-12, 9)
    return red.bandjoin([light, blue]).cast("uchar").copy(interpretation="srgb")


def _clouds(width: int, height: int, cell: int, seed: int) -> pyvips.Image:
    """Return Perlin noise; large cells are computed small and enlarged."""
    times = max(1, cell // 8)
    small = pyvips.Image.perlin(
        width // times + 9, height // times + 9, cell_size=max(2, cell // times), seed=seed
    )
    large = small.resize(times, kernel="linear") if times > 1 else small
    return large.crop(0, 0, width, height)
