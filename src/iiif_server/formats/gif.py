"""GIF 89a inspection: logical screen and frames, without decoding."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import Needs

_FIRST = 13
_MAX_BLOCKS = 4_000_000
"""Maximum number of sub-blocks, of up to 255 bytes each."""
_WINDOW = 1 << 16
_EXTENSION, _FRAME = b"!", b","
_CONTROL = b"!\xf9"
_PALETTE = 0x80
_MAX_RATIO = 4096
"""Maximum pixels per byte: the longest string of an LZW code."""
_MAX_UNFILLED = 4_000_000
"""Maximum pixels of a screen whose first frame does not cover it."""
MAX_PIXELS = 100_000_000
"""Maximum pixels of a frame, of which the decoder holds several copies."""


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a GIF with too many pixels or frames."""
    file.check_read_whole()
    numbers = file.numbers("<HHB", 6)
    if numbers is None:
        return Inspection()
    width, height, flags = numbers
    file.check_size(width, height)
    blocks = _Blocks(file)
    position, frames = _FIRST + _palette(flags), 0
    while True:
        kind = file.at(position, 1)
        if kind == _EXTENSION:
            position = blocks.end(position + 2)
        elif kind == _FRAME:
            frames += 1
            file.check_frames(frames)
            position = blocks.end(_frame(file, position + 1, (width, height), first=frames == 1))
        else:  # the trailer, the file's end, or what nobody reads on from
            partial = position > file.size and file.truncated("its frames do")
            file.check_page(max(frames, 1))
            effort = file.effort_before(width, height)
            # The decoder takes it whole.
            needs = Needs(bytes=file.size, effort=effort)
            return Inspection(needs, pages=max(frames, 1), partial=partial)


@dataclass(frozen=True, slots=True)
class Frame:
    """Frame of an animation."""

    box: Box
    """Position on the screen."""
    disposal: int
    transparent: int | None
    """Index of the transparent colour."""
    start: int
    """Offset of the colour table, or of the data without one."""
    end: int
    flags: int


def frames(file: BoundedFile) -> Iterator[Frame]:
    """Yield the frames of an inspected file, with their graphic control extensions."""
    blocks, position = _Blocks(file), _FIRST + _palette(file.at(10, 1)[0])
    disposal, transparent = 0, None
    while True:
        start = file.at(position, 10)
        if start[:2] == _CONTROL:
            disposal = start[3] >> 2 & 7
            transparent = start[6] if start[3] & 1 else None
        if start[:1] == _EXTENSION:
            position = blocks.end(position + 2)
        elif start[:1] == _FRAME and len(start) == 10:  # noqa: PLR2004 - an image descriptor
            *box, flags = struct.unpack("<xHHHHB", start)
            end = blocks.end(position + 10 + _palette(flags) + 1)
            yield Frame(Box(*box), disposal, transparent, position + 10, end, flags)
            position, disposal, transparent = end, 0, None
        else:
            return


def _frame(file: BoundedFile, position: int, screen: tuple[int, int], *, first: bool) -> int:
    """Return the offset of a frame's data; refuse a frame that enlarges the screen too much."""
    numbers = file.numbers("<HHHHB", position)
    if numbers is None:
        return file.size + 1
    x, y, width, height, flags = numbers
    fills = width >= screen[0] and height >= screen[1]
    if first and not fills and prod(screen) > _MAX_UNFILLED:
        raise file.unsupported("has a first frame that is smaller than its screen")
    file.check_size(max(x + width, screen[0]), max(y + height, screen[1]))
    file.check(width * height, MAX_PIXELS, "pixels in a frame of a GIF")
    file.check_long_enough(width * height // _MAX_RATIO)
    return position + 9 + _palette(flags) + 1


def global_table(file: BoundedFile) -> tuple[int, bytes]:
    """Return the flags of the screen and its colour table."""
    flags = file.at(10, 1)[0]
    return flags, file.at(_FIRST, _palette(flags))


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _PALETTE else 0


class _Blocks:
    """Walker of chains of sub-blocks, with a limit of blocks in a file."""

    def __init__(self, file: BoundedFile) -> None:
        self._subject = file
        self._seen = 0

    def end(self, position: int) -> int:
        """Return the offset after a chain; it is beyond the end of a truncated file."""
        file = self._subject
        while True:
            window = file.at(position, _WINDOW)
            at, seen = 0, 0
            while at < len(window) and window[at]:
                at += 1 + window[at]
                seen += 1
            self._seen += seen
            file.check(self._seen, _MAX_BLOCKS, "blocks")
            if not window:
                return file.size + 1
            if at < len(window):
                return position + at + 1
            position += at
