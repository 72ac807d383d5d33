"""Sample range of an original, for `range = "data"`."""

import os
from dataclasses import replace

from iiif_server.codecs import dicom
from iiif_server.codecs.decode import decoding, load
from iiif_server.codecs.tiff_arrays import sample_range
from iiif_server.plan.header import ImageHeader, Reader
from iiif_server.plan.local_file import LocalFile

_WORD = 65_535


def measure_range(
    original: LocalFile, descriptor: int | None = None, *, header: ImageHeader
) -> tuple[float, ...]:
    """Return the least and greatest sample of the colours; empty if equal or not finite.

    The file is read by a descriptor if one is given. Raises what decoding raises.
    """
    opened = original.open(descriptor)
    try:
        with decoding(header):
            if header.reader is Reader.ARRAYS:
                least, greatest = sample_range(opened, header)
            elif header.reader is Reader.DICOM:
                least, greatest = dicom.sample_range(opened, header)
            else:
                least, greatest = _range_of_16_bits(opened, header)
    finally:
        os.close(opened)
    return (least, greatest) if least < greatest else ()


def _range_of_16_bits(descriptor: int, header: ImageHeader) -> tuple[float, float]:
    """Return the range of samples that the decoder has scaled to 16 bits."""
    image = load(descriptor, replace(header, sample_range=None), 1)
    if image.format != "ushort":  # a palette, whose colours span 8 bits
        return 0, 0
    colours = image.extract_band(0, n=image.bands - bool(image.hasalpha()))
    statistics = colours.stats()  # of all bands: the least, the greatest, ...
    least, greatest = statistics(0, 0)[0], statistics(1, 0)[0]
    scale = ((1 << header.bits) - 1) / _WORD
    return least * scale, greatest * scale
