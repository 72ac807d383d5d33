"""Values of DICOM elements: numbers, texts, windows and look-up tables (PS3.3, C.11)."""

import math
from dataclasses import dataclass

from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.dicom_elements import PIXELS, Elements, file_text

_CENTER, _WIDTH, _FUNCTION, _PIXEL_SPACING = 0x0028_1050, 0x0028_1051, 0x0028_1056, 0x0028_0030
_SIGNED = 0x0028_0103
_TABLE_HEAD, _TABLE = 0x0028_3002, 0x0028_3006
TAGS = frozenset({_CENTER, _WIDTH, _FUNCTION, _PIXEL_SPACING, _SIGNED, _TABLE_HEAD, _TABLE})
"""Tags of the elements that this module reads."""
_MM_PER_INCH = 25.4
_MIN_MAGNITUDE = 1e-30
"""Least absolute value of a plausible number except 0; the greatest is its inverse."""


@dataclass(frozen=True, slots=True)
class Table:
    """Look-up table for sample values (PS3.3, C.11.1 and C.7.6.3.1.5)."""

    first: int
    """Sample value of the first entry."""
    bits: int
    entries: bytes
    wide: bool
    """Whether an entry has two bytes."""


@dataclass(frozen=True, slots=True)
class Window:
    """Window: values for black and white (PS3.3, C.11.2.1.2)."""

    center: float
    width: float
    function: str

    @property
    def ends(self) -> tuple[float, float]:
        """Values at which black ends and white begins."""
        if self.function == "LINEAR_EXACT":
            return self.center - self.width / 2, self.center + self.width / 2
        half = max(self.width - 1, 1e-3) / 2
        return self.center - 0.5 - half, self.center - 0.5 + half


class Values:
    """Values of elements, as numbers and texts."""

    def __init__(self, file: BoundedFile, elements: Elements) -> None:
        self._file = file
        self._elements = elements

    @property
    def has_big_words(self) -> bool:
        """Whether the pixel data are words in big-endian order."""
        return self._elements.order == ">" and self._elements.found[0, PIXELS].vr == "OW"

    def text(self, tag: int) -> str:
        """Return the first text of an element; empty without the element."""
        return file_text(self._file, self._elements.found.get((0, tag))).partition("\\")[0].strip()

    def integer(self, tag: int, default: int = -1, scope: int = 0) -> int:
        """Return an integer. Raises DamagedOriginalError without element and default."""
        element = self._elements.found.get((scope, tag))
        layout = {2: "H", 4: "I"}.get(element.length) if element else None
        if element is None or layout is None:
            if default < 0:
                raise self._file.damaged(f"it lacks the element {tag >> 16:04X},{tag & 0xFFFF:04X}")
            return default
        return int((self._file.unpack_at(self._elements.order + layout, element.offset) or (0,))[0])

    def number(self, tag: int, default: float) -> float:
        """Return the first decimal number of an element; the default if missing or not finite."""
        try:
            found = float(self.text(tag))
        except ValueError:
            return default
        return found if not found or _MIN_MAGNITUDE < abs(found) < 1 / _MIN_MAGNITUDE else default

    def window(self) -> Window | None:
        """Return the first plausible window, or None."""
        width = self.number(_WIDTH, 0)
        center = self.number(_CENTER, math.nan)
        function = self.text(_FUNCTION) or "LINEAR"
        if width <= 0 or math.isnan(center) or (width < 1 and function == "LINEAR"):
            return None
        return Window(center, width, function)

    def resolution(self) -> tuple[float, float] | None:
        """Return horizontal and vertical dots per inch, from PixelSpacing (mm, vertical first)."""
        text = file_text(self._file, self._elements.found.get((0, _PIXEL_SPACING)))
        try:
            down, across = (float(part) for part in text.split("\\"))
            return _MM_PER_INCH / across, _MM_PER_INCH / down
        except (ValueError, ZeroDivisionError):
            return None

    def optional_table(self, scope: int) -> Table | None:
        """Return the look-up table in the first item of a sequence, or None."""
        if (scope, _TABLE_HEAD) not in self._elements.found:
            return None
        return self.table(scope, _TABLE_HEAD, _TABLE)

    def table(self, scope: int, head: int, data: int) -> Table:
        """Read a look-up table. Raises DamagedOriginalError, also for a segmented one."""
        found = self._elements.found
        descriptor, entries = found.get((scope, head)), found.get((scope, data))
        if descriptor is None or entries is None or descriptor.length != 6:  # noqa: PLR2004 - three numbers
            raise self._file.damaged("it lacks a look-up table, or has a segmented one")
        signed = descriptor.vr == "SS" or self.integer(_SIGNED, 0) == 1
        layout = f"{self._elements.order}H{'h' if signed else 'H'}H"
        count, first, bits = self._file.unpack_at(layout, descriptor.offset) or (0, 0, 0)
        count = count or 1 << 16
        wide = entries.length >= 2 * count
        if not 1 <= bits <= 16 or entries.length < count:  # noqa: PLR2004 - of two bytes
            raise self._file.damaged("a look-up table is shorter than declared")
        return Table(
            first, bits, self._file.read_at(entries.offset, count * (2 if wide else 1)), wide
        )
