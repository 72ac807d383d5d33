"""Folder of an export: files, missing files, and the disk space that they need."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from iiif_server.errors import ConfigurationError
from iiif_server.iiif.static import StaticFile, StaticImage
from iiif_server.images.body import Body
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.original_format import OriginalFormat

STATE = ".exported"
"""File in the folder of each image, with the digest of the state that its files depend on."""
_OVERHEAD_PER_FILE = 16_384
"""Overhead of a file in bytes: three folders of its own, and the rest of a block."""
_BYTES_PER_PIXEL = 0.6
"""Upper estimate of the bytes per pixel of a JPEG: twice those of photographs at quality 85."""
_SCALED_FACTOR = 1.25
"""Factor by which smaller sizes and tiles may need more bytes per pixel than the original."""
_INODES_PER_FILE = 4
"""Inodes per file: its folders and itself."""
_CHUNK = 1 << 20
_JPEG = (b"\xff\xd8", b"\xff\xd9")
"""First and last bytes of a complete JPEG."""


def cannot_write(error: OSError) -> ConfigurationError:
    """Return the error for a folder or file that cannot be written."""
    return ConfigurationError(f"{error.filename} cannot be written: {error.strerror}")


def check_space(folder: Path, files: int, needed: int) -> None:
    """Create the folder; raises ConfigurationError if its disk has too little space or inodes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(error) from error
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigurationError(
            f"{files} files would take about {needed:,} bytes, and {folder} has {free:,} "
            "left: export fewer images at a time, or to a larger disk."
        )
    status = os.statvfs(folder)
    inodes = files * _INODES_PER_FILE
    if status.f_files and inodes > status.f_favail:
        raise ConfigurationError(
            f"{files} files and their folders would be {inodes:,} entries, and the file "
            f"system of {folder} has {status.f_favail:,} left."
        )


def density(header: ImageHeader, size: int) -> float:
    """Estimate the bytes per pixel of exported JPEGs; `size` is that of the original in bytes."""
    if header.format is not OriginalFormat.JPEG:
        return _BYTES_PER_PIXEL
    return min(_BYTES_PER_PIXEL, _SCALED_FACTOR * size / header.dimensions.area)


def estimate(files: Iterable[StaticFile], density: float) -> int:
    """Estimate the disk space of files in bytes, rather too high than too low."""
    return sum(_OVERHEAD_PER_FILE + int(file.pixels * density) for file in files)


def missing(folder: Path, state: str, image: StaticImage) -> list[StaticFile]:
    """Return the files that are missing, incomplete, or of another state of the original."""
    current = _has_state(folder, state)
    return [f for f in image.files() if not (current and _is_complete(folder / f.path))]


def prepare_folder(root: Path, folder: Path, state: str) -> None:
    """Create the folder of an image, and remove files of another state of its original.

    Raises OSError, also if the folder of the export is missing: then the machines do not share it.
    """
    if not root.is_dir():
        text = "it is missing here, and all machines have to share it"
        raise OSError(errno.ENODEV, text, str(root))
    if _has_state(folder, state):
        return
    path = folder / STATE
    if path.exists():  # a folder without this file is not an export
        shutil.rmtree(folder)
    write(path, state.encode())


def _has_state(folder: Path, state: str) -> bool:
    with suppress(OSError):
        return (folder / STATE).read_text(encoding="ascii") == state
    return False


def _is_complete(path: Path) -> bool:
    """Whether a JPEG is complete: after a power cut, it may end with zeros."""
    first, last = _JPEG
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(first)) == first:
            file.seek(-len(last), os.SEEK_END)
            return file.read() == last
    return False


@contextmanager
def locked(folder: Path, shard: tuple[int, int] = (1, 1)) -> Iterator[None]:
    """Lock a folder for one run, or for one run of each shard.

    Raises ConfigurationError if another run has the lock.
    """
    number, shards = shard
    with ExitStack() as stack:
        stack.enter_context(_flock(folder, folder, fcntl.LOCK_EX if shards == 1 else fcntl.LOCK_SH))
        if shards > 1:
            own = folder / f".shard-{number}-{shards}"
            own.touch()
            stack.enter_context(_flock(own, folder, fcntl.LOCK_EX))
            stack.callback(own.unlink, missing_ok=True)
        yield


@contextmanager
def _flock(path: Path, folder: Path, kind: int) -> Iterator[None]:
    opened = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"Another run is writing to {folder}.") from error
        except OSError:
            pass  # some file systems cannot lock folders
        yield
    finally:
        os.close(opened)


def write_body(path: Path, body: Body) -> None:
    """Write the body of a response to a file."""
    if body.file is None:
        write(path, body.data or b"")
        return
    with body.file as source:
        write(path, iter(lambda: source.read(_CHUNK), b""))


def write(path: Path, content: bytes | Iterator[bytes], mark: str = "") -> None:
    """Write a file, which appears under its name when it is complete.

    `mark` is unique for each run that writes the same file at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that a run overwrites the rest of an interrupted run.
    part = path.with_name(f".{path.name}{mark}.part")
    try:
        with part.open("wb") as file:
            for chunk in (content,) if isinstance(content, bytes) else content:
                file.write(chunk)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
