"""Quality parameter (Image API 3.0, 4.4; 2.1.1, 4.4)."""

from enum import StrEnum

from iiif_server.errors import MalformedParameterError


class Quality(StrEnum):
    """Quality of an image: its own colours, grayscale, or black and white."""

    DEFAULT = "default"
    COLOR = "color"
    GRAY = "gray"
    BITONAL = "bitonal"


def parse_quality(text: str) -> Quality:
    """Parse a quality; raise MalformedParameterError, and nothing else, for an invalid string."""
    try:
        return Quality(text)
    except ValueError:
        raise MalformedParameterError("quality", text, ", ".join(Quality)) from None
