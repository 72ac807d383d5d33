"""Pending files and locks: removed with their owners, never taken from living ones."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from iiif_server.cache.pending_files import PendingFile, locked, remove_abandoned
from iiif_server.cache.threads import StorageThreads

OWNER = """
import asyncio, sys
from pathlib import Path
from iiif_server.cache.pending_files import PendingFile, locked
async def own():
    draft = PendingFile(Path(sys.argv[1]))
    draft.path.write_bytes(b"half")
    async with locked(Path(sys.argv[1]) / "key.lock"):
        print(draft.path.name, flush=True)
        await asyncio.sleep(600)
asyncio.run(own())
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def owner(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Another process that writes a file and has a lock, and the name of the file."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


async def test_what_a_killed_process_leaves_is_known_and_what_a_living_one_has_is_not_touched(
    tmp_path: Path,
) -> None:
    with owner(tmp_path) as (process, name):
        remove_abandoned(tmp_path)
        assert names(tmp_path) == {name, "key.lock"}
        process.send_signal(signal.SIGKILL)
        process.wait()
        remove_abandoned(tmp_path)
        assert names(tmp_path) == set()


async def test_lock_passes_on_when_its_holder_is_killed(tmp_path: Path) -> None:
    with owner(tmp_path) as (process, _):
        waiting = asyncio.ensure_future(asyncio.wait_for(_take(tmp_path / "key.lock"), 30))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        process.send_signal(signal.SIGKILL)
        await waiting


def nothing() -> None:
    """What takes no time."""


async def _take(path: Path, threads: StorageThreads | None = None) -> None:
    async with locked(path, threads):
        pass


async def test_a_lock_has_one_holder_whoever_removes_its_file(tmp_path: Path) -> None:
    """Holders remove the file, and so does who cleans up: nobody gets in on a file that is gone."""
    path, inside, most, turns = tmp_path / "a.lock", 0, 0, 0
    stop = threading.Event()

    def clean_up() -> None:
        while not stop.is_set():
            remove_abandoned(tmp_path)

    def hold_often() -> None:
        async def often() -> None:
            nonlocal inside, most, turns
            for _ in range(40):
                async with locked(path):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    await asyncio.sleep(0)
                    with guard:
                        inside -= 1
                        turns += 1

        asyncio.run(often())

    guard = threading.Lock()
    with ThreadPoolExecutor(6) as threads:
        cleaning = threads.submit(clean_up)
        holding = [threads.submit(hold_often) for _ in range(4)]
        try:
            for future in holding:
                await asyncio.wrap_future(future)
        finally:
            stop.set()
        cleaning.result(timeout=30)
    assert (most, turns) == (1, 160)
    assert names(tmp_path) == set()


def test_drafts_are_never_taken_by_who_cleans_up(tmp_path: Path) -> None:
    stop = threading.Event()

    def clean_up() -> None:
        while not stop.is_set():
            remove_abandoned(tmp_path)

    with ThreadPoolExecutor(2) as threads:
        cleaning = [threads.submit(clean_up) for _ in range(2)]
        try:
            for _ in range(500):
                draft = PendingFile(tmp_path)
                draft.path.write_bytes(b"whole")
                assert draft.path.read_bytes() == draft.read() == b"whole"
                draft.close()
        finally:
            stop.set()
        for future in cleaning:
            future.result(timeout=30)
    assert names(tmp_path) == set()


async def test_missing_folder_is_made_for_drafts_and_locks(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "incoming"
    async with locked(folder / "a.lock"):
        pass
    folder.rmdir()
    PendingFile(folder).close()
    assert names(folder) == set()


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    folder = tmp_path / "incoming"
    (folder / "below").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    remove_abandoned(folder)
    assert names(folder) == {"below", "link", "pipe"}
    assert outside.read_bytes() == b"precious"


async def test_a_caller_who_gives_up_leaves_no_file_behind(tmp_path: Path) -> None:
    """Cancelled at any moment, while the thread is at it: the draft has an owner or is gone."""
    begun, go = threading.Event(), threading.Event()

    def make() -> PendingFile:
        begun.set()
        assert go.wait(30)
        return PendingFile(tmp_path)

    threads = StorageThreads("the test", 1)
    making = asyncio.ensure_future(threads.run(make, undo=PendingFile.close))
    await asyncio.to_thread(begun.wait)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    go.set()
    await threads.run(nothing)  # in the same thread, so what came before has ended
    assert names(tmp_path) == set()


async def test_who_stops_waiting_for_a_lock_leaves_no_file(tmp_path: Path) -> None:
    """At whatever step: while the file is made, while others have it, when it is ours."""
    begun, go = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        assert go.wait(30)

    threads = StorageThreads("the test", 1)
    for steps in range(12):
        begun.clear()
        go.clear()
        # The one thread is busy, so that the file is made after its caller has gone, at times.
        blocking = asyncio.ensure_future(threads.run(busy))
        await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(_take(tmp_path / "a.lock", threads))
        for step in range(steps):
            if step == 6:
                go.set()
            await asyncio.sleep(0.001 if step > 6 else 0)
        waiting.cancel()
        go.set()
        await blocking
        await asyncio.wait([waiting])
        await threads.run(nothing)
        assert names(tmp_path) == set(), steps


async def test_what_a_call_raises_reaches_its_caller(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    threads = StorageThreads("the test")
    with pytest.raises(NotADirectoryError):
        await threads.run(PendingFile, tmp_path / "file" / "below", undo=PendingFile.close)


@pytest.mark.parametrize(("removals", "made"), [(19, True), (20, False)])
def test_a_draft_that_others_remove_at_once_is_given_up_after_twenty_tries(
    removals: int, *, made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = removals
    lock = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        nonlocal left
        if left:
            left -= 1
            for path in tmp_path.iterdir():
                path.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    if made:
        draft = PendingFile(tmp_path)
        assert names(tmp_path) == {draft.path.name}
        draft.close()
    else:
        with pytest.raises(FileNotFoundError, match="new files are removed at once"):
            PendingFile(tmp_path)
    assert left == 0
    assert names(tmp_path) == set()
    assert len(os.listdir("/proc/self/fd")) == before
