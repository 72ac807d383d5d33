"""Region parameter (Image API 3.0, 4.1; 2.1.1, 4.1)."""

import re
from dataclasses import dataclass
from fractions import Fraction

from iiif_server.errors import MalformedParameterError, OutOfBoundsError
from iiif_server.iiif.geometry import DECIMAL, Box, Dimensions, decimal_text, round_half_up

_PIXELS = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", re.ASCII)
_PERCENT = re.compile(rf"pct:({DECIMAL}),({DECIMAL}),({DECIMAL}),({DECIMAL})", re.ASCII)

EXPECTED = (
    "full, square, x,y,w,h in whole pixels or pct:x,y,w,h in percent, "
    "with a width and height above zero"
)


@dataclass(frozen=True, slots=True)
class FullRegion:
    """Whole image."""

    def __str__(self) -> str:
        return "full"

    def resolve(self, image: Dimensions) -> Box:
        """Box of the whole image."""
        return Box(0, 0, image.width, image.height)


@dataclass(frozen=True, slots=True)
class SquareRegion:
    """Largest square in the middle of the image."""

    def __str__(self) -> str:
        return "square"

    def resolve(self, image: Dimensions) -> Box:
        """Box of the middle square."""
        side = min(image.width, image.height)
        return Box((image.width - side) // 2, (image.height - side) // 2, side, side)


@dataclass(frozen=True, slots=True)
class PixelRegion:
    """Rectangle in whole pixels."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    def resolve(self, image: Dimensions) -> Box:
        """Rectangle, clipped to the image; OutOfBoundsError if it is outside."""
        return _clipped(self.x, self.y, self.width, self.height, image)


@dataclass(frozen=True, slots=True)
class PercentRegion:
    """Rectangle in percent of the image's width and height."""

    x: Fraction
    y: Fraction
    width: Fraction
    height: Fraction

    def __str__(self) -> str:
        parts = (self.x, self.y, self.width, self.height)
        return "pct:" + ",".join(decimal_text(part) for part in parts)

    def resolve(self, image: Dimensions) -> Box:
        """Box in the nearest whole pixels, clipped to the image.

        Raises OutOfBoundsError if it holds no pixel of the image.
        """
        x = round_half_up(self.x * image.width / 100)
        y = round_half_up(self.y * image.height / 100)
        right = round_half_up((self.x + self.width) * image.width / 100)
        bottom = round_half_up((self.y + self.height) * image.height / 100)
        return _clipped(x, y, right - x, bottom - y, image)


Region = FullRegion | SquareRegion | PixelRegion | PercentRegion


def parse_region(text: str) -> Region:
    """Parse a region; raise MalformedParameterError, and nothing else, for an invalid string."""
    if text == "full":
        return FullRegion()
    if text == "square":
        return SquareRegion()
    if pixels := _PIXELS.fullmatch(text):
        x, y, width, height = map(int, pixels.groups())
        # "If the requested region's height or width is zero [...] a 400 status code" (3.0, 4.1)
        if width and height:
            return PixelRegion(x, y, width, height)
    if percent := _PERCENT.fullmatch(text):
        left, top, wide, high = map(Fraction, percent.groups())
        if wide and high:
            return PercentRegion(left, top, wide, high)
    raise MalformedParameterError("region", text, EXPECTED)


def _clipped(x: int, y: int, width: int, height: int, image: Dimensions) -> Box:
    """Box clipped to the image (Image API 3.0, 4.1); OutOfBoundsError if it is outside."""
    right = min(x + width, image.width)
    bottom = min(y + height, image.height)
    if x >= right or y >= bottom:
        raise OutOfBoundsError(
            f"The region contains no pixel of the image, which is {image.width} pixels wide "
            f"and {image.height} high."
        )
    return Box(x, y, right - x, bottom - y)
