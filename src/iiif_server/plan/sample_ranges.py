"""Sample range that becomes black to white: of the type, the image, or the settings. Pure."""

from dataclasses import replace

from iiif_server.plan.header import Colour, ImageHeader, Reader, Treatment

_BYTE_BITS, _WORD_BITS = 8, 16
_SCALING_READERS = frozenset({Reader.ARRAYS, Reader.DICOM})
"""Readers that scale samples by the values of the file."""
_EIGHT_BIT_READERS = frozenset({Reader.PILLOW, Reader.BMP, Reader.PDFIUM, Reader.LIBRAW})


def has_range(header: ImageHeader) -> bool:
    """Whether the setting `range` applies to an original.

    Gray and RGB of more than 8 bits: any samples of a TIFF; of other formats, up to 16 bits.
    """
    if (
        header.colour is Colour.OTHER
        or header.reader in _EIGHT_BIT_READERS
        or header.bits <= _BYTE_BITS
    ):
        return False
    return header.reader in _SCALING_READERS or header.bits <= _WORD_BITS


def needs_measuring(header: ImageHeader, treatment: Treatment) -> bool:
    """Whether the least and greatest sample must be measured, and are not known yet."""
    return treatment.measured and header.sample_range is None and has_range(header)


def with_treatment(header: ImageHeader, treatment: Treatment) -> ImageHeader:
    """Return the header with the treatment of the original's type."""
    sample_range = header.sample_range if treatment.measured else treatment.sample_range
    return replace(
        header, treatment=treatment, sample_range=sample_range if has_range(header) else None
    )


def range_in_16_bits(header: ImageHeader) -> tuple[float, float] | None:
    """Return the sample range in 16-bit levels, to which samples of 9 to 16 bits are scaled."""
    if header.sample_range is None or header.reader in _SCALING_READERS:
        return None
    scale = ((1 << _WORD_BITS) - 1) / ((1 << header.bits) - 1)
    return header.sample_range[0] * scale, header.sample_range[1] * scale
