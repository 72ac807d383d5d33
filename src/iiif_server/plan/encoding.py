"""Encoding options of derivatives."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from iiif_server.options import OptionsModel


def _number(value: object) -> object:
    """Accept a number as text, as in environment variables."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class EncodingOptions(OptionsModel):
    """Encoding of derivatives. A change makes new derivatives; the cache evicts the old ones."""

    jpeg_quality: int = Field(default=85, ge=1, le=100)
    """Quality of JPEGs that are not copied from the original; below 90 with 4:2:0 chroma."""
    jpeg_progressive: bool = False
    """Progressive JPEGs: a little smaller, slower to encode and to display."""
    jpeg_optimize: bool = False
    """Optimised JPEGs: a tenth smaller, in twice the time; tiles of pyramids are."""
    webp_quality: int = Field(default=80, ge=1, le=100)
    """Quality of WebP."""
    webp_effort: int = Field(default=2, ge=0, le=6)
    """Effort of WebP compression: higher is smaller and slower."""
    avif_quality: int = Field(default=55, ge=1, le=100)
    """Quality of AVIF."""
    avif_effort: int = Field(default=2, ge=0, le=9)
    """Effort of AVIF compression: higher is smaller and slower."""
    png_level: int = Field(default=4, ge=0, le=9)
    """Compression level of PNG; 6 takes twice as long as 1 for a tile."""
    jp2_ratio: float = Field(default=12, ge=1, le=1000)
    """Compression ratio of JPEG 2000; 1 is lossless."""
    tiff_compression: Literal["none", "deflate", "lzw", "jpeg"] = "deflate"
    """Compression of TIFF: none, deflate, lzw or jpeg."""
    depth: Annotated[Literal[8, 16], BeforeValidator(_number)] = 8
    """Bits per sample of PNG and TIFF from originals with more than 8: with 16, they keep up to 16.
    All other derivatives have 8 (docs/formats.md)."""
    gif_effort: int = Field(default=3, ge=1, le=10)
    """Effort of choosing the colours of a GIF."""
