"""DICOM: frames decoded by imagecodecs, and shown by the windows and tables of their file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from iiif_server.codecs.decoder_errors import check_dimensions
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.errors import DamagedOriginalError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.dicom import Coding, DicomImage, Display, dicom_image, shares_chroma
from iiif_server.formats.dicom_values import Table
from iiif_server.formats.inspection import inspect
from iiif_server.formats.jpeg import frame_headers, sample_format
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import ImageHeader, Profile
from iiif_server.plan.original_format import Bounds, OriginalFormat

_Array = NDArray[Any]
_jpeg, _jpeg_ls, _jpeg2000, _runs = (  # loaded here: a sandboxed worker can load no more
    imagecodecs.jpeg8_decode,
    imagecodecs.jpegls_decode,
    imagecodecs.jpeg2k_decode,
    imagecodecs.dicomrle_decode,
)
_INSPECTED = Bounds(frames=sys.maxsize, side=sys.maxsize)
"""No limits: the inspection has already applied those of the settings."""
_BYTE = 255
_JFIF = b"JFIF"


def read_dicom(descriptor: int, header: ImageHeader, _: int, box: Box) -> Pixels:
    """Decode the pixels in a box of the frame or slide, with the ICC profile.

    Raises DamagedOriginalError, and what imagecodecs raises on hostile data.
    """
    with _opened(descriptor, header) as (file, image):
        values, photometric = _read_box(file, image, header.page, box)
        profile = None
        if image.profile and header.profile is not Profile.NONE:
            profile = file.read_at(*image.profile)
    if image.display is not None:
        return to_pixels(_to_gray(values, image, image.display, header.sample_range), None)
    if image.palette:
        tables = [_apply_table(values[:, :, 0], table, image.order) for table in image.palette]
        colours = np.stack(tables, axis=-1)
        wide = colours.max(initial=0) > _BYTE  # old files have entries of 8 bits in words
        colours = (colours >> 8 if wide else colours).astype(np.uint8)
        return to_pixels(Samples(colours, Photometric.RGB, 8), None)
    bits = image.samples.stored
    values = values.astype(np.uint8 if bits <= 8 else np.uint16, copy=False)  # noqa: PLR2004
    max_value, middle = (1 << bits) - 1, 1 << (bits - 1)
    kind = Photometric.YCBCR if photometric.startswith("YBR") else Photometric.RGB
    reference = (0, max_value, middle, max_value, middle, max_value)
    return to_pixels(Samples(values, kind, bits, reference=reference), profile)


def sample_range(descriptor: int, header: ImageHeader) -> tuple[float, float]:
    """Return the least and greatest value of the frame or slide, after rescaling."""
    size = header.stored
    with _opened(descriptor, header) as (file, image):
        values, _ = _read_box(file, image, header.page, Box(0, 0, size.width, size.height))
    if image.display is None:
        return float(values.min()), float(values.max())
    values, slope, intercept = _rescale(values, image, image.display)
    ends = sorted(float(end) * slope + intercept for end in (values.min(), values.max()))
    return ends[0], ends[1]


@contextmanager
def _opened(descriptor: int, header: ImageHeader) -> Iterator[tuple[BoundedFile, DicomImage]]:
    with os.fdopen(os.dup(descriptor), "rb") as opened:
        file = BoundedFile(opened, header.format, bounds=_INSPECTED, page=header.page + 1)
        image = dicom_image(file)
        check_dimensions(image.whole.width, image.whole.height, header.stored)
        yield file, image


def _read_box(file: BoundedFile, image: DicomImage, page: int, box: Box) -> tuple[_Array, str]:
    """Decode the values in a box; return them and their photometric interpretation."""
    if not image.tiled:
        values, photometric = _decode_frame(file, image, page)
        rows = values[box.y : box.y + box.height, box.x : box.x + box.width]
        return _stored_values(rows, image), photometric
    wide, tall = image.frame.width, image.frame.height
    across = -(-image.whole.width // wide)
    found: _Array | None = None
    photometric = image.samples.photometric
    rows_, columns = (
        range(box.y // tall, -(-(box.y + box.height) // tall)),
        range(box.x // wide, -(-(box.x + box.width) // wide)),
    )
    for row, column in product(rows_, columns):
        tile, photometric = _decode_frame(file, image, row * across + column)
        tile = _stored_values(tile, image)
        if found is None:
            found = np.zeros((box.height, box.width, tile.shape[2]), tile.dtype)
        x, y = column * wide - box.x, row * tall - box.y
        part = tile[max(0, -y) : box.height - y, max(0, -x) : box.width - x]
        top, left = max(0, y), max(0, x)
        found[top : top + part.shape[0], left : left + part.shape[1]] = part
    assert found is not None  # noqa: S101 - a box touches a tile
    return found, photometric


def _decode_frame(file: BoundedFile, image: DicomImage, number: int) -> tuple[_Array, str]:
    """Decode a frame to rows, columns, samples; return it and its photometric interpretation."""
    samples, size = image.samples, image.frame
    data = _data(file, image, number)
    photometric, planar = samples.photometric, False
    if image.coding in {Coding.NATIVE, Coding.RUNS}:
        planar = samples.planar
        type_ = np.dtype(f"{image.order}u{samples.allocated // 8}")
        if image.coding is Coding.RUNS:
            planar, type_ = True, type_.newbyteorder("<")
            data = _decode_rle(data, type_, size.area * samples.bytes)
        values: _Array = np.frombuffer(data, type_)
        if shares_chroma(photometric, image.coding):
            values = _expand_chroma(values)
    elif image.coding is Coding.JPEG:
        values, photometric = _decode_jpeg(data, image)
    else:
        _check(data, image)
        values = (_jpeg_ls if image.coding is Coding.JPEG_LS else _jpeg2000)(data)
        photometric = "RGB" if photometric in {"YBR_ICT", "YBR_RCT"} else photometric
    if values.size != size.area * samples.count or values.dtype.itemsize > max(
        2, samples.allocated // 8
    ):
        raise DamagedOriginalError("The original is damaged: a frame has a wrong size.")
    if planar:
        return values.reshape(samples.count, size.height, size.width).transpose(
            1, 2, 0
        ), photometric
    return values.reshape(size.height, size.width, samples.count), photometric


def _data(file: BoundedFile, image: DicomImage, number: int) -> bytes:
    """Stored data of a frame; words are swapped from the start of the pixels."""
    if not image.swapped:
        return b"".join(file.read_at(offset, length) for offset, length in image.parts[number])
    ((first, _), *_), ((offset, length),) = image.parts[0], image.parts[number]
    odd = (offset - first) % 2
    words = file.read_at(offset - odd, odd + length + (odd + length) % 2)
    words += bytes(len(words) % 2)  # a file may end before the padding of its last word
    swapped: bytes = np.frombuffer(words, "<u2").byteswap().tobytes()
    return swapped[odd : odd + length]


def _decode_rle(data: bytes, type_: Any, size: int) -> bytes:
    target = bytearray(size)
    found = _runs(data, type_, out=target)
    if len(found) != size:
        raise DamagedOriginalError("The original is damaged: a frame has a wrong size.")
    return bytes(found)


def _expand_chroma(values: _Array) -> _Array:
    """Expand two luma samples and one of each chroma to two pixels."""
    units = values.reshape(-1, 4)
    found = np.empty((len(units), 2, 3), values.dtype)
    found[:, :, 0], found[:, :, 1], found[:, :, 2] = units[:, :2], units[:, 2:3], units[:, 3:4]
    return found


def _decode_jpeg(data: bytes, image: DicomImage) -> tuple[_Array, str]:
    """Decode the samples of a JPEG; colours of a DCT-based one become RGB.

    Colour markers in the JPEG take precedence: writers copy JPEGs unchanged.
    """
    _check(data, image)
    photometric = image.samples.photometric
    if image.samples.count == 1:
        return _jpeg(data), photometric
    if sample_format(data)[1] or data[6:10] == _JFIF:
        return _jpeg(data), "RGB"
    colour_space = "YCBCR" if photometric.startswith("YBR") else "RGB"
    if frame_headers(data)[0][2]:  # lossless: libjpeg converts none of them
        return _jpeg(data, colorspace=colour_space, outcolorspace=colour_space), photometric
    return _jpeg(data, colorspace=colour_space, outcolorspace="RGB"), "RGB"


def _check(data: bytes, image: DicomImage) -> None:
    """Raise DamagedOriginalError if the data has another size or number of samples."""
    size, count = image.frame, image.samples.count
    if image.coding is Coding.JPEG_2000:
        bounded = BoundedFile(BytesIO(data), OriginalFormat.JPEG2000, size.area, _INSPECTED)
        header = inspect(bounded).header
        valid = header is not None and header.stored == size and header.pixel_bytes <= 2 * count
    else:
        frames = frame_headers(data)
        valid = len(frames) == 1 and frames[0][:2] == (size, count)
    if not valid:
        raise DamagedOriginalError("The original is damaged: a frame has a wrong size.")


def _stored_values(values: _Array, image: DicomImage) -> _Array:
    """Extract the stored bits of samples, with their sign."""
    samples = image.samples
    shifted = image.coding in {Coding.NATIVE, Coding.RUNS}
    shift = samples.shift if shifted else 0
    if not samples.signed and samples.stored == samples.allocated and values.dtype.kind == "u":
        return values
    type_: Any = np.int64 if samples.allocated > 16 else np.int32  # noqa: PLR2004 - room for the sign
    found: _Array = values.astype(type_) >> shift & (1 << samples.stored) - 1
    if samples.signed:
        sign = 1 << (samples.stored - 1)
        found = (found ^ sign) - sign
    return found


def _to_gray(
    values: _Array, image: DicomImage, display: Display, sample_range: tuple[float, float] | None
) -> Samples:
    """Return gray samples, with the values for black and white."""
    values, slope, intercept = _rescale(values, image, display)
    window = display.window
    if sample_range is None and window is None and display.voi is not None:
        levels = np.rint(values * slope + intercept).astype(np.int64)
        values, slope, intercept = _apply_table(levels, display.voi, image.order), 1.0, 0.0
        ends = 0.0, float((1 << display.voi.bits) - 1)
    elif sample_range is None and window is not None and window.function == "SIGMOID":
        distance = (values * slope + intercept - window.center) / window.width
        values, slope, intercept = 1 / (1 + np.exp(np.clip(-4 * distance, -700, 700))), 1.0, 0.0
        ends = 0.0, 1.0
    elif sample_range is not None or window is not None:
        ends = sample_range or (window.ends if window else (0.0, 1.0))
    else:
        ends = _full_range(image, display, slope, intercept)
    low, high = ((end - intercept) / slope for end in ends)
    inverse = display.inverse is not (low > high)
    kind = Photometric.MIN_IS_WHITE if inverse else Photometric.MIN_IS_BLACK
    low, high = sorted((low, high))
    high = max(high, float(np.nextafter(low, np.inf)))  # a window may be less than a number wide
    return Samples(values, kind, 16, sample_range=(low, high))


def _full_range(
    image: DicomImage, display: Display, slope: float, intercept: float
) -> tuple[float, float]:
    """Return the rescaled least and greatest storable value."""
    if display.modality is not None:
        return 0.0, float((1 << display.modality.bits) - 1)
    least = -(1 << image.samples.stored - 1) if image.samples.signed else 0
    ends = sorted(
        end * slope + intercept for end in (least, least + (1 << image.samples.stored) - 1)
    )
    return ends[0], ends[1]


def _rescale(values: _Array, image: DicomImage, display: Display) -> tuple[_Array, float, float]:
    """Apply the modality table; return values, and the slope and intercept still to be applied."""
    if display.modality is None:
        return values, display.slope, display.intercept
    return _apply_table(values, display.modality, image.order), 1.0, 0.0


def _apply_table(values: _Array, table: Table, order: str) -> _Array:
    entries = np.frombuffer(table.entries, f"{order}u2" if table.wide else np.uint8)
    index = np.clip(values.astype(np.int64) - table.first, 0, len(entries) - 1)
    return entries.astype(np.uint16)[index]
