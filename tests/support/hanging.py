"""A real file system (FUSE) that answers, or does not, as a network mount whose server died.

A process of its own speaks the kernel's protocol (linux/fuse.h, version 7.31) for a few files in
one folder. Stopped, it answers nothing; killed, its connection is aborted, so that nothing waits
for it any more, and no test run can hang for longer than the test does.
"""

import contextlib
import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, cast

import pytest

_ROOT = 1
_HEADER = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_INIT = struct.Struct("<IIIIHHIIHHI7I")
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _STATFS, _RELEASE = 1, 2, 3, 14, 15, 17, 18
_FLUSH, _INITIALISE, _OPENDIR, _READDIR, _RELEASEDIR, _BATCH_FORGET = 25, 26, 27, 28, 29, 42
_DEATH = 1
_DETACH = 2

Folding = Literal["nothing", "case", "normalisation", "both"]


@dataclass
class HangingMount:
    """File system, mounted at a folder."""

    folder: Path
    process: "subprocess.Popen[str]"

    def hang(self) -> None:
        """Stop answering.

        The process has stopped when this returns: if it read one more request, no signal would end
        the process that waits for the answer.
        """
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Answer again, also the requests that wait."""
        self.process.send_signal(signal.SIGCONT)

    def abort(self) -> None:
        """Close the connection: waiting requests fail with an error."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def hanging_mount(
    folder: Path, files: Mapping[str, bytes], *, folds: Folding = "nothing"
) -> Iterator[HangingMount]:
    """Mount these files until the context closes, whatever waits for them.

    `folds`: names that differ in case, Unicode normalisation or both (as on macOS) are one file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = folder.with_name(f"{folder.name}.content")
    content.mkdir()
    for name, data in files.items():
        (content / name).write_bytes(data)
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(content), folds],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    mount = HangingMount(folder, process)
    try:
        said = process.stdout.readline().strip()
        if said != "mounted":
            pytest.skip(f"MOUNTS THAT HANG ARE NOT TESTED: nothing can be mounted ({said})")
        yield mount
    finally:
        mount.abort()
        ctypes.CDLL(None).umount2(os.fsencode(folder), _DETACH)


# --- the process ---------------------------------------------------------------------------------


class _Request(NamedTuple):
    code: int
    unique: int
    node: int
    body: bytes


@dataclass
class _FileSystem:
    descriptor: int
    files: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    key: Callable[[str], str] = str
    """Names of the same key are one file."""

    def serve(self) -> None:
        """Answer requests until the connection is closed."""
        while True:
            try:
                data = os.read(self.descriptor, 1 << 20)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.EAGAIN, errno.ENOENT}:
                    continue
                return
            _, code, unique, node, *_ = _HEADER.unpack_from(data)
            if code not in {_FORGET, _BATCH_FORGET}:
                number, body = self.answer(_Request(code, unique, node, data[_HEADER.size :]))
                head = _ANSWER.pack(_ANSWER.size + len(body), -number, unique)
                with contextlib.suppress(OSError):  # whoever asked has gone
                    os.write(self.descriptor, head + body)

    def answer(self, request: _Request) -> tuple[int, bytes]:
        """Return the errno and the body of an answer."""
        match request.code:
            case code if code == _INITIALISE:
                body = _INIT.pack(7, 31, 1 << 17, 0, 16, 12, 1 << 17, 1, 32, 0, 0, *[0] * 7)
            case code if code == _LOOKUP:
                name = request.body.rstrip(b"\0").decode()
                found = [
                    node
                    for node, (known, _) in self.files.items()
                    if self.key(known) == self.key(name)
                ]
                if not found:
                    return errno.ENOENT, b""
                body = struct.pack("<4Q2I", found[0], 0, 0, 0, 0, 0) + self.attributes(found[0])
            case code if code == _GETATTR:
                body = struct.pack("<QII", 0, 0, 0) + self.attributes(request.node)
            case code if code in {_OPEN, _OPENDIR}:
                body = struct.pack("<QII", 0, 0, 0)
            case code if code == _READ:
                _, offset, size = struct.unpack_from("<QQI", request.body)
                body = self.files[request.node][1][offset : offset + size]
            case code if code == _READDIR:
                _, offset, _ = struct.unpack_from("<QQI", request.body)
                body = self.listing() if not offset else b""
            case code if code == _STATFS:
                body = struct.pack("<5Q4I", 1, 1, 1, 1, 1, 4096, 255, 4096, 0) + bytes(24)
            case code if code in {_RELEASE, _RELEASEDIR, _FLUSH}:
                body = b""
            case _:
                return errno.ENOSYS, b""
        return 0, body

    def attributes(self, node: int) -> bytes:
        """Return the attributes of a file, or of the folder."""
        folder = node == _ROOT
        size = 0 if folder else len(self.files[node][1])
        mode = stat.S_IFDIR | 0o755 if folder else stat.S_IFREG | 0o644
        times = 10**9, 10**9, 10**9
        return _ATTRIBUTES.pack(node, size, 8, *times, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def listing(self) -> bytes:
        """Return the entries of the folder."""
        entries = b""
        for node, (name, _) in self.files.items():
            encoded = name.encode()
            entry = struct.pack("<QQII", node, node, len(encoded), stat.S_IFREG >> 12) + encoded
            entries += entry.ljust(-(-len(entry) // 8) * 8, b"\0")
        return entries


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name)


_KEYS: Mapping[Folding, Callable[[str], str]] = {
    "nothing": str,
    "case": str.casefold,
    "normalisation": _normalised,
    "both": lambda name: _normalised(name).casefold(),
}


def _main(folder: Path, content: Path, folds: Folding) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_DEATH, signal.SIGKILL, 0, 0, 0)
    try:
        descriptor = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        sys.stdout.flush()
        return
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"hanging", os.fsencode(folder), b"fuse.hanging", 0, options):
        sys.stdout.write(f"{os.strerror(ctypes.get_errno())}\n")
        sys.stdout.flush()
        return
    sys.stdout.write("mounted\n")
    sys.stdout.flush()
    paths = enumerate(sorted(content.iterdir()), _ROOT + 1)
    files = {node: (path.name, path.read_bytes()) for node, path in paths}
    _FileSystem(descriptor, files, _KEYS[folds]).serve()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), cast("Folding", sys.argv[3]))
