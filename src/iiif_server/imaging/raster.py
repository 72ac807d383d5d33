"""Pixels through libvips; Pillow where the libvips wheel has no decoder or encoder."""

import os
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias

import pyvips
from PIL import Image

from iiif_server.errors import DamagedOriginalError
from iiif_server.image_api.formats import FACTS, Format
from iiif_server.image_api.geometry import Box
from iiif_server.image_api.quality import Quality
from iiif_server.imaging.header import ImageHeader
from iiif_server.imaging.options import EncodingOptions
from iiif_server.imaging.plan import ProfileAction, Work
from iiif_server.imaging.signatures import OriginalFormat
from iiif_server.imaging.turns import UPRIGHT, Turn

Pixels: TypeAlias = Any
"""A `pyvips.Image`: the library declares no types."""

_LOADERS: dict[OriginalFormat, str] = {
    OriginalFormat.JPEG: "jpegload_source",
    OriginalFormat.PNG: "pngload_source",
    OriginalFormat.TIFF: "tiffload_source",
    OriginalFormat.WEBP: "webpload_source",
    OriginalFormat.GIF: "gifload_source",
    OriginalFormat.AVIF: "heifload_source",
}
_ICC = "icc-profile-data"
_MID_GRAY = 128
_WHITE = 255


def make(descriptor: int, header: ImageHeader, work: Work, encoding: EncodingOptions) -> bytes:
    """The encoded derivative of the original behind an open file descriptor.

    Raises DamagedOriginalError where the data cannot be decoded.
    """
    try:
        image = _scaled(_load(descriptor, header, work.shrink), work)
        image = _rotated(_turned(_coloured(image, work), work.turn), work)
        return _ENCODERS[work.format](_flattened(image, work), work, encoding)
    except (pyvips.Error, OSError, SyntaxError, ValueError) as error:
        # libvips and Pillow name what they stumbled on in their own words, which may hold a path.
        raise DamagedOriginalError(
            f"The original is damaged: its {header.format} data could not be decoded."
        ) from error


def prepare_process(threads: int) -> None:
    """Set libvips up for a worker: no cache of operations, this many threads, no odd loaders."""
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)
    pyvips.vips_lib.vips_concurrency_set(threads)


def supported_formats() -> tuple[Format, ...]:
    """The output formats that the libraries here can encode, in the order of `Format`."""
    needs = {
        Format.JPG: "jpegsave_buffer",
        Format.PNG: "pngsave_buffer",
        Format.TIF: "tiffsave_buffer",
        Format.GIF: "gifsave_buffer",
        Format.WEBP: "webpsave_buffer",
        Format.AVIF: "heifsave_buffer",
    }
    Image.init()
    by_pillow = {Format.JP2: "JPEG2000", Format.PDF: "PDF"}
    return tuple(
        format_
        for format_ in Format
        if (format_ in needs and pyvips.type_find("VipsOperation", needs[format_]))
        or by_pillow.get(format_) in Image.SAVE
    )


# --- decode ---------------------------------------------------------------------------------


def _load(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    """The stored pixels, reduced by `shrink`; decoded as they are asked for, from top to bottom."""
    loader = _LOADERS.get(header.format)
    if loader is None:
        return _load_with_pillow(descriptor, header.format, shrink)
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    if header.format is OriginalFormat.JPEG:
        options["shrink"] = shrink
    source = pyvips.Source.new_from_descriptor(descriptor)
    return pyvips.Operation.call(loader, source, **options)


def _load_with_pillow(descriptor: int, format_: OriginalFormat, shrink: int) -> Pixels:
    os.lseek(descriptor, 0, os.SEEK_SET)
    Image.MAX_IMAGE_PIXELS = None  # the header has been checked against the configured limit
    with os.fdopen(os.dup(descriptor), "rb") as file, Image.open(file, formats=[format_]) as image:
        if shrink > 1:
            image.reduce = shrink.bit_length() - 1  # type: ignore[method-assign, assignment]
        image.load()
        profile = image.info.get("icc_profile")
        plain = image.convert(_PILLOW_MODES.get(image.mode, image.mode))
    bands = len(plain.getbands())
    pixels = pyvips.Image.new_from_memory(plain.tobytes(), *plain.size, bands, "uchar")
    pixels = pixels.copy(interpretation="b-w" if bands <= 2 else "srgb")  # noqa: PLR2004 - and alpha
    if profile:
        pixels.set_type(pyvips.GValue.blob_type, _ICC, profile)
    return pixels


_PILLOW_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "I;16": "L", "CMYK": "RGB", "YCbCr": "RGB"}


