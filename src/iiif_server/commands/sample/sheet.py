"""Where things lie on the sheet.

Positions are in design units: the sheet is always DESIGN_WIDTH units wide, whatever its size in
pixels, so that the same island appears at every size.
"""

from typing import Any, NamedTuple, TypeAlias

Pixels: TypeAlias = Any
"""A `pyvips.Image`: the library declares no types."""
Point: TypeAlias = tuple[float, float]

DESIGN_WIDTH = 9000.0
FRAME = 70.0
_MARGIN = 330.0


class Box(NamedTuple):
    """An upright rectangle in design units."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two rectangles share any ground."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def grown(self, by: float) -> "Box":
        """The rectangle with every side moved outwards."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


class Sheet(NamedTuple):
    """The size of the sheet in pixels, and what follows from it in design units."""

    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels to one design unit."""
        return self.width / DESIGN_WIDTH

    @property
    def middle(self) -> Point:
        """The middle of the sheet."""
        return DESIGN_WIDTH / 2, self.height / self.scale / 2

    @property
    def unit(self) -> float:
        """The measure that the island is laid out by: not quite half the height of the sheet."""
        return min(DESIGN_WIDTH * 0.375, self.middle[1]) * 0.89

    @property
    def chart(self) -> Box:
        """The inside of the frame, where the map is."""
        x, y = self.middle
        return Box(0, 0, 2 * x, 2 * y).grown(-_MARGIN - FRAME)


class Room:
    """The ground not yet taken, so that nothing is printed over anything else."""

    _STEP = 10

    def __init__(self, chart: Box) -> None:
        # One byte for each small square: whether it is taken, as all is outside of the chart.
        columns, rows = int(chart.right // self._STEP) + 99, int(chart.bottom // self._STEP) + 99
        self._rows = [bytearray(b"\1" * columns) for _ in range(rows)]
        self.take(chart.grown(-50), b"\0")

    def claim(self, box: Box) -> bool:
        """Take a box if it lies well within the chart and on nothing else, and say whether."""
        across, down = self._squares(box)
        free = not any(any(row[across]) for row in self._rows[down])
        if free:
            self.take(box)
        return free

    def take(self, box: Box, value: bytes = b"\1") -> None:
        """Keep a box free of anything that asks later."""
        across, down = self._squares(box)
        for row in self._rows[down]:
            row[across] = value * len(row[across])

    def _squares(self, box: Box) -> tuple[slice, slice]:
        left, top, right, bottom = (max(0, int(edge // self._STEP)) for edge in box)
        return slice(left, right + 1), slice(top, bottom + 1)
