"""Bounded file: reads at offsets within limits, for format parsers."""

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
from iiif_server.plan.original_format import DEFAULT_BOUNDS, Bounds, OriginalFormat


def truncated_error(format_: OriginalFormat, what: str = "its image does") -> DamagedOriginalError:
    """Return the error for a truncated original."""
    return DamagedOriginalError(
        f"The original is damaged: this {format_} file is truncated, it ends before {what}."
    )


MAX_BLOCK_BYTES = 16 << 20
"""Maximum bytes of one metadata block: ICC profile, EXIF, XMP."""
MAX_CREDITS_BYTES = 1 << 20
"""Maximum bytes of a block that is searched for credits: XMP, IPTC, text."""
MAX_METADATA_BYTES = 64 << 20
"""Maximum bytes of metadata before the first pixel."""
_MAX_DRAWN_PIXELS, _DRAWING_EFFORT = 1_000_000_000, 4
"""Maximum pixels of the earlier frames that are drawn for a frame; effort per pixel."""
MAX_BYTES_IN_MEMORY = 512 << 20
"""Maximum bytes of a file whose decoder reads it into memory."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Result of an inspection: facts about an original, found without decoding."""

    needs: Needs = NO_NEEDS
    jpeg: JpegFacts | None = None
    interleaved: bool = False
    """Whether the first row is complete only after all data: progressive JPEG, Adam7 PNG."""
    header: ImageHeader | None = None
    """Image header without ICC profile, if the inspection finds it."""
    profile: bytes = b""
    """ICC profile for `header`."""
    colour_tags: ColourTags | None = None
    """Colour tags, which take precedence over an ICC profile."""
    pages: int = 1
    """Number of pages, if the inspection counts them: frames of an animation."""
    exif: bytes = b""
    """EXIF that the decoder does not return."""
    xmp: bytes = b""
    """XMP that the decoder does not return."""
    iptc: bytes = b""
    texts: Mapping[int, bytes] = field(default_factory=dict)
    """Text tags of a TIFF, by tag number."""
    partial: bool = False
    """Whether the file is truncated and shown partially."""
    user_units: bool = False
    """Whether pages of a PDF may have a UserUnit."""


class BoundedFile:
    """Bounded file: reads at offsets, checks of limits, and their errors."""

    def __init__(
        self,
        file: BinaryIO | PresentFile,
        format_: OriginalFormat,
        max_pixels: int = sys.maxsize,
        bounds: Bounds = DEFAULT_BOUNDS,
        page: int = 1,
    ) -> None:
        """Create it for a page, counted from 1."""
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
        """Version of the file; None if it is in memory or partly downloaded."""
        if isinstance(self._file, PresentFile):
            return None
        with suppress(OSError):  # a file in memory
            return FileVersion.of(os.fstat(self._file.fileno()))
        return None

    def read_at(self, offset: int, length: int) -> bytes:
        """Read bytes at an offset; fewer than `length` at the end of the file."""
        if offset >= self.size:
            return b""
        self._file.seek(offset)
        return self._file.read(min(length, self.size - offset)) or b""

    def unpack_at(self, layout: str, offset: int) -> tuple[Any, ...] | None:
        """Read numbers at an offset, by a `struct` format; None at the end of the file."""
        size = struct.calcsize(layout)
        data = self.read_at(offset, size)
        return struct.unpack(layout, data) if len(data) == size else None

    def require(self, extents: Iterable[Extent]) -> None:
        """Raise BytesMissingError once for all absent bytes of these extents."""
        if isinstance(self._file, PresentFile):
            self._file.require(extents)

    # --- limits and errors ---

    def check(self, count: int, limit: int, what: str) -> None:
        """Raise OriginalTooLargeError if a count exceeds its limit."""
        if count > limit:
            raise OriginalTooLargeError(
                f"The original has {count:,} {what}; this server reads up to {limit:,}."
            )

    def check_size(self, width: int, height: int) -> None:
        """Raise OriginalTooLargeError above the limits, DamagedOriginalError for a side of 0."""
        if width < 1 or height < 1:
            raise self.damaged("it has no pixels")
        self.check(width * height, self._max_pixels, "pixels")
        self.check(max(width, height), self.bounds.side, "pixels on one side")

    def check_frames(self, count: int, what: str = "frames") -> None:
        """Raise OriginalTooLargeError above `limits.max_source_frames`."""
        self.check(count, self.bounds.frames, what)

    def check_page(self, count: int) -> None:
        """Raise PageNotFoundError if the file has fewer pages."""
        if self.page > count:
            raise PageNotFoundError.of(self.page, count)

    def effort_before(self, width: int, height: int) -> int:
        """Return the effort of drawing the frames before the requested one.

        Raises OriginalTooLargeError if they are too many.
        """
        before = (self.page - 1) * width * height
        self.check(before, _MAX_DRAWN_PIXELS, f"pixels in the frames before frame {self.page}")
        return _DRAWING_EFFORT * before

    def check_block(self, length: int, what: str) -> None:
        """Raise OriginalTooLargeError if a block of metadata is larger than 16 MiB."""
        self.check(length, MAX_BLOCK_BYTES, f"bytes in {what}")

    def check_fits_in_memory(self) -> None:
        """Raise OriginalTooLargeError if the decoder would read too much into memory."""
        self.check(self.size, MAX_BYTES_IN_MEMORY, f"bytes as a {self.format}")

    def check_min_size(self, min_size: int) -> None:
        """Raise DamagedOriginalError if the file is shorter than its pixels need."""
        if self.size < min_size:
            raise truncated_error(self.format)

    def accept_truncated(self, what: str = "its image does") -> bool:
        """Return True with `limits.truncated = "show"`; otherwise raise DamagedOriginalError."""
        if self.bounds.show_truncated:
            return True
        raise truncated_error(self.format, what)

    def damaged(self, reason: str) -> DamagedOriginalError:
        """Return the error for a damaged header, with the reason."""
        return DamagedOriginalError(f"The header of this {self.format} image is damaged: {reason}.")

    def unsupported(self, what: str) -> UnsupportedOriginalError:
        """Return the error for an unsupported feature."""
        return UnsupportedOriginalError(
            f"This {self.format} image {what}, which this server does not read."
        )
