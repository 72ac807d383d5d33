"""Image headers of originals; no pixel is decoded."""

import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from pi_heif import register_heif_opener
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

from iiif_server.codecs import jpegxl, raw
from iiif_server.codecs.colour_tags import profile_of
from iiif_server.codecs.decoder_errors import translate_error
from iiif_server.codecs.description import with_credits_and_resolution
from iiif_server.codecs.image_items import avif_item, items_of_avif, items_of_heif
from iiif_server.codecs.pdf import pdf_header
from iiif_server.codecs.profiles import classify_profile
from iiif_server.codecs.raw import raw_header
from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    NotAnImageError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.formats.bounded_file import MAX_BLOCK_BYTES, BoundedFile, Inspection
from iiif_server.formats.colour_tags import ADOBE_RGB, ColourTags
from iiif_server.formats.dicom_elements import MAGIC
from iiif_server.formats.inspection import inspect
from iiif_server.formats.present_file import PresentFile
from iiif_server.formats.raw import is_raw, is_tiff
from iiif_server.formats.tiff_tables import inspect_partial
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.extents import BytesMissingError, Extent, PartialResult
from iiif_server.plan.header import Colour, ImageHeader, Reader
from iiif_server.plan.local_file import LocalFile, removed_error
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT, Orientation
from iiif_server.plan.original_format import (
    DEFAULT_BOUNDS,
    SIGNATURE_BYTES,
    Bounds,
    OriginalFormat,
    recognise,
)

PngImagePlugin.MAX_TEXT_CHUNK = MAX_BLOCK_BYTES  # of profiles, too; `formats.png` limits both
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


def _read_segment(image: JpegImagePlugin.JpegImageFile, marker: int) -> None:
    """Make Pillow ignore a JFIF or Adobe segment that is too short, as libjpeg does."""
    with suppress(struct.error):
        JpegImagePlugin.APP(image, marker)


for _marker, _name in ((0xFFE0, "APP0"), (0xFFEE, "APP14")):
    JpegImagePlugin.MARKER[_marker] = (_name, "", _read_segment)  # type: ignore[assignment]


def probe(
    path: Path, max_pixels: int, bounds: Bounds = DEFAULT_BOUNDS, page: int = 1
) -> ImageHeader:
    """Read the header of a page of the image at a path, like `probe_file`."""
    try:
        file = LocalFile.at(path)
    except FileNotFoundError as error:
        raise removed_error() from error
    return probe_file(file, max_pixels=max_pixels, bounds=bounds, page=page)


def probe_file(
    original: LocalFile,
    descriptor: int | None = None,
    *,
    max_pixels: int,
    bounds: Bounds = DEFAULT_BOUNDS,
    page: int = 1,
) -> ImageHeader:
    """Read the header of a page of one version of an original, from `descriptor` if given.

    Nothing is decoded. Raises PageNotFoundError, UnsupportedOriginalError, DamagedOriginalError,
    OriginalTooLargeError above `max_pixels` or beyond the bounds, or OriginalChangedError if
    another version, or nothing, is at the path.
    """
    with os.fdopen(open_regular(original, descriptor), "rb") as file:
        return _header(file, inspect, max_pixels, bounds, page)


def probe_partial(
    original: LocalFile,
    descriptor: int | None = None,
    *,
    present: Sequence[Extent],
    max_pixels: int,
    bounds: Bounds = DEFAULT_BOUNDS,
    page: int = 1,
) -> PartialResult[ImageHeader]:
    """Read the header like `probe_file` from a partly downloaded file, or return missing extents.

    Only tiled TIFFs have headers that can be read without the whole file.
    """
    with PresentFile(open_regular(original, descriptor), present) as file:
        try:
            stream = cast("BinaryIO", file)
            inspect_ = partial(inspect_partial, file)
            return PartialResult(_header(stream, inspect_, max_pixels, bounds, page))
        except BytesMissingError as error:
            return PartialResult(None, error.extents)


def _header(
    file: BinaryIO,
    inspect_: Callable[[BoundedFile], Inspection],
    max_pixels: int,
    bounds: Bounds,
    page: int,
) -> ImageHeader:
    Image.MAX_IMAGE_PIXELS = None  # our own limit, below, is the one that is configured
    format_ = _recognise_format(file, bounds)
    with translating_errors(format_):
        bounded = BoundedFile(file, format_, max_pixels, bounds, page)
        inspected = inspect_(bounded)
        if format_ is OriginalFormat.PDF:
            return with_credits_and_resolution(pdf_header(bounded, file, inspected), inspected)
        if format_ is OriginalFormat.RAW:
            return with_credits_and_resolution(raw_header(bounded, file), inspected)
        if format_ is OriginalFormat.JPEGXL:
            inspected = replace(inspected, profile=jpegxl.profile_of(file.fileno()))
        file.seek(0)
        return _check_size(_read(bounded, file, inspected), max_pixels)


