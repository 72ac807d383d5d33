"""Originals of `bench.costs`: one picture in every format and sample type."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench.cost_process import measure_in_process
from bench.images import pixels
from bench.rare_originals import RARE, write_samples


class Originals:
    """One picture in every format and sample type, each written on first use."""

    def __init__(self, folder: Path, megapixels: float) -> None:
        self._folder = folder
        side = megapixels**0.5 * 1000
        self._size = (round(side * 1.2247) // 16 * 16, round(side / 1.2247) // 16 * 16)
        self._raw = folder / "raw.tif"

    def path(self, name: str) -> Path:
        """Return the file of a variant."""
        path = self._folder / name
        if not path.exists():
            if not self._raw.exists():
                pixels(*self._size).write_to_file(str(self._raw))
            measure_in_process(_write, (self._raw, path))
        return path


def _write(job: tuple[Path, Path]) -> None:
    raw, path = job
    image = pyvips.Image.new_from_file(str(raw), access="sequential")
    (_VARIANTS | RARE).get(path.name, _by_name)(image, str(path))


def _by_name(image: pyvips.Image, path: str) -> None:
    image.write_to_file(path)


def _turned(image: pyvips.Image, path: str) -> None:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.jpegsave(path, Q=88)


def _deep(image: pyvips.Image) -> pyvips.Image:
    return (image * 257).cast("ushort").copy(interpretation="rgb16")


def _by_pillow(image: pyvips.Image, path: str) -> None:
    size = (image.width, image.height)
    Image.frombuffer("RGB", size, image.write_to_memory()).save(path)


def _tiff(values: NDArray[Any], **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", **options)
    return file.getvalue()


_VARIANTS: dict[str, Callable[[pyvips.Image, str], None]] = {
    "420.jpg": lambda image, path: image.jpegsave(path, Q=88, subsample_mode="on"),
    "444.jpg": lambda image, path: image.jpegsave(path, Q=88, subsample_mode="off"),
    "progressive.jpg": lambda image, path: image.jpegsave(path, Q=88, interlace=True),
    "turned.jpg": _turned,
    "cmyk.jpg": lambda image, path: image.colourspace("cmyk").jpegsave(path, Q=88),
    "16.png": lambda image, path: _deep(image).pngsave(path, compression=1),
    "interlaced.png": lambda image, path: image.pngsave(path, compression=1, interlace=True),
    "alpha.png": lambda image, path: image.bandjoin(image[0]).pngsave(path, compression=1),
    "striped.tif": lambda image, path: image.tiffsave(path, compression="lzw"),
    "tiled.tif": lambda image, path: image.tiffsave(path, compression="deflate", tile=True),
    "16.tif": lambda image, path: _deep(image).tiffsave(path, compression="deflate"),
    "photo.jp2": _by_pillow,
    "photo.bmp": _by_pillow,
    "photo.pdf": _by_pillow,
    "12.jpg": write_samples(
        lambda values: bytes(imagecodecs.jpeg8_encode(values >> 4, 95, bitspersample=12)),
        deep=True,
    ),
    "lossless.jpg": write_samples(
        lambda values: bytes(imagecodecs.jpeg8_encode(values, lossless=True)),
    ),
    "planar.tif": write_samples(
        lambda values: _tiff(
            np.ascontiguousarray(values.transpose(2, 0, 1)),
            planarconfig="separate",
            compression="zlib",
            rowsperstrip=64,
        )
    ),
    "float.tif": write_samples(
        lambda values: _tiff(values.astype(np.float32) / 255, rowsperstrip=64),
    ),
    "16.jp2": write_samples(
        lambda values: bytes(imagecodecs.jpeg2k_encode(values, level=40)), deep=True
    ),
    "5.jp2": write_samples(
        lambda values: bytes(
            imagecodecs.jpeg2k_encode(
                np.dstack((values, values[:, :, :2])), level=40, codecformat="J2K", mct=False
            )
        )
    ),
}
