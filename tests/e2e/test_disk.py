"""Nothing wrong is served, whatever happens to processes and disks: real ones, and real signals."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from PIL import Image

from support import pictures
from support.apps import _descendants as descendants
from support.disks import SmallDisk, small_disk
from support.servers import ServerProcess

pytestmark = pytest.mark.e2e

LARGE, SMALL, SIDE = (1100, 900), (300, 220), 256
NAMES = ("a.jpg", "b.png", "c.tif")


def source(folder: Path) -> Path:
    """Originals: large ones, that get pyramids, and a small one."""
    path = folder / "source"
    (path / "pictures").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        pixels = pictures.photograph(*LARGE, seed=seed)
        data = (
            pictures.jpeg(pixels)
            if name.endswith("jpg")
            else pictures.saved(Image.fromarray(pixels), "PNG" if "png" in name else "TIFF")
        )
        (path / "pictures" / name).write_bytes(data)
    small = pictures.jpeg(pictures.photograph(*SMALL))
    (path / "pictures" / "small.jpg").write_bytes(small)
    return path


def tiles() -> list[str]:
    paths = []
    for name in NAMES:
        for factor in (1, 2, 4, 8):
            step = SIDE * factor
            for x in range(0, LARGE[0], step):
                for y in range(0, LARGE[1], step):
                    width, height = min(step, LARGE[0] - x), min(step, LARGE[1] - y)
                    size = f"{-(-width // factor)},{-(-height // factor)}"
                    paths.append(f"/pictures:{name}/{x},{y},{width},{height}/{size}/0/default.jpg")
    return paths


def derivatives() -> list[str]:
    """What goes through the store, one of them as a file of more than 1 MB."""
    small = [f"/pictures:small.jpg/full/{width},/0/default.jpg" for width in range(60, 90)]
    return [*small, "/pictures:small.jpg/full/^1400,/0/default.png"]


PATHS = [*tiles(), *derivatives()]
WIDTHS = itertools.count(91)
"""Of derivatives that nobody has asked for yet."""


class Process(ServerProcess):
    """A server with workers."""

    def workers(self) -> list[int]:
        """Processes that make or measure images."""
        return [pid for pid in descendants(self.popen.pid) if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"iiif_server.workers.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@contextlib.contextmanager
def server(folder: Path, originals: Path, cache: Path, more: str = "") -> Iterator[Process]:
    """A server on these folders, running until the context closes."""
    settings = (
        f'source_path = "{originals}"\ncache_path = "{cache}"\n'
        f"image_pool_size = 2\nsize_pool_size = 1\n{more}\n"
        f"[pyramids]\nmin_pixels = 100000\ntile_size = {SIDE}\n"
        '[types.pictures]\nsource = "disk"\n'
    )
    process = Process(folder, settings)
    process.start()
    try:
        yield process
    finally:
        if process.runs:
            process.kill()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("originals"))


@pytest.fixture(scope="module")
def right(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a server that nothing happens to answers."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with server(folder, originals, folder / "cache") as undisturbed:
        answers = {path: undisturbed.get(path) for path in PATHS}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert max(len(answer.content) for answer in answers.values()) > 1 << 20
    return {path: answer.content for path, answer in answers.items()}


@pytest.fixture(scope="module")
def without_pyramids(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same where there is no room for pyramids: tiles are made one by one."""
    folder = tmp_path_factory.mktemp("without")
    with server(folder, originals, folder / "cache", "[cache]\nmax_bytes = 1\n") as undisturbed:
        answers = {path: undisturbed.get(path) for path in PATHS}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {path: answer.content for path, answer in answers.items()}


