"""Orientation: the eight values of EXIF. Pure."""

from dataclasses import dataclass

from iiif_server.iiif.geometry import Box, Dimensions


@dataclass(frozen=True, slots=True)
class Orientation:
    """Orientation: mirrored about the vertical axis, then turned by 0-3 clockwise quarters."""

    mirror: bool = False
    quarters: int = 0

    @property
    def transposes(self) -> bool:
        """Whether width and height are swapped."""
        return self.quarters % 2 == 1

    @property
    def reverses_x(self) -> bool:
        """Whether the columns of the source are read from the right."""
        return self in {
            Orientation(True, 0),
            Orientation(False, 2),
            Orientation(False, 3),
            Orientation(True, 1),
        }

    @property
    def reverses_y(self) -> bool:
        """Whether the rows of the source are read from the bottom."""
        return self in {
            Orientation(True, 2),
            Orientation(False, 2),
            Orientation(False, 1),
            Orientation(True, 1),
        }

    @property
    def inverse(self) -> "Orientation":
        """Inverse orientation."""
        return self if self.mirror else Orientation(False, -self.quarters % 4)

    def then(self, other: "Orientation") -> "Orientation":
        """Return the composition: this orientation, then the other."""
        before = -self.quarters if other.mirror else self.quarters
        return Orientation(self.mirror != other.mirror, (before + other.quarters) % 4)

    def apply(self, dimensions: Dimensions) -> Dimensions:
        """Return the dimensions of an image after the turn."""
        return dimensions.transposed() if self.transposes else dimensions

    def apply_to_box(self, box: Box, dimensions: Dimensions) -> Box:
        """Return the box after the turn of an image of these dimensions."""
        if self.mirror:
            box = Box(dimensions.width - box.x - box.width, box.y, box.width, box.height)
        for _ in range(self.quarters):
            box = Box(dimensions.height - box.y - box.height, box.x, box.height, box.width)
            dimensions = dimensions.transposed()
        return box


UPRIGHT = Orientation()

FROM_EXIF: dict[int, Orientation] = {
    1: UPRIGHT,
    2: Orientation(True, 0),
    3: Orientation(False, 2),
    4: Orientation(True, 2),
    5: Orientation(True, 3),
    6: Orientation(False, 1),
    7: Orientation(True, 1),
    8: Orientation(False, 3),
}
"""Orientation that makes stored pixels upright, by the value of the EXIF Orientation tag."""
