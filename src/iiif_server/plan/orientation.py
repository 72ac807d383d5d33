"""The eight ways to lay an image on a pixel grid: what EXIF calls orientations. Pure."""

from dataclasses import dataclass

from iiif_server.iiif.geometry import Box, Dimensions


@dataclass(frozen=True, slots=True)
class Turn:
    """Mirroring by the vertical axis first, then this many clockwise quarter turns (0-3)."""

    mirror: bool = False
    quarters: int = 0

    @property
    def transposes(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    @property
    def reverses_x(self) -> bool:
        """Whether the columns of the source are read from the right."""
        return self in {Turn(True, 0), Turn(False, 2), Turn(False, 3), Turn(True, 1)}

    @property
    def reverses_y(self) -> bool:
        """Whether the rows of the source are read from the bottom."""
        return self in {Turn(True, 2), Turn(False, 2), Turn(False, 1), Turn(True, 1)}

    @property
    def inverse(self) -> "Turn":
        """The turn that undoes this one."""
        return self if self.mirror else Turn(False, -self.quarters % 4)

    def then(self, other: "Turn") -> "Turn":
        """The one turn that does this one and then the other."""
        before = -self.quarters if other.mirror else self.quarters
        return Turn(self.mirror != other.mirror, (before + other.quarters) % 4)

    def apply(self, dimensions: Dimensions) -> Dimensions:
        """The dimensions of an image after the turn."""
        return dimensions.turned() if self.transposes else dimensions

    def carry(self, box: Box, dimensions: Dimensions) -> Box:
        """Where a box of an image of these dimensions lies after the turn."""
        if self.mirror:
            box = Box(dimensions.width - box.x - box.width, box.y, box.width, box.height)
        for _ in range(self.quarters):
            box = Box(dimensions.height - box.y - box.height, box.x, box.height, box.width)
            dimensions = dimensions.turned()
        return box


UPRIGHT = Turn()

FROM_EXIF: dict[int, Turn] = {
    1: UPRIGHT,
    2: Turn(True, 0),
    3: Turn(False, 2),
    4: Turn(True, 2),
    5: Turn(True, 3),
    6: Turn(False, 1),
    7: Turn(True, 1),
    8: Turn(False, 3),
}
"""What has to be done to the stored pixels, by the value of the Orientation tag."""
