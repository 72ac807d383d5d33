"""Pixels through libvips; Pillow where the libvips wheel has no decoder or encoder."""

import functools
import logging
import os
import platform
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from math import ceil, floor
from typing import Any, TypeAlias, TypeVar

import PIL
import pyvips
from PIL import Image, ImageCms, features

from iiif_server.codecs import turbojpeg
from iiif_server.codecs.alignment import Span, aligned_span
from iiif_server.codecs.decoder_errors import refusal
from iiif_server.codecs.pixel_buffer import CAN_SCALE, FloatBox, PixelBuffer
from iiif_server.codecs.tiles import GRID, Tiles, joined
from iiif_server.errors import DamagedOriginalError, IiifServerError
from iiif_server.iiif.formats import FACTS, Format
from iiif_server.iiif.geometry import Box
from iiif_server.iiif.quality import Quality
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.header import Colour, ImageHeader
from iiif_server.plan.orientation import UPRIGHT, Orientation
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import FEW_PIXELS, MOST_OPTIMISED, PixelOperations, ProfileAction

Pixels: TypeAlias = Any
"""A `pyvips.Image`, for which the library declares no types; or `Rows`, of few pixels."""

_LOADERS: dict[OriginalFormat, str] = {
    OriginalFormat.JPEG: "jpegload_source",
    OriginalFormat.PNG: "pngload_source",
    OriginalFormat.TIFF: "tiffload_source",
    OriginalFormat.WEBP: "webpload_source",
    OriginalFormat.GIF: "gifload_source",
    OriginalFormat.AVIF: "heifload_source",
}


Item = TypeVar("Item")


_ICC = "icc-profile-data"
_ORIENTATION = "orientation"
_SEEN = 0.02
"""The part of a pixel by which an edge may be off before it is put right."""
_NEAR = 0.05
"""The part by which it may be off instead of being interpolated, which blurs: that costs more."""
_MARGIN = 16
"""Pixels around a region that its scaling may look at, or put beside it."""
_BOX_AVERAGED = 4
_MID_GRAY = 128
_WHITE = 255


def pixels(descriptor: int, header: ImageHeader, operations: PixelOperations) -> Pixels:
    """The pixels of a derivative of the original behind an open file descriptor.

    Raises DamagedOriginalError where the data cannot be decoded.
    """
    with decoding(header):
        image = _load(descriptor, header, operations.shrink)
        return _worked(image, Box(0, 0, image.width, image.height), operations)


def pixels_of_tiles(tiles: Tiles, header: ImageHeader, operations: PixelOperations) -> Pixels:
    """The pixels of a derivative of a level of a pyramid, reduced by `work.shrink`.

    `tiles` are those that the box of the work touches. Raises DamagedOriginalError.
    """
    with decoding(header):
        part = _around(operations, tiles.at)
        rows = joined(tiles, part)
        if not CAN_SCALE or max(part.dimensions.area, operations.size.area) > FEW_PIXELS:
            return _worked(_of_rows(rows), part, operations)
        rows = rows.scaled(
            FloatBox.of(operations.box, operations.shrink).beside(part.x, part.y), operations.size
        )
        return _worked_rows(rows, operations)


def encoded(
    pixels: Pixels, header: ImageHeader, operations: PixelOperations, encoding: EncodingOptions
) -> bytes:
    """The pixels as a file of the format of the work; raises DamagedOriginalError."""
    with decoding(header):
        if isinstance(pixels, PixelBuffer):
            if operations.format is Format.JPG and _is_plain(encoding):
                with suppress(turbojpeg.NotDoneError):
                    return pixels.as_jpeg(encoding.jpeg_quality)
            pixels = _of_rows(pixels)
        return _ENCODERS[operations.format](pixels, operations, encoding)


