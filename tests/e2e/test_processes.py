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
from support.apps import descendants
from support.servers import TRUST, ServerProcess

pytestmark = pytest.mark.e2e

PICTURE = pictures.jpeg(pictures.photograph(2600, 2000))


@contextlib.contextmanager
def running_two_processes(folder: Path, settings: str = "") -> Iterator[ServerProcess]:
    """Run two server processes, with one image."""
    (folder / "source" / "pictures").mkdir(parents=True)
    (folder / "source" / "pictures" / "a.jpg").write_bytes(PICTURE)
    process = ServerProcess(folder, settings_text(folder, settings))
    process.start()
    try:
        deadline = time.monotonic() + 60
        while len(count_responses(process, 10)) < 2:  # the first to be ready answers alone at first
            assert time.monotonic() < deadline, process.log
        yield process
        if process.is_running:
            process.end()
    finally:
        if process.is_running:
            process.kill()


def settings_text(folder: Path, settings: str = "") -> str:
    return (
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\nhttp_processes = 2\n'
        f'{settings}\n[types.pictures]\nsource = "disk"\n'
    )


def count_responses(process: ServerProcess, tries: int = 40) -> Counter[int]:
    """Return the number of responses by server process, each on a new connection."""
    return Counter(process.status()["process"] for _ in range(tries))


class Readers:
    """Clients that send requests repeatedly on kept-alive connections."""

    def __init__(self, process: ServerProcess, count: int = 6) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[Exception] = []
        self._url = process.url
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._read_until_stopped, args=(n,)) for n in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_responses(self, answers: int) -> None:
        """Wait until the clients have received so many more responses."""
        wanted = self.statuses.total() + answers
        deadline = time.monotonic() + 60
        while self.statuses.total() < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _read_until_stopped(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False, verify=TRUST) as client:
            width = 100 + number
            while not self._stop.is_set():
                try:
                    path = f"/pictures:a.jpg/full/{width},/0/default.jpg"
                    self.statuses[client.get(path).status_code] += 1
                except httpx.TransportError as error:
                    self.failures.append(error)
                width = 100 + (width - 100 + 6) % 120


def test_server_processes_answer_and_share_the_number_of_workers(tmp_path: Path) -> None:
    settings = "image_pool_size = 5\nsize_pool_size = 3\n"
    with running_two_processes(tmp_path, settings) as process:
        assert len(count_responses(process)) == 2
        found: dict[int, list[int]] = {}
        while len(found) < 2:
            status = process.status()
            found[status["process"]] = [
                status["pools"][name]["workers"] for name in status["pools"]
            ]
        totals = [sum(sizes) for sizes in zip(*found.values(), strict=True)]
        assert sorted(totals) == [3, 5]


def test_reload_of_settings_loses_no_request(tmp_path: Path) -> None:
    with running_two_processes(tmp_path) as process, Readers(process) as readers:
        readers.wait_for_responses(50)
        (tmp_path / "source" / "more").mkdir()
        (tmp_path / "source" / "more" / "b.jpg").write_bytes(PICTURE)
        process.configure(settings_text(tmp_path) + '[types.more]\nsource = "disk"\n')
        process.popen.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while sum(_is_served(process, "more:b.jpg") for _ in range(12)) < 12:  # in both
            assert time.monotonic() < deadline, process.log
        readers.wait_for_responses(50)
    assert not readers.failures
    assert set(readers.statuses) == {200}


def test_reload_of_invalid_settings_is_logged_and_changes_nothing(tmp_path: Path) -> None:
    with running_two_processes(tmp_path) as process:
        process.configure(settings_text(tmp_path, "banana = 1"))
        process.popen.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while process.log.count("SettingsRefused") < 2:
            assert time.monotonic() < deadline, process.log
            time.sleep(0.05)
        assert "banana: there is no such setting" in process.log
        assert all(_is_served(process, "pictures:a.jpg") for _ in range(8))


def test_killed_server_process_is_replaced(tmp_path: Path) -> None:
    with running_two_processes(tmp_path) as process:
        (victim, _), _ = count_responses(process).most_common(2)
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while True:  # those that the dead one would have answered wait for its successor
            with contextlib.suppress(httpx.TransportError):
                now = count_responses(process, 10)
                if len(now) == 2 and victim not in now:
                    break
            assert time.monotonic() < deadline, process.log
        assert "ServerProcessReplaced" in process.log
        assert "cause='ended by SIGKILL (not by this server" in process.log


def test_replacement_with_invalid_settings_is_logged_and_retried(
    tmp_path: Path,
) -> None:
    with running_two_processes(tmp_path) as process:
        (victim, _), _ = count_responses(process).most_common(2)
        right = process.settings
        process.configure(settings_text(tmp_path, "banana = 1"))
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while "banana: there is no such setting" not in process.log:
            assert time.monotonic() < deadline, process.log
            time.sleep(0.05)
        assert "Traceback" not in process.log
        assert _is_served(process, "pictures:a.jpg")  # by the other one
        process.configure(right)
        while len(count_responses(process, 10)) < 2:
            assert time.monotonic() < deadline, process.log


def test_kill_of_the_supervisor_leaves_no_processes(tmp_path: Path) -> None:
    with running_two_processes(tmp_path) as process:
        children = descendants(process.popen.pid)
        assert len(children) >= 6
        process.popen.kill()
        process.popen.wait()
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_two_server_processes_render_an_image_once(tmp_path: Path) -> None:
    with running_two_processes(tmp_path, "pyramids.min_pixels = 1000000") as process:

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


def _is_served(process: ServerProcess, identifier: str) -> bool:
    answer = httpx.get(
        f"{process.url}/{identifier}/info.json", timeout=60, trust_env=False, verify=TRUST
    )
    return answer.status_code == 200
