"""PDF inspection (ISO 32000-1): stream dictionaries, before PDFium reads the file.

It is no parser. Streams are never inside others (7.5.7), so the dictionary of each image and of
each compressed stream stands in the file as it is, whatever else is compressed or encrypted.
"""

import re
from math import prod

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.plan.header import Needs

_MAX_SEARCHED_BYTES = 1 << 30
_WINDOW, _NEIGHBOURHOOD = 1 << 20, 512
"""Bytes per search step, and bytes around a Width that are searched for its Height."""
_WIDTH, _HEIGHT = (
    re.compile(rb"/" + name + rb"[\0\t\n\f\r ]+(\d{1,12})[\0\t\n\f\r ]*(?=[/>])")
    for name in (rb"Width", rb"Height")
)
_FILTERS = re.compile(rb"/Filter[\0\t\n\f\r ]*\[([^\]]{0,512})\]")
_COMPRESSION = re.compile(rb"/(?:FlateDecode|Fl|LZWDecode|LZW|RunLengthDecode|RL)\b")

_WAVELETS = re.compile(rb"/JPXDecode\b")
_WAVELET_BYTES, _WAVELET_EFFORT = 18, 330
"""Bytes and effort per pixel of a JPEG 2000 image."""

_UNITS = re.compile(rb"/(?:UserUnit|ObjStm)\b")
"""Pattern for UserUnit, or for an object stream that may contain one."""

_ESCAPE = re.compile(rb"#([2-7][0-9A-Fa-f])")
"""Pattern for an escaped character of a name (7.3.5)."""


def _character(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode())


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a PDF with an image of too many pixels, or with streams compressed repeatedly.

    What is compressed once becomes a thousand times as long at most; twice, a million times.
    The needs are those of the largest JPEG 2000 image.
    """
    units, wavelets = False, 0
    for at in range(0, min(file.size, _MAX_SEARCHED_BYTES), _WINDOW):
        data = _ESCAPE.sub(_character, file.read_at(at, _WINDOW + 2 * _NEIGHBOURHOOD))
        for width in _WIDTH.finditer(data):
            around = data[max(0, width.start() - _NEIGHBOURHOOD) : width.end() + _NEIGHBOURHOOD]
            heights = [int(height[1]) for height in _HEIGHT.finditer(around)]
            # Of several images close together, the least: none is refused for its neighbour.
            size = max(1, int(width[1])), max(1, min(heights, default=1))
            file.check_size(*size)
            if _WAVELETS.search(around):
                wavelets = max(wavelets, prod(size))
        for filters in _FILTERS.finditer(data):
            count = len(_COMPRESSION.findall(filters[1]))
            file.check(count, 1, "compressions of one stream")
        units = units or _UNITS.search(data) is not None
    # PDFium decodes a JPEG 2000 image as a whole, and keeps one image at a time.
    needs = Needs(_WAVELET_BYTES * wavelets, _WAVELET_EFFORT * wavelets)
    return Inspection(needs, user_units=units)