def decode_upright(
    descriptor: int,
    header: ImageHeader,
    action: ProfileAction,
    shrink: int,
    *,
    transparent: bool = False,
) -> Pixels:
    """The whole image as it is seen: upright, 8-bit gray or RGB, reduced by `shrink`.

    It is laid on white, unless it may stay transparent.

    It is decoded as it is asked for, from top to bottom and only once; within `decoding`.
    """
    image = _displayable(_load(descriptor, header, shrink), action)
    if image.hasalpha() and not transparent:
        image = image.flatten(background=[_WHITE])
    return _turned(image, header.orientation)


def shrink_by_two(pixels: Pixels) -> Pixels:
    """The pixels at half their size, sides rounded up, in memory."""
    return pixels.resize(0.5, kernel="lanczos3").copy_memory()


@functools.cache
def _quantises_by_trellis() -> bool:
    """Whether libvips has mozjpeg's encoder; it says nothing where it has another."""
    noise: Pixels = pyvips.Image.gaussnoise(64, 64, mean=128, sigma=40, seed=1).cast("uchar")
    plain, by_trellis = (
        noise.jpegsave_buffer(optimize_coding=True, trellis_quant=trellis)
        for trellis in (False, True)
    )
    return len(by_trellis) < len(plain)


def encode_tiles(
    pixels: Pixels, side: int, quality: int, *, thorough: bool = False
) -> zipfile.ZipFile:
    """The JPEGs of all square tiles, `{column}_{row}.jpg`; pixels are asked for once, in order.

    `thorough` takes five times as long: about 3 % fewer bytes that are nearer to the pixels than
    those of `quality`, where the encoder knows how.
    """
    coding = f"Q={quality},optimize_coding"
    if thorough and _quantises_by_trellis():
        # By itself trellis takes 10 % off, and too much of the picture: finer steps give it back.
        coding = f"Q={min(quality + 2, 100)},optimize_coding,trellis_quant"
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


def decoded(header: ImageHeader, items: Iterable[Item]) -> Iterator[Item]:
    """The items, the making of each within `decoding`; what is done with them is not."""
    iterator = iter(items)
    while True:
        with decoding(header):
            item = next(iterator, None)
        if item is None:
            return
        yield item


@contextmanager
def decoding(header: ImageHeader) -> Iterator[None]:
    """Whatever libvips and Pillow raise inside becomes one of our errors, by whose fault it is.

    They name what they stumbled on in their own words, which may hold a path; and on hostile data
    Pillow raises whatever Python has.
    """
    try:
        yield
    except IiifServerError:
        raise
    except Exception as error:
        raise refusal(error, header.format) from error


def prepare_process(threads: int) -> None:
    """Set the libraries up for a worker: no odd loaders, this many threads, nothing cached.

    What they have to say to their users goes nowhere: it comes with paths, and as often as the
    author of a file likes.
    """
    warnings.simplefilter("ignore")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)
    pyvips.vips_lib.vips_concurrency_set(threads)


def drop_cache() -> None:
    """Empty libvips' cache of operations, which keeps files open; its size stays."""
    most = pyvips.vips_lib.vips_cache_get_max()
    pyvips.cache_set_max(0)
    pyvips.cache_set_max(most)


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
    by_pillow = {Format.JP2: features.check_codec("jpg_2000"), Format.PDF: True}
    return tuple(
        format_
        for format_ in Format
        if (format_ in needs and pyvips.type_find("VipsOperation", needs[format_]))
        or by_pillow.get(format_)
    )


