"""Size parameter (Image API 3.0, 4.2; 2.1.1, 4.2)."""

import re
from dataclasses import dataclass
from fractions import Fraction

from iiif_server.errors import MalformedParameterError, SizeRefusedError
from iiif_server.iiif.geometry import (
    DECIMAL,
    Dimensions,
    Limits,
    decimal_text,
    round_half_up,
    rounded_ratio,
)
from iiif_server.iiif.versions import ImageApiVersion

_NUMBER = r"\d{1,9}"
_WIDTH_HEIGHT = re.compile(rf"(!?)({_NUMBER}),({_NUMBER})", re.ASCII)
_WIDTH = re.compile(rf"({_NUMBER}),", re.ASCII)
_HEIGHT = re.compile(rf",({_NUMBER})", re.ASCII)
_PERCENT = re.compile(rf"pct:({DECIMAL})", re.ASCII)

_ALL = 100

_FORMS = "w, or ,h or w,h or !w,h in whole pixels above zero, or pct:n"


def _expected(version: ImageApiVersion) -> str:
    if version.caret_upscales:
        return f"max, {_FORMS}; each with ^ before it to upscale"
    return f"full, max, {_FORMS}"


@dataclass(frozen=True, slots=True)
class MaxSize:
    """`max`: the largest size within the limits; larger than the region only if `upscale`."""

    upscale: bool

    def __str__(self) -> str:
        return "max"

    def scale(self, region: Dimensions, limits: Limits) -> Dimensions:
        """Dimensions of the region, or the largest size that the limits allow."""
        if not self.upscale and limits.allow(region):
            return region
        return limits.largest(region)


@dataclass(frozen=True, slots=True)
class FullSize:
    """`full` (2.1 only): the region's own dimensions; refused above the limits."""

    upscale = False

    def __str__(self) -> str:
        return "full"

    def scale(self, region: Dimensions, _: Limits) -> Dimensions:
        """Dimensions of the region."""
        return region


@dataclass(frozen=True, slots=True)
class WidthSize:
    """`w,`: a width; the height follows from the region's aspect ratio."""

    width: int
    upscale: bool

    def __str__(self) -> str:
        return f"{self.width},"

    def scale(self, region: Dimensions, _: Limits) -> Dimensions:
        """Size with this width and the region's aspect ratio."""
        height = rounded_ratio(region.height * self.width, region.width)
        return Dimensions(self.width, max(1, height))


@dataclass(frozen=True, slots=True)
class HeightSize:
    """`,h`: a height; the width follows from the region's aspect ratio."""

    height: int
    upscale: bool

    def __str__(self) -> str:
        return f",{self.height}"

    def scale(self, region: Dimensions, _: Limits) -> Dimensions:
        """Size with this height and the region's aspect ratio."""
        width = rounded_ratio(region.width * self.height, region.height)
        return Dimensions(max(1, width), self.height)


@dataclass(frozen=True, slots=True)
class PercentSize:
    """`pct:n`: n percent of the region."""

    percent: Fraction
    upscale: bool

    def __str__(self) -> str:
        return f"pct:{decimal_text(self.percent)}"

    def scale(self, region: Dimensions, _: Limits) -> Dimensions:
        """Size in the nearest whole pixels; SizeRefusedError if a side rounds to zero."""
        if self.percent > _ALL and not self.upscale:
            # "n must not be greater than 100" (3.0, 4.2), even if the rounded size is the same.
            raise SizeRefusedError(
                f"The size {self} is above the region's own; put ^ before it to upscale."
            )
        width = round_half_up(region.width * self.percent / 100)
        height = round_half_up(region.height * self.percent / 100)
        if not (width and height):
            # "the pixel dimensions of the scaled region must not be less than 1" (3.0, 4.2)
            raise SizeRefusedError(
                f"{self} of a region {region.width} pixels wide and {region.height} high "
                "leaves less than one pixel."
            )
        return Dimensions(width, height)


