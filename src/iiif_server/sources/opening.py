"""Opening originals: a file is opened first and checked afterwards, by its descriptor.

A name that was checked may lead to another file by the time it is opened (TOCTOU). So sources yield
a descriptor and the version of the file behind it, never a name.
"""

import errno
import os
import pwd
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from iiif_server.errors import (
    IiifServerError,
    NotFoundError,
    OriginalNotFoundError,
    OutsideFolderError,
    SourceUnavailableError,
    TooManyOpenFilesError,
)
from iiif_server.plan.extents import Extent
from iiif_server.plan.local_file import FileVersion, LocalFile, removed
from iiif_server.sources.terms import NO_TERMS

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""`O_PATH` takes no permission to list the folder, only to enter it."""

_MISSING = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
        errno.EILSEQ,
        errno.ENXIO,
        errno.ENODEV,
    }
)
"""Errnos which mean that no file has this name."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class Parts(Protocol):
    """An original of which parts are present in its file; the rest of the file is nonsense."""

    @property
    def size(self) -> int:
        """Bytes of the whole original."""

    @property
    def present(self) -> tuple[Extent, ...]:
        """The extents that are present, ascending and apart."""

    async def bring(self, extents: Iterable[Extent]) -> None:
        """Have the bytes of these extents present; raises OriginalChangedError, or as `hold`."""


class OpenedFile:
    """An original that is open for reading, and the version that was opened.

    `kept_open` keeps the descriptor usable beyond the context that it came from.
    """

    def __init__(self, path: Path, descriptor: int, content: str | None = None) -> None:
        """`content` tells one content of the original from another, as its ETag does."""
        self.descriptor = descriptor
        status = os.fstat(descriptor)
        self.mode = status.st_mode
        self.file = LocalFile(path, FileVersion.of(status))
        self.content = content
        self.checksum: str | None = None
        """The digest of all of its bytes as in `checksum_of`, if that is known already."""
        self.page: int | None = None
        """The requested page, from 1, if the file may have several."""
        self.terms = NO_TERMS
        """Its own rights and limits."""
        self.close_by: Callable[[Callable[[int], None], int], object] = _close_here
        """Closes the descriptor: on a network mount that may block."""
        self.parts: Parts | None = None
        """What brings absent bytes, if the file may lack some."""
        self._users = 1
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<OpenedFile {self.file.path}>"

    @contextmanager
    def kept_open(self) -> Iterator[int]:
        """The descriptor, open inside the context; OriginalChangedError if it was closed before."""
        with self._lock:
            if not self._users:
                raise removed()
            self._users += 1
        try:
            yield self.descriptor
        finally:
            self.close()

    def close(self) -> None:
        """Close the descriptor, unless another user keeps it open."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self.close_by(os.close, self.descriptor)


def _close_here(close: Callable[[int], None], descriptor: int) -> None:
    close(descriptor)


def open_in_folder(folder: Path, name: str, links: Sequence[Path] = ()) -> OpenedFile:
    """The regular file of this name inside a folder, open.

    Links are followed as long as they lead to something inside the folder, or inside one of
    `links`. Raises OriginalNotFoundError, OutsideFolderError, or what `refusal_of` makes of an
    OSError.
    """
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise _not_found()
    try:
        root = _root(folder)
        path = os.path.realpath(f"{root}/{name}", strict=True)
        base = containing(path, (root, *map(os.path.realpath, links)))
        if base is None:
            raise OutsideFolderError(
                f"this is a link to {path}, outside of its folder", f"{folder}/{name}"
            )
        descriptor = _open_below(base, os.path.relpath(path, base).split("/"))
    except OSError as error:
        raise refusal_of(error) from error
    except ValueError as error:  # a name that no file system can have
        raise _not_found() from error
    return _judged(Path(path), descriptor)


def containing(path: str, folders: Sequence[str]) -> str | None:
    """The first of some folders that a path without links is inside, or None."""
    return next((one for one in folders if os.path.commonpath((one, path)) == one), None)


def open_file(path: Path) -> OpenedFile:
    """The regular file at a path that a source vouches for, open; raises as `open_in_folder`."""
    try:
        descriptor = os.open(path, _FILE & ~os.O_NOFOLLOW)
    except OSError as error:
        raise refusal_of(error) from error
    return _judged(path, descriptor)


def refusal_of(error: OSError, missing: NotFoundError | None = None) -> IiifServerError:
    """The error for a client when opening, listing or reading an original fails.

    404 if no file has the name, 503 if this server has run out of descriptors or memory, and 502
    otherwise; the log has path and errno.
    """
    if error.errno in _MISSING:
        return missing or _not_found()
    if error.errno in _EXHAUSTED:
        return TooManyOpenFilesError("The server has too many files open; please ask again soon.")
    if error.errno in _FORBIDDEN:
        return SourceUnavailableError("The original is there, but the server may not read it.")
    return SourceUnavailableError("The original's disk cannot be read at the moment.")


def checksum_of(descriptor: int) -> str:
    """The digest of all bytes of an open file, which tells one content from another anywhere."""
    found = new_checksum()
    offset = 0
    while chunk := os.pread(descriptor, 1 << 20, offset):
        found.update(chunk)
        offset += len(chunk)
    return found.hexdigest()


def new_checksum() -> blake2b:
    """The hash of `checksum_of`, for bytes that arrive one by one."""
    return blake2b(digest_size=16)


def user_name() -> str:
    """The user of this process, for messages to the operator."""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _root(folder: Path) -> str:
    """The folder behind all links. Raises OSError, whose errno says nothing of the name below."""
    try:
        return os.path.realpath(folder, strict=True)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise
        raise OSError(
            errno.EIO, f"{error.strerror} (of the type's folder)", error.filename
        ) from error


def _open_below(root: str, parts: list[str]) -> int:
    """Open a file below a folder without following links, which could be put in meanwhile."""
    *folders, last = parts
    at = os.open(root, _FOLDER)
    try:
        for name in folders:
            inner = os.open(name, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(last, _FILE, dir_fd=at)
    except OSError as error:
        error.filename = "/".join((root, *parts))
        raise
    finally:
        os.close(at)


def _judged(path: Path, descriptor: int) -> OpenedFile:
    try:
        opened = OpenedFile(path, descriptor)
    except OSError as error:
        _discard(descriptor)
        raise refusal_of(error) from error
    if not stat.S_ISREG(opened.mode):
        opened.close()
        raise _not_found()
    return opened


def _discard(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def _not_found() -> OriginalNotFoundError:
    return OriginalNotFoundError("There is no image with this identifier.")
