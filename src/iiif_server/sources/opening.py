"""Opening of originals: a file is opened first and checked afterwards, by its descriptor.

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
from iiif_server.plan.local_file import FileVersion, LocalFile, removed_error
from iiif_server.sources.terms import NO_TERMS

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""`O_PATH` needs no permission to list the folder, only to enter it."""

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
    """Original of which only some parts are present in its file; other bytes are undefined."""

    @property
    def size(self) -> int:
        """Size of the whole original, in bytes."""

    @property
    def present(self) -> tuple[Extent, ...]:
        """Extents that are present, ascending, without overlap."""

    async def fetch(self, extents: Iterable[Extent]) -> None:
        """Fetch the absent bytes of these extents. Raises OriginalChangedError, or as `hold`."""


class OpenedFile:
    """Original that is open for reading, with its file version.

    `kept_open` keeps the descriptor open after the context that has yielded it.
    """

    def __init__(self, path: Path, descriptor: int, content: str | None = None) -> None:
        """`content` identifies the content of the original, as an ETag or checksum does."""
        self.descriptor = descriptor
        status = os.fstat(descriptor)
        self.mode = status.st_mode
        self.file = LocalFile(path, FileVersion.of(status))
        self.content = content
        self.checksum: str | None = None
        """Checksum of its bytes (`checksum_of`), if known."""
        self.page: int | None = None
        """Requested page, from 1, if the file may have several."""
        self.terms = NO_TERMS
        """Rights and limits of this original."""
        self.close_by: Callable[[Callable[[int], None], int], object] = _close_now
        """Function that closes the descriptor, in a thread if that may block (network mounts)."""
        self.parts: Parts | None = None
        """Parts of the original, if the file may lack some bytes; else None."""
        self._users = 1
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<OpenedFile {self.file.path}>"

    @contextmanager
    def kept_open(self) -> Iterator[int]:
        """Yield the descriptor, open inside the context. Raises OriginalChangedError if closed."""
        with self._lock:
            if not self._users:
                raise removed_error()
            self._users += 1
        try:
            yield self.descriptor
        finally:
            self.close()

    def close(self) -> None:
        """Close the descriptor, unless `kept_open` still keeps it open."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self.close_by(os.close, self.descriptor)


def _close_now(close: Callable[[int], None], descriptor: int) -> None:
    close(descriptor)


def open_in_folder(folder: Path, name: str, links: Sequence[Path] = ()) -> OpenedFile:
    """Open the regular file of this name inside a folder.

    Follows links to targets inside the folder or one of `links`. Raises OriginalNotFoundError,
    OutsideFolderError, or the error of `error_of` for an OSError.
    """
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise OriginalNotFoundError
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
        raise error_of(error) from error
    except ValueError as error:  # a name that is invalid in file systems
        raise OriginalNotFoundError from error
    return _checked(Path(path), descriptor)


def containing(path: str, folders: Sequence[str]) -> str | None:
    """First of the folders that contains a path without links; else None."""
    return next(
        (folder for folder in folders if os.path.commonpath((folder, path)) == folder), None
    )


def open_file(path: Path) -> OpenedFile:
    """Open the regular file at a path that a source trusts; raises as `open_in_folder`."""
    try:
        descriptor = os.open(path, _FILE & ~os.O_NOFOLLOW)
    except OSError as error:
        raise error_of(error) from error
    return _checked(path, descriptor)


def error_of(error: OSError, missing: NotFoundError | None = None) -> IiifServerError:
    """Error for a client if opening, listing or reading an original has failed.

    The response has the status 404 if no file has the name, 503 if this server has run out of
    descriptors or memory, and 502 otherwise. The log has path and errno.
    """
    if error.errno in _MISSING:
        return missing or OriginalNotFoundError()
    if error.errno in _EXHAUSTED:
        return TooManyOpenFilesError("The server has too many files open; please try again soon.")
    if error.errno in _FORBIDDEN:
        return SourceUnavailableError("The original is there, but the server may not read it.")
    return SourceUnavailableError("The original's disk cannot be read at the moment.")


def checksum_of(descriptor: int) -> str:
    """Checksum of all bytes of an open file: BLAKE2b, 32 hexadecimal digits. Raises OSError."""
    found = new_checksum()
    offset = 0
    while chunk := os.pread(descriptor, 1 << 20, offset):
        found.update(chunk)
        offset += len(chunk)
    return found.hexdigest()


def new_checksum() -> blake2b:
    """Hash object of `checksum_of`, for bytes in pieces."""
    return blake2b(digest_size=16)


def user_name() -> str:
    """Name of the user of this process, or its number, for messages to the operator."""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _root(folder: Path) -> str:
    """Path of the folder with links resolved.

    Raises OSError; if the folder cannot be read, the errno is EIO, as it must not look like an
    error of the original.
    """
    try:
        return os.path.realpath(folder, strict=True)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise
        raise OSError(
            errno.EIO, f"{error.strerror} (of the type's folder)", error.filename
        ) from error


def _open_below(root: str, parts: list[str]) -> int:
    """Open a file below a folder without following links, as they may be new. Raises OSError."""
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


def _checked(path: Path, descriptor: int) -> OpenedFile:
    try:
        opened = OpenedFile(path, descriptor)
    except OSError as error:
        _discard(descriptor)
        raise error_of(error) from error
    if not stat.S_ISREG(opened.mode):
        opened.close()
        raise OriginalNotFoundError
    return opened


def _discard(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)
