"""Sample range that becomes black to white: of the type, the image, or the settings. Pure."""

from dataclasses import replace

from iiif_server.plan.header import Colour, ImageHeader, Reader, Treatment

_BYTE_BITS, _WORD_BITS = 8, 16
_OWN_NUMBERS = frozenset({Reader.ARRAYS, Reader.DICOM})
"""Those that spread samples by the numbers that the file has."""
_SHALLOW = frozenset({Reader.PILLOW, Reader.BMP, Reader.PDFIUM, Reader.LIBRAW})


def has_range(header: ImageHeader) -> bool:
    """Whether the setting `range` applies to an original.

    Gray and RGB of more than 8 bits: any samples of a TIFF; of other formats, up to 16 bits.
    """
    if header.colour is Colour.OTHER or header.reader in _SHALLOW or header.bits <= _BYTE_BITS:
        return False
    return header.reader in _OWN_NUMBERS or header.bits <= _WORD_BITS


def is_measured(header: ImageHeader, treatment: Treatment) -> bool:
    """Whether the least and greatest sample must be measured, and are not known yet."""
    return treatment.measured and header.span is None and has_range(header)


def treated(header: ImageHeader, treatment: Treatment) -> ImageHeader:
    """Return the header with the treatment of the original's type."""
    span = header.span if treatment.measured else treatment.span
    return replace(header, treatment=treatment, span=span if has_range(header) else None)


def span_in_words(header: ImageHeader) -> tuple[float, float] | None:
    """Return the sample range in 16-bit levels, to which samples of 9 to 16 bits are scaled."""
    if header.span is None or header.reader in _OWN_NUMBERS:
        return None
    scale = ((1 << _WORD_BITS) - 1) / ((1 << header.bits) - 1)
    return header.span[0] * scale, header.span[1] * scale
