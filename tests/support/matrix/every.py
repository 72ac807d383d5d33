"""All kinds of originals."""

from support.matrix import (
    dicom_kinds,
    heif_kinds,
    jp2_kinds,
    jpeg_kinds,
    jxl_kinds,
    pdf_kinds,
    png_kinds,
    psd_kinds,
    rare_kinds,
    raw_kinds,
    small_kinds,
    tiff_kinds,
)
from support.matrix.chart import join_kinds

_PARTS = (
    tiff_kinds,
    jpeg_kinds,
    png_kinds,
    jp2_kinds,
    jxl_kinds,
    heif_kinds,
    psd_kinds,
    rare_kinds,
    raw_kinds,
    dicom_kinds,
    pdf_kinds,
    small_kinds,
)
KINDS = join_kinds(*(list(part.kinds()) for part in _PARTS))
