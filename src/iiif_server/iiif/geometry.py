"""Whole-pixel geometry: boxes, dimensions, limits, the tile grid of viewers, exact decimals."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

DECIMAL = r"(?:(?:\d{1,9}(?:\.\d{1,100})?|\.\d{1,100})(?:e-\d{1,2})?)"
"""Regular expression of a non-negative decimal of limited length; `Fraction` parses its matches.

Programs print binary floating point numbers with 17 significant digits (33.333333333333336), or
with up to 100 decimals on request. Below a millionth they print an exponent (JavaScript: 1e-7,
Python: 1e-07). All these are accepted. Canonical URLs write out all decimals: Image API 3.0, 4.7,
has no exponents.
"""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Width and height in pixels, both at least 1."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    def transposed(self) -> "Dimensions":
        """Dimensions after a rotation of 90 degrees: width and height exchanged."""
        return Dimensions(self.height, self.width)

    def reduced(self, scale_factor: int) -> "Dimensions":
        """Dimensions divided by a scale factor, rounded up as viewers do."""
        return Dimensions(-(-self.width // scale_factor), -(-self.height // scale_factor))


@dataclass(frozen=True, slots=True)
class Box:
    """Rectangle of whole pixels in an image; `x` and `y` count from the top left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def dimensions(self) -> Dimensions:
        """Width and height of the box."""
        return Dimensions(self.width, self.height)

    def covers(self, dimensions: Dimensions) -> bool:
        """Whether the box is a whole image of these dimensions."""
        return (self.x, self.y) == (0, 0) and self.dimensions == dimensions


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the size of rendered images, in pixels; `None`: no limit (Image API 3.0, 5.3)."""

    max_width: int | None = None
    max_height: int | None = None
    max_area: int | None = None

    @property
    def effective_max_height(self) -> int | None:
        """`max_height`, or `max_width` if only that is set (Image API 3.0, 5.3)."""
        return self.max_height if self.max_height is not None else self.max_width

    @property
    def named(self) -> dict[str, int]:
        """Limits that are set, by their names in info.json."""
        limits = {
            "maxWidth": self.max_width,
            "maxHeight": self.effective_max_height,
            "maxArea": self.max_area,
        }
        return {name: value for name, value in limits.items() if value is not None}

    def allow(self, size: Dimensions) -> bool:
        """Whether an image of this size may be rendered."""
        return (
            (self.max_width is None or size.width <= self.max_width)
            and (self.effective_max_height is None or size.height <= self.effective_max_height)
            and (self.max_area is None or size.area <= self.max_area)
        )

    def largest(self, region: Dimensions) -> Dimensions:
        """Largest size of the region's aspect ratio within the limits, also by upscaling.

        Sides are rounded to the nearest pixel, and down only where that would exceed a limit.
        Without any limit, the region's own dimensions.
        """
        scales = []
        if self.max_width is not None:
            scales.append(Fraction(self.max_width, region.width))
        if self.effective_max_height is not None:
            scales.append(Fraction(self.effective_max_height, region.height))
        if self.max_area is not None:
            root = isqrt(self.max_area * _PRECISION**2 // region.area)
            scales.append(Fraction(root + 1, _PRECISION))
        if not scales:
            return region
        width, height = region.width * min(scales), region.height * min(scales)
        candidates = [
            Dimensions(max(1, across), max(1, down))
            for across in (round_half_up(width), int(width), int(width) - 1)
            for down in (round_half_up(height), int(height))
        ]
        allowed = [size for size in candidates if self.allow(size)]
        if allowed:
            return max(allowed, key=lambda size: size.area)
        # In a very thin region one side is raised to one pixel: the other side is reduced.
        across, down = candidates[0].width, candidates[0].height
        area = self.max_area or across * down
        return Dimensions(min(across, area // down) or 1, min(down, area) if across == 1 else down)

    def within(self, other: "Limits") -> "Limits":
        """Limits with the stricter value of both."""
        return Limits(
            _stricter(self.max_width, other.max_width),
            _stricter(self.effective_max_height, other.effective_max_height),
            _stricter(self.max_area, other.max_area),
        )


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """Limits of all rendered images of the server, in pixels; `of` gives those of one image.

    `^max` of every region is as large as `maxArea` in info.json allows (Image API 3.0, 4.2). So
    info.json has to contain the limit of upscaling: no image has more pixels than
    `max_upscale_area`, unless the original itself has more.
    """

    max_width: int | None = None
    max_height: int | None = None
    max_area: int | None = None
    max_upscale_area: int | None = None

    def of(self, image: Dimensions, image_limits: Limits = Limits()) -> Limits:
        """Limits of an image of these dimensions, as published in info.json.

        `image_limits` are additional limits of the image itself, which can only be stricter.
        """
        area = self.max_area
        if self.max_upscale_area is not None:
            area = _stricter(area, max(self.max_upscale_area, image.area))
        return Limits(self.max_width, self.max_height, area).within(image_limits)


_PRECISION = 10**12
"""Fractions of a pixel in the square root of an area, which is computed with integers."""


def _stricter(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


def round_half_up(value: Fraction) -> int:
    """Nearest whole number, with halves rounded up, as `Math.round` of viewers does."""
    return rounded_ratio(value.numerator, value.denominator)


def rounded_ratio(numerator: int, denominator: int) -> int:
    """Ratio of whole numbers, rounded half up; the denominator must be positive."""
    return (2 * numerator + denominator) // (2 * denominator)


def decimal_text(value: Fraction) -> str:
    """Shortest decimal of a value that was parsed from a decimal (Image API 3.0, 4.7).

    It has no trailing zeros, and a zero before the point.
    """
    if value.denominator == 1:
        return str(value.numerator)
    whole, rest = divmod(value, 1)
    digits = rest.denominator.bit_length()  # it divides 10 to the power of its number of bits
    return f"{whole}.{int(rest * 10**digits):0{digits}d}".rstrip("0")


def square(side: int) -> Dimensions:
    """Dimensions of a square."""
    return Dimensions(side, side)


def scale_factors(dimensions: Dimensions, tile: Dimensions) -> tuple[int, ...]:
    """Scale factors: powers of two from 1 up to the first at which the image fits into one tile."""
    factor, factors = 1, [1]
    while dimensions.width > tile.width * factor or dimensions.height > tile.height * factor:
        factor *= 2
        factors.append(factor)
    return tuple(factors)


def tile_boxes(dimensions: Dimensions, tile: Dimensions, scale_factor: int) -> Iterator[Box]:
    """Region of every tile of one level, row by row from the top left (Image API 3.0, 5.4)."""
    width, height = tile.width * scale_factor, tile.height * scale_factor
    for y in range(0, dimensions.height, height):
        for x in range(0, dimensions.width, width):
            yield Box(x, y, min(width, dimensions.width - x), min(height, dimensions.height - y))


def offered_tile(preferred: Dimensions, limits: Limits) -> Dimensions:
    """Preferred tile size, halved until a full tile is within the limits."""
    tile = preferred
    while tile.area > 1 and not limits.allow(tile):
        tile = tile.reduced(2)
    return tile


def offered_sizes(dimensions: Dimensions, min_size: int, limits: Limits) -> tuple[Dimensions, ...]:
    """Recommended sizes of the whole image, ascending (Image API 3.0, 5.3).

    The full size, and its halvings with both sides of at least `min_size`, rounded up as the levels
    of `tiles` are. Sizes above the limits are left out. If none is left, the largest size within
    the limits.
    """
    sizes: list[Dimensions] = []
    factor = 1
    while True:
        size = dimensions.reduced(factor)
        small = min(size.width, size.height) < min_size
        if (factor > 1 and small) or (sizes and size == sizes[-1]):
            break
        if limits.allow(size):
            sizes.append(size)
        factor *= 2
    return tuple(reversed(sizes)) or (limits.largest(dimensions),)


def announced_sizes(
    dimensions: Dimensions, min_size: int, limits: Limits, scale_factors: Iterable[int]
) -> tuple[Dimensions, ...]:
    """Sizes for info.json: `offered_sizes`, and smaller ones where OpenSeadragon needs them.

    OpenSeadragon 4 to 6.0, also in Mirador 4, only counts the sizes: as many as scale factors, or
    one fewer, and it takes them for the levels. If they are not, it shows a distorted image.
    """
    sizes = list(offered_sizes(dimensions, min_size, limits))
    levels = [dimensions.reduced(factor) for factor in sorted(scale_factors, reverse=True)]
    while len(levels) - 1 <= len(sizes) <= len(levels) and sizes not in (levels, levels[:-1]):
        sizes.insert(0, sizes[0].reduced(2))
    return tuple(sizes)
