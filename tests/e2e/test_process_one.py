"""`iiif-server serve` as process 1, as in a container: there is no other init process."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.servers import ADMIN_TOKEN, TRUST, Server, running_server

pytestmark = pytest.mark.e2e

NAMESPACE = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]
PROGRAM = [*NAMESPACE, sys.executable, "-m", "iiif_server"]


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if not shutil.which("unshare"):
        pytest.skip("unshare (util-linux) is not installed")
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make PID namespaces")


def _state(pid: int) -> tuple[int, str] | None:
    """The parent of a process and its state letter."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[0]


def _children(parent: int) -> dict[int, str]:
    found = {int(path.name): _state(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    return {pid: state[1] for pid, state in found.items() if state and state[0] == parent}


def _answering(server: Server) -> set[int]:
    """Which server processes answer, by their number inside."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answers = (
        httpx.get(f"{server.url}/admin/status", headers=headers, trust_env=False, verify=TRUST)
        for _ in range(20)
    )
    return {answer.json()["process"] for answer in answers}


def _wait_until(condition: Callable[[], bool], server: Server) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)


@contextlib.contextmanager
def _serving(folder: Path, workers: int) -> Iterator[tuple[Server, int]]:
    """A server whose first process is process 1 of a namespace, and that process's number here."""
    settings = f"admin.token = '{ADMIN_TOKEN}'\n"
    arguments = ["--workers", str(workers)]
    with running_server(folder, settings, program=PROGRAM, arguments=arguments) as server:
        (first,) = _children(server.pid)
        try:
            _wait_until(lambda: len(_answering(server)) == workers, server)
            yield server, first
        finally:
            os.kill(first, signal.SIGTERM)  # unshare passes no signal on


def test_two_server_processes_answer_and_stay(tmp_path: Path) -> None:
    with _serving(tmp_path, 2) as (server, first):
        before = _answering(server)
        assert len(_children(first)) == 2
        assert _answering(server) == before
        assert "ServerProcessReplaced" not in server.log.read_text()


def test_a_killed_process_is_replaced_and_its_orphans_leave_no_zombies(tmp_path: Path) -> None:
    """Whatever loses its parent becomes a child of process 1, which has to reap it."""
    with _serving(tmp_path, 2) as (server, first):
        victim, other = sorted(_children(first))
        orphans = _children(victim)
        assert orphans  # the process that workers are forked from
        os.kill(victim, signal.SIGKILL)
        _wait_until(lambda: not any(_state(pid) for pid in (victim, *orphans)), server)
        _wait_until(lambda: len(_answering(server)) == 2, server)
        children = _children(first)
        assert other in children
        assert len(children) == 2
        assert "Z" not in children.values()


@pytest.mark.parametrize("workers", [1, 3])
def test_sigterm_ends_process_one_with_all_that_it_has_started(
    tmp_path: Path, workers: int
) -> None:
    with _serving(tmp_path, workers) as (server, first):
        below = _children(first)
        assert below
    assert not any(_state(pid) for pid in (first, *below))
    assert not re.search("Traceback|CRITICAL", server.log.read_text())
