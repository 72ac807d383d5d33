"""Format parameter (Image API 3.0, 4.5; 2.1.1, 4.5)."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from iiif_server.errors import MalformedParameterError, UnsupportedFormatError

_WELL_FORMED = re.compile(r"[A-Za-z0-9]{1,16}", re.ASCII)


class Format(StrEnum):
    """Image formats: those of the specification (Image API 3.0, 4.5), and AVIF."""

    JPG = "jpg"
    TIF = "tif"
    PNG = "png"
    GIF = "gif"
    JP2 = "jp2"
    PDF = "pdf"
    WEBP = "webp"
    AVIF = "avif"


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """Properties of an image format."""

    media_type: str
    max_side: int
    """Maximum width or height in pixels."""
    transparent: bool
    """Whether the format has transparency, for the corners of rotated images."""


FORMAT_FACTS: dict[Format, FormatFacts] = {
    # The limit of libjpeg (JPEG_MAX_DIMENSION); the file format allows 65,535.
    Format.JPG: FormatFacts("image/jpeg", 65_500, transparent=False),
    Format.TIF: FormatFacts("image/tiff", 2**31 - 1, transparent=True),
    Format.PNG: FormatFacts("image/png", 2**31 - 1, transparent=True),
    Format.GIF: FormatFacts("image/gif", 65_535, transparent=True),
    Format.JP2: FormatFacts("image/jp2", 2**31 - 1, transparent=True),
    Format.PDF: FormatFacts("application/pdf", 65_500, transparent=False),
    Format.WEBP: FormatFacts("image/webp", 16_383, transparent=True),
    Format.AVIF: FormatFacts("image/avif", 16_384, transparent=True),
}


def parse_format(text: str) -> Format:
    """Parse a format.

    Raises MalformedParameterError if the text is not well-formed, UnsupportedFormatError if it is
    not one of `Format`, and nothing else.
    """
    if not _WELL_FORMED.fullmatch(text):
        raise MalformedParameterError("format", text, f"one of {', '.join(Format)}")
    try:
        return Format(text)
    except ValueError:
        raise unsupported_format_error(text, tuple(Format)) from None


def unsupported_format_error(text: str, supported: Collection[Format]) -> UnsupportedFormatError:
    """Error for an unsupported format; its message names the supported ones."""
    return UnsupportedFormatError(
        f'The format "{text}" is not supported here: use one of {", ".join(supported)}.'
    )
