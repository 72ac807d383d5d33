"""Range of samples that is shown: of their type, of the image, or one that was chosen. Pure."""

from dataclasses import replace

from iiif_server.plan.header import Colour, ImageHeader, Reader, Treatment

_BYTE_BITS, _WORD_BITS = 8, 16
_SHALLOW = frozenset({Reader.PILLOW, Reader.BMP, Reader.PDFIUM, Reader.LIBRAW})


def has_range(header: ImageHeader) -> bool:
    """Whether the range of an original's samples can be chosen.

    Gray and RGB of more than 8 bits: any samples of a TIFF; of other formats, up to 16 bits.
    """
    if header.colour is Colour.OTHER or header.reader in _SHALLOW or header.bits <= _BYTE_BITS:
        return False
    return header.reader is Reader.ARRAYS or header.bits <= _WORD_BITS


def is_measured(header: ImageHeader, treatment: Treatment) -> bool:
    """Whether the least and the greatest sample are to be read, and are not known yet."""
    return treatment.measured and header.span is None and has_range(header)


def treated(header: ImageHeader, treatment: Treatment) -> ImageHeader:
    """The header of an original of a type, which decides how its images are made."""
    span = header.span if treatment.measured else treatment.span
    return replace(header, treatment=treatment, span=span if has_range(header) else None)


def span_in_words(header: ImageHeader) -> tuple[float, float] | None:
    """The span in levels of 16 bits, to which samples of 9 to 16 bits are spread."""
    if header.span is None or header.reader is Reader.ARRAYS:
        return None
    scale = ((1 << _WORD_BITS) - 1) / ((1 << header.bits) - 1)
    return header.span[0] * scale, header.span[1] * scale
