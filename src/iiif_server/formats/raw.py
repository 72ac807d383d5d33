"""Raw photographs: detection among TIFFs, and inspection without decoding.

LibRaw determines the dimensions of the picture: it knows the margins of camera sensors.
"""

from contextlib import suppress

from iiif_server.errors import OriginalRefusedError
from iiif_server.formats.bounded_file import MAX_CREDITS_BYTES, BoundedFile, Inspection
from iiif_server.formats.credits import ARTIST, COPYRIGHT
from iiif_server.formats.tiff import Tag
from iiif_server.formats.tiff_inspection import check_tags
from iiif_server.formats.tiff_pages import directories
from iiif_server.plan.original_format import OriginalFormat, recognise

_CANON = b"CR\2"
"""Signature of a CR2, after the offset of its first directory."""
_DNG_VERSION = 50_706
_SENSOR = frozenset({32_803, 34_892})
"""PhotometricInterpretation of sensor samples: CFA (mosaic) and LinearRaw."""


def is_tiff(file: BoundedFile) -> bool:
    """Whether the file has a directory."""
    with suppress(OriginalRefusedError):
        return bool(directories(file).main.tags)
    return False


def is_raw(file: BoundedFile) -> bool:
    """Whether a TIFF is a raw photograph: DNG, CR2, or one with the samples of a sensor.

    False if its directories cannot be read: then the errors of TIFF apply.
    """
    if file.read_at(8, len(_CANON)) == _CANON:
        return True
    with suppress(OriginalRefusedError):
        page = directories(file)
        return _DNG_VERSION in page.main.tags or any(
            ifd.value(Tag.PHOTOMETRIC) in _SENSOR for ifd in page.all
        )
    return False


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a raw photograph of too many bytes, or whose directories have too many pixels."""
    file.check_fits_in_memory()
    file.check_page(1)
    if recognise(file.read_at(0, 32)) is not OriginalFormat.TIFF:
        return Inspection()
    page = directories(file)
    for ifd in page.all:
        size = ifd.dimensions
        if size.area:
            file.check_size(size.width, size.height)
    check_tags(file, page.all)
    return Inspection(
        xmp=page.main.data(Tag.XMP, MAX_CREDITS_BYTES),
        iptc=page.main.data(Tag.IPTC, MAX_CREDITS_BYTES),
        texts={tag: page.main.data(tag, MAX_CREDITS_BYTES) for tag in (ARTIST, COPYRIGHT)},
    )
