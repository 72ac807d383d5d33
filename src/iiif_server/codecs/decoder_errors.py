"""Decoder errors, classified by cause: the original or the machine. Pure."""

import errno
import re

from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    OriginalTooLargeError,
    OutOfRoomError,
    SourceUnavailableError,
    too_much_memory,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.original_format import OriginalFormat

_NO_MEMORY = re.compile(
    r"out of memory|insufficient memory|not enough memory|memory allocation|"
    r"(?:cannot|unable to|failed to|could not|couldn't) allocate",
    re.IGNORECASE,
)
"""Messages about resources, of libvips, its libraries and the system."""
_NO_SPACE = re.compile(
    r"no space left|disk quota|too many open files|read-only file system", re.IGNORECASE
)
_CAUSED_BY_ORIGINAL = re.compile(
    r"bad image dimensions|invalid image size|out of memory reading of|\(0 elements of",
    re.IGNORECASE,
)
"""Messages about memory that damaged originals cause in libvips, libtiff and libheif."""
_EXCEEDED_LIMITS = re.compile(r"security limit|too many scans|exceeded limit", re.IGNORECASE)
_NO_DISK = re.compile(r"input/output error|stale file handle", re.IGNORECASE)
_NO_SPACE_CODES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EFBIG}
)
_NO_DISK_CODES = frozenset({errno.EIO, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT})


def translate_error(error: Exception, format_: OriginalFormat) -> IiifServerError:
    """Return the IiifServerError for an exception that a library raised on an original.

    The message of the library, which may contain a path, is not included.
    """
    if isinstance(error, IiifServerError):
        return error
    words, code = str(error), error.errno if isinstance(error, OSError) else None
    # Limits of decoders come first: libheif reports them as failed allocations, too.
    if _EXCEEDED_LIMITS.search(words):
        return OriginalTooLargeError(f"The original exceeds the limits of the {format_} decoder.")
    no_memory = _NO_MEMORY.search(words) and not _CAUSED_BY_ORIGINAL.search(words)
    if isinstance(error, MemoryError) or code == errno.ENOMEM or no_memory:
        return too_much_memory()
    if code in _NO_SPACE_CODES or _NO_SPACE.search(words):
        return out_of_room()
    if code in _NO_DISK_CODES or _NO_DISK.search(words):
        return SourceUnavailableError("The original's disk cannot be read at the moment.")
    return DamagedOriginalError(
        f"The original is damaged: its {format_} data could not be decoded."
    )


def check_dimensions(width: int, height: int, expected: Dimensions) -> None:
    """Raise DamagedOriginalError if decoder and header disagree about the dimensions."""
    if (width, height) != (expected.width, expected.height):
        raise DamagedOriginalError(
            "The original is damaged: its data and its header have different dimensions."
        )


def out_of_room() -> OutOfRoomError:
    """Return the error for lack of disk space or file descriptors."""
    return OutOfRoomError(
        "This server has too little disk space for the image at the moment; "
        "try again later, or request a smaller image."
    )
