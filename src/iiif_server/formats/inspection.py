"""Inspection of an original's structure, by its format."""

from collections.abc import Callable

from iiif_server.formats import (
    avif,
    bmp,
    dicom_inspection,
    gif,
    jpeg,
    jpeg2000,
    jpegxl,
    pcx,
    pdf,
    png,
    psd,
    raw,
    tga,
    tiff_inspection,
    webp,
)
from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.plan.original_format import OriginalFormat


def inspect(file: BoundedFile) -> Inspection:
    """Inspect the structure of a file in bounded steps; nothing is decoded.

    Raises OriginalRefusedError where it demands too much of a decoder, or is too short for its
    dimensions. A file that passes may still be damaged.
    """
    return _INSPECTIONS[file.format](file)


_INSPECTIONS: dict[OriginalFormat, Callable[[BoundedFile], Inspection]] = {
    OriginalFormat.JPEG: jpeg.inspect,
    OriginalFormat.PNG: png.inspect,
    OriginalFormat.TIFF: tiff_inspection.inspect,
    OriginalFormat.WEBP: webp.inspect,
    OriginalFormat.GIF: gif.inspect,
    OriginalFormat.JPEG2000: jpeg2000.inspect,
    OriginalFormat.AVIF: avif.inspect,
    OriginalFormat.HEIF: avif.inspect,
    OriginalFormat.JPEGXL: jpegxl.inspect,
    OriginalFormat.BMP: bmp.inspect,
    OriginalFormat.PSD: psd.inspect,
    OriginalFormat.PDF: pdf.inspect,
    OriginalFormat.TGA: tga.inspect,
    OriginalFormat.PCX: pcx.inspect,
    OriginalFormat.RAW: raw.inspect,
    OriginalFormat.DICOM: dicom_inspection.inspect,
}