@contextmanager
def translating_errors(format_: OriginalFormat) -> Iterator[None]:
    """Translate any exception that a decoder raises on hostile data."""
    try:
        yield
    except (IiifServerError, BytesMissingError):
        raise
    except Exception as error:
        error_ = translate_error(error, format_)
        raise (_damaged(format_) if isinstance(error_, DamagedOriginalError) else error_) from error


def open_regular(original: LocalFile, descriptor: int | None) -> int:
    """Open this version of an original. Raises UnsupportedOriginalError for a folder."""
    opened = original.open(descriptor)
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise UnsupportedOriginalError("The original is not a regular file.")


def detect_format(file: BinaryIO, bounds: Bounds) -> OriginalFormat | None:
    """Detect the format of a file by its signature; for TIFF, also by its directories.

    It may be a raw photograph, or a DICOM whose preamble is only the start of a TIFF.
    """
    file.seek(0)
    start = file.read(SIGNATURE_BYTES)
    format_ = recognise(start)
    if format_ is not OriginalFormat.TIFF:
        return format_
    bounded = BoundedFile(file, format_, bounds=bounds)
    if OriginalFormat.DICOM in bounds.formats and start.endswith(MAGIC) and not is_tiff(bounded):
        return OriginalFormat.DICOM
    if raw.AVAILABLE and OriginalFormat.RAW in bounds.formats and is_raw(bounded):
        return OriginalFormat.RAW
    return format_


def _recognise_format(file: BinaryIO, bounds: Bounds) -> OriginalFormat:
    """Detect the format of a file. Raises NotAnImageError for formats that are not allowed."""
    size, format_ = file.seek(0, 2), detect_format(file, bounds)
    if format_ is None or format_ not in bounds.formats:
        read = ", ".join(format_ for format_ in OriginalFormat if format_ in bounds.formats)
        raise NotAnImageError(
            f"The original is not an image in a format that this server reads: {read}."
        )
    if size > bounds.file_bytes:
        raise OriginalTooLargeError(
            f"The original has {size:,} bytes; this server reads up to {bounds.file_bytes:,}."
        )
    return format_


def _damaged(format_: OriginalFormat) -> DamagedOriginalError:
    return DamagedOriginalError(f"The header of this {format_} image is damaged.")


def _check_size(header: ImageHeader, max_pixels: int) -> ImageHeader:
    if min(header.stored.width, header.stored.height) < 1:
        raise _damaged(header.format)
    if header.stored.area > max_pixels:
        raise OriginalTooLargeError(
            f"The original has {header.stored.area:,} pixels; "
            f"this server reads up to {max_pixels:,}."
        )
    return header


def _read(bounded: BoundedFile, file: BinaryIO, inspected: Inspection) -> ImageHeader:
    if inspected.header is None:
        return _read_with_pillow(bounded, file, inspected)
    icc, found = inspected.profile, inspected.header
    bounded.check_page(found.pages)
    # The orientation of a JPEG XL is that of its codestream, which its decoder applies.
    oriented = inspected.exif and found.reader is not Reader.LIBJXL
    return replace(
        with_credits_and_resolution(found, inspected),
        partial=inspected.partial,
        orientation=_orientation(inspected.exif) if oriented else found.orientation,
        profile=classify_profile(icc, found.colour),
        profile_bytes=len(icc),
    )


def _read_with_pillow(bounded: BoundedFile, file: BinaryIO, inspected: Inspection) -> ImageHeader:
    with Image.open(file, formats=[bounded.format]) as image:
        page, pages = _page(bounded, file, image, inspected)
        stored = Dimensions(*image.size)
        orientation = _orientation(image.info.get("exif") or inspected.exif)
        colour, transparent = _colour(image.mode), image.has_transparency_data
        reader = _reader(bounded, inspected)
        bits = 8 if reader is Reader.PILLOW else _bits(bounded, image)
        if bounded.format is OriginalFormat.AVIF:
            # Its decoder crops and turns as the transformation boxes say; Pillow only turns.
            decoded = avif_item(file, page)
            stored, orientation = Dimensions(decoded.width, decoded.height), UPRIGHT
            transparent, bits = bool(decoded.hasalpha()), int(decoded.get("bits-per-sample"))
        elif bounded.format is OriginalFormat.GIF and (page or not _covers_screen(image)):
            # Only the first frame has been read: each may have colours of its own, or none.
            colour, transparent, reader = Colour.RGB, True, Reader.PILLOW
        icc = image.info.get("icc_profile") or b""
        generated = _generated_profile(image, inspected, colour)
        icc = icc if generated is None else generated  # sRGB needs none
        header = ImageHeader(
            format=bounded.format,
            stored=stored,
            orientation=orientation,
            colour=colour,
            transparent=transparent,
            profile=classify_profile(icc, colour),
            profile_bytes=len(icc),
            max_shrink=_JPEG_SHRINK if inspected.jpeg else 1,
            jpeg=inspected.jpeg,
            pixel_bytes=_pixel_bytes(image, bits),
            needs=inspected.needs,
            interleaved=inspected.interleaved,
            page=page,
            pages=pages,
            generated_profile=generated or b"",
            reader=reader,
            partial=inspected.partial,
            bits=bits,
        )
        return with_credits_and_resolution(header, inspected, image.info)