@dataclass(frozen=True, slots=True)
class ExactSize:
    """`w,h`: exact width and height; the aspect ratio may change."""

    width: int
    height: int
    upscale: bool

    def __str__(self) -> str:
        return f"{self.width},{self.height}"

    def scale(self, _: Dimensions, __: Limits) -> Dimensions:
        """This size."""
        return Dimensions(self.width, self.height)


@dataclass(frozen=True, slots=True)
class ConfinedSize:
    """`!w,h`: the largest size in this box and within the limits, in the region's aspect ratio."""

    width: int
    height: int
    upscale: bool

    def __str__(self) -> str:
        return f"!{self.width},{self.height}"

    def scale(self, region: Dimensions, limits: Limits) -> Dimensions:
        """Largest size in the box.

        "as large as possible but not larger than the extracted region, w or h, or server-imposed
        limits" (3.0, 4.2); with `^` the region does not count.
        """
        box = Limits(self.width, self.height).within(limits)
        return region if not self.upscale and box.allow(region) else box.largest(region)


Size = MaxSize | FullSize | WidthSize | HeightSize | PercentSize | ExactSize | ConfinedSize


def parse_size(text: str, version: ImageApiVersion) -> Size:
    """Parse a size; raise MalformedParameterError, and nothing else, for an invalid string.

    2.1 has no `^`. There `upscale` is true for the forms that may exceed the region
    (`sizeAboveFull`), and false for `max`, `full` and `!w,h`.
    """
    form, caret = text, False
    if version.caret_upscales and text.startswith("^"):
        form, caret = text[1:], True
    size = _parse_form(form, caret=caret, version=version)
    if size is None:
        expected = _expected(version)
        if text == "full":  # links that were written for 2.x
            expected = "max, or a URL of Image API 2.1, which begins with /iiif/2/"
        raise MalformedParameterError("size", text, expected)
    return size


def size_text(size: Size, version: ImageApiVersion) -> str:
    """Size in the grammar of a version; `parse_size` returns an equal size for it."""
    return ("^" if version.caret_upscales and size.upscale else "") + str(size)


def resolve_size(size: Size, region: Dimensions, limits: Limits) -> Dimensions:
    """Size of a region in whole pixels; SizeRefusedError if it is not allowed."""
    scaled = size.scale(region, limits)
    if not size.upscale and (scaled.width > region.width or scaled.height > region.height):
        raise SizeRefusedError(
            f"The size would be {scaled.width}x{scaled.height} pixels, larger than the region of "
            f"{region.width}x{region.height}; put ^ before the size to upscale."
        )
    if not limits.allow(scaled):
        raise SizeRefusedError(
            f"The size would be {scaled.width}x{scaled.height} pixels, above this server's limits: "
            f"{_text(limits)}. Request max for the largest allowed size."
        )
    return scaled


def _parse_form(  # noqa: PLR0911 - one return per row of the specification's table
    text: str, *, caret: bool, version: ImageApiVersion
) -> Size | None:
    may_exceed = caret or not version.caret_upscales
    if text == "max":
        return MaxSize(caret)
    if text == "full" and version.accepts_full:
        return FullSize()
    if match := _WIDTH.fullmatch(text):
        return WidthSize(int(match[1]), may_exceed) if int(match[1]) else None
    if match := _HEIGHT.fullmatch(text):
        return HeightSize(int(match[1]), may_exceed) if int(match[1]) else None
    if match := _PERCENT.fullmatch(text):
        return PercentSize(Fraction(match[1]), may_exceed) if Fraction(match[1]) else None
    if match := _WIDTH_HEIGHT.fullmatch(text):
        width, height = int(match[2]), int(match[3])
        if not (width and height):
            return None
        if match[1]:
            return ConfinedSize(width, height, caret)
        return ExactSize(width, height, may_exceed)
    return None


def _text(limits: Limits) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.named.items())
