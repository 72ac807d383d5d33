"""Encoding of pixels as image files: by TurboJPEG, libvips, and Pillow for JPEG 2000 and PDF."""

import functools
import zipfile
from contextlib import suppress
from io import BytesIO
from typing import Any

import pyvips
from PIL import Image, features

from iiif_server.codecs import turbojpeg
from iiif_server.codecs.labels import keep_option, set_description
from iiif_server.codecs.pixel_buffer import PixelBuffer, Pixels
from iiif_server.iiif.formats import Format
from iiif_server.iiif.quality import Quality
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.render_plan import (
    FEW_PIXELS,
    MAX_OPTIMISED_PIXELS,
    NO_DESCRIPTION,
    Description,
    PixelOperations,
)

_PDF_DPI = 72.0
"""Dots per inch of a PDF page whose image has no known resolution."""
_SAVE_OPERATIONS = {
    Format.JPG: "jpegsave_buffer",
    Format.PNG: "pngsave_buffer",
    Format.TIF: "tiffsave_buffer",
    Format.GIF: "gifsave_buffer",
    Format.WEBP: "webpsave_buffer",
    Format.AVIF: "heifsave_buffer",
}
"""Save operations of libvips, by format."""


def supported_formats() -> tuple[Format, ...]:
    """Return the output formats that the installed libraries can encode, in order of `Format`."""
    by_pillow = {Format.JP2: features.check_codec("jpg_2000"), Format.PDF: True}
    return tuple(
        format_
        for format_ in Format
        if (
            format_ in _SAVE_OPERATIONS
            and pyvips.type_find("VipsOperation", _SAVE_OPERATIONS[format_])
        )
        or by_pillow.get(format_)
    )


def encode(
    pixels: Pixels,
    operations: PixelOperations,
    encoding: EncodingOptions,
    *,
    description: Description = NO_DESCRIPTION,
    full_chroma: bool = False,
) -> bytes:
    """Encode the pixels in the format of the operations; call it inside `decoding`.

    What `description` says is in it, but for what `codecs.description.described` adds.
    `full_chroma`: a JPEG has chroma for each pixel (4:4:4), whatever its quality.
    """
    format_, is_small = operations.format, pixels.width * pixels.height <= FEW_PIXELS
    if format_ is Format.JPG and is_small and _is_plain(encoding):
        with suppress(turbojpeg.TurboJpegError):
            buffer = pixels if isinstance(pixels, PixelBuffer) else PixelBuffer.of(pixels)
            return turbojpeg.encode(buffer, encoding.jpeg_quality, full_chroma=full_chroma)
    image = pixels.to_vips() if isinstance(pixels, PixelBuffer) else pixels
    if format_ not in _SAVE_OPERATIONS:
        return _encode_with_pillow(image, format_, encoding, description)
    if format_ is Format.GIF:
        image = image.colourspace("srgb")
    options = _options(image, operations, encoding)
    options["keep"] = keep_option(options["keep"], format_, description)
    if format_ is Format.JPG:
        options["subsample_mode"] = _chroma(full_chroma)
    else:
        image = set_description(image, format_, description)
    data: bytes = getattr(image, _SAVE_OPERATIONS[format_])(**options)
    return data


def _chroma(full: bool) -> str:  # noqa: FBT001
    return "off" if full else "auto"


def _is_plain(encoding: EncodingOptions) -> bool:
    """Whether TurboJPEG can encode this JPEG, in half the time of libvips."""
    return turbojpeg.available() and not (encoding.jpeg_progressive or encoding.jpeg_optimize)


def _options(
    image: Pixels, operations: PixelOperations, encoding: EncodingOptions
) -> dict[str, Any]:
    """Return the options of the libvips save operation of a format."""
    bitonal = operations.quality is Quality.BITONAL
    # Optimised Huffman codes need all coefficients in memory: too many for large images.
    optimised = encoding.jpeg_optimize and image.width * image.height <= MAX_OPTIMISED_PIXELS
    fax = {"compression": "ccittfax4", "bitdepth": 1, "keep": "none"}
    wide = image.format == "ushort"
    jpeg = encoding.tiff_compression == "jpeg"
    # JPEG in TIFF has 8 bits.
    compression = "deflate" if wide and jpeg else encoding.tiff_compression
    tiff = {"compression": compression, "predictor": "horizontal"}
    options: dict[Format, dict[str, Any]] = {
        Format.JPG: {
            "Q": encoding.jpeg_quality,
            "interlace": encoding.jpeg_progressive,
            "optimize_coding": optimised,
        },
        Format.PNG: {
            "compression": encoding.png_level,
            "bitdepth": 1 if bitonal else 16 if wide else 8,
        },
        Format.TIF: fax if bitonal else {**tiff, "Q": encoding.jpeg_quality},
        Format.GIF: {"effort": encoding.gif_effort, "keep": "none"},
        Format.WEBP: {"Q": encoding.webp_quality, "effort": encoding.webp_effort},
        Format.AVIF: {
            "compression": "av1",
            "Q": encoding.avif_quality,
            "effort": encoding.avif_effort,
        },
    }
    return {"keep": "icc", **options[operations.format]}


def _encode_with_pillow(
    image: Pixels, format_: Format, encoding: EncodingOptions, description: Description
) -> bytes:
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.bands]
    pixels = Image.frombuffer(mode, (image.width, image.height), image.write_to_memory())
    buffer = BytesIO()
    if format_ is Format.PDF:
        credits_ = {name: "; ".join(values) for name, values in description.credits}
        pixels.save(
            buffer,
            "PDF",
            quality=encoding.jpeg_quality,
            dpi=description.resolution or (_PDF_DPI, _PDF_DPI),
            author=credits_.get("dc:creator"),
            subject=credits_.get("dc:rights") or credits_.get("photoshop:Credit"),
        )
    else:
        pixels.save(
            buffer,
            "JPEG2000",
            irreversible=encoding.jp2_ratio > 1,
            quality_mode="rates",
            quality_layers=[encoding.jp2_ratio],
        )
    return buffer.getvalue()


@functools.cache
def supports_trellis() -> bool:
    """Whether libvips uses mozjpeg: with another encoder it ignores the options."""
    noise: Pixels = pyvips.Image.gaussnoise(64, 64, mean=128, sigma=40, seed=1).cast("uchar")
    plain, by_trellis = (
        noise.jpegsave_buffer(optimize_coding=True, trellis_quant=trellis)
        for trellis in (False, True)
    )
    return len(by_trellis) < len(plain)


def encode_tiles(
    pixels: Pixels, side: int, quality: int, *, full_chroma: bool = False, thorough: bool = False
) -> zipfile.ZipFile:
    """Encode all square tiles as `{column}_{row}.jpg`; pixels are read once, in order.

    `full_chroma`: they have chroma for each pixel (4:4:4), whatever their quality.
    `thorough` takes five times as long: about 3 % fewer bytes that are nearer to the pixels than
    those of `quality`, where the encoder knows how.
    """
    coding = f"Q={quality},optimize_coding"
    if thorough and supports_trellis():
        # Trellis quantisation saves 10 %, but loses detail: a higher quality compensates for it.
        coding = f"Q={min(quality + 2, 100)},optimize_coding,trellis_quant"
    coding += f",subsample_mode={_chroma(full_chroma)}"
    tiles = pixels.dzsave_buffer(
        basename="tiles",
        container="zip",
        layout="dz",
        depth="one",
        tile_size=side,
        overlap=0,
        skip_blanks=-1,
        suffix=f".jpg[{coding},keep=icc]",
        keep="icc",
    )
    return zipfile.ZipFile(BytesIO(tiles))
