"""GIF 89a: the logical screen, and every frame."""

from math import prod

from iiif_server.formats.bounded_file import Subject
from iiif_server.plan.needs import Needs

_FIRST = 13
_MOST_BLOCKS = 4_000_000
"""Sub-blocks of up to 255 bytes each."""
_WINDOW = 1 << 16
_EXTENSION, _FRAME = b"!", b","
_PALETTE = 0x80
_MOST_RATIO = 4096
"""Pixels that one byte can stand for: the longest string of an LZW code."""
_MOST_UNFILLED = 4_000_000
"""Pixels of a screen that the first frame need not fill."""
_MOST_PIXELS = 100_000_000
"""Pixels of a frame, which the decoder holds whole and more than once."""


def inspect(subject: Subject) -> Needs:
    """Refuse a GIF that is too much: of pixels on its screen or outside, or of frames."""
    subject.check_read_whole()
    numbers = subject.numbers("<HHB", 6)
    if numbers is None:
        return Needs()
    width, height, flags = numbers
    subject.check_size(width, height)
    blocks = _Blocks(subject)
    position, frames = _FIRST + _palette(flags), 0
    while True:
        kind = subject.at(position, 1)
        if kind == _EXTENSION:
            position = blocks.end(position + 2)
        elif kind == _FRAME:
            frames += 1
            subject.check_frames(frames)
            position = blocks.end(_frame(subject, position + 1, (width, height), first=frames == 1))
        else:  # the trailer, the file's end, or what nobody reads on from
            return Needs(bytes=subject.size)  # the decoder takes it whole


def _frame(subject: Subject, position: int, screen: tuple[int, int], *, first: bool) -> int:
    """Where the data of a frame begin; decoders enlarge the screen for one that is larger."""
    numbers = subject.numbers("<HHHHB", position)
    if numbers is None:
        return subject.size
    x, y, width, height, flags = numbers
    fills = width >= screen[0] and height >= screen[1]
    if first and not fills and prod(screen) > _MOST_UNFILLED:
        raise subject.unsupported("has a first frame that is smaller than its screen")
    subject.check_size(max(x + width, screen[0]), max(y + height, screen[1]))
    subject.check(width * height, _MOST_PIXELS, "pixels in a frame of a GIF")
    subject.check_long_enough(width * height // _MOST_RATIO)
    return position + 9 + _palette(flags) + 1


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _PALETTE else 0


class _Blocks:
    """Chains of sub-blocks, of which there are only so many in a file."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._seen = 0

    def end(self, position: int) -> int:
        """Where the chain that begins at a position has its end."""
        subject = self._subject
        while True:
            window = subject.at(position, _WINDOW)
            at, seen = 0, 0
            while at < len(window) and window[at]:
                at += 1 + window[at]
                seen += 1
            self._seen += seen
            subject.check(self._seen, _MOST_BLOCKS, "blocks")
            if not window:
                return subject.size
            if at < len(window):
                return position + at + 1
            position += at
