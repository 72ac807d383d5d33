"""Attacks of a hostile file that controls a worker process.

Each function returns what it obtained, and raises where the sandbox refused it. Workers import
this module by its name.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MESSAGE = b"out"
CLOCK_OF_LIMIT = -8 if sys.platform == "linux" else time.CLOCK_PROCESS_CPUTIME_ID
"""The clock that RLIMIT_CPU is compared with."""


def connect_tcp(port: int) -> None:
    """Send data to a TCP listener on this machine."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(MESSAGE)


def listen_tcp(_: None = None) -> None:
    """Listen for TCP connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


def send_udp(port: int) -> None:
    """Send a UDP datagram."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(MESSAGE, ("127.0.0.1", port))


def connect_unix(address: str) -> None:
    """Send data to a Unix socket: a path, or an abstract name that begins with a NUL."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(MESSAGE)


def open_socket(family: int) -> None:
    """Open a socket of another family."""
    socket.socket(family, socket.SOCK_DGRAM).close()


def read_file(path: Path) -> bytes:
    """Return the content of a file."""
    return path.read_bytes()


def list_folder(path: Path) -> list[str]:
    """Return the entries of a folder."""
    return os.listdir(path)


def write_file(path: Path) -> None:
    """Write to a file, a new one if it does not exist."""
    path.write_bytes(MESSAGE)


def truncate(path: Path) -> None:
    """Truncate a file without opening it."""
    os.truncate(path, 0)


def remove(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def move(paths: tuple[Path, Path]) -> None:
    """Replace one file by another."""
    paths[0].replace(paths[1])


def link(paths: tuple[Path, Path]) -> bytes:
    """Read a file through a hard link."""
    paths[1].hardlink_to(paths[0])
    return paths[1].read_bytes()


def make_folder(path: Path) -> None:
    """Create a folder."""
    path.mkdir()


def change_mode(path: Path) -> None:
    """Make a file writable for all users."""
    path.chmod(0o777)


def change_time(path: Path) -> None:
    """Change the modification time of a file."""
    os.utime(path, (1, 1))


def run_program(_: None = None) -> bytes:
    """Return the output of a program."""
    return subprocess.run(["/bin/echo", "out"], check=True, capture_output=True).stdout


def execute(_: None = None) -> None:
    """Replace this process by a program that succeeds."""
    os.execv("/bin/true", ["true"])  # noqa: S606


def fork(_: None = None) -> int:
    """Fork, as the start of a fork bomb."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def start_threads(_: None = None) -> int:
    """Return the number of threads that ran: threads are allowed."""
    ran: list[int] = []
    threads = [threading.Thread(target=ran.append, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(ran)


def end(process: int) -> None:
    """Kill another process."""
    os.kill(process, signal.SIGTERM)


def call_out(process: int) -> None:
    """Find out whether a process exists, by signal 0."""
    os.kill(process, 0)


def end_by_a_pipe(process: int) -> None:
    """Have the kernel kill another process, by SIGIO of a pipe owned by it."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, process)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, MESSAGE)


def attach(process: int) -> None:
    """Trace another process, and detach."""
    seize, interrupt, detach, any_kind = 0x4206, 0x4207, 17, 0x4000_0000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(seize, process, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    libc.ptrace(interrupt, process, None, None)
    os.waitpid(process, any_kind)
    libc.ptrace(detach, process, None, None)


def read_memory(where: tuple[int, int]) -> bytes:
    """Return bytes of another process by process_vm_readv."""

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    process, address = where
    into = ctypes.create_string_buffer(len(MESSAGE))
    here = Piece(ctypes.addressof(into), len(MESSAGE))
    there = Piece(address, len(MESSAGE))
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if libc.process_vm_readv(process, *map(_unsigned, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    return into.raw


def _unsigned(argument: object) -> object:
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument


def call(number: int) -> None:
    """Make a system call that does nothing with these arguments, if the kernel has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    wrong = [ctypes.c_long(-1)] * 6
    if libc.syscall(ctypes.c_long(number), *wrong) < 0 and ctypes.get_errno() == errno.ENOSYS:
        raise OSError(errno.ENOSYS, "there is no such call")


def eat_memory(size: int) -> int:
    """Allocate memory."""
    return len(bytearray(size))


def eat_shared_memory(size: int) -> int:
    """Allocate shared memory."""
    with mmap.mmap(-1, size) as memory:
        return len(memory)


def eat_cpu(seconds: float) -> float:
    """Use the CPU; return the CPU time by the clock of RLIMIT_CPU."""
    while time.clock_gettime(CLOCK_OF_LIMIT) < seconds:
        pass
    return time.clock_gettime(CLOCK_OF_LIMIT)


def write_much(target: tuple[Path, int]) -> None:
    """Fill the disk with one file."""
    path, size = target
    with path.open("r+b", buffering=0) as file:
        for _ in range(size >> 16):
            if file.write(bytes(1 << 16)) < 1 << 16:
                raise OSError(errno.EFBIG, "cut short")


def open_many(target: tuple[Path, int]) -> int:
    """Open files without end."""
    path, number = target
    files = [path.open("rb") for _ in range(number)]
    for file in files:
        file.close()
    return len(files)


def raise_the_limit(limit: tuple[int, int]) -> None:
    """Raise a resource limit of this process."""
    kind, number = limit
    _, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (number, max(number, most)))


def environment(_: None = None) -> dict[str, str]:
    """Return all environment variables that Python knows."""
    return dict(os.environ)


def memory_of_the_start(_: None = None) -> bytes:
    """Return the environment at the start of the process, from its memory."""
    return Path("/proc/self/environ").read_bytes()


def descriptors(_: None = None) -> dict[int, int]:
    """Return the kind of file of each open descriptor."""
    found = {}
    for descriptor in range(256):
        try:
            found[descriptor] = os.fstat(descriptor).st_mode
        except OSError:
            continue
    return found


class Trojan:
    """Result that creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def send_trojan(path: Path) -> Trojan:
    """Return a result that runs code where it is unpickled."""
    return Trojan(path)


class TrojanError(Exception):
    """Error that creates a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, self.args


def raise_trojan(path: Path) -> None:
    """Raise an error that runs code where it is unpickled."""
    raise TrojanError(str(path))


def _own_socket() -> socket.socket:
    """Return the socket between this worker and its server."""
    for descriptor in range(256):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        except OSError:
            continue
    raise AssertionError("there is no socket")


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


MESSAGES = {
    "garbage": os.urandom(4096),
    "nothing": b"",
    "half a length": b"\0\0",
    "half a message": _frame(b"x" * 100)[:50],
    "a huge length": b"\xff" * 4,
    "an endless message": b"\0\0\0\x10" + bytes(1 << 20),
    "two answers": _frame(b"\x91\xc0") * 2,
    "no answer": _frame(b""),
    "another type": _frame(b"\xc0"),
    "an answer of another type": _frame(b"\x91\xcb" + bytes(8)),
    "a result within results": _frame(b"\x91" * 100_000),
}
"""What a worker that has been taken over may write to its server, and then nothing more."""


def send_message(name: str) -> str:
    """Write a message to the server directly, and never answer."""
    message = memoryview(MESSAGES[name])
    descriptor = _own_socket().detach()
    while message:
        message = message[os.write(descriptor, message) :]
    while True:
        time.sleep(1)


def send_descriptors(_: None = None) -> str:
    """Send open files with the beginning of the answer: its length."""
    connection = _own_socket()
    try:
        reader, writer = os.pipe()
        socket.send_fds(connection, [b""], [reader, writer])
        answer = b"\x94\xa4sent\xc0\xc2\0"
        socket.send_fds(connection, [_frame(answer)], [reader, writer])
    finally:
        connection.detach()
    while True:
        time.sleep(1)


def _pages(memory: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Yield the readable pages between two addresses."""
    for address in range(start, end, mmap.PAGESIZE):
        memory.seek(address)
        with contextlib.suppress(OSError):  # behind the end of the file that is mapped there
            yield memory.read(mmap.PAGESIZE)


def memory_holds(backwards: bytes) -> bool:
    """Return whether memory contains a `=` and these bytes, as in an environment.

    The bytes are given in reverse, and the `=` is compared separately: else this function would
    find its own argument.
    """
    wanted = backwards[::-1]
    with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", 0) as memory:
        for line in maps:
            where, rights, *_, name = [*line.split(), ""][:7]
            if not rights.startswith("rw") or name.startswith(("[vvar", "[vsyscall")):
                continue
            start, end_ = (int(number, 16) for number in where.split("-"))
            found = b"".join(_pages(memory, start, end_))
            at = found.find(wanted)
            while at >= 0:
                if found[at - 1 : at] == b"=":
                    return True
                at = found.find(wanted, at + 1)
    return False
