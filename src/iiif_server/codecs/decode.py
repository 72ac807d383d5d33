"""Decoding of originals by libvips, and by Pillow where the libvips wheel has no decoder."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pyvips
from PIL import Image, ImageFile

from iiif_server.codecs.adam7 import fill_missing
from iiif_server.codecs.bmp import read_bmp
from iiif_server.codecs.colour import ON_WHITE, stretch_range, to_displayable
from iiif_server.codecs.decoder_errors import translate_error
from iiif_server.codecs.dicom import read_dicom
from iiif_server.codecs.gif_frames import read_frame
from iiif_server.codecs.heif import read_heif
from iiif_server.codecs.jpeg2000 import read_jpeg2000
from iiif_server.codecs.jpeg_samples import read_jpeg_samples
from iiif_server.codecs.jpegxl import read_jpegxl
from iiif_server.codecs.pdf import render_page
from iiif_server.codecs.pixel_buffer import PixelBuffer, Pixels, with_profile
from iiif_server.codecs.psd import read_psd
from iiif_server.codecs.raw import read_raw
from iiif_server.codecs.resample import apply_orientation
from iiif_server.codecs.tiff_arrays import read_box
from iiif_server.errors import DamagedOriginalError, IiifServerError
from iiif_server.formats.avif import with_default_matrix
from iiif_server.formats.bounded_file import truncated_error
from iiif_server.formats.jpeg import END_OF_IMAGE
from iiif_server.formats.tiff_pages import SingleDirectory
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import ImageHeader, Reader
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import FEW_PIXELS, ProfileAction

_LOADERS: dict[OriginalFormat, str] = {
    OriginalFormat.JPEG: "jpegload_source",
    OriginalFormat.PNG: "pngload_source",
    OriginalFormat.TIFF: "tiffload_source",
    OriginalFormat.WEBP: "webpload_source",
    OriginalFormat.GIF: "gifload_source",
    OriginalFormat.AVIF: "heifload_source",
}

Item = TypeVar("Item")


@contextmanager
def decoding(header: ImageHeader) -> Iterator[None]:
    """Translate exceptions of libvips and Pillow inside into an IiifServerError, by their cause.

    Their messages may contain a path; and on hostile data Pillow raises any exception of Python.
    """
    try:
        yield
    except IiifServerError:
        raise
    except Exception as error:
        translated = translate_error(error, header.format)
        if (
            isinstance(translated, DamagedOriginalError)
            and header.jpeg
            and not header.jpeg.complete
        ):
            translated = truncated_error(header.format)
        raise translated from error


def decoding_items(header: ImageHeader, items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of an iterator; only their production runs inside `decoding`."""
    iterator = iter(items)
    while True:
        with decoding(header):
            item = next(iterator, None)
        if item is None:
            return
        yield item


def decode_upright(
    descriptor: int,
    header: ImageHeader,
    action: ProfileAction,
    shrink: int,
    *,
    transparent: bool = False,
) -> Pixels:
    """Decode the whole image: upright, 8-bit gray or RGB, reduced by `shrink`.

    It is flattened on white unless `transparent`. Pixels are decoded on demand, from top to bottom
    and only once; to be used within `decoding`.
    """
    image = to_displayable(load(descriptor, header, shrink), action)
    if image.hasalpha() and not transparent:
        image = image.flatten(background=ON_WHITE)
    return apply_orientation(image, header.orientation)


def load_part(descriptor: int, header: ImageHeader, shrink: int, box: Box) -> tuple[Pixels, Box]:
    """Decode at least a box of the image, reduced by `shrink`; return pixels and their box."""
    read = _PART_READERS.get(header.reader)
    if read is not None:
        return stretch_range(read(descriptor, header, shrink, box), header), box
    image = load(descriptor, header, shrink)
    return image, Box(0, 0, image.width, image.height)


