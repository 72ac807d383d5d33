"""Files that end, grow or fail while they are sent, over a real socket."""

import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import httpx
import pytest
from PIL import Image

from support.apps import Process, picture, running_process
from support.hanging import hanging_mount

NAME = "pic.jpg"
SIDE = 2400


@cache
def data() -> bytes:
    """A JPEG of more bytes than all buffers between the file and the client take."""
    file = io.BytesIO()
    noise = Image.frombytes("RGB", (SIDE, SIDE), os.urandom(3 * SIDE * SIDE))
    noise.save(file, "JPEG", quality=98, subsampling=0)
    assert file.tell() > 10 << 20
    return file.getvalue()


def environment(root: Path) -> dict[str, str]:
    return {
        "IIIF_SOURCE_PATH": str(root / "source"),
        "IIIF_CACHE_PATH": str(root / "cache"),
        "IIIF_TYPES": '{"disk": {"source": "disk"}}',
        "IIIF_IMAGE_POOL_SIZE": "1",
        "IIIF_SIZE_POOL_SIZE": "1",
        "IIIF_LIMITS__STORAGE_TIMEOUT": "2",
    }


@contextmanager
def half_received(process: Process, format_: str = "jpg") -> Iterator[socket.socket]:
    """A connection on which the answer has begun, and waits for the client."""
    host, port = process.base.removeprefix("http://").split(":")
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(60)
        connection.connect((host, int(port)))
        request = f"GET /disk:{NAME}/full/max/0/default.{format_} HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.sendall(request.encode())
        received = b""
        while len(received) < 1 << 12:  # more than the head: some of the body has been read
            received += connection.recv(1 << 10)
        assert received.startswith(b"HTTP/1.1 200")
        yield connection


def rest(connection: socket.socket) -> int:
    """How many bytes follow until the server closes the connection."""
    count = 0
    while chunk := connection.recv(1 << 20):
        count += len(chunk)
    return count


def log_after(process: Process) -> list[str]:
    process.popen.terminate()
    lines: list[str] = process.popen.communicate(timeout=60)[1].splitlines()
    return lines


def assert_told(lines: list[str], path: Path, reason: str, expected: int = 0) -> None:
    """That one line tells what happened, and nothing else went wrong."""
    bad = [line for line in lines if "WARNING" in line or "ERROR" in line or line.startswith("  |")]
    (told,) = (line for line in bad if "StorageSilent" not in line)
    assert "WARNING iiif_server ResponseIncomplete" in told
    assert f"path='{path}' expected={expected or len(data())} sent=" in told
    assert 0 < int(told.split("sent=")[1].split()[0]) < (expected or len(data()))
    assert reason in told


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 1 << 20),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(picture(50, 50)),
    ],
    ids=["truncated", "emptied", "written anew"],
)
def test_a_file_that_becomes_shorter_ends_the_connection_and_is_logged_once(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = tmp_path / "source" / "disk" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(data())
    with running_process(environment=environment(tmp_path)) as process:
        with half_received(process) as connection:
            damage(path)
            assert rest(connection) < len(data())
        lines = log_after(process)
    assert_told(lines, path, "became shorter")


def test_a_derivative_that_is_damaged_while_it_is_sent_is_not_sent_to_its_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "source" / "disk" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(data())
    with running_process(environment=environment(tmp_path)) as process:
        url = f"{process.base}/disk:{NAME}/full/max/0/default.png"
        right = httpx.get(url, timeout=60).content
        assert len(right) > 10 << 20
        (entry,) = (tmp_path / "cache").rglob("*.png")
        with half_received(process, "png") as connection:
            with entry.open("r+b") as file:
                file.seek(-20, os.SEEK_END)
                file.write(b"damage")
            assert rest(connection) < len(right)
        assert httpx.get(url, timeout=60).content == right
        lines = [line for line in log_after(process) if "EntryDropped" not in line]
    assert_told(lines, entry, "changed", len(right))


def test_a_file_that_grows_is_sent_as_long_as_it_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "source" / "disk" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(data())
    with running_process(environment=environment(tmp_path)) as process:
        with half_received(process) as connection, path.open("ab") as file:
            file.write(bytes(1 << 20))
            file.flush()
            connection.shutdown(socket.SHUT_WR)
            assert rest(connection) >= len(data()) - (1 << 13)
        lines = log_after(process)
    assert not [line for line in lines if "WARNING" in line or "ERROR" in line]


@pytest.mark.parametrize("fails", ["abort", "hang"])
def test_a_disk_that_fails_ends_the_connection_and_is_logged_once(
    tmp_path: Path, fails: str
) -> None:
    folder = tmp_path / "source" / "disk"
    with (
        hanging_mount(folder, {NAME: data()}) as mount,
        running_process(environment=environment(tmp_path)) as process,
    ):
        with half_received(process) as connection:
            getattr(mount, fails)()
            assert rest(connection) < len(data())
        mount.abort()
        lines = log_after(process)
    assert_told(lines, folder / NAME, "does not answer" if fails == "hang" else "Errno")


def test_a_client_that_leaves_is_sent_no_more_and_logged_as_gone(tmp_path: Path) -> None:
    path = tmp_path / "source" / "disk" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(data())
    with running_process(environment=environment(tmp_path)) as process:
        with half_received(process):
            pass
        lines = log_after(process)
    (line,) = (line for line in lines if f"GET /disk:{NAME}/full" in line)
    status, size = line.partition('HTTP/1.1" ')[2].split()[:2]
    assert status == "499"
    assert int(size) < len(data())
    assert not [line for line in lines if "ERROR" in line or "Traceback" in line]
