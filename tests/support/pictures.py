"""Originals of known content in every format and flavour that is read, and some that are not."""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image, ImageCms

from support import psds

Pixels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]

WIDTH, HEIGHT = 203, 149
"""Multiples of no MCU, so that every original ends in partial ones."""
ORIENTATION_TAG = 0x0112


@cache
def photograph(width: int = WIDTH, height: int = HEIGHT, seed: int = 1) -> Pixels:
    """RGB pixels like a photograph's: smooth shapes, a few edges, a little noise.

    No two of its eight orientations look alike, and its corners differ in colour.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / width, y / height
    red = 40 + 170 * u + 25 * np.sin(9 * u + 4 * v)
    green = 210 - 150 * v + 25 * np.cos(7 * v * u + 3 * u)
    blue = 60 + 120 * u * v + 40 * np.sin(11 * v)
    disc = (u - 0.3) ** 2 + (v - 0.35) ** 2 < 0.03
    bar = (u > 0.62) & (u < 0.7) & (v > 0.2) & (v < 0.85)
    red[disc], green[bar] = 225, 40
    blue[disc], blue[bar] = 45, 200
    noise = np.random.default_rng(seed).normal(0, 2, (height, width))
    pixels = _bytes(np.dstack([red, green, blue]) + noise[..., None])
    pixels.setflags(write=False)
    return pixels


def smooth(width: int, height: int) -> Pixels:
    """RGB pixels without edges or noise: what survives scaling and coarse chroma unharmed."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / width, y / height
    red = 128 + 100 * np.sin(5 * u + 1) * np.cos(3 * v)
    green = 128 + 100 * np.cos(4 * u - 2 * v)
    blue = 128 + 100 * np.sin(3 * v + u)
    return _bytes(np.dstack([red, green, blue]))


def detailed(width: int, height: int) -> Pixels:
    """RGB pixels with detail at many scales, little of it finer than a few pixels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    total = np.zeros((height, width))
    rng = np.random.default_rng(7)
    for period in (12, 20, 33, 60, 110, 200):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase)
        total += wave * (4 + period / 10)
    return _bytes(np.dstack([128 + total, 140 + 0.7 * total, 120 - 0.5 * total]))


def oriented(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """What an image with this EXIF orientation looks like upright (TIFF 6.0, Orientation)."""
    upright: npt.NDArray[Any] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p, 1),
    }[orientation](pixels)
    return upright


def luma(pixels: npt.NDArray[Any]) -> Floats:
    """The brightness of RGB pixels."""
    weighted: Floats = pixels[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return weighted


# --- profiles -------------------------------------------------------------------------------


def srgb_profile() -> bytes:
    """An ICC profile that says sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lab_profile() -> bytes:
    """An ICC profile of the Lab space."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def wide_profile(padding: int = 0) -> bytes:
    """An ICC profile with the primaries and the gamma of Adobe RGB (1998), from the numbers."""
    primaries = {
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    tags = {name: _xyz(*values) for name, values in primaries.items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(2.19921875))
    if padding:
        tags[b"priv"] = b"data" + bytes(4) + bytes(padding)
    return _profile(b"RGB ", "Wide test gamut", tags)


def gray_profile() -> bytes:
    """An ICC profile of gray with gamma 1.8."""
    return _profile(b"GRAY", "Gray gamma 1.8", {b"kTRC": _gamma(1.8)})


def broken_profile() -> bytes:
    """Bytes that begin like an ICC profile and are none."""
    return wide_profile()[:100] + b"\xff" * 300


def _profile(space: bytes, description: str, tags: dict[bytes, bytes]) -> bytes:
    """A display profile of ICC version 2.1 (ICC.1:2001-04)."""
    text = description.encode() + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    every = {
        b"desc": described,
        b"cprt": b"text" + bytes(4) + b"None\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        **tags,
    }
    offset = 132 + 12 * len(every)
    table, data = struct.pack(">I", len(every)), b""
    for name, value in every.items():
        table += struct.pack(">4sII", name, offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = bytearray(128)
    header[0:4] = struct.pack(">I", offset + len(data))
    header[8:12] = b"\x02\x10\0\0"
    header[12:24] = b"mntr" + space + b"XYZ "
    header[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return bytes(header) + table + data


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


# --- encoders -------------------------------------------------------------------------------


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    """The image as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def jpeg(pixels: Pixels, *, sampling: int = 2, quality: int = 92, **options: Any) -> bytes:
    """A JPEG; `sampling` is 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0."""
    image = Image.fromarray(pixels)
    if pixels.ndim == 2:
        return saved(image, "JPEG", quality=quality, **options)
    return saved(image, "JPEG", quality=quality, subsampling=sampling, **options)


