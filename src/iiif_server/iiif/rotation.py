"""Rotation parameter (Image API 3.0, 4.3; 2.1.1, 4.3)."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, cos, radians, sin

from iiif_server.errors import MalformedParameterError
from iiif_server.iiif.geometry import DECIMAL, Dimensions, decimal_text

_ROTATION = re.compile(rf"(!?)({DECIMAL})", re.ASCII)
_FULL_TURN = 360

EXPECTED = "degrees clockwise from 0 to 360, with ! before them to mirror first"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Mirroring at the vertical axis, then a clockwise rotation by 0 <= `degrees` < 360."""

    degrees: Fraction
    mirror: bool

    def __str__(self) -> str:
        return ("!" if self.mirror else "") + decimal_text(self.degrees)

    @property
    def quarter_turns(self) -> int | None:
        """Number of rotations by 90 degrees (0 to 3); None for any other angle."""
        quarters, rest = divmod(self.degrees.numerator, 90)
        return None if rest or self.degrees.denominator > 1 else quarters

    def extent(self, size: Dimensions) -> Dimensions:
        """Dimensions of the rotated image: its bounding box, rounded up."""
        turns = self.quarter_turns
        if turns is not None:
            return size.transposed() if turns % 2 else size
        angle = radians(self.degrees)
        across, down = abs(cos(angle)), abs(sin(angle))
        return Dimensions(
            ceil(size.width * across + size.height * down),
            ceil(size.width * down + size.height * across),
        )


@lru_cache(256)  # on the hot path, mostly with the same few values
def parse_rotation(text: str) -> Rotation:
    """Parse a rotation; raise MalformedParameterError, and nothing else, for an invalid string."""
    if match := _ROTATION.fullmatch(text):
        degrees = Fraction(match[2])
        if degrees <= _FULL_TURN:
            return Rotation(degrees % _FULL_TURN, bool(match[1]))
    raise MalformedParameterError("rotation", text, EXPECTED)
