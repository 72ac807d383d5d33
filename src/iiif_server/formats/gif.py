"""GIF 89a inspection: logical screen and frames, without decoding."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import Needs

_HEADER_BYTES = 13
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
    file.check_fits_in_memory()
    numbers = file.unpack_at("<HHB", 6)
    if numbers is None:
        return Inspection()
    width, height, flags = numbers
    file.check_size(width, height)
    blocks = _Blocks(file)
    position, frames = _HEADER_BYTES + _palette_bytes(flags), 0
    while True:
        kind = file.read_at(position, 1)
        if kind == _EXTENSION:
            position = blocks.skip(position + 2)
        elif kind == _FRAME:
            frames += 1
            file.check_frames(frames)
            position = blocks.skip(_frame(file, position + 1, (width, height), first=frames == 1))
        else:  # the trailer, the file's end, or what nobody reads on from
            partial = position > file.size and file.accept_truncated("its frames do")
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
    blocks, position = _Blocks(file), _HEADER_BYTES + _palette_bytes(file.read_at(10, 1)[0])
    disposal, transparent = 0, None
    while True:
        start = file.read_at(position, 10)
        if start[:2] == _CONTROL:
            disposal = start[3] >> 2 & 7
            transparent = start[6] if start[3] & 1 else None
        if start[:1] == _EXTENSION:
            position = blocks.skip(position + 2)
        elif start[:1] == _FRAME and len(start) == 10:  # noqa: PLR2004 - an image descriptor
            *box, flags = struct.unpack("<xHHHHB", start)
            end = blocks.skip(position + 10 + _palette_bytes(flags) + 1)
            yield Frame(Box(*box), disposal, transparent, position + 10, end, flags)
            position, disposal, transparent = end, 0, None
        else:
            return


def _frame(file: BoundedFile, position: int, screen: tuple[int, int], *, first: bool) -> int:
    """Return the offset of a frame's data; refuse a frame that enlarges the screen too much."""
    descriptor = file.unpack_at("<HHHHB", position)
    if descriptor is None:
        return file.size + 1
    x, y, width, height, flags = descriptor
    covers_screen = width >= screen[0] and height >= screen[1]
    if first and not covers_screen and prod(screen) > _MAX_UNFILLED:
        raise file.unsupported("has a first frame that is smaller than its screen")
    file.check_size(max(x + width, screen[0]), max(y + height, screen[1]))
    file.check(width * height, MAX_PIXELS, "pixels in a frame of a GIF")
    file.check_min_size(width * height // _MAX_RATIO)
    return position + 9 + _palette_bytes(flags) + 1


def global_table(file: BoundedFile) -> tuple[int, bytes]:
    """Return the flags of the screen and its colour table."""
    flags = file.read_at(10, 1)[0]
    return flags, file.read_at(_HEADER_BYTES, _palette_bytes(flags))


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _PALETTE else 0


class _Blocks:
    """Walker of chains of sub-blocks, with a limit of blocks in a file."""

    def __init__(self, file: BoundedFile) -> None:
        self._file = file
        self._seen = 0

    def skip(self, position: int) -> int:
        """Return the offset after a chain; it is beyond the end of a truncated file."""
        file = self._file
        while True:
            window = file.read_at(position, _WINDOW)
            at, count = 0, 0
            while at < len(window) and window[at]:
                at += 1 + window[at]
                count += 1
            self._seen += count
            file.check(self._seen, _MAX_BLOCKS, "blocks")
            if not window:
                return file.size + 1
            if at < len(window):
                return position + at + 1
            position += at