def exif(orientation: int) -> bytes:
    """An EXIF block that says nothing but this."""
    block = Image.Exif()
    block[ORIENTATION_TAG] = orientation
    return block.tobytes()


def numbered_rgb_jpeg(pixels: Pixels) -> bytes:
    """A JPEG of RGB samples, of which only an Adobe segment tells.

    The usual way is to name the components R, G and B besides.
    """
    data = bytearray(jpeg(pixels, quality=92, sampling=0, keep_rgb=True))
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for number in range(3):
        data[frame + 10 + 3 * number] = data[scan + 5 + 2 * number] = number + 1
    return bytes(data[:2]) + b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0" + bytes(data[2:])


def cmyk(pixels: Pixels) -> Image.Image:
    """RGB pixels separated by the plainest formula."""
    return Image.fromarray(pixels).convert("CMYK")


def lab(pixels: Pixels) -> Image.Image:
    """RGB pixels, taken for sRGB, in 8-bit Lab."""
    converted = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert converted is not None
    converted.info.pop("icc_profile", None)
    return converted


def with_alpha(pixels: Pixels) -> Pixels:
    """RGB pixels whose opacity falls from the left to the right, with a hole in the middle."""
    height, width = pixels.shape[:2]
    alpha = np.tile(np.linspace(255, 80, width), (height, 1))
    alpha[height // 3 : height // 2, width // 3 : width // 2] = 0
    return np.dstack([pixels, _bytes(alpha)])


def bilevel(pixels: Pixels) -> Image.Image:
    """RGB pixels as black and white, undithered."""
    return Image.fromarray(_bytes((luma(pixels) >= 128) * 255.0)).convert("1")


def vips(pixels: npt.NDArray[Any], interpretation: str) -> Any:
    """The pixels as a libvips image."""
    height, width, bands = pixels.shape
    sample = {"uint8": "uchar", "uint16": "ushort"}[pixels.dtype.name]
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, sample)
    return image.copy(interpretation=interpretation)


def deep(pixels: Pixels) -> npt.NDArray[np.uint16]:
    """The same picture in 16 bits."""
    return pixels.astype(np.uint16) * 257


def gray16(pixels: Pixels) -> Image.Image:
    """The brightness of RGB pixels in 16 bits."""
    return Image.fromarray((luma(pixels) * 257).astype(np.uint16))


def interlaced_png(pixels: Pixels) -> bytes:
    """A PNG in Adam7 order, which Pillow does not write."""
    data: bytes = vips(pixels, "srgb").pngsave_buffer(interlace=True)
    return data


def tiff(image: Any, **options: Any) -> bytes:
    """A TIFF as libvips writes it."""
    data: bytes = image.tiffsave_buffer(**options)
    return data


