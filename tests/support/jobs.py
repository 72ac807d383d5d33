"""Setup functions and jobs of worker processes in tests. Workers import this module by its name."""

import builtins
import contextlib
import ctypes
import errno
import importlib
import mmap
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from iiif_server import errors
from iiif_server.codecs.open_originals import OpenOriginal
from iiif_server.errors import NotKeptError
from iiif_server.plan.local_file import LocalFile


class OddError(Exception):
    """Error with an attribute besides its text, raised by a job."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text, number)
        self.number = number


def nothing() -> None:
    """Setup of a worker that needs none."""


def leave_mark(folder: Path) -> None:
    """Setup that creates a file named by its process."""
    (folder / f"ready-{os.getpid()}").touch()


def refuse_to_start() -> None:
    """Setup that fails."""
    raise RuntimeError("not here")


def report(text: str, number: int) -> tuple[str, int]:
    """Setup that returns its arguments."""
    return text, number


def start_a_thread() -> None:
    """Setup that leaves a thread running."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def import_numpy() -> None:
    """Setup that loads a library which may start threads."""
    importlib.import_module("numpy")


def leave(code: int) -> None:
    """Exit with this status, after a line on standard error."""
    os.write(2, b"leaving\n")
    os._exit(code)


def crash(_: object = None) -> None:
    """Read from an invalid address."""
    ctypes.string_at(0)


def complain(size: int) -> str:
    """Write so many bytes to standard error."""
    for _ in range(size >> 10):
        with contextlib.suppress(BlockingIOError):
            os.write(2, b"x" * 1024)
    return "done"


def variables(_: object = None) -> list[str]:
    """Return the names of the environment variables."""
    return sorted(os.environ)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes."""
    with path.open("rb") as file:
        return len(file.read())


def read_both(before: str, first: int, second: int) -> str:
    """Return the content of two open files, from their beginnings."""
    return f"{before}{os.pread(first, 100, 0).decode()}, {os.pread(second, 100, 0).decode()}"


def die_once_and_read(mark: Path, descriptor: int) -> str:
    """Return the content of an open file, in the second process that runs this."""
    die_once(mark)
    return os.pread(descriptor, 100, 0).decode()


def read_random(size: int) -> int:
    """Return the number of bytes of a random device that can be read."""
    with Path("/dev/urandom").open("rb", buffering=0) as file:
        return len(file.read(size))


def abort(_: object = None) -> None:
    """Abort, as a library does on a fatal error."""
    os.abort()


def use_up(_: object = None) -> None:
    """End as the kernel ends a process that exceeds RLIMIT_CPU."""
    signal.raise_signal(signal.SIGXCPU)


def echo(value: object) -> object:
    """Return the value."""
    return value


def pid(_: object = None) -> int:
    """Return the id of the process that runs the job."""
    return os.getpid()


def echo_pair(value: tuple[str, int]) -> tuple[str, int]:
    """Return the value, whose type is known."""
    return value


def fail(error: tuple[str, list[Any]]) -> None:
    """Raise an error, given by the name of its class and its arguments."""
    name, arguments = error
    found: type[Exception] = next(
        getattr(module, name)
        for module in (errors, builtins, sys.modules[__name__])
        if hasattr(module, name)
    )
    raise found(*arguments)


def find_the_disk_full(_: object = None, *_files: int) -> None:
    """Raise the error of a build whose disk became full."""
    refusal = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise NotKeptError("The pyramid of this image could not be stored.", refusal)


def unsendable(_: object = None) -> object:
    """Return a value that cannot be sent to another process."""
    return lambda: None


def die(_: object = None, *_files: int) -> None:
    """Kill the process that runs the job."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: Path) -> int:
    """Kill the process, unless the mark exists; else return the process id."""
    if not mark.exists():
        mark.touch()
        die()
    return os.getpid()


def count_and_die(log: Path) -> None:
    """Write a line, then kill the process."""
    write_line(log)
    die()


def wait_and_die(marks: tuple[Path, Path]) -> None:
    """Write the first file, wait for the second, then die."""
    begun, go = marks
    write_line(begun)
    wait_for(go)
    die()


def wait_until(marks: tuple[Path, Path]) -> int:
    """Write the first file, wait for the second, then return the process id."""
    begun, go = marks
    write_line(begun)
    wait_for(go)
    return os.getpid()


def sleep(seconds: float) -> int:
    """Sleep; return the process id."""
    time.sleep(seconds)
    return os.getpid()


def write_line(log: Path) -> None:
    """Append the id of this process to a file."""
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")


def cut_short_and_read(file: LocalFile) -> int:
    """Return the last byte of an original by its memory map, after its file is truncated."""
    original = OpenOriginal(file)
    with original.verify_unchanged():
        mapped = original.bytes
        os.truncate(file.path, 10)
        return mapped[file.size - 1]


def wait_for(path: Path, seconds: float = 60) -> None:
    """Wait until the file exists."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise AssertionError(f"{path} did not come")
        time.sleep(0.005)


def loaded_modules(_: object = None) -> frozenset[str]:
    """Return the names of all modules that this process has loaded."""
    return frozenset(sys.modules)


def interrupted(_: object = None) -> str:
    """Survive the SIGINT that Ctrl+C sends to every process of a terminal."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return "alive"


def is_alive(process: int) -> bool:
    """Return whether a process with this id exists and has not ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{process}/stat").read_text()
        return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def import_module(name: str) -> bool:
    """Import a module."""
    assert name not in sys.modules
    return importlib.import_module(name).__name__ == name


_held: list[bytes] = []


def hold_on_to(size: int) -> None:
    """Allocate memory, use it, and keep it."""
    _held.append(b"x" * size)


def map_and_read(path: Path) -> int:
    """Map a file, read all of it, and keep the map."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _maps.append(mapped)
    return sum(len(mapped[at : at + _CHUNK]) for at in range(0, len(mapped), _CHUNK))


_CHUNK = 1 << 20
_maps: list[mmap.mmap] = []
