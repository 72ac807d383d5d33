"""Workers ignore signals that terminals and systemd send to all processes of a service."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from iiif_server.telemetry.events import Event
from iiif_server.workers.executor import WorkerProcess
from iiif_server.workers.pool import Setup, WorkerPool
from support import jobs
from support.apps import running_process
from support.servers import ADMIN_TOKEN

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
LONG = 60.0


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_worker_goes_on(number: signal.Signals) -> None:
    events: list[Event] = []
    pool = WorkerPool("test", 1, Setup(jobs.nothing), events.append)
    await pool.open()
    try:
        (pid,) = pool.pids
        os.kill(pid, number)
        assert await pool.run(jobs.pid, None, timeout=LONG) == pid
        assert events == []
    finally:
        await pool.close()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_worker_goes_on_starting(number: signal.Signals) -> None:
    """Before its interpreter has run a line of ours, signals are blocked."""
    process = await WorkerProcess.start()
    os.kill(process.pid, number)
    assert _is_blocked(process.pid, number)
    process.kill()
    ended = await asyncio.wait_for(process.ended, LONG)
    assert ended.code == -signal.SIGKILL


def _is_blocked(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (blocked,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))
    return bool(blocked & 1 << (number - 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_service_whose_processes_are_all_told_to_end_replaces_none(
    tmp_path: Path, number: signal.Signals, processes: str
) -> None:
    environment = {
        "IIIF_SOURCE_PATH": str(tmp_path / "source"),
        "IIIF_CACHE_PATH": str(tmp_path / "cache"),
        "IIIF_IMAGE_POOL_SIZE": "2",
    }
    serve = running_process("--workers", processes, environment=environment, own_group=True)
    with serve as process:
        assert len(process.descendants()) >= 3
        os.killpg(process.popen.pid, number)
        _, log = process.popen.communicate(timeout=LONG)
    assert "Replaced" not in log
    assert "WorkerNotStarted" not in log
    assert "WARNING" not in log
    assert "Traceback" not in log


def test_server_processes_end_gracefully_however_often_they_are_told(tmp_path: Path) -> None:
    """As Ctrl-C does: it reaches the supervisor, which passes it on, and the others directly."""
    environment = {
        "IIIF_SOURCE_PATH": str(tmp_path / "source"),
        "IIIF_CACHE_PATH": str(tmp_path / "cache"),
        "IIIF_IMAGE_POOL_SIZE": "2",
        "IIIF_ADMIN__TOKEN": ADMIN_TOKEN,
    }
    serve = running_process("--workers", "2", environment=environment, own_group=True)
    with serve as process:
        process.wait_for_processes(2)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.killpg(process.popen.pid, number)
            time.sleep(0.05)  # uvicorn has to have taken the one before
        _, log = process.popen.communicate(timeout=LONG)
    assert log.count("Application shutdown complete") == 2
    assert "Traceback" not in log
