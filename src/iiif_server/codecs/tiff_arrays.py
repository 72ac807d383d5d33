"""TIFF samples that libvips does not read, decoded by tifffile and imagecodecs.

The file has been inspected: this module has no limits of its own. Only the strips or tiles that a
box touches are decoded.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from itertools import product
from math import ceil
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from iiif_server.codecs import logluv
from iiif_server.codecs.decoder_errors import check_dimensions
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.codecs.tiff_segments import (
    JPEG_XL,
    JPEGS,
    check_lengths,
    check_page,
    check_samples,
    check_segment,
    jpegxl_segment,
)
from iiif_server.formats.bounded_file import truncated_error
from iiif_server.formats.tiff_pages import SingleDirectory
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import ImageHeader, Profile
from iiif_server.plan.original_format import OriginalFormat

Array = NDArray[Any]

# imagecodecs loads its extension modules when they are first used. A sandboxed worker can load no
# more, so they are loaded with this module.
_LOADED = [
    getattr(imagecodecs, f"{name}_decode")
    for name in (
        "ccittrle", "ccittfax3", "ccittfax4", "jpeg", "jpegxl", "lerc", "ljpeg", "jpeg2k", "lzma",
        "lzw", "packbits", "packints", "webp", "zlib", "zstd",
    )
]  # fmt: skip
_PIXELS_PER_STEP = 1 << 22
"""Pixels per step of a scan."""
_MIN_SAMPLE, _MAX_SAMPLE = 340, 341
_COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 529, 530, 532


def read_box(descriptor: int, header: ImageHeader, shrink: int, box: Box) -> Pixels:
    """Decode a box of the level reduced by `shrink`, with the ICC profile of the file.

    Raises DamagedOriginalError, and whatever the libraries raise on hostile data.
    """
    with _opened(descriptor, header, shrink) as page:
        samples = _decode_box(page, box, partial=header.partial)
        profile = page.iccprofile if header.profile is not Profile.NONE else None
        return to_pixels(_to_samples(page, samples, header), profile)


def sample_range(descriptor: int, header: ImageHeader) -> tuple[float, float]:
    """Return the least and greatest finite sample of the colours, at full resolution.

    Raises what `read_box` raises; (inf, -inf) where no sample is finite.
    """
    least, greatest = math.inf, -math.inf
    colours = list(header.bands[: len(header.bands) - header.transparent])
    with _opened(descriptor, header, 1) as page:
        if page.photometric == Photometric.LOG_LUV:
            colours = [1]  # luminance
        width, height = page.imagewidth, page.imagelength
        tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
        rows = tall * max(1, _PIXELS_PER_STEP // (tall * width))
        for top in range(0, height, rows):
            box = Box(0, top, width, min(rows, height - top))
            values = _decode_box(page, box, partial=header.partial)[:, :, colours]
            values = values[np.isfinite(values)]
            if values.size:
                least = min(least, float(values.min()))
                greatest = max(greatest, float(values.max()))
    return least, greatest


@contextmanager
def _opened(descriptor: int, header: ImageHeader, shrink: int) -> Iterator[Any]:
    """Open the page of the level reduced by `shrink`."""
    number, size = header.directory, header.stored
    if header.tiles is not None:
        level = header.tiles.level(shrink)
        number, size = level.directory, level.dimensions
    with (
        BufferedReader(SingleDirectory(descriptor, number)) as file,
        tifffile.TiffFile(file, name="original", offset=0) as opened,
    ):
        page: Any = opened.pages[0]
        check_dimensions(page.imagewidth, page.imagelength, size)
        check_page(page, header)
        yield page


def _decode_box(page: tifffile.TiffPage, box: Box, *, partial: bool) -> Array:
    """Decode a box to rows, columns, samples; 0 beyond the end of a `partial` file."""
    tall, wide = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    across, down = ceil(page.imagewidth / wide), ceil(page.imagelength / tall)
    planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
    plane_samples = page.samplesperpixel // planes
    rows = range(box.y // tall, ceil((box.y + box.height) / tall))
    columns = range(box.x // wide, ceil((box.x + box.width) / wide))

    def segments() -> Iterator[tuple[int, int, int, int]]:
        for plane, row, column in product(range(planes), rows, columns):
            yield (plane * down + row) * across + column, plane, row, column

    unpacked = wide * tall * plane_samples * np.dtype(page.dtype).itemsize
    check_lengths(page, (index for index, *_ in segments()), unpacked)
    decode = _segment_decoder(page, wide, tall, plane_samples)
    type_ = np.float32 if page.photometric in logluv.LOGARITHMIC else page.dtype
    found: Array = np.zeros((box.height, box.width, page.samplesperpixel), type_)
    for index, plane, row, column in segments():
        segment = decode(_read_segment(page, index, partial=partial), index)
        if segment is not None:
            target = found[:, :, plane * plane_samples : (plane + 1) * plane_samples]
            _paste(target, segment, column * wide - box.x, row * tall - box.y)
    return found


def _read_segment(page: tifffile.TiffPage, index: int, *, partial: bool) -> bytes | None:
    """Read the bytes of a segment; None if it is left out, or a partial file ends before it."""
    offset, length = page.dataoffsets[index], page.databytecounts[index]
    if not length:
        return None
    handle = page.parent.filehandle
    handle.seek(offset)
    data = handle.read(length)
    if len(data) < length and partial:
        return bytes(data).ljust(length, b"\0") if data and page.compression == 1 else None
    if len(data) < length:
        raise truncated_error(OriginalFormat.TIFF)
    return bytes(data)


def _paste(target: Array, segment: Array, x: int, y: int) -> None:
    """Copy a segment into an array, clipped to it."""
    left, top = max(0, -x), max(0, -y)
    part = segment[top : target.shape[0] - y, left : target.shape[1] - x]
    target[y + top : y + top + part.shape[0], x + left : x + left + part.shape[1]] = part


def _segment_decoder(
    page: tifffile.TiffPage, wide: int, tall: int, plane_samples: int
) -> Callable[[bytes | None, int], Array | None]:
    """Return a decoder of segments to rows, columns, samples; None for a missing segment."""
    if page.is_subsampled and page.compression not in JPEGS:
        return lambda data, _: None if data is None else _expand_ycbcr(page, data, wide, tall)
    if page.photometric in logluv.LOGARITHMIC:
        return partial(_decode_logluv, page, wide, tall)
    options: dict[str, Any] = {}
    if page.compression in JPEGS:
        options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}

    def decode(data: bytes | None, index: int) -> Array | None:
        if data is None:
            return None
        check_segment((page.jpegheader or b"") + data, page, wide, tall, plane_samples)
        if page.compression in JPEG_XL:  # tifffile takes any samples for those of the page
            return jpegxl_segment(data, page, wide, plane_samples)
        if _has_planar_jpegs(page):  # tifffile takes the gray JPEG of a plane for all colours
            plane: Array = imagecodecs.jpeg_decode(
                data, tables=page.jpegtables, header=page.jpegheader
            )
            return plane[:, :, np.newaxis]
        segment, _, shape = page.decode(data, index, **options)
        found: Array = np.asarray(segment).reshape(shape)[0]
        check_samples(found, page)
        return found

    return decode


def _decode_logluv(
    page: tifffile.TiffPage, wide: int, tall: int, data: bytes | None, index: int
) -> Array | None:
    if data is None:
        return None
    # The last strip has fewer rows.
    rows = tall if page.is_tiled else min(tall, page.imagelength - index * tall)
    return logluv.decode_segment(data, int(page.compression), int(page.photometric), wide, rows)


def _has_planar_jpegs(page: tifffile.TiffPage) -> bool:
    return page.compression in JPEGS and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE


def _expand_ycbcr(page: tifffile.TiffPage, data: bytes, wide: int, tall: int) -> Array:
    """Expand subsampled YCbCr: units of luma samples and one of each chroma (TIFF 6.0, 21).

    Every pixel gets the chroma of its unit.
    """
    across, down = page.tags[_SUBSAMPLING].value if _SUBSAMPLING in page.tags else (2, 2)
    unit = across * down + 2
    columns = ceil(wide / across)
    max_bytes = ceil(tall / down) * columns * unit
    if page.compression != 1:
        data = tifffile.TIFF.DECOMPRESSORS[page.compression](data, out=max_bytes)
    values = np.frombuffer(data, np.uint8)[:max_bytes]
    rows = len(values) // (columns * unit)
    units = values[: rows * columns * unit].reshape(rows, columns, unit)
    luma = units[:, :, :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
    planes = [luma.reshape(rows * down, columns * across)]
    planes += [units[:, :, index].repeat(down, 0).repeat(across, 1) for index in (-2, -1)]
    return np.stack(planes, axis=-1)[:, :wide]


def _to_samples(page: tifffile.TiffPage, values: Array, header: ImageHeader) -> Samples:
    tags = page.tags
    # The decoder of JPEG has converted these to RGB.
    joint_jpegs = page.compression in JPEGS and not _has_planar_jpegs(page)
    converted = page.photometric == Photometric.YCBCR and joint_jpegs
    alpha = header.bands[-1] if header.transparent else None
    extra = page.extrasamples
    colours = len(header.bands) - (alpha is not None)
    return Samples(
        values=values[:, :, list(header.bands)],
        photometric=Photometric.RGB if converted else int(page.photometric),
        bits=page.bitspersample,
        alpha=alpha is not None,
        premultiplied=alpha is not None and int(extra[alpha - colours]) == 1,
        palette=page.colormap,
        sample_range=header.sample_range or _sample_range(page, values),
        coefficients=_rationals(tags, _COEFFICIENTS, (0.299, 0.587, 0.114)),
        reference=_rationals(tags, _REFERENCE, (0, 255, 128, 255, 128, 255)),
    )


def _sample_range(page: tifffile.TiffPage, values: Array) -> tuple[float, float] | None:
    """Return the least and greatest sample that a floating-point file states."""
    if values.dtype.kind != "f" or page.photometric in logluv.LOGARITHMIC:
        return None
    found = [page.tags[tag].value for tag in (_MIN_SAMPLE, _MAX_SAMPLE) if tag in page.tags]
    if len(found) < 2:  # noqa: PLR2004 - one alone is no range
        return None
    try:
        low, high = (float(np.min(np.asarray(value))) for value in found)
    except (TypeError, ValueError):  # they are texts
        return None
    return (low, high) if -math.inf < low < high < math.inf else None


def _rationals(tags: Any, number: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return the rational numbers of a tag, which tifffile returns as a flat sequence."""
    if number not in tags:
        return default
    values = np.asarray(tags[number].value, float).ravel()
    if len(values) == 2 * len(default):
        with np.errstate(divide="ignore", invalid="ignore"):
            values = values[::2] / values[1::2]
    valid = len(values) == len(default) and bool(np.isfinite(values).all())
    return tuple(map(float, values)) if valid else default
