"""`iiif-server serve` as process 1 of a PID namespace, as in a container without another init."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.servers import ADMIN_TOKEN, TRUST, Server, running_server
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

NAMESPACE = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]
PROGRAM = [*NAMESPACE, sys.executable, "-m", "iiif_server"]


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if not shutil.which("unshare"):
        pytest.skip("unshare (util-linux) is not installed")
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make PID namespaces")


def _read_parent_and_state(pid: int) -> tuple[int, str] | None:
    """Return the parent id and the state letter of a process; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[0]


def _states_of_children(parent: int) -> dict[int, str]:
    found = {
        int(path.name): _read_parent_and_state(int(path.name))
        for path in Path("/proc").glob("[0-9]*")
    }
    return {pid: state[1] for pid, state in found.items() if state and state[0] == parent}


def _processes_that_answer(server: Server) -> set[int]:
    """Return the ids, inside the namespace, of the server processes that answer."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answers = (
        httpx.get(f"{server.url}/admin/status", headers=headers, trust_env=False, verify=TRUST)
        for _ in range(20)
    )
    return {answer.json()["process"] for answer in answers}


@contextlib.contextmanager
def _running_as_process_one(folder: Path, workers: int) -> Iterator[tuple[Server, int]]:
    """Run a server as process 1 of a namespace; yield it, and its id outside."""
    settings = f"admin.token = '{ADMIN_TOKEN}'\n"
    arguments = ["--workers", str(workers)]
    with running_server(folder, settings, program=PROGRAM, arguments=arguments) as server:
        (first,) = _states_of_children(server.pid)
        try:
            wait_until(
                lambda: len(_processes_that_answer(server)) == workers, log=server.log.read_text
            )
            yield server, first
        finally:
            os.kill(first, signal.SIGTERM)  # unshare passes no signal on


def test_two_server_processes_answer_and_keep_running(tmp_path: Path) -> None:
    with _running_as_process_one(tmp_path, 2) as (server, first):
        before = _processes_that_answer(server)
        assert len(_states_of_children(first)) == 2
        assert _processes_that_answer(server) == before
        assert "ServerProcessReplaced" not in server.log.read_text()


def test_killed_server_process_is_replaced_and_orphans_are_reaped(tmp_path: Path) -> None:
    """Process 1 is the new parent of orphans, so it has to reap them."""
    with _running_as_process_one(tmp_path, 2) as (server, first):
        victim, other = sorted(_states_of_children(first))
        orphans = _states_of_children(victim)
        assert orphans  # the process that workers are forked from
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: not any(_read_parent_and_state(pid) for pid in (victim, *orphans)),
            log=server.log.read_text,
        )
        wait_until(lambda: len(_processes_that_answer(server)) == 2, log=server.log.read_text)
        children = _states_of_children(first)
        assert other in children
        assert len(children) == 2
        assert "Z" not in children.values()


@pytest.mark.parametrize("workers", [1, 3])
def test_sigterm_stops_process_one_and_its_children(tmp_path: Path, workers: int) -> None:
    with _running_as_process_one(tmp_path, workers) as (server, first):
        below = _states_of_children(first)
        assert below
    assert not any(_read_parent_and_state(pid) for pid in (first, *below))
    assert not re.search("Traceback|CRITICAL", server.log.read_text())
