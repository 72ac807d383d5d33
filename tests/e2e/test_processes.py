"""Several server processes: one port, one store, one budget; reloaded and replaced under load."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx
import pytest

from support import pictures
from support.apps import _descendants as descendants
from support.servers import TRUST, ServerProcess

pytestmark = pytest.mark.e2e

PICTURE = pictures.jpeg(pictures.photograph(2600, 2000))


@contextlib.contextmanager
def serving(folder: Path, settings: str = "") -> Iterator[ServerProcess]:
    """Two server processes, on a folder with one image."""
    (folder / "source" / "pictures").mkdir(parents=True)
    (folder / "source" / "pictures" / "a.jpg").write_bytes(PICTURE)
    process = ServerProcess(folder, written(folder, settings))
    process.start()
    try:
        deadline = time.monotonic() + 60
        while len(answering(process, 10)) < 2:  # the first to be ready answers alone at first
            assert time.monotonic() < deadline, process.log
        yield process
        if process.runs:
            process.end()
    finally:
        if process.runs:
            process.kill()


def written(folder: Path, settings: str = "") -> str:
    return (
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\nhttp_processes = 2\n'
        f'{settings}\n[types.pictures]\nsource = "disk"\n'
    )


def answering(process: ServerProcess, tries: int = 40) -> Counter[int]:
    """How often each server process answered, every request on a connection of its own."""
    return Counter(process.status()["process"] for _ in range(tries))


class Readers:
    """Clients that ask again and again, on connections that stay open."""

    def __init__(self, process: ServerProcess, count: int = 6) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[Exception] = []
        self._url = process.url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        """Return when so many more answers have come."""
        wanted = self.statuses.total() + answers
        deadline = time.monotonic() + 60
        while self.statuses.total() < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _read(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False, verify=TRUST) as client:
            width = 100 + number
            while not self._over.is_set():
                try:
                    path = f"/pictures:a.jpg/full/{width},/0/default.jpg"
                    self.statuses[client.get(path).status_code] += 1
                except httpx.TransportError as error:
                    self.failures.append(error)
                width = 100 + (width - 100 + 6) % 120


def test_all_processes_answer_and_share_one_budget(tmp_path: Path) -> None:
    settings = "image_pool_size = 5\nsize_pool_size = 3\n"
    with serving(tmp_path, settings) as process:
        assert len(answering(process)) == 2
        found: dict[int, list[int]] = {}
        while len(found) < 2:
            status = process.status()
            found[status["process"]] = [
                status["pools"][name]["workers"] for name in status["pools"]
            ]
        totals = [sum(sizes) for sizes in zip(*found.values(), strict=True)]
        assert sorted(totals) == [3, 5]


def test_settings_are_read_again_without_a_request_being_lost(tmp_path: Path) -> None:
    with serving(tmp_path) as process, Readers(process) as readers:
        readers.wait_for(50)
        (tmp_path / "source" / "more").mkdir()
        (tmp_path / "source" / "more" / "b.jpg").write_bytes(PICTURE)
        process.configure(written(tmp_path) + '[types.more]\nsource = "disk"\n')
        process.popen.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while sum(_has(process, "more:b.jpg") for _ in range(12)) < 12:  # in both
            assert time.monotonic() < deadline, process.log
        readers.wait_for(50)
    assert not readers.failures
    assert set(readers.statuses) == {200}


def test_a_mistake_in_newer_settings_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        process.configure(written(tmp_path, "banana = 1"))
        process.popen.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while process.log.count("SettingsRefused") < 2:
            assert time.monotonic() < deadline, process.log
            time.sleep(0.05)
        assert "banana: there is no such setting" in process.log
        assert all(_has(process, "pictures:a.jpg") for _ in range(8))


def test_a_process_that_is_killed_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        (victim, _), _ = answering(process).most_common(2)
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while True:  # those that the dead one would have answered wait for its successor
            with contextlib.suppress(httpx.TransportError):
                now = answering(process, 10)
                if len(now) == 2 and victim not in now:
                    break
            assert time.monotonic() < deadline, process.log
        assert "ServerProcessReplaced" in process.log
        assert "cause='ended by SIGKILL (not by this server" in process.log


def test_a_successor_that_finds_a_mistake_in_the_settings_says_so_and_is_tried_again(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as process:
        (victim, _), _ = answering(process).most_common(2)
        right = process.settings
        process.configure(written(tmp_path, "banana = 1"))
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while "banana: there is no such setting" not in process.log:
            assert time.monotonic() < deadline, process.log
            time.sleep(0.05)
        assert "Traceback" not in process.log
        assert _has(process, "pictures:a.jpg")  # by the other one
        process.configure(right)
        while len(answering(process, 10)) < 2:
            assert time.monotonic() < deadline, process.log


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        children = descendants(process.popen.pid)
        assert len(children) >= 6
        process.popen.kill()
        process.popen.wait()
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_two_processes_make_one_pyramid_and_one_full_size_image(tmp_path: Path) -> None:
    with serving(tmp_path, "pyramids.min_pixels = 1000000") as process:

        def ask(number: int) -> int:
            path = "0,0,512,512/max" if number % 2 else "full/max"
            suffix = "jpg" if number % 2 else "png"
            url = f"{process.url}/pictures:a.jpg/{path}/0/default.{suffix}"
            return httpx.get(url, timeout=60, trust_env=False, verify=TRUST).status_code

        with ThreadPoolExecutor(24) as threads:
            assert set(threads.map(ask, range(24))) == {200}
        assert len(list((tmp_path / "cache").rglob("*.szi"))) == 1  # the part that was asked for
        made: Counter[str] = Counter()
        seen: set[int] = set()
        while len(seen) < 2:
            status = process.status()
            if status["process"] not in seen:
                seen.add(status["process"])
                made.update({k: v for k, v in status["made_by"].items() if k != "tile"})
        assert made.total() == 1, made


def _has(process: ServerProcess, identifier: str) -> bool:
    answer = httpx.get(
        f"{process.url}/{identifier}/info.json", timeout=60, trust_env=False, verify=TRUST
    )
    return answer.status_code == 200
