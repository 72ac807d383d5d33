"""How derivatives are encoded."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from iiif_server.options import OptionsModel


def _number(value: object) -> object:
    """A number that is written as a text, as in environment variables."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class EncodingOptions(OptionsModel):
    """How derivatives are encoded. A change makes new derivatives; the old ones age out."""

    jpeg_quality: int = Field(default=85, ge=1, le=100)
    """Quality of JPEGs that have to be compressed anew; chroma is halved below 90."""
    jpeg_progressive: bool = False
    """Whether they are progressive: a little smaller, slower to make and to show."""
    jpeg_optimize: bool = False
    """Whether they are made a tenth smaller, which takes twice the time; tiles of pyramids are."""
    webp_quality: int = Field(default=80, ge=1, le=100)
    """Quality of WebP."""
    webp_effort: int = Field(default=2, ge=0, le=6)
    """Time spent on making WebP smaller."""
    avif_quality: int = Field(default=55, ge=1, le=100)
    """Quality of AVIF."""
    avif_effort: int = Field(default=2, ge=0, le=9)
    """Time spent on making AVIF smaller."""
    png_level: int = Field(default=4, ge=0, le=9)
    """Compression level of PNG; 6 takes twice as long as 1 for a tile."""
    jp2_ratio: float = Field(default=12, ge=1, le=1000)
    """Compression ratio of JPEG 2000; 1 is lossless."""
    tiff_compression: Literal["none", "deflate", "lzw", "jpeg"] = "deflate"
    """Compression of TIFF: none, deflate, lzw or jpeg."""
    depth: Annotated[Literal[8, 16], BeforeValidator(_number)] = 8
    """Bits of a sample of PNG and TIFF made of originals that have more than 8: with 16, they keep
    up to 16. All other images have 8 (docs/formats.md)."""
    gif_effort: int = Field(default=3, ge=1, le=10)
    """Time spent on choosing the colours of a GIF."""
