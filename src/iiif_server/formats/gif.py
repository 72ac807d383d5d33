"""GIF 89a: the logical screen and the frames; nothing is decoded."""

from math import prod

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.plan.header import Needs

_FIRST = 13
_MOST_BLOCKS = 4_000_000
"""Sub-blocks of up to 255 bytes each."""
_WINDOW = 1 << 16
_EXTENSION, _FRAME = b"!", b","
_PALETTE = 0x80
_MOST_RATIO = 4096
"""Pixels that one byte can stand for: the longest string of an LZW code."""
_MOST_UNFILLED = 4_000_000
"""Pixels of a screen up to which the first frame may be smaller."""
MOST_PIXELS = 100_000_000
"""Pixels of a frame, which the decoder holds whole and more than once."""


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


def _frame(file: BoundedFile, position: int, screen: tuple[int, int], *, first: bool) -> int:
    """Offset of the data of a frame; decoders enlarge the screen for a frame that is larger."""
    numbers = file.numbers("<HHHHB", position)
    if numbers is None:
        return file.size + 1
    x, y, width, height, flags = numbers
    fills = width >= screen[0] and height >= screen[1]
    if first and not fills and prod(screen) > _MOST_UNFILLED:
        raise file.unsupported("has a first frame that is smaller than its screen")
    file.check_size(max(x + width, screen[0]), max(y + height, screen[1]))
    file.check(width * height, MOST_PIXELS, "pixels in a frame of a GIF")
    file.check_long_enough(width * height // _MOST_RATIO)
    return position + 9 + _palette(flags) + 1


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _PALETTE else 0


class _Blocks:
    """Walker of chains of sub-blocks, with a limit of blocks in a file."""

    def __init__(self, file: BoundedFile) -> None:
        self._subject = file
        self._seen = 0

    def end(self, position: int) -> int:
        """Offset after the chain that begins at a position; beyond the file where it ends early."""
        file = self._subject
        while True:
            window = file.at(position, _WINDOW)
            at, seen = 0, 0
            while at < len(window) and window[at]:
                at += 1 + window[at]
                seen += 1
            self._seen += seen
            file.check(self._seen, _MOST_BLOCKS, "blocks")
            if not window:
                return file.size + 1
            if at < len(window):
                return position + at + 1
            position += at
