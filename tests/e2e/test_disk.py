"""Killed processes, full and read-only disks, damaged cache files: no wrong image is served."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from PIL import Image

from support import pictures
from support.apps import descendants
from support.disks import SmallDisk, small_disk
from support.servers import ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

LARGE, SMALL, SIDE = (1100, 900), (300, 220), 256
NAMES = ("a.jpg", "b.png", "c.tif")


def write_originals(folder: Path) -> Path:
    """Write three large originals, which get pyramids, and a small one; return the root."""
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


def tile_paths() -> list[str]:
    """Return the paths of all tiles of the large originals."""
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


def derivative_paths() -> list[str]:
    """Return paths whose images are stored one by one; one of them is larger than 1 MB."""
    small = [f"/pictures:small.jpg/full/{width},/0/default.jpg" for width in range(60, 90)]
    return [*small, "/pictures:small.jpg/full/^1400,/0/default.png"]


PATHS = [*tile_paths(), *derivative_paths()]
WIDTHS = itertools.count(91)
"""Of derivatives that nobody has asked for yet."""


class DiskServer(ServerProcess):
    """Server process that lists its workers."""

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        return [pid for pid in descendants(self.popen.pid) if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"iiif_server.workers.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@contextlib.contextmanager
def running_disk_server(
    folder: Path, originals: Path, cache: Path, more: str = ""
) -> Iterator[DiskServer]:
    """Run a server on these folders until the context closes."""
    settings = (
        f'source_path = "{originals}"\ncache_path = "{cache}"\n'
        f"image_pool_size = 2\nsize_pool_size = 1\n{more}\n"
        f"[pyramids]\nmin_pixels = 100000\ntile_size = {SIDE}\n"
        '[types.pictures]\nsource = "disk"\n'
    )
    process = DiskServer(folder, settings)
    process.start()
    try:
        yield process
    finally:
        if process.is_running:
            process.kill()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture(scope="module")
def expected(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Images by path, as a server without faults returns them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with running_disk_server(folder, originals, folder / "cache") as running:
        answers = {path: running.get(path) for path in PATHS}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert max(len(answer.content) for answer in answers.values()) > 1 << 20
    return {path: answer.content for path, answer in answers.items()}


@pytest.fixture(scope="module")
def expected_without_pyramids(
    originals: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Images by path, as a server without space for pyramids returns them."""
    folder = tmp_path_factory.mktemp("without")
    with running_disk_server(
        folder, originals, folder / "cache", "[cache]\nmax_bytes = 1\n"
    ) as running:
        answers = {path: running.get(path) for path in PATHS}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {path: answer.content for path, answer in answers.items()}