def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that decode and encode, by name."""
    return {
        "Python": platform.python_version(),
        "libvips": ".".join(str(pyvips.version(part)) for part in range(3)),
        "Pillow": PIL.__version__,
    }


def _worked(image: Pixels, at: Box, operations: PixelOperations) -> Pixels:
    """All of the work done on pixels that are the part `at` of the image.

    Few pixels are computed here; many are left to be computed while they are encoded.
    """
    return _worked_scaled(_scaled(image, operations, at), operations)


def _worked_scaled(image: Pixels, operations: PixelOperations) -> Pixels:
    """What is left to be done to pixels that are scaled."""
    image = _rotated(_turned(_coloured(image, operations), operations.turn), operations)
    image = _flattened(image, operations)
    return image.copy_memory() if image.width * image.height <= FEW_PIXELS else image


def _worked_rows(rows: PixelBuffer, operations: PixelOperations) -> PixelBuffer | Pixels:
    """The same where the pixels are those of tiles, which are such as can be shown."""
    as_they_are = operations.quality in {Quality.DEFAULT, Quality.COLOR}
    if operations.degrees or not as_they_are or operations.profile is ProfileAction.CONVERT:
        return _worked_scaled(_of_rows(rows), operations)
    if operations.profile is ProfileAction.DROP:
        rows = replace(rows, profile=None)
    return rows.turned(operations.turn)


# --- decode ---------------------------------------------------------------------------------


def _load(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    """The stored pixels, reduced by `shrink`; decoded as they are asked for, from top to bottom.

    Raises DamagedOriginalError where the decoder sees another image than the header promised.
    """
    image = _loaded(descriptor, header, shrink)
    if _is_whole(image, header, shrink):
        return image
    if header.format is OriginalFormat.GIF and header.stored.area <= FEW_PIXELS:
        # libvips takes some usual screens for those of the author, and leaves them out.
        image = _load_with_pillow(descriptor, header.format, shrink)
        if _is_whole(image, header, shrink):
            return image
    raise DamagedOriginalError("The original is damaged: its dimensions are not its header's.")


def _is_whole(image: Pixels, header: ImageHeader, shrink: int) -> bool:
    """Whether an image has the stored dimensions, reduced and rounded either way."""
    sides = (image.width, header.stored.width), (image.height, header.stored.height)
    return all(side // shrink <= got <= -(-side // shrink) for got, side in sides)


def _loaded(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    loader = _LOADERS.get(header.format)
    if loader is None:
        return _load_with_pillow(descriptor, header.format, shrink)
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    if header.format is OriginalFormat.JPEG:
        options["shrink"] = shrink
    if header.tiles is not None:
        level = header.tiles.level(shrink)
        options |= {"access": "random", "page": level.page}
        if level.subdirectory is not None:
            options["subifd"] = level.subdirectory
    source = pyvips.Source.new_from_descriptor(descriptor)
    try:
        return pyvips.Operation.call(loader, source, **options)
    except pyvips.Error:
        if header.format is OriginalFormat.TIFF and header.colour is Colour.OTHER:
            # Lab in 8 bits, which libvips announces and then refuses. Pillow turns it upright.
            image = _load_with_pillow(descriptor, header.format, shrink)
            return _turned(image, header.orientation.inverse)
        raise


def _load_with_pillow(descriptor: int, format_: OriginalFormat, shrink: int) -> Pixels:
    os.lseek(descriptor, 0, os.SEEK_SET)
    Image.MAX_IMAGE_PIXELS = None  # the header has been checked against the configured limit
    with os.fdopen(os.dup(descriptor), "rb") as file, Image.open(file, formats=[format_]) as image:
        if shrink > 1:
            _reduce(image, shrink)
        image.load()
        profile = None if image.mode == "LAB" else image.info.get("icc_profile")
        plain = _plain(image)
    return _of_pillow(plain, profile)


def _reduce(image: Image.Image, shrink: int) -> None:
    """Have a JPEG 2000 image reduced while it is decoded."""
    image.reduce = shrink.bit_length() - 1  # type: ignore[method-assign, assignment]
    # The codestream rounds reduced sides up (ISO 15444-1, B.5). Pillow rounds them to the nearest,
    # and then refuses what does not fit; from these sides it comes to the same.
    width, height = (-(-side // shrink) * shrink for side in image.size)
    image._size = (width, height)  # noqa: SLF001


def _plain(image: Image.Image) -> Image.Image:
    """The image as 8-bit gray or RGB, with or without alpha."""
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
    if image.mode == "I;16":
        image = image.point(lambda value: value * (1 / 256))  # `convert` would cut off at 255
    return image.convert(_PILLOW_MODES.get(image.mode, image.mode))


_PILLOW_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "I;16": "L", "CMYK": "RGB", "YCbCr": "RGB"}


def _of_pillow(image: Image.Image, profile: bytes | None) -> Pixels:
    """8-bit gray or RGB, with or without alpha, for libvips."""
    return _of_rows(PixelBuffer(image.tobytes(), *image.size, len(image.getbands()), profile))


def _of_rows(rows: PixelBuffer) -> Pixels:
    """The same for libvips."""
    pixels = pyvips.Image.new_from_memory(rows.pixels, rows.width, rows.height, rows.bands, "uchar")
    gray = rows.bands <= 2  # noqa: PLR2004 - and alpha
    pixels = pixels.copy(interpretation="b-w" if gray else "srgb")
    if rows.profile:
        pixels.set_type(pyvips.GValue.blob_type, _ICC, rows.profile)
    return pixels


def _around(operations: PixelOperations, at: Box) -> Box:
    """The pixels of a reduced image that the box of the work takes, and some around it."""
    exact = FloatBox.of(operations.box, operations.shrink)
    left, top = max(at.x, floor(exact.x) - _MARGIN), max(at.y, floor(exact.y) - _MARGIN)
    left -= (left - at.x) % GRID
    right = min(at.x + at.width, ceil(exact.x + exact.width) + _MARGIN)
    bottom = min(at.y + at.height, ceil(exact.y + exact.height) + _MARGIN)
    return Box(left, top, right - left, bottom - top)


# --- cut and scale --------------------------------------------------------------------------


def _scaled(image: Pixels, operations: PixelOperations, at: Box) -> Pixels:
    """The box of the work at exactly `work.size`.

    `image` is the part `at` of the original reduced by `work.shrink`.
    """
    exact = FloatBox.of(operations.box, operations.shrink)
    reduced = _reduced(image, exact, operations, at)
    if reduced is not None:
        return reduced
    x, y = floor(exact.x), floor(exact.y)
    right = min(ceil(exact.x + exact.width), at.x + at.width)
    bottom = min(ceil(exact.y + exact.height), at.y + at.height)
    image = _cropped(image, x - at.x, y - at.y, right - x, bottom - y)
    if (right - x, bottom - y) == (operations.size.width, operations.size.height):
        return image  # to within less than a pixel of the reduced image: not worth a blur
    across, down = operations.size.width / exact.width, operations.size.height / exact.height
    return _resampled(
        image, across, down, ((exact.x - x) * across, (exact.y - y) * down), operations
    )


def _reduced(
    image: Pixels, exact: "FloatBox", operations: PixelOperations, at: Box
) -> Pixels | None:
    """The same in one pass, where the image is reduced, by little, and can be cut for it."""
    size = operations.size
    steps = exact.width / size.width, exact.height / size.height
    # Above that, libvips averages boxes first, from the beginning and not from the middle.
    if min(steps) < 1 or max(steps) == 1 or max(steps) >= _BOX_AVERAGED or image.hasalpha():
        return None
    across = aligned_span(exact.x - at.x, exact.width, size.width, _NEAR)
    down = aligned_span(exact.y - at.y, exact.height, size.height, _NEAR)
    if across is None or down is None:
        return None
    image = _spanned(image, across, down)
    image = image.resize(1 / steps[0], vscale=1 / steps[1], kernel="lanczos3")
    if (image.width, image.height) != (across.total, down.total):
        return None  # rounded the other way
    return _cropped(image, across.before, down.before, size.width, size.height)


def _spanned(image: Pixels, across: Span, down: Span) -> Pixels:
    """The pixels of two spans, the edges of the image repeated where they go beyond it."""
    left, top = max(0, -across.start), max(0, -down.start)
    right, bottom = max(0, across.end - image.width), max(0, down.end - image.height)
    if left or top or right or bottom:
        width, height = left + image.width + right, top + image.height + bottom
        image = image.embed(left, top, width, height, extend="copy")
    width, height = across.end - across.start, down.end - down.start
    return _cropped(image, across.start + left, down.start + top, width, height)


def _cropped(image: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
    if (x, y, width, height) == (0, 0, image.width, image.height):
        return image
    return image.crop(x, y, width, height)


def _resampled(
    image: Pixels,
    across: float,
    down: float,
    offset: tuple[float, float],
    operations: PixelOperations,
) -> Pixels:
    """The image scaled by two factors, from an offset in pixels of the result, at `work.size`."""
    alpha = bool(image.hasalpha())
    band_format = image.format
    if alpha:
        image = image.premultiply()
    width, height = image.width * across, image.height * down
    image = image.resize(across, vscale=down, kernel="lanczos3")
    # libvips rounds the sides, and puts half of what that adds or takes at each end.
    offset = (offset[0] + (image.width - width) / 2, offset[1] + (image.height - height) / 2)
    size = operations.size
    if (image.width, image.height) != (size.width, size.height) or max(map(abs, offset)) > _SEEN:
        image = image.affine(
            [1, 0, 0, 1],
            odx=-offset[0],
            ody=-offset[1],
            oarea=[0, 0, size.width, size.height],
            interpolate=pyvips.Interpolate.new("bicubic"),
            extend="copy",
        )
    if alpha:
        image = image.unpremultiply().rint()  # `cast` cuts off
    return image.cast(band_format)


# --- colour ---------------------------------------------------------------------------------


def _coloured(image: Pixels, operations: PixelOperations) -> Pixels:
    """The image as 8-bit gray or RGB, with or without alpha, in the quality asked for."""
    image = _displayable(image, operations.profile)
    if operations.quality is Quality.DEFAULT or operations.quality is Quality.COLOR:
        return image
    image = image.colourspace("b-w")
    if operations.quality is Quality.BITONAL:
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
    # It is turned by us, and TIFF would repeat what it is told.
    spent = [_ORIENTATION] if action is ProfileAction.KEEP else [_ORIENTATION, _ICC]
    return _without(image, spent)


def _without(image: Pixels, fields: Iterable[str]) -> Pixels:
    """The image without some of its metadata."""
    present = set(fields).intersection(image.get_fields())
    if present:
        image = image.copy()
        for field in present:
            image.remove(field)
    return image


def _converted(image: Pixels) -> Pixels | None:
    """The image in sRGB by its own profile, or by a usual one for ink; None if that is no use."""
    try:
        converted = image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", black_point_compensation=True, depth=8
        )
    except pyvips.Error:
        return None
    return _without(converted, [_ORIENTATION, _ICC])


# --- turn and rotate ------------------------------------------------------------------------


def _turned(image: Pixels, turn: Orientation) -> Pixels:
    if turn == UPRIGHT:
        return image
    image = image.copy_memory()  # turning reads in another order than decoding gives
    if turn.mirror:
        image = image.fliphor()
    return image.rot(f"d{90 * turn.quarters}")


def _rotated(image: Pixels, operations: PixelOperations) -> Pixels:
    """The image turned by any angle into its bounding box (Image API 3.0, 4.3).

    The corners are transparent where the format can say so, and white elsewhere.
    """
    if not operations.degrees:
        return image
    transparent = FACTS[operations.format].transparent and operations.quality is not Quality.BITONAL
    if transparent and not image.hasalpha():
        image = image.addalpha()
    alpha = bool(image.hasalpha())
    image = image.copy_memory()
    if alpha:
        image = image.premultiply()
    background = [0] * image.bands if alpha else [_WHITE] * image.bands
    nearest = operations.quality is Quality.BITONAL
    kernel = pyvips.Interpolate.new("nearest" if nearest else "bicubic")
    image = image.similarity(angle=operations.degrees, interpolate=kernel, background=background)
    if alpha:
        image = image.unpremultiply().rint()  # `cast` cuts off
    return image.cast("uchar")


def _flattened(image: Pixels, operations: PixelOperations) -> Pixels:
    """The image on white where the format has no transparency."""
    if image.hasalpha() and not FACTS[operations.format].transparent:
        return image.flatten(background=[_WHITE])
    return image


# --- encode ---------------------------------------------------------------------------------


def _jpg(image: Pixels, _: PixelOperations, encoding: EncodingOptions) -> bytes:
    if _is_plain(encoding) and image.width * image.height <= FEW_PIXELS:
        with suppress(turbojpeg.NotDoneError):
            profile = bytes(image.get(_ICC)) if image.get_typeof(_ICC) else None
            pixels = image.write_to_memory()
            rows = PixelBuffer(pixels, image.width, image.height, image.bands, profile)
            return rows.as_jpeg(encoding.jpeg_quality)
    data: bytes = image.jpegsave_buffer(
        Q=encoding.jpeg_quality,
        interlace=encoding.jpeg_progressive,
        # The best code is known when all coefficients are, which large images have too many of.
        optimize_coding=encoding.jpeg_optimize and image.width * image.height <= MOST_OPTIMISED,
        keep="icc",
    )
    return data


def _is_plain(encoding: EncodingOptions) -> bool:
    """Whether JPEGs are to be such as the codec alone makes, in half the time."""
    return turbojpeg.available() and not (encoding.jpeg_progressive or encoding.jpeg_optimize)


def _png(image: Pixels, operations: PixelOperations, encoding: EncodingOptions) -> bytes:
    data: bytes = image.pngsave_buffer(
        compression=encoding.png_level, bitdepth=_bit_depth(operations), keep="icc"
    )
    return data


def _tif(image: Pixels, operations: PixelOperations, encoding: EncodingOptions) -> bytes:
    if _bit_depth(operations) == 1:
        bilevel: bytes = image.tiffsave_buffer(compression="ccittfax4", bitdepth=1, keep="none")
        return bilevel
    data: bytes = image.tiffsave_buffer(
        compression=encoding.tiff_compression,
        predictor="horizontal",
        Q=encoding.jpeg_quality,
        keep="icc",
    )
    return data


def _gif(image: Pixels, _: PixelOperations, encoding: EncodingOptions) -> bytes:
    data: bytes = image.colourspace("srgb").gifsave_buffer(effort=encoding.gif_effort, keep="none")
    return data


def _webp(image: Pixels, _: PixelOperations, encoding: EncodingOptions) -> bytes:
    data: bytes = image.webpsave_buffer(
        Q=encoding.webp_quality, effort=encoding.webp_effort, keep="icc"
    )
    return data


def _avif(image: Pixels, _: PixelOperations, encoding: EncodingOptions) -> bytes:
    data: bytes = image.heifsave_buffer(
        compression="av1", Q=encoding.avif_quality, effort=encoding.avif_effort, keep="icc"
    )
    return data


def _jp2(image: Pixels, _: PixelOperations, encoding: EncodingOptions) -> bytes:
    buffer = BytesIO()
    _as_pillow(image).save(
        buffer,
        "JPEG2000",
        irreversible=encoding.jp2_ratio > 1,
        quality_mode="rates",
        quality_layers=[encoding.jp2_ratio],
    )
    return buffer.getvalue()


def _pdf(image: Pixels, _: PixelOperations, encoding: EncodingOptions) -> bytes:
    buffer = BytesIO()
    _as_pillow(image).save(buffer, "PDF", quality=encoding.jpeg_quality)
    return buffer.getvalue()


_ENCODERS: dict[Format, Callable[[Any, PixelOperations, EncodingOptions], bytes]] = {
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


def _bit_depth(operations: PixelOperations) -> int:
    return 1 if operations.quality is Quality.BITONAL else 8
