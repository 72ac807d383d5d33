"""A file as a format parser reads it: bounded reads at offsets, and its errors."""

import os
import struct
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooLargeError,
    PageNotFoundError,
    UnsupportedOriginalError,
)
from iiif_server.formats.colour_tags import ColourTags
from iiif_server.formats.present_file import PresentFile
from iiif_server.plan.extents import Extent
from iiif_server.plan.header import NO_NEEDS, ImageHeader, JpegFacts, Needs
from iiif_server.plan.local_file import FileVersion
from iiif_server.plan.original_format import Bounds, OriginalFormat

_ANYTHING = Bounds()


def truncated(format_: OriginalFormat, what: str = "its image does") -> DamagedOriginalError:
    """The error for an original that ends too early."""
    return DamagedOriginalError(
        f"The original is damaged: this {format_} file is truncated, it ends before {what}."
    )


MOST_BLOCK = 16 << 20
"""Bytes of one block of metadata: an ICC profile, EXIF, XMP."""
MOST_DESCRIBED = 1 << 20
"""Bytes of a block that are looked through for credits: XMP, IPTC, a text."""
MOST_METADATA = 64 << 20
"""Bytes of everything before the first pixel."""
_MOST_DRAWN, _DRAWING_EFFORT = 1_000_000_000, 4
"""Pixels of the frames of an animation that are drawn to show a later one; effort of each."""
MOST_READ_WHOLE = 512 << 20
"""Bytes of a file whose decoder takes it whole."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the structure of an original tells before anything is decoded."""

    needs: Needs = NO_NEEDS
    jpeg: JpegFacts | None = None
    interleaved: bool = False
    """Whether all has to be read before the first row is whole: progressive JPEG, Adam7 PNG."""
    header: ImageHeader | None = None
    """The whole header but for the ICC profile, where the structure tells it."""
    profile: bytes = b""
    """The ICC profile of such a header."""
    colours: ColourTags | None = None
    """What else than an ICC profile says of the colours; it goes before one."""
    pages: int = 1
    """How many pages the file has, where its structure tells it: frames of an animation."""
    exif: bytes = b""
    """EXIF that the decoder does not find."""
    xmp: bytes = b""
    """XMP that it does not find."""
    iptc: bytes = b""
    texts: Mapping[int, bytes] = field(default_factory=dict)
    """Texts in tags of a TIFF, by their numbers in EXIF."""
    partial: bool = False
    """Whether the file is truncated, and to be shown as far as it goes."""


class BoundedFile:
    """A file read at offsets within bounds, with the errors that refuse it."""

    def __init__(
        self,
        file: BinaryIO | PresentFile,
        format_: OriginalFormat,
        max_pixels: int = sys.maxsize,
        bounds: Bounds = _ANYTHING,
        page: int = 1,
    ) -> None:
        """`page` is the one that is read of a file of several, counted from 1."""
        self._file = file
        self._max_pixels = max_pixels
        self.format = format_
        self.bounds = bounds
        self.page = page
        self.size = file.seek(0, os.SEEK_END)

    def __repr__(self) -> str:
        return f"<BoundedFile {self.format}, {self.size} bytes>"

    @property
    def version(self) -> FileVersion | None:
        """The version of the file, if it is one that a parser may read again as a whole."""
        if isinstance(self._file, PresentFile):
            return None
        with suppress(OSError):  # a file in memory
            return FileVersion.of(os.fstat(self._file.fileno()))
        return None

    def at(self, offset: int, length: int) -> bytes:
        """The bytes at an offset; fewer than `length` at the end of the file."""
        if offset >= self.size:
            return b""
        self._file.seek(offset)
        return self._file.read(min(length, self.size - offset)) or b""

    def numbers(self, layout: str, offset: int) -> tuple[Any, ...] | None:
        """The numbers at an offset, by a format of `struct`; None where the file ends before."""
        size = struct.calcsize(layout)
        data = self.at(offset, size)
        return struct.unpack(layout, data) if len(data) == size else None

    def expect(self, extents: Iterable[Extent]) -> None:
        """Have a file that is present in parts report at once what is absent of these extents."""
        if isinstance(self._file, PresentFile):
            self._file.require(extents)

    # --- refusals ---------------------------------------------------------------------------

    def check(self, count: int, most: int, what: str) -> None:
        """Raise OriginalTooLargeError if a count exceeds its limit."""
        if count > most:
            raise OriginalTooLargeError(
                f"The original has {count:,} {what}; this server reads up to {most:,}."
            )

    def check_size(self, width: int, height: int) -> None:
        """Raise OriginalTooLargeError beyond the bounds, DamagedOriginalError for a side of 0."""
        if width < 1 or height < 1:
            raise self.damaged("it has no pixels")
        self.check(width * height, self._max_pixels, "pixels")
        self.check(max(width, height), self.bounds.side, "pixels on one side")

    def check_frames(self, count: int, what: str = "frames") -> None:
        """Raise OriginalTooLargeError if there are more frames than are read."""
        self.check(count, self.bounds.frames, what)

    def check_page(self, count: int) -> None:
        """Raise PageNotFoundError if the page that is read is beyond the last of so many."""
        if self.page > count:
            raise PageNotFoundError.of(self.page, count)

    def effort_before(self, width: int, height: int) -> int:
        """Effort of drawing the frames before the one that is read, each upon the last.

        Raises OriginalTooLargeError if they are too many.
        """
        before = (self.page - 1) * width * height
        self.check(before, _MOST_DRAWN, f"pixels in the frames before frame {self.page}")
        return _DRAWING_EFFORT * before

    def check_block(self, length: int, what: str) -> None:
        """Raise OriginalTooLargeError if a block of metadata is larger than 16 MiB."""
        self.check(length, MOST_BLOCK, f"bytes in {what}")

    def check_read_whole(self) -> None:
        """Raise OriginalTooLargeError if the decoder would read too much at once."""
        self.check(self.size, MOST_READ_WHOLE, f"bytes as a {self.format}")

    def check_long_enough(self, least: int) -> None:
        """Raise DamagedOriginalError if the file is shorter than its pixels need."""
        if self.size < least:
            raise truncated(self.format)

    def truncated(self, what: str = "its image does") -> bool:
        """True where truncated originals are shown; raises DamagedOriginalError where not."""
        if self.bounds.show_truncated:
            return True
        raise truncated(self.format, what)

    def damaged(self, reason: str) -> DamagedOriginalError:
        """The error for a damaged header, with the reason."""
        return DamagedOriginalError(f"The header of this {self.format} image is damaged: {reason}.")

    def unsupported(self, what: str) -> UnsupportedOriginalError:
        """The error for a feature that is not supported."""
        return UnsupportedOriginalError(f"This {self.format} image {what}, which is not read here.")
