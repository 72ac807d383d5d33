"""Whose fault it is that a decoder gave up: the original's or the machine's. Pure."""

import errno
import re
from collections.abc import Callable

from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    OriginalTooLargeError,
    OutOfRoomError,
    SourceUnavailableError,
    too_much_memory,
)
from iiif_server.plan.original_format import OriginalFormat

_NO_MEMORY = re.compile(
    r"out of memory|insufficient memory|not enough memory|memory allocation|"
    r"(?:cannot|unable to|failed to|could not|couldn't) allocate",
    re.IGNORECASE,
)
"""In the words of libvips, the libraries below it, and the system."""
_NO_ROOM = re.compile(
    r"no space left|disk quota|too many open files|read-only file system", re.IGNORECASE
)
_ITS_OWN = re.compile(r"bad image dimensions|out of memory reading of", re.IGNORECASE)
"""What is the original's fault, though libvips and libtiff call it a lack of memory."""
_TOO_MUCH = re.compile(r"security limit|too many scans|exceeded limit", re.IGNORECASE)
_NO_DISK = re.compile(r"input/output error|stale file handle", re.IGNORECASE)
_NO_ROOM_CODES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EFBIG}
)
_NO_DISK_CODES = frozenset({errno.EIO, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT})


def refusal(error: Exception, format_: OriginalFormat) -> IiifServerError:
    """What to tell the client where a library raised this on an original of a format.

    The library's own words, which may hold a path, stay out of it.
    """
    if isinstance(error, IiifServerError):
        return error
    code = error.errno if isinstance(error, OSError) else None
    return next(answer(format_) for applies, answer in _CAUSES if applies(code, error))


def _is_memory(code: int | None, error: Exception) -> bool:
    words = str(error)
    said = _NO_MEMORY.search(words) and not _ITS_OWN.search(words)
    return isinstance(error, MemoryError) or code == errno.ENOMEM or bool(said)


def _too_much(format_: OriginalFormat) -> IiifServerError:
    return OriginalTooLargeError(f"The original is more than a decoder of {format_} takes.")


def _no_disk(_: OriginalFormat) -> IiifServerError:
    return SourceUnavailableError("The original's disk cannot be read at the moment.")


def _damaged(format_: OriginalFormat) -> IiifServerError:
    return DamagedOriginalError(
        f"The original is damaged: its {format_} data could not be decoded."
    )


def out_of_room() -> OutOfRoomError:
    """The refusal for lack of disk, or of open files."""
    return OutOfRoomError(
        "This server has not enough disk for the image at the moment; "
        "ask again later, or for a smaller one."
    )


_CAUSES: tuple[
    tuple[Callable[[int | None, Exception], bool], Callable[[OriginalFormat], IiifServerError]], ...
] = (
    # First what its decoder refuses of itself: libheif calls that a failed allocation, too.
    (lambda _, error: bool(_TOO_MUCH.search(str(error))), _too_much),
    (_is_memory, lambda _: too_much_memory()),
    (
        lambda code, error: code in _NO_ROOM_CODES or bool(_NO_ROOM.search(str(error))),
        lambda _: out_of_room(),
    ),
    (
        lambda code, error: code in _NO_DISK_CODES or bool(_NO_DISK.search(str(error))),
        _no_disk,
    ),
    (lambda _, __: True, _damaged),
)
"""The first that applies is the one."""
