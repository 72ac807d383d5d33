"""Whose fault it is that a decoder gave up: the original's or the machine's. Pure."""

import errno
import re

from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    OriginalTooLargeError,
    OutOfRoomError,
    SourceUnavailableError,
)
from iiif_server.imaging.signatures import OriginalFormat

_NO_ROOM = re.compile(
    r"out of memory|insufficient memory|not enough memory|memory allocation|"
    r"(?:cannot|unable to|failed to|could not|couldn't) allocate|"
    r"no space left|disk quota|too many open files|read-only file system",
    re.IGNORECASE,
)
"""In the words of libvips, the libraries below it, and the system."""
_ITS_OWN = re.compile(r"bad image dimensions|out of memory reading of", re.IGNORECASE)
"""What is the original's fault, though libvips and libtiff call it a lack of memory."""
_TOO_MUCH = re.compile(r"security limit|too many scans|exceeded limit", re.IGNORECASE)
_NO_DISK = re.compile(r"input/output error|stale file handle", re.IGNORECASE)
_NO_ROOM_CODES = frozenset(
    {errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EFBIG}
)
_NO_DISK_CODES = frozenset({errno.EIO, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT})


def refusal(error: Exception, format_: OriginalFormat) -> IiifServerError:
    """What to tell the client where a library raised this on an original of a format.

    The library's own words, which may hold a path, stay out of it.
    """
    if isinstance(error, IiifServerError):
        return error
    code = error.errno if isinstance(error, OSError) else None
    words = str(error)
    if isinstance(error, MemoryError) or code in _NO_ROOM_CODES:
        return out_of_room()
    # First what its decoder refuses of itself: libheif calls that a failed allocation, too.
    if _TOO_MUCH.search(words):
        return OriginalTooLargeError(f"The original is more than a decoder of {format_} takes.")
    if _NO_ROOM.search(words) and not _ITS_OWN.search(words):
        return out_of_room()
    if code in _NO_DISK_CODES or _NO_DISK.search(words):
        return SourceUnavailableError("The original's disk cannot be read at the moment.")
    return DamagedOriginalError(
        f"The original is damaged: its {format_} data could not be decoded."
    )


def out_of_room() -> OutOfRoomError:
    """The refusal for lack of memory or disk."""
    return OutOfRoomError(
        "This server has not enough memory or disk for the image at the moment; "
        "ask again later, or for a smaller one."
    )