@dataclass
class Storm:
    """Clients that ask for everything, in any order, until they are told to stop."""

    urls: Sequence[str]
    right: Sequence[Mapping[str, bytes]]
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Connections that ended before the answer was whole, or never came about."""
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _ask(self, seed: int) -> None:
        order = random.Random(seed)  # noqa: S311 - repeatable, not secret
        with httpx.Client(timeout=120, trust_env=False) as client:
            while not self._stop.is_set():
                path = order.choice(PATHS)
                try:
                    answer = client.get(order.choice(self.urls) + path)
                except httpx.TransportError:
                    with self._lock:
                        self.broken += 1
                    time.sleep(0.05)
                    continue
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    if answer.is_success and not self.is_right(path, answer.content):
                        self.wrong.append(path)

    def is_right(self, path: str, content: bytes) -> bool:
        return any(answers[path] == content for answers in self.right)

    @contextlib.contextmanager
    def raging(self, clients: int = 6) -> Iterator["Storm"]:
        with ThreadPoolExecutor(clients) as threads:
            asking = [threads.submit(self._ask, seed) for seed in range(clients)]
            try:
                yield self
            finally:
                self._stop.set()
                for future in asking:
                    future.result(timeout=180)
        assert self.wrong == []

    def wait_for(self, answers: int, seconds: float = 120) -> None:
        """Return when so many more answers have come."""
        until, goal = time.monotonic() + seconds, self.statuses.total() + answers
        while self.statuses.total() < goal:
            assert time.monotonic() < until, (self.statuses, self.broken)
            time.sleep(0.01)


def assert_all_right(process: Process, *right: Mapping[str, bytes]) -> None:
    for path in PATHS:
        answer = process.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert any(answers[path] == answer.content for answers in right), path


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


def being_written(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "derivatives" / "incoming").iterdir())


# --- killed ---------------------------------------------------------------------------------


def test_killed_in_a_storm_and_started_again_it_serves_what_is_right(
    originals: Path, right: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with server(tmp_path / "server", originals, cache) as process:
        for round_ in range(3):
            if round_ == 1:  # in the midst of building everything anew
                shutil.rmtree(cache)
            with Storm([process.url], [right]).raging() as storm:
                storm.wait_for(5 + 15 * round_)
                process.kill()
                process.start()
                storm.wait_for(20)
            assert set(storm.statuses) == {200}, storm.statuses
        process.kill()
        process.start()
        assert being_written(cache) == []
        assert_all_right(process, right)
        assert process.status()["cache"]["dropped"] == 0  # what is there was whole


def test_workers_killed_in_a_storm_cost_no_more_than_their_jobs(
    originals: Path, right: dict[str, bytes], without_pyramids: dict[str, bytes], tmp_path: Path
) -> None:
    cache, brief = tmp_path / "cache", '[limits]\nquarantine = "2 s"\n'
    with server(tmp_path / "server", originals, cache, brief) as process:
        killed = 0
        with Storm([process.url], [right, without_pyramids]).raging() as storm:
            for round_ in range(8):
                if round_ % 3 == 0:
                    shutil.rmtree(cache / "derivatives" / "entries", ignore_errors=True)
                storm.wait_for(10)
                for pid in process.workers():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
            storm.wait_for(10)
        assert killed > 8
        # A job whose worker is killed twice is given up, and said to be.
        assert set(storm.statuses) <= {200, 500, 503}, storm.statuses
        assert storm.statuses[200] > storm.statuses.total() * 0.7
        assert storm.broken == 0
        wait_until(lambda: process.status()["pools"]["image"]["workers"] == 2)
        wait_until(lambda: process.status()["quarantined"] == 0)
        assert_all_right(process, right, without_pyramids)
        wait_until(lambda: being_written(cache) == [])


# --- disks ----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24) as disk:
        yield disk


@pytest.mark.parametrize("min_free", ["", "[cache]\nmin_free = 0\n"], ids=["guarded", "to the end"])
def test_full_disk_is_served_from_told_and_written_again_when_it_is_not(
    min_free: str,
    originals: Path,
    right: dict[str, bytes],
    without_pyramids: dict[str, bytes],
    disk: SmallDisk,
) -> None:
    cache = disk.folder / "cache"
    with server(disk.folder.with_name("server"), originals, cache, min_free) as process:
        half = PATHS[:: len(PATHS) // 20]
        for path in half:
            assert process.get(path).content == right[path]
        disk.fill()
        with Storm([process.url], [right, without_pyramids]).raging() as storm:
            storm.wait_for(150)
        assert set(storm.statuses) == {200}
        assert process.status()["cache"]["failures"] > 0
        assert 1 <= process.log.count("StoreFailed") < 10  # and not one a request
        disk.empty()
        wait_until(lambda: _is_kept_again(process), 120)
        assert process.log.count("StoreRecovered") >= 1
        wait_until(lambda: _is_tile(process.get(PATHS[0])), 120)
        assert_all_right(process, right, without_pyramids)


def _is_kept_again(process: Process) -> bool:
    """Whether a derivative that nobody has asked for is kept, now that the rest may be over."""
    files = process.status()["cache"]["files"]
    process.get(f"/pictures:small.jpg/full/^{next(WIDTHS)},/0/default.jpg")
    return bool(process.status()["cache"]["files"] > files)


def _is_tile(answer: httpx.Response) -> bool:
    return 'desc="tile"' in answer.headers["server-timing"]


def test_read_only_disk_serves_what_it_has_and_what_it_has_not(
    originals: Path,
    right: dict[str, bytes],
    without_pyramids: dict[str, bytes],
    disk: SmallDisk,
    tmp_path: Path,
) -> None:
    cache = disk.folder / "cache"
    with server(tmp_path / "server", originals, cache) as process:
        for path in PATHS[:60]:
            assert process.get(path).content == right[path]
        wait_until(lambda: being_written(cache) == [])
        disk.make_read_only()
        with Storm([process.url], [right, without_pyramids]).raging() as storm:
            storm.wait_for(150)
        assert set(storm.statuses) == {200}
        process.kill()
        process.start()  # on a disk that takes nothing
        assert_all_right(process, right, without_pyramids)
        disk.make_writable()
        wait_until(lambda: _is_kept_again(process), 120)
        assert_all_right(process, right, without_pyramids)


def test_two_servers_on_one_folder_that_is_too_small_for_both(
    originals: Path, right: dict[str, bytes], without_pyramids: dict[str, bytes], tmp_path: Path
) -> None:
    cache, bounds = tmp_path / "cache", "[cache]\nmax_bytes = 900000\nmax_files = 10\n"
    with (
        server(tmp_path / "one", originals, cache, bounds) as one,
        server(tmp_path / "other", originals, cache, bounds) as other,
    ):
        with Storm([one.url, other.url], [right, without_pyramids]).raging() as storm:
            storm.wait_for(150)
            other.kill()
            other.start()
            storm.wait_for(150)
        assert set(storm.statuses) == {200}
        assert one.status()["cache"]["evicted"] + other.status()["cache"]["evicted"] > 0
        assert one.status()["cache"]["dropped"] == other.status()["cache"]["dropped"] == 0
        for process in (one, other):
            assert_all_right(process, right, without_pyramids)


def test_files_garbled_under_running_servers_are_never_served(
    originals: Path, right: dict[str, bytes], without_pyramids: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    order = random.Random(5)  # noqa: S311 - repeatable, not secret
    from_disk = "[cache]\nmemory_bytes = 0\n"
    with server(tmp_path / "server", originals, cache, from_disk) as process:
        assert_all_right(process, right)
        with Storm([process.url], [right, without_pyramids]).raging() as storm:
            for _ in range(40):
                entries = [path for path in (cache / "derivatives").rglob("*.*") if path.is_file()]
                with contextlib.suppress(OSError):
                    _garble(order.choice(entries), order)
                storm.wait_for(5)
        assert set(storm.statuses) == {200}
        assert process.status()["cache"]["dropped"] > 0
        process.kill()
        for path in (cache / "derivatives" / "entries").rglob("*.*"):
            if path.is_file():
                path.write_bytes(bytes(path.stat().st_size))  # as a power cut leaves them
        process.start()
        assert_all_right(process, right)
        assert process.status()["cache"]["dropped"] > 0


def _garble(path: Path, order: random.Random) -> None:
    size = path.stat().st_size or 1  # one that was cut to nothing before, too
    kind = order.randrange(6)
    if kind == 0:
        os.truncate(path, order.randrange(size))
    elif kind == 1:
        path.unlink()
        path.write_bytes(bytes(size))
    elif kind == 2:
        with path.open("ab") as file:
            file.write(b"more")
    elif kind == 3:
        path.unlink()
        os.mkfifo(path)
    else:
        with path.open("r+b") as file:
            for _ in range(20):
                file.seek(order.randrange(size))
                file.write(order.randbytes(3))
            file.truncate(size)