def _bytes(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


# --- the collection -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """One flavour of original."""

    name: str
    encode: Callable[[Pixels], bytes]
    format: str
    """As `OriginalFormat` calls it."""
    colour: str = "rgb"
    transparent: bool = False
    accurate: bool = True
    """Whether its pixels are those of the photograph, but for compression."""

    def write(self, folder: Path, pixels: Pixels | None = None) -> Path:
        """The original, written to the folder."""
        path = folder / self.name
        path.write_bytes(self.encode(photograph() if pixels is None else pixels))
        return path


def _picture(image: Callable[[Pixels], Image.Image], format_: str, **options: Any) -> Any:
    return lambda pixels: saved(image(pixels), format_, **options)


def _gray(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels).convert("L")


def _palette(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels).quantize(256)


def _alpha(pixels: Pixels) -> Image.Image:
    return Image.fromarray(with_alpha(pixels))


_rgb = Image.fromarray

PICTURES: tuple[Picture, ...] = (
    Picture("420.jpg", jpeg, "JPEG"),
    Picture("422.jpg", lambda p: jpeg(p, sampling=1), "JPEG"),
    Picture("444.jpg", lambda p: jpeg(p, sampling=0), "JPEG"),
    Picture("progressive.jpg", lambda p: jpeg(p, progressive=True), "JPEG"),
    Picture("gray.jpg", _picture(_gray, "JPEG", quality=92), "JPEG", "gray"),
    Picture("cmyk.jpg", _picture(cmyk, "JPEG", quality=92), "JPEG", "other", accurate=False),
    Picture("rgb.jpg", _picture(_rgb, "JPEG", quality=92, keep_rgb=True), "JPEG"),
    Picture("numbered.jpg", numbered_rgb_jpeg, "JPEG"),
    Picture("trailing.jpg", lambda p: jpeg(p) + b"appended by a camera" * 50, "JPEG"),
    Picture("8.png", _picture(_rgb, "PNG"), "PNG"),
    Picture("16.png", lambda p: vips(deep(p), "rgb16").pngsave_buffer(), "PNG"),
    Picture("gray16.png", _picture(gray16, "PNG"), "PNG", "gray"),
    Picture("palette.png", _picture(_palette, "PNG"), "PNG"),
    Picture("alpha.png", _picture(_alpha, "PNG"), "PNG", transparent=True),
    Picture("interlaced.png", interlaced_png, "PNG"),
    Picture("1bit.png", _picture(bilevel, "PNG"), "PNG", "gray", accurate=False),
    Picture("striped.tif", _picture(_rgb, "TIFF", compression="tiff_lzw"), "TIFF"),
    Picture("plain.tif", _picture(_rgb, "TIFF"), "TIFF"),
    Picture(
        "tiled.tif",
        lambda p: tiff(vips(p, "srgb"), tile=True, tile_width=64, tile_height=64),
        "TIFF",
    ),
    Picture("jpeg.tif", lambda p: tiff(vips(p, "srgb"), compression="jpeg", Q=92), "TIFF"),
    Picture("16.tif", lambda p: tiff(vips(deep(p), "rgb16"), compression="deflate"), "TIFF"),
    Picture("gray16.tif", _picture(gray16, "TIFF"), "TIFF", "gray"),
    Picture("alpha.tif", _picture(_alpha, "TIFF"), "TIFF", transparent=True),
    Picture("lab.tif", _picture(lab, "TIFF"), "TIFF", "other"),
    Picture(  # libvips writes it under D65, which TIFF has no tag for
        "lab16.tif",
        lambda p: tiff(vips(p, "srgb").colourspace("labs")),
        "TIFF",
        "other",
        accurate=False,
    ),
    Picture("cmyk.tif", _picture(cmyk, "TIFF"), "TIFF", "other", accurate=False),
    Picture(
        "fax.tif", _picture(bilevel, "TIFF", compression="group4"), "TIFF", "gray", accurate=False
    ),
    Picture("big.tif", lambda p: tiff(vips(p, "srgb"), bigtiff=True), "TIFF"),
    Picture("lossy.webp", _picture(_rgb, "WEBP", quality=92), "WEBP"),
    Picture("lossless.webp", _picture(_rgb, "WEBP", lossless=True), "WEBP"),
    Picture("alpha.webp", _picture(_alpha, "WEBP", lossless=True), "WEBP", transparent=True),
    Picture("palette.gif", _picture(_palette, "GIF"), "GIF"),
    Picture("lossless.jp2", _picture(_rgb, "JPEG2000"), "JPEG2000"),
    Picture("gray.jp2", _picture(_gray, "JPEG2000"), "JPEG2000", "gray"),
    Picture("gray16.jp2", _picture(gray16, "JPEG2000"), "JPEG2000", "gray"),
    Picture("alpha.jp2", _picture(_alpha, "JPEG2000"), "JPEG2000", transparent=True),
    Picture("stream.j2k", _picture(_rgb, "JPEG2000", no_jp2=True), "JPEG2000"),
    Picture("photo.avif", _picture(_rgb, "AVIF", quality=90, speed=10), "AVIF"),
    Picture("plain.bmp", _picture(_rgb, "BMP"), "BMP"),
    Picture("palette.bmp", _picture(_palette, "BMP"), "BMP"),
    Picture("lossless.jxl", lambda p: bytes(imagecodecs.jpegxl_encode(p, lossless=True)), "JPEGXL"),
    Picture("merged.psd", lambda p: psds.psd(p, psds.RGB, packed=True), "PSD"),
)
BY_NAME: dict[str, Picture] = {picture.name: picture for picture in PICTURES}