# --- cut and scale --------------------------------------------------------------------------


def _scaled(image: Pixels, work: Work) -> Pixels:
    """The box of the image at exactly `work.size`, whatever the decoder's own reduction."""
    box = _shrunk(work.box, work.shrink, image.width, image.height)
    if (box.x, box.y, box.width, box.height) != (0, 0, image.width, image.height):
        image = image.crop(box.x, box.y, box.width, box.height)
    if (box.width, box.height) == (work.size.width, work.size.height):
        return image
    alpha = bool(image.hasalpha())
    band_format = image.format
    if alpha:
        image = image.premultiply()
    image = image.resize(
        work.size.width / box.width, vscale=work.size.height / box.height, kernel="lanczos3"
    )
    if alpha:
        image = image.unpremultiply()
    return image.cast(band_format)


def _shrunk(box: Box, shrink: int, width: int, height: int) -> Box:
    """The box in pixels of an image that was reduced, and rounded up, while decoding."""
    x, y = box.x // shrink, box.y // shrink
    right = min(-(-(box.x + box.width) // shrink), width)
    bottom = min(-(-(box.y + box.height) // shrink), height)
    return Box(x, y, right - x, bottom - y)


# --- colour ---------------------------------------------------------------------------------


def _coloured(image: Pixels, work: Work) -> Pixels:
    """The image as 8-bit gray or RGB, with or without alpha, in the quality asked for."""
    image = _displayable(image, work.profile)
    if work.quality is Quality.DEFAULT or work.quality is Quality.COLOR:
        return image
    image = image.colourspace("b-w")
    if work.quality is Quality.BITONAL:
        if image.hasalpha():
            image = image.flatten(background=[_WHITE])
        image = (image >= _MID_GRAY).copy(interpretation="b-w")
    return image


def _displayable(image: Pixels, action: ProfileAction) -> Pixels:
    """The image as 8-bit samples that are sRGB or gray, or described by the profile they keep."""
    ink = image.interpretation == "cmyk"
    if ink or action is ProfileAction.CONVERT:
        converted = _converted(image)
        if converted is not None:
            return converted
    if image.interpretation not in {"srgb", "b-w"}:
        gray = image.interpretation == "grey16" or image.bands <= 2  # noqa: PLR2004 - gray, alpha
        image = image.colourspace("b-w" if gray else "srgb")
    if image.format != "uchar":
        image = image.cast("uchar")
    if action is not ProfileAction.KEEP and _ICC in image.get_fields():
        image = image.copy()
        image.remove(_ICC)
    return image


def _converted(image: Pixels) -> Pixels | None:
    """The image in sRGB by its own profile, or by a usual one for ink; None if that is no use."""
    try:
        converted = image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", black_point_compensation=True, depth=8
        )
    except pyvips.Error:
        return None
    converted = converted.copy()
    converted.remove(_ICC)
    return converted


# --- turn and rotate ------------------------------------------------------------------------


def _turned(image: Pixels, turn: Turn) -> Pixels:
    if turn == UPRIGHT:
        return image
    image = image.copy_memory()  # turning reads in another order than decoding gives
    if turn.mirror:
        image = image.fliphor()
    return image.rot(f"d{90 * turn.quarters}")


def _rotated(image: Pixels, work: Work) -> Pixels:
    """The image turned by any angle into its bounding box (Image API 3.0, 4.3).

    The corners are transparent where the format can say so, and white elsewhere.
    """
    if not work.degrees:
        return image
    transparent = FACTS[work.format].transparent and work.quality is not Quality.BITONAL
    if transparent and not image.hasalpha():
        image = image.addalpha()
    alpha = bool(image.hasalpha())
    image = image.copy_memory()
    if alpha:
        image = image.premultiply()
    background = [0] * image.bands if alpha else [_WHITE] * image.bands
    nearest = work.quality is Quality.BITONAL
    kernel = pyvips.Interpolate.new("nearest" if nearest else "bicubic")
    image = image.similarity(angle=work.degrees, interpolate=kernel, background=background)
    if alpha:
        image = image.unpremultiply()
    return image.cast("uchar")


def _flattened(image: Pixels, work: Work) -> Pixels:
    """The image on white where the format has no transparency."""
    if image.hasalpha() and not FACTS[work.format].transparent:
        return image.flatten(background=[_WHITE])
    return image


# --- encode ---------------------------------------------------------------------------------


def _jpg(image: Pixels, _: Work, encoding: EncodingOptions) -> bytes:
    data: bytes = image.jpegsave_buffer(
        Q=encoding.jpeg_quality,
        interlace=encoding.jpeg_progressive,
        optimize_coding=True,
        keep="icc",
    )
    return data


def _png(image: Pixels, work: Work, encoding: EncodingOptions) -> bytes:
    data: bytes = image.pngsave_buffer(
        compression=encoding.png_level, bitdepth=_bit_depth(work), keep="icc"
    )
    return data


def _tif(image: Pixels, work: Work, encoding: EncodingOptions) -> bytes:
    if _bit_depth(work) == 1:
        bilevel: bytes = image.tiffsave_buffer(compression="ccittfax4", bitdepth=1, keep="none")
        return bilevel
    data: bytes = image.tiffsave_buffer(
        compression=encoding.tiff_compression,
        predictor="horizontal",
        Q=encoding.jpeg_quality,
        keep="icc",
    )
    return data


def _gif(image: Pixels, _: Work, encoding: EncodingOptions) -> bytes:
    data: bytes = image.colourspace("srgb").gifsave_buffer(effort=encoding.gif_effort, keep="none")
    return data


def _webp(image: Pixels, _: Work, encoding: EncodingOptions) -> bytes:
    data: bytes = image.webpsave_buffer(
        Q=encoding.webp_quality, effort=encoding.webp_effort, keep="icc"
    )
    return data


def _avif(image: Pixels, _: Work, encoding: EncodingOptions) -> bytes:
    data: bytes = image.heifsave_buffer(
        compression="av1", Q=encoding.avif_quality, effort=encoding.avif_effort, keep="icc"
    )
    return data


def _jp2(image: Pixels, _: Work, encoding: EncodingOptions) -> bytes:
    buffer = BytesIO()
    _as_pillow(image).save(
        buffer,
        "JPEG2000",
        irreversible=encoding.jp2_ratio > 1,
        quality_mode="rates",
        quality_layers=[encoding.jp2_ratio],
    )
    return buffer.getvalue()


def _pdf(image: Pixels, _: Work, encoding: EncodingOptions) -> bytes:
    buffer = BytesIO()
    _as_pillow(image).save(buffer, "PDF", quality=encoding.jpeg_quality)
    return buffer.getvalue()


_ENCODERS: dict[Format, Callable[[Any, Work, EncodingOptions], bytes]] = {
    Format.JPG: _jpg,
    Format.TIF: _tif,
    Format.PNG: _png,
    Format.GIF: _gif,
    Format.JP2: _jp2,
    Format.PDF: _pdf,
    Format.WEBP: _webp,
    Format.AVIF: _avif,
}


def _as_pillow(image: Pixels) -> Image.Image:
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.bands]
    return Image.frombuffer(mode, (image.width, image.height), image.write_to_memory())


def _bit_depth(work: Work) -> int:
    return 1 if work.quality is Quality.BITONAL else 8