@dataclass
class RandomClients:
    """Clients that request random paths until they are stopped, and compare each image."""

    urls: Sequence[str]
    expected: Sequence[Mapping[str, bytes]]
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Connections that ended before the answer was whole, or never came about."""
    unexpected: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _request_until_stopped(self, seed: int) -> None:
        order = random.Random(seed)  # noqa: S311 - repeatable, not secret
        with httpx.Client(timeout=120, trust_env=False) as client:
            while not self._stop.is_set():
                path = order.choice(PATHS)
                try:
                    answer = client.get(order.choice(self.urls) + path)
                except httpx.TransportError:
                    with self._lock:
                        self.lost += 1
                    time.sleep(0.05)
                    continue
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    if answer.is_success and not self.is_expected(path, answer.content):
                        self.unexpected.append(path)

    def is_expected(self, path: str, content: bytes) -> bool:
        return any(answers[path] == content for answers in self.expected)

    @contextlib.contextmanager
    def running(self, clients: int = 6) -> Iterator["RandomClients"]:
        with ThreadPoolExecutor(clients) as threads:
            futures = [threads.submit(self._request_until_stopped, seed) for seed in range(clients)]
            try:
                yield self
            finally:
                self._stop.set()
                for future in futures:
                    future.result(timeout=180)
        assert self.unexpected == []

    def wait_for_responses(self, answers: int, seconds: float = 120) -> None:
        """Wait until the clients have received so many more responses."""
        until, goal = time.monotonic() + seconds, self.statuses.total() + answers
        while self.statuses.total() < goal:
            assert time.monotonic() < until, (self.statuses, self.lost)
            time.sleep(0.01)


def assert_all_expected(process: DiskServer, *expected: Mapping[str, bytes]) -> None:
    """Assert that each path returns one of the expected images."""
    for path in PATHS:
        answer = process.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert any(answers[path] == answer.content for answers in expected), path


def pending_files(cache: Path) -> list[str]:
    """Return the names of the files that are being written to the cache."""
    return sorted(path.name for path in (cache / "derivatives" / "incoming").iterdir())


# --- killed ---------------------------------------------------------------------------------


def test_server_killed_under_load_serves_expected_images_after_restart(
    originals: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with running_disk_server(tmp_path / "server", originals, cache) as process:
        for round_ in range(3):
            if round_ == 1:  # in the midst of building everything anew
                shutil.rmtree(cache)
            with RandomClients([process.url], [expected]).running() as clients:
                clients.wait_for_responses(5 + 15 * round_)
                process.kill()
                process.start()
                clients.wait_for_responses(20)
            assert set(clients.statuses) == {200}, clients.statuses
        process.kill()
        process.start()
        assert pending_files(cache) == []
        assert_all_expected(process, expected)
        assert process.status()["cache"]["dropped"] == 0  # what is there was whole


def test_workers_killed_under_load_fail_only_their_own_jobs(
    originals: Path,
    expected: dict[str, bytes],
    expected_without_pyramids: dict[str, bytes],
    tmp_path: Path,
) -> None:
    cache, brief = tmp_path / "cache", '[limits]\nquarantine = "2 s"\n'
    with running_disk_server(tmp_path / "server", originals, cache, brief) as process:
        killed = 0
        with RandomClients(
            [process.url], [expected, expected_without_pyramids]
        ).running() as clients:
            for round_ in range(8):
                if round_ % 3 == 0:
                    shutil.rmtree(cache / "derivatives" / "entries", ignore_errors=True)
                clients.wait_for_responses(10)
                for pid in process.workers():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
            clients.wait_for_responses(10)
        assert killed > 8
        # A job whose worker is killed twice is given up, and said to be.
        assert set(clients.statuses) <= {200, 500, 503}, clients.statuses
        assert clients.statuses[200] > clients.statuses.total() * 0.7
        assert clients.lost == 0
        wait_until(lambda: process.status()["pools"]["image"]["workers"] == 2)
        wait_until(lambda: process.status()["quarantined"] == 0)
        assert_all_expected(process, expected, expected_without_pyramids)
        wait_until(lambda: pending_files(cache) == [])


# --- disks ----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24) as disk:
        yield disk


@pytest.mark.parametrize("min_free", ["", "[cache]\nmin_free = 0\n"], ids=["guarded", "to the end"])
def test_full_disk_is_read_and_logged_and_written_again_when_space_is_free(
    min_free: str,
    originals: Path,
    expected: dict[str, bytes],
    expected_without_pyramids: dict[str, bytes],
    disk: SmallDisk,
) -> None:
    cache = disk.folder / "cache"
    with running_disk_server(
        disk.folder.with_name("server"), originals, cache, min_free
    ) as process:
        half = PATHS[:: len(PATHS) // 20]
        for path in half:
            assert process.get(path).content == expected[path]
        disk.fill()
        with RandomClients(
            [process.url], [expected, expected_without_pyramids]
        ).running() as clients:
            clients.wait_for_responses(150)
        assert set(clients.statuses) == {200}
        assert process.status()["cache"]["failures"] > 0
        assert 1 <= process.log.count("StoreFailed") < 10  # and not one a request
        disk.empty()
        wait_until(lambda: _is_stored(process), 120)
        assert process.log.count("StoreRecovered") >= 1
        wait_until(lambda: _is_tile(process.get(PATHS[0])), 120)
        assert_all_expected(process, expected, expected_without_pyramids)


def _is_stored(process: DiskServer) -> bool:
    """Request a new derivative; return whether the cache stores it."""
    files = process.status()["cache"]["files"]
    process.get(f"/pictures:small.jpg/full/^{next(WIDTHS)},/0/default.jpg")
    return bool(process.status()["cache"]["files"] > files)


def _is_tile(answer: httpx.Response) -> bool:
    """Return whether a response is a tile of a pyramid."""
    return 'desc="tile"' in answer.headers["server-timing"]


def test_read_only_cache_disk_serves_cached_and_rendered_images(
    originals: Path,
    expected: dict[str, bytes],
    expected_without_pyramids: dict[str, bytes],
    disk: SmallDisk,
    tmp_path: Path,
) -> None:
    cache = disk.folder / "cache"
    with running_disk_server(tmp_path / "server", originals, cache) as process:
        for path in PATHS[:60]:
            assert process.get(path).content == expected[path]
        wait_until(lambda: pending_files(cache) == [])
        disk.make_read_only()
        with RandomClients(
            [process.url], [expected, expected_without_pyramids]
        ).running() as clients:
            clients.wait_for_responses(150)
        assert set(clients.statuses) == {200}
        process.kill()
        process.start()  # on a disk that takes nothing
        assert_all_expected(process, expected, expected_without_pyramids)
        disk.make_writable()
        wait_until(lambda: _is_stored(process), 120)
        assert_all_expected(process, expected, expected_without_pyramids)


def test_two_servers_share_a_cache_folder_that_is_too_small(
    originals: Path,
    expected: dict[str, bytes],
    expected_without_pyramids: dict[str, bytes],
    tmp_path: Path,
) -> None:
    cache, bounds = tmp_path / "cache", "[cache]\nmax_bytes = 900000\nmax_files = 10\n"
    with (
        running_disk_server(tmp_path / "one", originals, cache, bounds) as one,
        running_disk_server(tmp_path / "other", originals, cache, bounds) as other,
    ):
        with RandomClients(
            [one.url, other.url], [expected, expected_without_pyramids]
        ).running() as clients:
            clients.wait_for_responses(150)
            other.kill()
            other.start()
            clients.wait_for_responses(150)
        assert set(clients.statuses) == {200}
        assert one.status()["cache"]["evicted"] + other.status()["cache"]["evicted"] > 0
        assert one.status()["cache"]["dropped"] == other.status()["cache"]["dropped"] == 0
        for process in (one, other):
            assert_all_expected(process, expected, expected_without_pyramids)


def test_damaged_cache_files_are_never_served(
    originals: Path,
    expected: dict[str, bytes],
    expected_without_pyramids: dict[str, bytes],
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    order = random.Random(5)  # noqa: S311 - repeatable, not secret
    from_disk = "[cache]\nmemory_bytes = 0\n"
    with running_disk_server(tmp_path / "server", originals, cache, from_disk) as process:
        assert_all_expected(process, expected)
        with RandomClients(
            [process.url], [expected, expected_without_pyramids]
        ).running() as clients:
            for _ in range(40):
                entries = [path for path in (cache / "derivatives").rglob("*.*") if path.is_file()]
                with contextlib.suppress(OSError):
                    _damage(order.choice(entries), order)
                clients.wait_for_responses(5)
        assert set(clients.statuses) == {200}
        assert process.status()["cache"]["dropped"] > 0
        process.kill()
        for path in (cache / "derivatives" / "entries").rglob("*.*"):
            if path.is_file():
                path.write_bytes(bytes(path.stat().st_size))  # as a power cut leaves them
        process.start()
        assert_all_expected(process, expected)
        assert process.status()["cache"]["dropped"] > 0


def _damage(path: Path, order: random.Random) -> None:
    """Truncate, replace, extend or overwrite a file at random."""
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
