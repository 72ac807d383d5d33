"""TIFF pages: the directory chain, which is walked once, and views of single pages."""

import io
import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iiif_server.errors import OriginalRefusedError, PageNotFoundError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.tiff import (
    MASK,
    MAX_REDUCED_DIRECTORIES,
    REDUCED,
    Directories,
    Directory,
    Layout,
    Tag,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import NO_SIZE, PageList
from iiif_server.plan.local_file import FileVersion
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT
from iiif_server.plan.original_format import OriginalFormat

_TYPICAL_DIRECTORY_BYTES = 1024
"""Bytes that hold most directories; one of BigTIFF with twenty tags has 420."""
_MIN_CACHED_LENGTH = 64
"""Directories from which on a chain is cached: walking 10,000 takes 0.1 s."""
_CACHED_CHAINS = 8
_MAX_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class _Chain:
    """Main chain of directories."""

    offsets: Sequence[int]
    pages: Sequence[int]
    """Indices of the directories that are pages."""


class _ChainCache:
    """Cache of the long chains that this process has read most recently."""

    chains: tuple[tuple[FileVersion, _Chain], ...] = ()


def directories(file: BoundedFile, page: int = 1) -> Directories:
    """Return the directories of a page, from 1. Raises OriginalRefusedError or PageNotFoundError.

    No page: thumbnails, reduced versions and masks, which belong to the page before them, or to the
    first; unless there is nothing else.
    """
    layout = Layout.of(file)
    chain = _chain(file, layout)
    if page > len(chain.pages):
        raise PageNotFoundError.of(page, len(chain.pages))
    index = chain.pages[page - 1]
    stop = chain.pages[page] if page < len(chain.pages) else len(chain.offsets)
    neighbours = [*range(index + 1, min(stop, index + 1 + MAX_REDUCED_DIRECTORIES))]
    if page == 1:
        neighbours = [*range(index), *neighbours][:MAX_REDUCED_DIRECTORIES]
    main, *reduced = (
        Directory(file, layout, chain.offsets[index]) for index in (index, *neighbours)
    )
    count = main.count(Tag.SUB_DIRECTORIES)
    file.check_frames(count, "pages below the first")
    # A SubIFD in the main chain, or one that is listed twice, would be a loop.
    listed = dict.fromkeys(main.values(Tag.SUB_DIRECTORIES, count))
    chained = set(chain.offsets) if listed else set()
    offsets = [offset for offset in listed if offset not in chained]
    file.require((index, index + _TYPICAL_DIRECTORY_BYTES) for index in offsets)
    sub_directories = [Directory(file, layout, index) for index in offsets]
    return Directories(main, reduced, sub_directories, len(chain.pages))


def list_pages(file: BoundedFile) -> PageList:
    """Return dimensions and names of all pages, from the start of their directories."""
    layout = Layout.of(file)
    chain = _chain(file, layout)
    found = [
        _facts(Directory(file, layout, chain.offsets[at]).first_entries()) for at in chain.pages
    ]
    return PageList(tuple(size for size, _ in found), tuple(name for _, name in found))


def _facts(ifd: Directory) -> tuple[Dimensions, str]:
    """Return the upright dimensions of a page, NO_SIZE if unreadable, and its PageName."""
    try:
        orientation = FROM_EXIF.get(ifd.value(Tag.ORIENTATION, 1), UPRIGHT)
        name = ifd.data(Tag.PAGE_NAME, _MAX_NAME_BYTES).partition(b"\0")[0]
        return orientation.apply(ifd.dimensions), name.decode("utf-8", "replace").strip()
    except OriginalRefusedError:
        return NO_SIZE, ""


def _chain(file: BoundedFile, layout: Layout) -> _Chain:
    version = file.version
    for known, chain in _ChainCache.chains:
        if known == version:
            file.check_frames(len(chain.offsets), "pages")
            return chain
    chain = _walk_chain(file, layout)
    if version is not None and len(chain.offsets) >= _MIN_CACHED_LENGTH:
        # Assigned at once: threads of the library may walk, too.
        _ChainCache.chains = ((version, chain), *_ChainCache.chains)[:_CACHED_CHAINS]
    return chain


def _walk_chain(file: BoundedFile, layout: Layout) -> _Chain:
    (offset,) = file.unpack_at(layout.offset, layout.first) or (0,)
    offsets: dict[int, None] = {}
    pages = []
    while offset and offset not in offsets:  # a chain that forms a loop has been read by then
        ifd = Directory(file, layout, offset)
        first_entries_ = ifd.first_entries()
        if not offsets and not first_entries_.tags:
            break
        if not first_entries_.value(Tag.SUBFILE_TYPE) & (REDUCED | MASK):
            pages.append(len(offsets))
        offsets[offset] = None
        file.check_frames(len(offsets), "pages")
        offset = ifd.next
    if not offsets:
        raise file.damaged("its first directory is empty, or the file is truncated before it")
    return _Chain(array("Q", offsets), array("L", pages or [0]))


class SingleDirectory(io.RawIOBase):
    """View of a TIFF with a single directory, the one at an offset.

    Decoders walk the whole chain, to count it or to reach a page: 0.25 s for ten thousand.
    """

    def __init__(self, descriptor: int, offset: int) -> None:
        """Create the view; the caller closes the descriptor."""
        with os.fdopen(os.dup(descriptor), "rb") as file:
            bounded = BoundedFile(file, OriginalFormat.TIFF)
            layout = Layout.of(bounded)
            ifd = Directory(bounded, layout, offset)
            (first,) = bounded.unpack_at(layout.offset, layout.first) or (0,)
            self.is_whole_file = first == offset and not ifd.next
            """Whether the file has no other directory in its chain."""
        self._changed = (
            (layout.first, struct.pack(layout.offset, offset)),
            (ifd.end, bytes(struct.calcsize(layout.offset))),
        )
        self._descriptor = descriptor
        self._size = bounded.size
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset."""
        if whence == os.SEEK_SET:
            self._at = max(0, offset)
        else:
            start = self._at if whence == os.SEEK_CUR else self._size
            self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        at = self._at
        count = os.preadv(self._descriptor, [buffer], at)
        self._at = at + count
        for position, content in self._changed:
            start, stop = max(position, at), min(position + len(content), at + count)
            if start < stop:
                buffer[start - at : stop - at] = content[start - position : stop - position]
        return count