def _reader(bounded: BoundedFile, inspected: Inspection) -> Reader:
    if bounded.format is OriginalFormat.PNG and inspected.partial and inspected.interleaved:
        return Reader.PILLOW  # libvips takes all passes or none
    return _READERS.get(bounded.format, Reader.LIBVIPS)


def _covers_screen(image: Image.Image) -> bool:
    """Whether the first frame of a GIF fills its screen."""
    return all(tile[1] == (0, 0, *image.size) for tile in getattr(image, "tile", []))


def _generated_profile(image: Image.Image, inspected: Inspection, colour: Colour) -> bytes | None:
    """Return the ICC profile of colour tags; empty for sRGB, None without tags."""
    tags = inspected.colour_tags
    if inspected.jpeg and colour is Colour.RGB and not image.info.get("icc_profile"):
        tags = _dcf_colour_tags(image)
    return profile_of(tags, gray=colour is Colour.GRAY) if tags else None


def _bits(bounded: BoundedFile, image: Image.Image) -> int:
    """Return bits per sample; for PNG from IHDR (ISO 15948, 11.2.2)."""
    if bounded.format is OriginalFormat.PNG:
        return bounded.read_at(24, 1)[0]
    return int(image.info.get("bit_depth", 8))


def _page(
    bounded: BoundedFile, file: BinaryIO, image: Image.Image, inspected: Inspection
) -> tuple[int, int]:
    """Return the decoder's number of the requested page, and the number of pages."""
    if bounded.format not in {OriginalFormat.HEIF, OriginalFormat.AVIF}:
        bounded.check_page(inspected.pages)
        return bounded.page - 1, inspected.pages
    heif = bounded.format is OriginalFormat.HEIF
    items = items_of_heif(bounded, image) if heif else items_of_avif(bounded, file)
    bounded.check_page(len(items))
    page = items[bounded.page - 1]
    if heif:
        image.seek(page)
    return page, len(items)


def _pixel_bytes(image: Image.Image, bits: int) -> int:
    """Return bytes per decoded pixel, at least one per sample."""
    bands = 4 if image.mode == "P" else len(image.getbands())
    # Pillow reduces most images of 16 bits to 8, and says it in the name of its decoder's mode.
    decoders = [tile[3] for tile in getattr(image, "tile", [])[:1]]
    wide = ";16" in f"{image.mode} {decoders}" or bits > 8  # noqa: PLR2004 - bits of a byte
    return bands * (2 if wide else 1)


def _colour(mode: str) -> Colour:
    if mode in _GRAY_MODES:
        return Colour.GRAY
    return Colour.OTHER if mode == "CMYK" else Colour.RGB


def _dcf_colour_tags(image: Image.Image) -> ColourTags | None:
    """Return Adobe RGB (1998) if EXIF declares DCF's optional colour space (DCF 2.0, 5.1.3)."""
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except Exception:  # noqa: BLE001 - a damaged EXIF block is no reason to refuse the image
        return None
    return ADOBE_RGB if (space, index) == (_UNCALIBRATED, "R03") else None


def _orientation(data: bytes) -> Orientation:
    """Return the orientation from EXIF. Browsers ignore that of XMP, too."""
    try:
        exif = Image.Exif()
        exif.load(data if data.startswith(b"Exif") else b"Exif\0\0" + data)
        value = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF block is no reason to refuse the image
        value = 1
    return FROM_EXIF.get(value, UPRIGHT) if isinstance(value, int) else UPRIGHT


_READERS = {OriginalFormat.HEIF: Reader.LIBHEIF}
_JPEG_SHRINK = 8
"""Largest reduction of JPEG decoders."""
_UNCALIBRATED = 0xFFFF
"""EXIF ColorSpace of everything but sRGB."""
_GRAY_MODES = frozenset({"1", "L", "LA", "La", "I;16"})
