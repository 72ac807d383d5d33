"""PCX (ZSoft Technical Reference Manual): the header; nothing is decoded."""

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT

_HEADER = 128
_KINDS = frozenset({(1, 1), (1, 2), (1, 4), (8, 1), (8, 3)})
"""Supported pairs of bits per sample and planes."""
_MAX_RUN = 63
"""Pixels of the longest run, which takes two bytes."""
_BYTES_PER_PIXEL = 12
"""Bytes of memory per pixel, in Pillow and afterwards."""
_EFFORT = 8


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a PCX that has too many pixels, or is too short for them."""
    file.check_fits_in_memory()
    header, planes = file.unpack_at("<xBxBHHHH", 0), file.read_at(65, 1)
    if header is None or not planes:
        raise file.damaged("it is cut short")
    version, bits, left, top, right, bottom = header
    width, height = right - left + 1, bottom - top + 1
    file.check_size(width, height)
    if (bits, planes[0]) not in _KINDS or (bits > 1 and version < 5):  # noqa: PLR2004 - of Paintbrush 3.0
        raise file.unsupported(f"has {planes[0]} planes of {bits} bits")
    row_bytes = -(-width * bits // 8) * planes[0]
    min_bytes = _HEADER + 2 * (-(-row_bytes // _MAX_RUN)) * height
    file.check_min_size(min_bytes)
    gray = (bits, planes[0]) == (1, 1)
    area = width * height
    return Inspection(
        header=ImageHeader(
            format=file.format,
            stored=Dimensions(width, height),
            orientation=UPRIGHT,
            colour=Colour.GRAY if gray else Colour.RGB,
            transparent=False,
            profile=Profile.NONE,
            profile_bytes=0,
            max_shrink=1,
            needs=Needs(file.size + area * _BYTES_PER_PIXEL, area * _EFFORT),
            reader=Reader.PILLOW,
        )
    )