def load(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    """Open the stored pixels, reduced by `shrink`, for reading from top to bottom on demand.

    Raises DamagedOriginalError where the decoder sees other dimensions than the header has.
    """
    read = _PART_READERS.get(header.reader)
    if read is not None:
        return stretch_range(read(descriptor, header, shrink, level_box(header, shrink)), header)
    return stretch_range(_load_whole(descriptor, header, shrink), header)


def _load_whole(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    image = with_profile(_open_pixels(descriptor, header, shrink), header.generated_profile)
    if _is_whole(image, header, shrink):
        return image
    if header.format is OriginalFormat.GIF and header.stored.area <= FEW_PIXELS:
        # libvips ignores some common screen sizes, and returns only the frame.
        image = _read_with_pillow(descriptor, header)
        if _is_whole(image, header, shrink):
            return image
    raise DamagedOriginalError(
        "The original is damaged: its data and its header have different dimensions."
    )


def level_box(header: ImageHeader, shrink: int) -> Box:
    """Return the box of the whole image, reduced by `shrink`."""
    size = header.stored.reduced(shrink)
    if header.tiles is not None:
        size = header.tiles.level(shrink).dimensions
    return Box(0, 0, size.width, size.height)


def _is_whole(image: Pixels, header: ImageHeader, shrink: int) -> bool:
    """Whether an image has the reduced dimensions, rounded up or down."""
    sides = (image.width, header.stored.width), (image.height, header.stored.height)
    return all(side // shrink <= actual <= -(-side // shrink) for actual, side in sides)


def _open_pixels(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    if header.format is OriginalFormat.GIF and header.reader is Reader.PILLOW:
        with _truncated_images(allowed=header.partial):
            return read_frame(descriptor, header)
    read = _WHOLE_READERS.get(header.reader)
    if read is not None:
        return read(descriptor, header, shrink)
    strictness = "none" if header.partial else "error"
    options: dict[str, Any] = {"access": "sequential", "fail_on": strictness}
    if header.jpeg is not None:
        options["shrink"] = shrink
        if not header.jpeg.complete and not header.partial:
            options["fail_on"] = "warning"
            return pyvips.Image.jpegload_buffer(_with_eoi(descriptor), **options)
    if header.pages > 1 and header.format is not OriginalFormat.TIFF:
        options["page"] = header.page
    if header.tiles is not None:
        options["access"] = "random"
    source = _source(descriptor, header, shrink)
    image = pyvips.Operation.call(_LOADERS[header.format], source, **options)
    image._references.append(source)  # noqa: SLF001 - as new_from_source: it has Python callbacks
    return _select_bands(_scale_avif_samples(image, header), header)


def _scale_avif_samples(image: Pixels, header: ImageHeader) -> Pixels:
    """Scale the samples of an AVIF of 10 or 12 bits to 16; libvips only shifts them."""
    if header.format is not OriginalFormat.AVIF or image.format != "ushort":
        return image
    white = ((1 << header.bits) - 1) << (16 - header.bits)
    scaled = image.linear(65_535 / white, 0).rint().cast("ushort")
    return scaled.copy(interpretation=image.interpretation)


def _source(descriptor: int, header: ImageHeader, shrink: int) -> pyvips.Source:
    if header.format is OriginalFormat.TIFF:
        level = None if header.tiles is None else header.tiles.level(shrink)
        file = SingleDirectory(descriptor, level.directory if level else header.directory)
        if not file.is_whole_file:
            source = pyvips.SourceCustom()
            # Not on_read: readinto fills libtiff's buffer, whatever length a hostile file requests.
            source.signal_connect("read", file.readinto)
            source.on_seek(file.seek)
            return source
    if header.format is OriginalFormat.AVIF:
        with os.fdopen(os.dup(descriptor), "rb") as opened:
            opened.seek(0)
            return pyvips.Source.new_from_memory(with_default_matrix(opened.read()))
    return pyvips.Source.new_from_descriptor(descriptor)


def _with_eoi(descriptor: int) -> bytes:
    """Return the JPEG with an EOI marker. The decoder still warns about missing pixels."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read() + END_OF_IMAGE


def _select_bands(image: Pixels, header: ImageHeader) -> Pixels:
    """Remove samples that are neither colour nor alpha, which libvips takes for alpha."""
    if not header.bands or image.bands == len(header.bands):
        return image
    first = image.extract_band(header.bands[0], n=len(header.bands) - header.transparent)
    if header.transparent:
        first = first.bandjoin(image.extract_band(header.bands[-1]))
    return first.copy(interpretation=image.interpretation)


def _read_with_pillow(descriptor: int, header: ImageHeader, _: int = 1) -> Pixels:
    os.lseek(descriptor, 0, os.SEEK_SET)
    Image.MAX_IMAGE_PIXELS = None  # the header has been checked against the configured limit
    with (
        os.fdopen(os.dup(descriptor), "rb") as file,
        Image.open(file, formats=[header.format]) as image,
        _truncated_images(allowed=header.partial),
    ):
        image.load()
        profile = image.info.get("icc_profile")
        plain = _to_8_bits(image, header)
    pixels, bands = plain.tobytes(), len(plain.getbands())
    if header.format is OriginalFormat.PNG:  # only truncated interlaced ones come here
        pixels = fill_missing(descriptor, pixels, (plain.height, plain.width, bands))
    return PixelBuffer(pixels, *plain.size, bands, profile).to_vips()


@contextmanager
def _truncated_images(*, allowed: bool) -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _to_8_bits(image: Image.Image, header: ImageHeader) -> Image.Image:
    """Convert the image to 8-bit gray or RGB, with or without alpha."""
    if image.mode == "I;16":
        image = image.point(lambda value: value * (1 / 256))  # `convert` would cut off at 255
    colours = "L" if image.mode in {"1", "L", "LA", "La", "I;16"} else "RGB"
    # A TGA of 32 bits may have no alpha, but a byte of which nothing is known.
    alpha = image.has_transparency_data and header.transparent
    return image.convert(f"{colours}A" if alpha else colours)


_PART_READERS = {
    Reader.ARRAYS: read_box,
    Reader.BMP: read_bmp,
    Reader.DICOM: read_dicom,
    Reader.PDFIUM: render_page,
    Reader.PSD: read_psd,
}
"""Decoders that can read a part of an image without the rest."""
_WHOLE_READERS = {
    Reader.OPENJPEG: read_jpeg2000,
    Reader.JPEG_SAMPLES: read_jpeg_samples,
    Reader.LIBJXL: read_jpegxl,
    Reader.LIBHEIF: read_heif,
    Reader.LIBRAW: read_raw,
    Reader.PILLOW: _read_with_pillow,
}
